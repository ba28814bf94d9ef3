//! Bounds on waiting.

use std::time::{Duration, Instant};

/// Far beyond what any step takes, on a slow machine too: it tells a hang, not a speed.
const PATIENCE: Duration = Duration::from_secs(90);

/// A moment by which something must have happened.
pub struct Deadline {
    until: Instant,
    awaited: String,
}

impl Deadline {
    /// A deadline for what `awaited` says.
    pub fn new(awaited: impl Into<String>) -> Deadline {
        Deadline { until: Instant::now() + PATIENCE, awaited: awaited.into() }
    }

    /// Fails when it has passed; `found` says how far things got.
    pub fn check(&self, found: impl FnOnce() -> String) {
        assert!(Instant::now() < self.until, "waited in vain for {}: {}", self.awaited, found());
    }
}
