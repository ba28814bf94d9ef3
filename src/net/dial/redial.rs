//! The rhythm of redialling: decides, and never waits itself.
//!
//! Owns: how long a pause is, and when there is none any more. Must not know: sockets, clocks, randomness.

use std::time::Duration;

use super::LinkEnd;

/// The longest pause, for a host that keeps failing; the pause doubles up to here.
const REDIAL_MAX: Duration = Duration::from_secs(30);
/// Each pause is stretched or shortened by up to this share, so that relays do not redial a host in step.
const REDIAL_JITTER: f64 = 0.1;
/// A link that lived longer than this was a good one: the next pause is the first again.
pub(super) const LINK_GOOD: Duration = Duration::from_secs(30);

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// No link came about.
    Failed,
    /// A link came about and is gone.
    Closed { end: LinkEnd, lived: Duration },
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Dial after a pause.
    Wait(Duration),
    /// Dial when the twin is gone.
    StandBy,
    /// Never dial again.
    End,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Redial {
    first: Duration,
    pause: Duration,
}

impl Redial {
    /// A rhythm that begins with this pause.
    pub(super) fn new(first: Duration) -> Redial {
        Redial { first, pause: first }
    }

    /// What follows an attempt. `roll`, from -1 to 1, is the jitter.
    #[doc(alias = "reconnect")]
    pub(super) fn next(&mut self, outcome: Outcome, roll: f64) -> Step {
        match outcome {
            Outcome::Closed { end: LinkEnd::Myself, .. } => return Step::End,
            Outcome::Closed { end: LinkEnd::Twin, .. } => {
                self.pause = self.first;
                return Step::StandBy;
            }
            Outcome::Closed { end: LinkEnd::Lost, lived } if lived > LINK_GOOD => {
                self.pause = self.first
            }
            Outcome::Closed { .. } | Outcome::Failed => {}
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(REDIAL_MAX);
        Step::Wait(pause.mul_f64(1.0 + REDIAL_JITTER * roll))
    }
}
