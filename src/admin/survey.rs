//! What only a look at every peer, or at every shard of a table, can tell; at most once a second.
//!
//! Owns: these sums and how long they are good for. Must not know: who asks.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::net::view::View;

/// However often somebody asks, the peers are looked at this seldom.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Sums over all peers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Survey {
    /// Peers that dialled this relay.
    pub inbound: u64,
    /// Peers that this relay dialled.
    pub outbound: u64,
    /// Bytes that wait for slow peers.
    pub pending_bytes: u64,
    /// The most that waits for one.
    pub pending_bytes_worst: u64,
    /// Peers for which something waits.
    pub pending_peers: u64,
    /// Message ids that are remembered.
    pub dedup_entries: u64,
}

/// Makes surveys.
pub struct Surveyor {
    view: View,
    last: Mutex<Option<(Instant, Survey)>>,
}

impl Surveyor {
    /// Of this relay.
    pub fn new(view: View) -> Self {
        Surveyor { view, last: Mutex::default() }
    }

    /// The newest survey, of a second ago at most.
    pub fn survey(&self) -> Survey {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((at, survey)) if now.duration_since(at) < GOOD_FOR => survey,
            _ => last.insert((now, self.look(now))).1,
        }
    }

    fn look(&self, now: Instant) -> Survey {
        let dedup_entries = self.view.mesh().dedup.len() as u64;
        let mut survey = Survey { dedup_entries, ..Survey::default() };
        self.view.visit_peers(now, &mut |member| {
            match member.link {
                Some(_) => survey.outbound += 1,
                None => survey.inbound += 1,
            }
            let pending = member.socket.traffic.pending_bytes.get();
            survey.pending_bytes += pending;
            survey.pending_bytes_worst = survey.pending_bytes_worst.max(pending);
            survey.pending_peers += u64::from(pending > 0);
        });
        survey
    }
}
