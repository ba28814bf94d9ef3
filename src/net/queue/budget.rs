//! How much may wait for the writers, in all of their queues.
//!
//! Owns: who waits until there is room, and in which order. Must not know: what the bytes are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::net::memory::Gauge;

/// Bytes that wait for the writers, of all queues together.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    bytes_max: usize,
    /// Counts the memory of turns and large messages.
    pub(super) gauge: Arc<Gauge>,
    waiting: AtomicUsize,
    /// Held by the first of those who wait; the others line up for it.
    door: Mutex<()>,
    turnstile: Mutex<()>,
    freed: Condvar,
}

impl Budget {
    /// A budget of `bytes_max`.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Budget::counted(bytes_max, Arc::default())
    }

    /// The same; `gauge` counts what is taken until it is gone from the writers' backlogs as well.
    pub fn counted(bytes_max: usize, gauge: Arc<Gauge>) -> Arc<Self> {
        Arc::new(Budget {
            gauge,
            used: AtomicUsize::new(0),
            bytes_max,
            waiting: AtomicUsize::new(0),
            door: Mutex::new(()),
            turnstile: Mutex::new(()),
            freed: Condvar::new(),
        })
    }

    /// Takes `bytes`, waiting until they fit; a lone turn always does. Says whether it waited.
    pub(super) fn take(&self, bytes: usize) -> bool {
        // Who waits is not passed: a large turn would never find enough among small ones.
        if self.waiting.load(Ordering::SeqCst) == 0 && self.try_take(bytes) {
            return false;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _first = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        let mut turnstile = self.turnstile.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.try_take(bytes) {
            turnstile = self.freed.wait(turnstile).unwrap_or_else(PoisonError::into_inner);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        true
    }

    /// Bytes that wait now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn try_take(&self, bytes: usize) -> bool {
        let fits =
            |used: usize| (used == 0 || used + bytes <= self.bytes_max).then(|| used + bytes);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
    }

    /// What was taken is not needed any more.
    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        // Who waits has counted itself before it tried again: it is seen here, or saw these bytes.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let _turnstile = self.turnstile.lock().unwrap_or_else(PoisonError::into_inner);
            self.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests;
