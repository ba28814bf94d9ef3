//! A thread's part in keeping the promise of memory.
//!
//! Owns: when a thread looks, and whether its worst peer is to go. Must not know: what is held, how a peer is closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Gauge, Memory, Pressure};
use crate::net::log_throttle::LogThrottle;

/// How soon a thread looks again while the memory is full.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long a thread waits for the others to tell what their worst peers hold: one that waits for
/// room in a queue tells nothing.
pub(super) const TELL_TIMEOUT: Duration = Duration::from_millis(200);

/// A peer that holds less is never closed for it, in bytes.
pub(super) const EVICTED_BYTES_MIN: usize = 4 * 1024;

/// See the module's head.
#[derive(Debug)]
pub struct Keeper {
    memory: Arc<Memory>,
    gauge: Arc<Gauge>,
    /// Since when the memory is full, as far as this thread has seen.
    full_since: Option<Instant>,
    log: LogThrottle<()>,
}

impl Keeper {
    /// The keeper of the thread whose peers `gauge` counts.
    pub fn new(memory: Arc<Memory>, gauge: Arc<Gauge>) -> Self {
        Keeper { memory, gauge, full_since: None, log: LogThrottle::default() }
    }

    /// This thread's gauge.
    pub fn gauge(&self) -> &Arc<Gauge> {
        &self.gauge
    }

    /// The memory of all.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The memory was full when this thread last looked.
    pub fn is_full(&self) -> bool {
        self.full_since.is_some()
    }

    /// When this thread is to look again without anything else to do.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.full_since.map(|_| now + LOOK_INTERVAL)
    }

    /// Looks at the sum. Says whether it is full, so that [`is_to_go`](Self::is_to_go) is to be
    /// asked.
    pub fn look(&mut self, now: Instant) -> bool {
        let memory = &self.memory;
        if memory.pressure() < Pressure::Full {
            if self.full_since.take().is_some() {
                memory.is_short.store(false, Ordering::Relaxed);
            }
            return false;
        }
        self.full_since.get_or_insert(now);
        if !memory.is_short.swap(true, Ordering::Relaxed) {
            memory.shortages.fetch_add(1, Ordering::Relaxed);
            if let Some(alarm) = memory.alarm.get() {
                (alarm.0)();
            }
        }
        true
    }

    /// Tells all what the worst peer of this thread holds. Says whether it is to go: everybody has
    /// told, and no other thread has one that holds twice as much.
    pub fn is_to_go(&self, worst_bytes: usize, now: Instant) -> bool {
        let shortage = self.memory.shortages.load(Ordering::Relaxed);
        self.gauge.worst.store(worst_bytes, Ordering::Relaxed);
        self.gauge.told.store(shortage, Ordering::Relaxed);
        let threads = &self.memory.gauges[1..];
        let all_told = threads.iter().all(|one| one.told.load(Ordering::Relaxed) == shortage);
        let waited = self.full_since.map_or(Duration::ZERO, |since| now - since);
        let worst = threads.iter().map(|one| one.worst.load(Ordering::Relaxed)).max();
        (all_told || waited >= TELL_TIMEOUT)
            && worst_bytes >= worst.unwrap_or(0).div_ceil(2).max(EVICTED_BYTES_MIN)
    }

    /// Notes that a peer was closed for what it held.
    pub fn note(&mut self, address: Option<SocketAddr>, bytes: usize, now: Instant) {
        let Some(due) = self.log.note((), now) else { return };
        let count = due.count();
        tracing::warn!(
            ?address,
            "memory is full (--memory-max): closed {count} peers that held the most, this one {bytes} bytes"
        );
    }
}
