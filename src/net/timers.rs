//! Timers of a few fixed lengths: one first-in-first-out queue each, so that adding and expiring
//! cost no search however many peers there are.
//!
//! Owns: when what is due. Must not know: what it means.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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
        queue.pop_front()
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
}
