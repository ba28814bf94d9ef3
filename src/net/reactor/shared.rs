//! What all reactors of a relay share.
//!
//! Owns: the counts they keep together, and the ids of peers. Must not know: what a reactor does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::config::Config;
use crate::dam::mesh::Mesh;
use crate::dam::peer::PeerId;
use crate::net::admission::Admission;
use crate::net::placement::Placement;
use crate::readiness::Readiness;

/// What all reactors share.
pub struct Shared {
    /// Limits and times at the start.
    pub config: Arc<Config>,
    /// The mesh.
    pub mesh: Arc<Mesh>,
    /// Whether it is to be sent new peers.
    pub readiness: Readiness,
    /// Who may come in.
    pub admission: Admission,
    /// When the relay was started.
    pub started: Instant,
    /// Connections open now.
    pub open: AtomicUsize,
    /// Those of them that this relay dialled.
    pub links: AtomicUsize,
    /// Peers so far, for their ids.
    pub sequence: AtomicU64,
    /// Which writer a new peer gets.
    pub placement: Placement,
}

impl Shared {
    /// An id for a new peer, which names its writer.
    pub fn next_peer(&self) -> PeerId {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        PeerId::new(sequence, self.placement.enter() as u8)
    }
}
