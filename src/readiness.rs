//! Whether the relay should be sent new peers: what a load balancer asks.
//!
//! Owns: the reasons why not, which any thread may set and take back. Must not know: who sets them,
//! who asks.

use std::sync::atomic::{AtomicU32, Ordering};

/// Why no new peers should be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The relay stops, or hands over to another.
    Draining,
}

impl Reason {
    /// Every reason.
    pub const ALL: &[Reason] = &[Reason::Draining];

    /// What an operator is told.
    pub fn text(self) -> &'static str {
        match self {
            Reason::Draining => "draining: the relay stops and closes its peers",
        }
    }

    fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// The reasons in force.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU32);

impl Readiness {
    /// Sets a reason, or takes it back.
    pub fn set(&self, reason: Reason, holds: bool) {
        match holds {
            true => self.0.fetch_or(reason.bit(), Ordering::Relaxed),
            false => self.0.fetch_and(!reason.bit(), Ordering::Relaxed),
        };
    }

    /// This reason is in force.
    pub fn holds(&self, reason: Reason) -> bool {
        self.0.load(Ordering::Relaxed) & reason.bit() != 0
    }

    /// The reasons in force; none: ready.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> {
        let bits = self.0.load(Ordering::Relaxed);
        Reason::ALL.iter().copied().filter(move |reason| bits & reason.bit() != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_hold_until_they_are_taken_back() {
        let readiness = Readiness::default();
        let reasons = || readiness.reasons().collect::<Vec<_>>();
        assert_eq!(reasons(), []);
        readiness.set(Reason::Draining, true);
        readiness.set(Reason::Draining, true);
        assert_eq!(reasons(), [Reason::Draining]);
        assert!(readiness.holds(Reason::Draining));
        readiness.set(Reason::Draining, false);
        assert!(!readiness.holds(Reason::Draining) && reasons().is_empty());
    }
}
