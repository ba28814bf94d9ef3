//! Time of a run: nanoseconds since one moment that all threads share, and a bell that rings then.
//!
//! Owns: the clock, the timer finer than a millisecond, the CPU time of a thread. Must not know what
//! the time is used for.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Registry, Token};

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// Time since one moment; the same moment for all copies of a clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    start_unix_ms: f64,
}

impl Clock {
    /// A clock that starts now.
    pub fn new() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), start_unix_ms: unix.as_secs_f64() * 1e3 }
    }

    /// Nanoseconds since the start.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// The wall clock at a moment of this one, in microseconds since 1970: Gun's states count so.
    pub fn unix_us(&self, at_ns: u64) -> u64 {
        (self.start_unix_ms * 1e3) as u64 + at_ns / 1000
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

/// Seconds since 1970.
pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Seconds as nanoseconds.
pub fn seconds_ns(seconds: f64) -> u64 {
    (seconds * SECOND_NS as f64) as u64
}

/// Rings in a poll at a moment, as exactly as the system can.
#[derive(Debug)]
pub struct Alarm {
    #[cfg(target_os = "linux")]
    timer: std::os::fd::OwnedFd,
}

#[cfg(target_os = "linux")]
impl Alarm {
    /// An alarm that wakes the poll of `registry` under `token`.
    ///
    /// # Errors
    /// The process may not have more files.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        use mio::event::Source;
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        use std::os::fd::AsRawFd;

        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let fd = timer.as_raw_fd();
        mio::unix::SourceFd(&fd).register(registry, token, mio::Interest::READABLE)?;
        Ok(Alarm { timer })
    }

    /// Rings once after `wait`. Returns the longest time a poll may sleep; `None`: until it rings.
    pub fn set(&self, wait: Duration) -> Option<Duration> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let wait = wait.max(Duration::from_nanos(1));
        let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let spec = Itimerspec { it_interval: zero, it_value: value };
        match timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec) {
            Ok(_) => None,
            Err(_) => Some(wait),
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    /// Nothing to make: the poll's own timeout, a millisecond fine, is used.
    pub fn new(_: &Registry, _: Token) -> io::Result<Self> {
        Ok(Alarm {})
    }

    /// The longest time a poll may sleep.
    pub fn set(&self, wait: Duration) -> Option<Duration> {
        Some(wait)
    }
}

/// CPU time of the calling thread so far, in nanoseconds; `None` where it cannot be told.
#[cfg(target_os = "linux")]
pub fn thread_cpu_ns() -> Option<u64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Some(time.tv_sec as u64 * SECOND_NS + time.tv_nsec as u64)
}

/// CPU time of the calling thread so far, in nanoseconds; `None` where it cannot be told.
#[cfg(not(target_os = "linux"))]
pub fn thread_cpu_ns() -> Option<u64> {
    None
}

/// Time the calling thread was ready and had no core, in nanoseconds; `None` where it cannot be told.
pub fn thread_wait_ns() -> Option<u64> {
    // Linux: time on a core, time waiting for one, times it got one.
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}
