//! Whether new peers should come here: one flag that the process sets and `/readyz` tells.
//!
//! Owns: the flag. Must not know: who asks, and what makes it change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by all who set or ask. A process starts as not ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// New peers are welcome, or not.
    pub fn set(&self, is_ready: bool) {
        self.0.store(is_ready, Ordering::Release);
    }

    /// Whether they are.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
