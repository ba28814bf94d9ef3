//! What all reactors of a relay share.
//!
//! Owns: the counts they keep together, the gate in force, and the ids of peers. Must not know: what a reactor does.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rand::RngExt;

use crate::config::{self, Config};
use crate::dam::mesh::Mesh;
use crate::dam::peer::PeerId;
use crate::net::accept::Pauses;
use crate::net::admission::Admission;
use crate::net::placement::Placement;

/// What all reactors share.
pub struct Shared {
    /// Limits and times at the start.
    pub config: Arc<Config>,
    /// The mesh.
    pub mesh: Arc<Mesh>,
    /// It stops, or hands over to another process: no new peers should be sent here.
    pub is_draining: AtomicBool,
    /// Acceptors that pause, as the system gives nothing for connections.
    pub accept_pauses: Pauses,
    /// Who may come in, as it is now; each reactor has it as well.
    admission: Mutex<Arc<Admission>>,
    /// When the relay was started.
    pub started: Instant,
    /// Connections open now.
    pub open: AtomicUsize,
    /// Those of them that this relay dialled.
    pub links: AtomicUsize,
    /// Connections that shake hands for TLS now.
    pub handshakes: Arc<AtomicUsize>,
    /// Peers so far, for their ids.
    pub sequence: AtomicU64,
    /// Which writer a new peer gets.
    pub placement: Arc<Placement>,
}

/// A connection that is counted as open while it is no reactor's.
pub struct Opened(Arc<Shared>);

impl Opened {
    /// One more.
    pub fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        Opened(shared.clone())
    }

    /// One that was counted already.
    pub fn take_over(shared: &Arc<Shared>) -> Self {
        Opened(shared.clone())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// What the reactors of a relay share that starts now.
    pub fn new(config: Arc<Config>) -> Self {
        let mut secret = [0; 192];
        rand::rng().fill(&mut secret);
        Shared {
            mesh: Arc::new(Mesh::new(config.dedup_entries_max, secret, rand::random())),
            is_draining: AtomicBool::new(false),
            accept_pauses: Pauses::default(),
            admission: Mutex::new(Arc::new(Admission::new(&config.admission, Instant::now()))),
            started: Instant::now(),
            open: AtomicUsize::new(0),
            links: AtomicUsize::new(0),
            handshakes: Arc::default(),
            sequence: AtomicU64::new(0),
            placement: Arc::new(Placement::new(config.writers, config.peers_per_writer)),
            config,
        }
    }

    /// Who may come in, from now on.
    pub fn admission(&self) -> Arc<Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes who may come in. Reactors have to be told.
    pub fn admit_by(&self, rules: &config::Admission) {
        let mut admission = self.admission.lock().unwrap_or_else(PoisonError::into_inner);
        *admission = Arc::new(admission.with_rules(rules));
    }

    /// An id for a new peer, which names its writer.
    pub fn next_peer(&self) -> PeerId {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        PeerId::new(sequence, self.placement.enter() as u8)
    }
}
