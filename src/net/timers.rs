//! Timers of a few fixed lengths: one first-in-first-out queue each, so that adding and expiring
//! cost no search however many peers there are.
//!
//! A timer is not taken back when what it was for is gone: it is due some time and does nothing.
//! [`thin_out`](Timers::thin_out) keeps those few that are left so.
//!
//! Owns: when what is due. Must not know: what it means.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Nobody has more timers that matter than half of this.
const EACH_MAX: usize = 4;

/// So many timers, or places for them, are not worth a search.
const FEW: usize = 1024;

/// Timers that carry a `T`.
#[derive(Debug)]
pub struct Timers<T> {
    /// One queue for each length in use, in the order they fire.
    queues: Vec<(Duration, VecDeque<(Instant, T)>)>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers { queues: Vec::new() }
    }
}

impl<T> Timers<T> {
    /// Sets a timer that fires `after` from `start`. Starts of timers of the same length must not
    /// go back.
    pub fn set(&mut self, start: Instant, after: Duration, what: T) {
        let due = start + after;
        match self.queues.iter_mut().find(|(length, _)| *length == after) {
            Some((_, queue)) => queue.push_back((due, what)),
            None => {
                // Lengths change when the configuration does.
                self.queues.retain(|(_, queue)| !queue.is_empty());
                self.queues.push((after, VecDeque::from([(due, what)])));
            }
        }
    }

    /// Takes a timer that is due by `now`, and when it was.
    pub fn take_due(&mut self, now: Instant) -> Option<(Instant, T)> {
        let is_due =
            |queue: &VecDeque<(Instant, T)>| queue.front().is_some_and(|(due, _)| *due <= now);
        let (_, queue) = self.queues.iter_mut().find(|(_, queue)| is_due(queue))?;
        let timer = queue.pop_front();
        // What a spike left is given back.
        if queue.capacity() > FEW && queue.len() < queue.capacity() / 4 {
            queue.shrink_to(queue.capacity() / 2);
        }
        timer
    }

    /// Forgets timers that do not matter any more, when they are far more than `owners` may have who
    /// have one that matters, or two.
    pub fn thin_out(&mut self, owners: usize, mut matters: impl FnMut(&T) -> bool) {
        if self.count() <= EACH_MAX * owners + FEW {
            return;
        }
        for (_, queue) in &mut self.queues {
            queue.retain(|(_, what)| matters(what));
            queue.shrink_to(2 * queue.len());
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.queues.iter().map(|(_, queue)| queue.len()).sum()
    }

    /// When the next one fires.
    pub fn next_due(&self) -> Option<Instant> {
        self.queues.iter().filter_map(|(_, queue)| queue.front()).map(|(due, _)| *due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_when_due_and_once() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut timers = Timers::default();
        assert_eq!(timers.next_due(), None);
        timers.set(start, 5 * second, "five");
        timers.set(start, second, "one");
        timers.set(start + second, second, "two");
        assert_eq!(timers.next_due(), Some(start + second));
        assert_eq!(timers.take_due(start), None);
        let now = start + 3 * second;
        assert_eq!(timers.take_due(now), Some((start + second, "one")));
        assert_eq!(timers.take_due(now), Some((start + 2 * second, "two")));
        assert_eq!(timers.take_due(now), None);
        assert_eq!(timers.take_due(start + 5 * second).unwrap().1, "five");
        assert_eq!(timers.next_due(), None);
    }

    #[test]
    fn timers_of_those_that_are_gone_are_few() {
        let (start, hour) = (Instant::now(), Duration::from_secs(3600));
        let mut timers = Timers::default();
        let (mut looked_at, stayed) = (0, 100);
        // The first ones stay, all others are gone when the next one comes.
        for who in 0..100_000 {
            timers.set(start, hour, who);
            timers.set(start, 2 * hour, who);
            timers.thin_out(stayed + 1, |other| {
                looked_at += 1;
                *other < stayed || *other == who
            });
            assert!(timers.count() <= EACH_MAX * (stayed + 1) + FEW, "{}", timers.count());
        }
        assert!(looked_at < 400_000, "each is looked at a few times: {looked_at}");
        let places: usize = timers.queues.iter().map(|(_, queue)| queue.capacity()).sum();
        assert!(places <= 8 * FEW, "{places}");
        let mut fired = 0;
        while timers.take_due(start + 2 * hour).is_some_and(|(_, who)| who < stayed || fired > 0) {
            fired += 1;
        }
        assert!(fired >= 2 * stayed);
    }

    #[test]
    fn what_a_spike_left_is_given_back() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut timers = Timers::default();
        (0..100_000).for_each(|number| timers.set(start, second, number));
        while timers.take_due(start + second).is_some() {}
        assert!(timers.queues[0].1.capacity() <= 4 * FEW);
    }
}
