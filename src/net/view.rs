//! What may be seen of a running relay from outside, without touching what its threads do.
//!
//! Owns: which figures there are beyond counters. Must not know: who asks, how it is shown.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::conn::Link;
use super::memory::{Memory, Pressure};
use super::queue::{Budget, Turn};
use super::reactor::shared::Shared;
use super::roster::{Left, Member, Roster};
use crate::config::Config;
use crate::dam::mesh::Mesh;
use crate::metrics::Metrics;

/// A thread that has been awake for longer than this in one turn is stuck. A reactor waits for a
/// full queue, but writers never wait, so that this is far beyond what a busy relay needs.
pub const STUCK_TIME: Duration = Duration::from_secs(15);

/// See the module's head.
#[derive(Clone)]
pub struct View {
    pub(super) shared: Arc<Shared>,
    pub(super) config: Arc<Mutex<Arc<Config>>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) budget: Arc<Budget>,
    pub(super) memory: Arc<Memory>,
    pub(super) rosters: Vec<Arc<Roster>>,
    pub(super) links: Vec<Arc<Link>>,
    /// Of each writer.
    pub(super) queues: Vec<Depth>,
}

/// How many turns wait in a queue, which nobody takes from here.
#[derive(Clone)]
pub struct Depth(Receiver<Arc<Turn>>);

impl Depth {
    /// Of this queue.
    pub fn of(queue: &Receiver<Arc<Turn>>) -> Depth {
        Depth(queue.clone())
    }

    /// Turns that wait now, also when their writer is stuck.
    pub fn turns(&self) -> usize {
        self.0.len()
    }
}

impl View {
    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The limits and times in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who is connected and what was heard, as the mesh knows it.
    pub fn mesh(&self) -> &Mesh {
        &self.shared.mesh
    }

    /// Time since the start.
    pub fn uptime(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// Connections open now, of any kind.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Connections that shake hands for TLS now.
    pub fn open_handshakes(&self) -> usize {
        self.shared.handshakes.load(Ordering::Relaxed)
    }

    /// Bytes that wait for the writers.
    pub fn queued_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Turns of readers that wait for each writer.
    pub fn queued_turns(&self) -> Vec<usize> {
        self.queues.iter().map(Depth::turns).collect()
    }

    /// What is held for peers, and how much may be.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The configured peers.
    pub fn links(&self) -> &[Arc<Link>] {
        &self.links
    }

    /// Shows every connected peer to `visit`.
    pub fn visit_peers(&self, now: Instant, visit: &mut dyn FnMut(&Member)) {
        self.rosters.iter().for_each(|roster| roster.visit(now, visit));
    }

    /// The last peers that left, the newest first.
    pub fn left_peers(&self) -> Vec<Left> {
        let mut left: Vec<_> = self.rosters.iter().flat_map(|roster| roster.left()).collect();
        left.sort_by_key(|left| std::cmp::Reverse(left.at));
        left
    }

    /// The threads that are stuck, and for how long; none: all is well.
    pub fn stuck_threads(&self) -> Vec<(String, Duration)> {
        self.threads_awake_for(STUCK_TIME)
    }

    /// The threads that have been in one turn for so long.
    pub(super) fn threads_awake_for(&self, limit: Duration) -> Vec<(String, Duration)> {
        let now = Instant::now();
        let stuck = |awake: &Duration| *awake >= limit;
        let loops = self.metrics.loops().into_iter();
        loops
            .filter_map(|one| Some((one.name.clone(), one.awake_for(now).filter(stuck)?)))
            .collect()
    }

    /// Why no new peers should be sent here; nothing: the relay is ready.
    pub fn unready_reasons(&self) -> Vec<String> {
        let (open, max) = (self.open_connections(), self.config().connections_max);
        let mut reasons = Vec::new();
        if self.shared.is_draining.load(Ordering::Relaxed) {
            reasons.push("draining: the relay stops and closes its peers".to_owned());
        }
        if self.shared.accept_pauses.load(Ordering::Relaxed) > 0 {
            let text = "accepting paused: the system gives no more files, or no memory, for connections; the log has its error";
            reasons.push(text.to_owned());
        }
        if open >= max {
            reasons.push(format!("full: {open} connections are open, --connections-max is {max}"));
        }
        if self.memory.pressure() >= Pressure::High {
            let (held, max) = (self.memory.held() >> 20, self.memory.held_max() >> 20);
            reasons.push(format!(
                "memory: peers hold {held} MiB of the {max} MiB that --memory-max leaves for them; new ones are turned away from nine tenths on"
            ));
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token, Waker};

    use super::*;
    use crate::net::placement::Placement;
    use crate::net::queue::{Outbound, Outbox, lane};

    #[test]
    fn turns_are_seen_though_their_writer_does_nothing() {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let (lane, queue, _bell) = lane(8, waker);
        let depth = Depth::of(&queue);
        let counters = Metrics::default().for_thread();
        let placement = Arc::new(Placement::new(1, 1));
        let mut outbox = Outbox::new(vec![lane], placement, Budget::new(1 << 20), counters);
        for waiting in 1..=3 {
            outbox.push_to_all(Outbound::DrainLinks);
            outbox.flush();
            assert_eq!(depth.turns(), waiting);
        }
        drop(queue.recv());
        assert_eq!(depth.turns(), 2);
        drop(outbox);
        drop((queue.recv(), queue.recv()));
        assert!(queue.recv().is_err(), "who looks keeps no queue open");
    }
}
