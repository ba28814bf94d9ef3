//! How much one peer may say.
//!
//! Owns: a peer's two buckets. Must not know: how a peer is kept from being read.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::bucket::{Bucket, Rate};
use crate::config;

/// A peer that is over its rates is not read for one of these times, the shortest that is enough,
/// or for the last and then looked at again: timers know few lengths.
const PAUSES_MS: [u64; 8] = [10, 20, 50, 100, 250, 500, 1000, 5000];

/// What is left of a peer's rates.
#[derive(Debug)]
pub struct Allowance {
    messages: Option<Ration>,
    bytes: Option<Ration>,
}

/// One of them.
#[derive(Debug)]
struct Ration {
    rate: Rate,
    left: Bucket,
    /// The total that is paid for.
    paid: u64,
}

impl Ration {
    fn renewed(
        before: Option<Ration>,
        rate: Option<NonZeroU64>,
        total: u64,
        now: Instant,
    ) -> Option<Ration> {
        let fresh = || (Bucket::new(now), total);
        let (left, paid) = before.map_or_else(fresh, |ration| (ration.left, ration.paid));
        rate.map(|rate| Ration { rate: Rate(rate), left, paid })
    }

    /// Takes what the total has grown by. Returns how long the bucket is in debt.
    fn pay(&mut self, total: u64, now: Instant) -> Duration {
        let unpaid = total - std::mem::replace(&mut self.paid, total);
        self.left.spend(self.rate, unpaid, now)
    }
}

impl Allowance {
    /// A full one; none if nothing is limited.
    pub fn new(rules: &config::Admission, now: Instant) -> Option<Box<Self>> {
        Allowance::renewed(None, rules, (0, 0), now)
    }

    /// What becomes of a peer's allowance under these rules, when so many messages and bytes were ever heard of it. What
    /// it had is kept, be it a debt.
    pub fn renewed(
        before: Option<Box<Self>>,
        rules: &config::Admission,
        (messages, bytes): (u64, u64),
        now: Instant,
    ) -> Option<Box<Self>> {
        let (of_messages, of_bytes) = match before {
            Some(before) => (before.messages, before.bytes),
            None => (None, None),
        };
        let messages = Ration::renewed(of_messages, rules.peer_messages_per_second, messages, now);
        let bytes = Ration::renewed(of_bytes, rules.peer_bytes_per_second, bytes, now);
        (messages.is_some() || bytes.is_some()).then(|| Box::new(Allowance { messages, bytes }))
    }

    /// Pays for all that was ever heard of the peer. Returns for how long it is not to be read, if
    /// it is over.
    pub fn pay(&mut self, messages: u64, bytes: u64, now: Instant) -> Option<Duration> {
        let debt = |ration: &mut Option<Ration>, total| {
            ration.as_mut().map_or(Duration::ZERO, |ration| ration.pay(total, now))
        };
        pause(debt(&mut self.messages, messages).max(debt(&mut self.bytes, bytes)))
    }
}

fn pause(debt: Duration) -> Option<Duration> {
    let mut pauses = PAUSES_MS.map(Duration::from_millis).into_iter();
    let longest = Duration::from_millis(PAUSES_MS[PAUSES_MS.len() - 1]);
    (!debt.is_zero()).then(|| pauses.find(|pause| *pause >= debt).unwrap_or(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_with_the_larger_debt_decides() {
        let rules = config::Admission {
            peer_messages_per_second: NonZeroU64::new(10),
            peer_bytes_per_second: NonZeroU64::new(1000),
            ..config::Admission::default()
        };
        let now = Instant::now();
        let mut allowance = Allowance::new(&rules, now).unwrap();
        assert_eq!(allowance.pay(100, 10_000, now), None);
        assert_eq!(allowance.pay(100, 10_090, now), Some(Duration::from_millis(100)));
        assert_eq!(allowance.pay(103, 10_090, now), Some(Duration::from_millis(500)));
        assert_eq!(allowance.pay(1103, 10_090, now), Some(Duration::from_secs(5)));
        assert_eq!(allowance.pay(1103, 10_090, now + Duration::from_secs(200)), None);
        assert!(Allowance::new(&config::Admission::default(), now).is_none());
    }

    #[test]
    fn other_rules_take_over_what_is_left() {
        let per_second = |rate| config::Admission {
            peer_messages_per_second: NonZeroU64::new(rate),
            ..config::Admission::default()
        };
        let now = Instant::now();
        let renewed =
            |before, rate, heard| Allowance::renewed(before, &per_second(rate), (heard, 0), now);
        // What was said without a limit is free.
        let mut allowance = renewed(None, 10, 5000).unwrap();
        assert_eq!(allowance.pay(5100, 0, now), None);
        assert_eq!(allowance.pay(5101, 0, now), Some(Duration::from_millis(100)));
        let mut slower = renewed(Some(allowance), 1, 5101).unwrap();
        assert_eq!(slower.pay(5101, 0, now), Some(Duration::from_millis(100)), "it still owes");
        assert_eq!(slower.pay(5102, 0, now), Some(Duration::from_secs(5)));
        assert!(renewed(Some(slower), 0, 5102).is_none());
    }
}
