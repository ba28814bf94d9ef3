//! The promise of memory: what is held for peers, and who has to go when it is too much.
//!
//! Owns: what counts as how much, and the thresholds; `gauge` beneath this file has the sums, `keeper` which thread
//! gives up its worst peer, `give_back` when the system gets freed memory back. Must not know: what is held, how a peer
//! is closed.
//!
//! Each thread adds up in a [`Gauge`] of its own what its peers hold, when that changes by more
//! than a message; the sums are looked at once a turn. Counted are: connections at
//! [`CONNECTION_BYTES`], TLS handshakes at [`HANDSHAKE_BYTES`] and what more their clients say,
//! request heads, messages being assembled (by what arrived), the writers' queues, large messages
//! and encoded batches (once each, however many backlogs share them), and in backlogs what a peer
//! alone holds, the list itself, and what a session holds as ciphertext, either way. Set aside are
//! the table of ids at its full size and what the process needs empty. Of the rest a quarter is
//! for what the allocator cannot use. The kernel's buffers of sockets are not counted: they are no
//! memory of the process.
//!
//! When the sum is over, every thread is woken and tells what its worst peer holds. A thread closes
//! its worst if no other thread's holds twice as much, and looks again, until the sum is under.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use crate::config::{BASE_BYTES, Config, DEDUP_ENTRY_BYTES, THREAD_BYTES};
pub use gauge::{Gauge, Held, counted};
pub use keeper::Keeper;

mod gauge;
pub mod give_back;
mod keeper;

/// What a connection costs that says and hears nothing, in bytes: 1.5 KiB of resident memory with
/// 100,000 of them in 6 relays as with 50,000 in 3 (`loadtest idle`), and a margin.
pub const CONNECTION_BYTES: usize = 2 * 1024;

/// And what its TLS costs besides, in bytes. Resident memory of the process (debug build, 300 peers,
/// rustls 0.23) grew by 9.4 to 9.8 KiB for an idle peer, and by 13.7 to 14.5 KiB after it had said
/// something long, as holes are left where that was; [`CONNECTION_BYTES`] included. The suite `tls`
/// measures both. What a session holds of a record that is not whole, and what it holds back for a full
/// socket, is counted beside it, while it does.
pub const SESSION_BYTES: usize = 12 * 1024;

/// What a connection costs while it shakes hands for TLS, in bytes, of which [`HELLO_BYTES`] are for
/// what the client says. Resident memory (debug build, 300 handshakes in the middle) grew by 9 KiB;
/// the suite `tls` measures it. It is more than the connection counts afterwards, so that the end of a
/// handshake fills no memory. What the client says beyond is counted beside it.
pub const HANDSHAKE_BYTES: usize = 16 * 1024;

const _: () = assert!(HANDSHAKE_BYTES >= CONNECTION_BYTES + SESSION_BYTES);

/// What a client says in a usual handshake fits into this, in bytes.
pub const HELLO_BYTES: usize = 4 * 1024;

/// Handshakes may hold this part of the memory, all together: nobody can be told to go before its
/// handshake is done, so that they must not be what fills it.
const HANDSHAKES_PART: usize = 8;

/// What a connection costs by itself, in bytes.
pub fn connection_bytes(is_secure: bool) -> usize {
    CONNECTION_BYTES + if is_secure { SESSION_BYTES } else { 0 }
}

/// A thread that allocates this much within a turn looks at the sum before the turn ends, in bytes.
pub const LOOK_BYTES: usize = 1 << 20;

/// The state of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is room.
    None,
    /// Nine tenths are in use: nobody new comes in.
    High,
    /// All is in use: the worst peers go.
    Full,
}

/// See the module's head.
#[derive(Debug)]
pub struct Memory {
    held_max: usize,
    /// That of all, then those of the threads.
    gauges: Vec<Arc<Gauge>>,
    /// That of connections that shake hands for TLS.
    handshakes: Arc<Gauge>,
    /// Counts the times the memory became full.
    shortages: AtomicU64,
    /// It is.
    is_short: AtomicBool,
    /// Wakes every thread that has peers; set when they are started.
    alarm: OnceLock<Alarm>,
}

/// Ends the sleep of all threads.
struct Alarm(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Alarm {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Alarm")
    }
}

impl Memory {
    /// The memory of a relay: one gauge for each of its threads, and one for what they share.
    pub fn new(config: &Config) -> Self {
        let threads = config.reactors + config.writers;
        let tls_workers = if config.tls.is_some() { config.tls_threads } else { 0 };
        let set_aside = BASE_BYTES
            + (threads + tls_workers) * THREAD_BYTES
            + config.dedup_entries_max.saturating_mul(DEDUP_ENTRY_BYTES);
        // However small, it is enough for a few connections.
        let free = config.memory_max.saturating_sub(set_aside).max(config.memory_max / 8);
        Memory {
            held_max: free / 4 * 3,
            gauges: (0..=threads).map(|_| Arc::default()).collect(),
            handshakes: Arc::default(),
            shortages: AtomicU64::new(0),
            is_short: AtomicBool::new(false),
            alarm: OnceLock::new(),
        }
    }

    /// The gauge of a reactor.
    pub fn of_reactor(&self, index: usize) -> Arc<Gauge> {
        self.gauges[1 + index].clone()
    }

    /// The gauge of a writer; there are so many reactors.
    pub fn of_writer(&self, index: usize, reactors: usize) -> Arc<Gauge> {
        self.gauges[1 + reactors + index].clone()
    }

    /// The gauge of what goes from thread to thread.
    pub fn of_all(&self) -> Arc<Gauge> {
        self.gauges[0].clone()
    }

    /// The gauge of those that shake hands.
    pub fn of_handshakes(&self) -> &Arc<Gauge> {
        &self.handshakes
    }

    /// How many may shake hands, if they say no more than others.
    pub fn handshakes_max(&self) -> usize {
        self.held_max / HANDSHAKES_PART / HANDSHAKE_BYTES + 1
    }

    /// Whether those that shake hands hold no more than their part, and others leave room.
    pub fn has_room_for_handshakes(&self) -> bool {
        self.handshakes.held() <= self.held_max / HANDSHAKES_PART
            && self.pressure() < Pressure::High
    }

    /// Sets what wakes all threads.
    pub fn set_alarm(&self, wake_all: impl Fn() + Send + Sync + 'static) {
        // It is set once, when the threads are started.
        let _again = self.alarm.set(Alarm(Box::new(wake_all)));
    }

    /// What is held by all, in bytes.
    pub fn held(&self) -> usize {
        let threads: usize = self.gauges.iter().map(|gauge| gauge.held()).sum();
        threads + self.handshakes.held()
    }

    /// How much may be held, in bytes.
    pub fn held_max(&self) -> usize {
        self.held_max
    }

    /// Whether there is room.
    pub fn pressure(&self) -> Pressure {
        match self.held() {
            held if held >= self.held_max => Pressure::Full,
            held if held >= self.held_max / 10 * 9 => Pressure::High,
            _ => Pressure::None,
        }
    }
}

#[cfg(test)]
mod tests;
