//! What an event loop tells about itself, in two relaxed stores a turn: whether it sleeps, and how
//! long it was busy.
//!
//! An idle loop sleeps in its poll without a timer and cannot tick. So a loop says when it wakes and
//! when it goes to sleep: one that has been awake for long is stuck.
//!
//! Owns: those figures. Must not know: polls, what a loop does.

use std::time::{Duration, Instant};

use super::Tally;

/// What a loop stores for being asleep.
const ASLEEP: u64 = 0;

/// The figures of one event loop.
#[derive(Debug)]
pub struct Loop {
    /// The name of its thread.
    pub name: String,
    started: Instant,
    /// When it woke, in milliseconds from `started`, plus one.
    awake_ms: Tally,
    busy_ns: Tally,
    turns: Tally,
}

impl Loop {
    pub(super) fn new(name: String) -> Self {
        Loop {
            name,
            started: Instant::now(),
            awake_ms: Tally::default(),
            busy_ns: Tally::default(),
            turns: Tally::default(),
        }
    }

    /// The loop's poll returned.
    pub fn wake(&self, now: Instant) {
        let since = now.saturating_duration_since(self.started);
        self.awake_ms.set(since.as_secs() * 1000 + u64::from(since.subsec_millis()) + 1);
    }

    /// The loop is about to poll. It woke at `woke`.
    pub fn sleep(&self, woke: Instant, now: Instant) {
        self.busy_ns.add(now.saturating_duration_since(woke).as_nanos() as u64);
        self.turns.add(1);
        self.awake_ms.set(ASLEEP);
    }

    /// How long it has been awake in the turn it is in; `None` while it sleeps.
    pub fn awake_for(&self, now: Instant) -> Option<Duration> {
        let since_ms = match self.awake_ms.get() {
            ASLEEP => return None,
            since => since - 1,
        };
        let woke = self.started + Duration::from_millis(since_ms);
        Some(now.saturating_duration_since(woke))
    }

    /// Time spent outside of its poll, waiting for room in a queue included.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_ns.get())
    }

    /// Turns it has made.
    pub fn turns(&self) -> u64 {
        self.turns.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_stuck_while_awake_and_never_asleep() {
        let figures = Loop::new("reactor-0".to_owned());
        let woke = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(figures.awake_for(woke + 100 * second), None, "it never woke");
        figures.wake(woke);
        let awake = figures.awake_for(woke + 20 * second).expect("it is awake");
        assert!(
            (20 * second..20 * second + Duration::from_millis(2)).contains(&awake),
            "{awake:?}"
        );
        figures.sleep(woke, woke + 3 * second);
        assert_eq!(figures.awake_for(woke + 100 * second), None, "it sleeps");
        assert_eq!((figures.busy(), figures.turns()), (3 * second, 1));
    }
}
