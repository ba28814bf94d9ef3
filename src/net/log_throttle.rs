//! Log lines about what may happen to every connection: the first of a kind at once, then few.
//!
//! Owns: when such a line is due, and that of the world's faults. Must not know: whom it is about.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// Between two log lines of the same kind.
const LOG_GAP: Duration = Duration::from_secs(10);

/// When lines of each kind were written, and how often they were due since. A thread's own.
#[derive(Debug)]
pub struct LogThrottle<K>(Vec<(K, Instant, u64)>);

impl<K> Default for LogThrottle<K> {
    fn default() -> Self {
        LogThrottle(Vec::new())
    }
}

/// What a line is about. Its display follows what it says of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The first of its kind.
    First,
    /// So many in so many seconds, this one included.
    Since(u64, u64),
}

impl Due {
    /// How many the line is about.
    pub fn count(self) -> u64 {
        match self {
            Due::First => 1,
            Due::Since(count, _) => count,
        }
    }
}

impl fmt::Display for Due {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Due::First => Ok(()),
            Due::Since(count, seconds) => write!(out, ", {count} in {seconds} s"),
        }
    }
}

impl<K: PartialEq> LogThrottle<K> {
    /// Something of this kind happened. Says whether a line is due.
    pub fn note(&mut self, kind: K, now: Instant) -> Option<Due> {
        let Some((_, last, more)) = self.0.iter_mut().find(|(known, ..)| *known == kind) else {
            self.0.push((kind, now, 0));
            return Some(Due::First);
        };
        *more += 1;
        let time = now.duration_since(*last);
        if time < LOG_GAP {
            return None;
        }
        *last = now;
        Some(Due::Since(std::mem::take(more), time.as_secs()))
    }
}

/// The log lines of a thread about connections that the operating system failed.
#[derive(Debug, Default)]
pub struct FaultLog(LogThrottle<&'static str>);

impl FaultLog {
    /// Notes what could not be done, and why.
    pub fn note(&mut self, what: &'static str, error: &io::Error, now: Instant) {
        if let Some(due) = self.0.note(what, now) {
            tracing::warn!(%error, "{what}{due}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_told_at_once_and_then_one_line_tells_of_many() {
        let (mut throttle, start) = (LogThrottle::default(), Instant::now());
        assert_eq!(throttle.note("a", start), Some(Due::First));
        for number in 0..1000 {
            assert_eq!(throttle.note("a", start + Duration::from_millis(number)), None);
        }
        assert_eq!(throttle.note("b", start), Some(Due::First));
        let due = throttle.note("a", start + LOG_GAP).expect("it is time");
        assert_eq!(due, Due::Since(1001, 10));
        assert_eq!(format!("it failed{due}"), "it failed, 1001 in 10 s");
        assert_eq!(throttle.note("a", start + LOG_GAP), None);
    }
}
