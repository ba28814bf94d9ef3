//! When messages are meant to be sent.
//!
//! Owns: the schedule of the senders of one thread, in open loop. A message that could not be sent in
//! time keeps the time it was meant for. Must not know connections.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::clock::SECOND_NS;

/// The most time between two messages of a burst, in nanoseconds: somebody who types fast.
const TYPING_NS: u64 = 20_000_000;

/// A message that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When it was meant to be sent.
    pub at_ns: u64,
    /// Which sender of this thread.
    pub sender: u32,
    /// Messages of the burst after this one.
    left: u32,
    /// When the burst began.
    began_ns: u64,
}

/// The schedule of a thread's senders.
#[derive(Debug)]
pub struct Schedule {
    due: BinaryHeap<Reverse<Due>>,
    /// Mean time between the beginnings of a sender's bursts.
    cycle_ns: f64,
    /// Time between messages of a burst.
    typing_ns: u64,
    burst: u32,
    random: SmallRng,
    ends_ns: u64,
}

/// What a schedule is made of.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Messages a second of one sender.
    pub rate: f64,
    /// Messages in a burst; 1 means evenly spaced messages.
    pub burst: u32,
    /// When the first may be sent.
    pub starts_ns: u64,
    /// When no more are sent.
    pub ends_ns: u64,
    /// What the randomness follows from.
    pub seed: u64,
}

impl Schedule {
    /// A schedule of these senders; `(sender, phase)` with a phase from 0 to 1 that spreads them.
    pub fn new(pace: Pace, senders: impl Iterator<Item = (u32, f64)>) -> Self {
        let cycle_ns = f64::from(pace.burst) * SECOND_NS as f64 / pace.rate;
        let typing_ns = TYPING_NS.min((cycle_ns / f64::from(2 * pace.burst)) as u64);
        let mut random = SmallRng::seed_from_u64(pace.seed);
        let mut first = |(sender, phase): (u32, f64)| {
            // Bursts begin whenever they like, and so does the first.
            let wait_ns = if pace.burst == 1 { phase } else { exponential(&mut random) } * cycle_ns;
            let at_ns = pace.starts_ns + wait_ns as u64;
            Reverse(Due { at_ns, sender, left: pace.burst - 1, began_ns: at_ns })
        };
        let due = senders.map(&mut first).filter(|first| first.0.at_ns < pace.ends_ns).collect();
        Schedule { due, cycle_ns, typing_ns, burst: pace.burst, random, ends_ns: pace.ends_ns }
    }

    /// When the next message is due.
    pub fn next_ns(&self) -> Option<u64> {
        self.due.peek().map(|next| next.0.at_ns)
    }

    /// About how many messages are still to be sent.
    pub fn remaining(&self) -> u64 {
        let of = |due: &Reverse<Due>| {
            let cycles = self.ends_ns.saturating_sub(due.0.at_ns) as f64 / self.cycle_ns;
            1 + (cycles * f64::from(self.burst)) as u64
        };
        self.due.iter().map(of).sum()
    }

    /// Takes a message that is due by now, and plans the one after it.
    pub fn take(&mut self, now_ns: u64) -> Option<Due> {
        let due = self.due.peek_mut()?;
        if due.0.at_ns > now_ns {
            return None;
        }
        let taken = std::collections::binary_heap::PeekMut::pop(due).0;
        let next = self.after(&taken);
        if next.at_ns < self.ends_ns {
            self.due.push(Reverse(next));
        }
        Some(taken)
    }

    fn after(&mut self, due: &Due) -> Due {
        if due.left > 0 {
            return Due { at_ns: due.at_ns + self.typing_ns, left: due.left - 1, ..*due };
        }
        let gap_ns = match self.burst {
            1 => self.cycle_ns,
            _ => self.cycle_ns * exponential(&mut self.random),
        };
        let at_ns = (due.began_ns + gap_ns as u64).max(due.at_ns + 1);
        Due { at_ns, left: self.burst - 1, began_ns: at_ns, ..*due }
    }
}

/// The wait for what happens at random, once in a unit of time on average.
fn exponential(random: &mut SmallRng) -> f64 {
    -(1.0 - random.random::<f64>()).ln()
}

/// The room of each sender: popular ones have more, by Zipf's law, in proportion and not at random.
pub fn rooms(senders: u32, rooms: u32, zipf: f64) -> Vec<u32> {
    let weights: Vec<f64> = (1..=rooms).map(|rank| f64::from(rank).powf(-zipf)).collect();
    let total: f64 = weights.iter().sum();
    let (mut room, mut reach) = (0, weights[0]);
    let mut assigned = Vec::with_capacity(senders as usize);
    for sender in 0..senders {
        let place = (f64::from(sender) + 0.5) / f64::from(senders) * total;
        while place > reach && room + 1 < rooms {
            room += 1;
            reach += weights[room as usize];
        }
        assigned.push(room);
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(pace: Pace, senders: u32) -> Vec<Due> {
        let phases = (0..senders).map(|n| (n, f64::from(n) / f64::from(senders)));
        let mut schedule = Schedule::new(pace, phases);
        std::iter::from_fn(|| schedule.take(u64::MAX)).collect()
    }

    const PACE: Pace =
        Pace { rate: 10.0, burst: 1, starts_ns: 5, ends_ns: 5 + 10 * SECOND_NS, seed: 1 };

    #[test]
    fn a_rate_is_kept_exactly() {
        let times = times(PACE, 4);
        assert_eq!(times.len(), 400);
        assert!(times.is_sorted_by_key(|due| due.at_ns));
        assert_eq!(times.iter().filter(|due| due.sender == 2).count(), 100);
    }

    #[test]
    fn nothing_is_taken_before_its_time() {
        let mut schedule = Schedule::new(PACE, [(0, 0.5)].into_iter());
        assert_eq!(schedule.take(SECOND_NS / 20), None);
        assert!(schedule.take(SECOND_NS / 20 + 5).is_some());
        assert_eq!(schedule.take(SECOND_NS / 20 + 5), None);
    }

    #[test]
    fn bursts_keep_the_rate_on_average() {
        let times = times(Pace { burst: 5, ends_ns: 1000 * SECOND_NS, ..PACE }, 4);
        let count = times.len() as f64;
        assert!((36_000.0..44_000.0).contains(&count), "{count}");
    }

    #[test]
    fn popular_rooms_have_more() {
        let assigned = rooms(200, 50, 1.0);
        let count = |room| assigned.iter().filter(|found| **found == room).count();
        assert!(count(0) > 40 && count(0) > 5 * count(9).max(1));
        assert_eq!(rooms(4, 2, 0.0), [0, 0, 1, 1]);
    }
}
