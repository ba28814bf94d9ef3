//! Rates: how much of something may happen in a second, with some to spare for bursts.
//!
//! Owns: the arithmetic of a token bucket, kept as the one moment at which it is full again (the
//! generic cell rate algorithm). Must not know: clocks, what is rationed.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// A full bucket holds what comes in this time: that much may happen at once.
pub const BURST: Duration = Duration::from_secs(10);

/// So much in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub NonZeroU64);

impl Rate {
    /// How long it takes to earn `amount`.
    fn time_for(self, amount: u64) -> Duration {
        Duration::from_secs_f64(amount as f64 / self.0.get() as f64)
    }
}

/// What is left of a rate.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(now: Instant) -> Self {
        Bucket { full_at: now }
    }

    /// Takes `amount`, which has been used already. Returns how long the bucket is in debt.
    pub fn spend(&mut self, rate: Rate, amount: u64, now: Instant) -> Duration {
        self.full_at = self.full_at.max(now) + rate.time_for(amount);
        self.debt(now)
    }

    /// Takes one, or nothing if that would be a debt, and returns how long it would be one.
    pub fn try_take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let mut after = *self;
        match after.spend(rate, 1, now) {
            Duration::ZERO => *self = after,
            debt => return Err(debt),
        }
        Ok(())
    }

    /// How long it is in debt.
    pub fn debt(&self, now: Instant) -> Duration {
        self.full_at.saturating_duration_since(now).saturating_sub(BURST)
    }

    /// It remembers nothing that a new one would not.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u64) -> Rate {
        Rate(NonZeroU64::new(per_second).unwrap())
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let (start, rate) = (Instant::now(), rate(4));
        let mut bucket = Bucket::new(start);
        for turn in 0..40 {
            assert_eq!(bucket.try_take(rate, start), Ok(()), "{turn}");
        }
        assert_eq!(bucket.try_take(rate, start), Err(Duration::from_millis(250)));
        let later = start + Duration::from_millis(250);
        assert_eq!(bucket.try_take(rate, later), Ok(()));
        assert!(bucket.try_take(rate, later).is_err());
    }

    #[test]
    fn a_debt_is_worked_off_in_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        assert_eq!(bucket.spend(rate(100), 1000, start), Duration::ZERO);
        assert_eq!(bucket.spend(rate(100), 300, start), Duration::from_secs(3));
        assert_eq!(bucket.debt(start + Duration::from_secs(2)), Duration::from_secs(1));
        assert_eq!(bucket.debt(start + Duration::from_secs(3)), Duration::ZERO);
        assert!(!bucket.is_full(start + Duration::from_secs(3)));
        assert!(bucket.is_full(start + Duration::from_secs(13)));
    }

    #[test]
    fn rest_earns_one_burst_and_no_more() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(bucket.spend(rate(1), 10, later), Duration::ZERO);
        assert_eq!(bucket.spend(rate(1), 1, later), Duration::from_secs(1));
    }
}
