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

/// Waits until `probe` gives the same for as long as `rest`, which has to happen within `limit`.
pub fn until_at_rest<T: PartialEq + std::fmt::Debug>(
    rest: Duration,
    limit: Duration,
    what: impl Display,
    mut probe: impl FnMut() -> T,
) {
    let start = Instant::now();
    let (mut last, mut since) = (probe(), Instant::now());
    while since.elapsed() < rest {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what} to rest, now at {last:?}");
        thread::sleep(PAUSE);
        let now = probe();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}
