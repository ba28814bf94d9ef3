//! Deadlines. The only sleeps of the suite are the pauses between two probes.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything that should happen at once may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(10);

/// Probes until there is a result, at most [`SOON`].
pub fn until<T>(what: impl Display, probe: impl FnMut() -> Option<T>) -> T {
    until_within(SOON, what, probe)
}

pub fn until_within<T>(limit: Duration, what: impl Display, probe: impl FnMut() -> Option<T>) -> T {
    poll(limit, probe).unwrap_or_else(|| panic!("waited {limit:?} for {what}"))
}

/// Probes until there is a result; `None` if there is none in time.
pub fn poll<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let found = probe();
        if found.is_some() || start.elapsed() > limit {
            return found;
        }
        thread::sleep(PAUSE);
    }
}
