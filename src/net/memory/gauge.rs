//! What is held, added up.
//!
//! Owns: sums, and what adds to them as long as it lives. Must not know: limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;

/// What one thread's peers hold, in bytes.
#[derive(Debug, Default)]
pub struct Gauge {
    held: AtomicUsize,
    /// What the worst of its peers holds, as it told last.
    pub(super) worst: AtomicUsize,
    /// In which shortage it told that.
    pub(super) told: AtomicU64,
}

impl Gauge {
    /// So much more is held.
    pub fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much less.
    pub fn sub(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What is held.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Bytes that are counted as long as this lives.
#[derive(Debug)]
pub struct Held {
    gauge: Arc<Gauge>,
    bytes: usize,
}

impl Held {
    /// Counts `bytes`.
    pub fn new(gauge: &Arc<Gauge>, bytes: usize) -> Self {
        gauge.add(bytes);
        Held { gauge: gauge.clone(), bytes }
    }

    /// Counts `bytes` more.
    pub fn grow(&mut self, bytes: usize) {
        self.gauge.add(bytes);
        self.bytes += bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.sub(self.bytes);
    }
}

/// Memory that is counted until the last slice of it is gone.
struct Counted<T> {
    memory: T,
    _held: Held,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Counted<T> {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_ref()
    }
}

/// What an allocation and its reference count cost besides, in bytes.
pub(super) const ALLOCATION_BYTES: usize = 96;

/// Shares `memory`, of `capacity` bytes, and counts it once for all who will share it.
pub fn counted<T>(memory: T, capacity: usize, gauge: &Arc<Gauge>) -> Bytes
where
    T: AsRef<[u8]> + Send + 'static,
{
    let held = Held::new(gauge, capacity + ALLOCATION_BYTES);
    Bytes::from_owner(Counted { memory, _held: held })
}
