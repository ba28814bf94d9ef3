//! What the relay counts.
//!
//! Each thread adds to counters of its own, without a locked instruction; readers sum them up.
//! [`loops`]: what an event loop tells about itself. [`batches`]: how large the writers' batches are
//! and how long messages take.
//! Owns: the list of counters and their meaning. Must not know who counts or who asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use batches::{Batches, Delays};
use loops::Loop;

pub mod batches;
pub mod loops;

/// A number that one thread changes and any thread may read.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Adds `n`. Only the thread that owns the number may.
    pub fn add(&self, n: u64) {
        self.set(self.get() + n);
    }

    /// Likewise.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[doc = $doc])+ $variant,)+ }

        impl Counter {
            /// Every counter.
            pub const ALL: &[Counter] = &[$(Counter::$variant,)+];

            /// Its name in reports.
            pub fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)+ }
            }

            /// What it counts, in a sentence.
            pub fn help(self) -> &'static str {
                match self { $(Counter::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

counters! {
    /// TCP connections accepted.
    Accepted = "accepted",
    /// Connections that became inbound peers.
    Joined = "joined",
    /// Outbound links that came up.
    LinksUp = "links_up",
    /// Connections that ended, of any kind.
    Closed = "closed",
    /// Connections turned away because `--connections-max` were open.
    RejectedFull = "rejected_full",
    /// Connections turned away because all together came faster than `--accepts-per-second`.
    RejectedPace = "rejected_pace",
    /// Connections turned away because their address had `--address-connections-max`.
    RejectedAddressFull = "rejected_address_full",
    /// Connections turned away because their address came faster than `--address-accepts-per-second`.
    RejectedAddressPace = "rejected_address_pace",
    /// Connections turned away because nine tenths of `--memory-max` were in use.
    RejectedMemory = "rejected_memory",
    /// Requests for a WebSocket turned away because of `--origins`.
    RejectedOrigin = "rejected_origin",
    /// Requests for a WebSocket turned away because the token was missing or wrong.
    RejectedToken = "rejected_token",
    /// Connections of a trusted proxy turned away because they began with no PROXY header.
    RejectedProxyHeader = "rejected_proxy_header",
    /// Requests for files turned away because as many were being answered as may be.
    RejectedWww = "rejected_www",
    /// Requests for files turned away because as many of their address were being answered as may be.
    RejectedAddressWww = "rejected_address_www",
    /// Answers with a file that were begun and not finished, or could not be begun.
    WwwFailures = "www_failures",
    /// Times a peer was not read for a while because it went over its rates.
    ReadPauses = "read_pauses",
    /// Requests that were no acceptable HTTP.
    RejectedHead = "rejected_head",
    /// Plain HTTP requests answered.
    HttpAnswered = "http_answered",
    /// Connections that did not finish their request in time.
    HandshakeTimeouts = "closed_handshake",
    /// TLS handshakes that were finished.
    TlsHandshakes = "tls_handshakes",
    /// TLS handshakes that failed: garbage, no common version, or a peer that left half-way.
    TlsHandshakeFailures = "tls_handshake_failures",
    /// Connections turned away because `--tls-handshakes-max` were shaking hands, or those held an eighth of what peers may.
    RejectedTlsFull = "rejected_tls_full",
    /// Plain HTTP requests at a port that speaks TLS.
    PlainOnTls = "plain_on_tls",
    /// Certificates and keys that took the place of others.
    TlsReloads = "tls_reloads",
    /// Certificates and keys that could not be used, so that the old ones stayed.
    TlsReloadFailures = "tls_reload_failures",
    /// Times accepting paused for want of file descriptors or memory.
    AcceptPauses = "accept_pauses",
    /// Bytes read from sockets; under TLS of plaintext.
    BytesIn = "bytes_in",
    /// Bytes read from peers.
    PeerBytesIn = "peer_bytes_in",
    /// Bytes read before there was a peer: requests, whole ones and others.
    HttpBytesIn = "http_bytes_in",
    /// Bytes of the texts of frames read, without the frames around them; under TLS of plaintext.
    TextBytesIn = "text_bytes_in",
    /// Text frames read.
    FramesIn = "frames_in",
    /// Binary frames read and ignored.
    BinaryIn = "binary_in",
    /// Pings read and answered.
    PingsIn = "pings_in",
    /// Pongs read.
    PongsIn = "pongs_in",
    /// Close frames read.
    ClosesIn = "closes_in",
    /// Messages heard, dropped ones included.
    MessagesIn = "messages_in",
    /// Messages passed on to everybody else.
    Broadcast = "broadcast",
    /// Of them, messages with data.
    BroadcastPuts = "broadcast_puts",
    /// Of them, messages that ask and have no data.
    BroadcastGets = "broadcast_gets",
    /// Of them, messages with neither.
    BroadcastOthers = "broadcast_others",
    /// Answers passed on to the peer that asked.
    Routed = "routed",
    /// Control messages and errors the relay said itself.
    Replied = "replied",
    /// Dropped: the id was heard before.
    DroppedDuplicateId = "dropped_duplicate_id",
    /// Dropped: the same content answered the same question before.
    DroppedDuplicateHash = "dropped_duplicate_hash",
    /// Dropped: an answer to something unknown or forgotten, or to a peer that is gone.
    DroppedLostAck = "dropped_lost_ack",
    /// Dropped: "not found" after others had data.
    DroppedNotFound = "dropped_not_found",
    /// Dropped: the asker has this content already.
    DroppedSameHash = "dropped_same_hash",
    /// Dropped: an answer to the peer it came from.
    DroppedEcho = "dropped_echo",
    /// Dropped: the asker is in the answer's `><`.
    DroppedSkipped = "dropped_skipped",
    /// Control messages handled.
    ControlIn = "control_in",
    /// Errors that peers reported (`dam: "!"`).
    ErrorReportsIn = "error_reports_in",
    /// Verbs ignored because no stranger may have the relay obey them, or unknown ones.
    UnknownVerbs = "unknown_verbs",
    /// Frames refused because they were too big.
    RefusedTooBig = "refused_too_big",
    /// Frames refused because they were not JSON.
    RefusedBroken = "refused_broken",
    /// Frames refused because they were nested too deep.
    RefusedTooDeep = "refused_too_deep",
    /// Empty frames, heartbeats and whatever else holds no message.
    Ignored = "ignored",
    /// Times a reactor waited because a writer's queue was full.
    QueueWaits = "queue_waits",
    /// Message copies handed to peers' queues.
    CopiesOut = "copies_out",
    /// Frames of messages handed to peers' queues.
    FramesOut = "frames_out",
    /// Heartbeats (empty batches) handed to peers' queues.
    HeartbeatsOut = "heartbeats_out",
    /// Pings handed to peers' queues.
    PingsOut = "pings_out",
    /// Pongs handed to peers' queues.
    PongsOut = "pongs_out",
    /// Close frames handed to peers' queues.
    ClosesOut = "closes_out",
    /// Bytes of frames of messages handed to peers' queues.
    MessageBytesOut = "message_bytes_out",
    /// Bytes of heartbeats, pings, pongs and close frames handed to peers' queues.
    ControlBytesOut = "control_bytes_out",
    /// Bytes written to sockets, files and other plain answers included; under TLS of plaintext.
    BytesOut = "bytes_out",
    /// Bytes written to peers, the answer to their request included.
    PeerBytesOut = "peer_bytes_out",
    /// Bytes written to others: plain answers and files.
    HttpBytesOut = "http_bytes_out",
    /// Write calls made.
    Writes = "writes",
    /// Peers closed because they read too slowly: backlog over `--backlog-bytes-max`.
    ClosedSlow = "closed_slow",
    /// Peers closed because they stopped reading for `--stall-timeout`.
    ClosedStalled = "closed_stalled",
    /// Peers closed because they answered no ping.
    ClosedSilent = "closed_silent",
    /// Connections closed because the memory was full and they held the most.
    ClosedMemory = "closed_memory",
    /// Peers closed because they broke the WebSocket protocol.
    ClosedProtocol = "closed_protocol",
    /// Connections that the other end ended.
    ClosedByPeer = "closed_peer",
    /// Connections that ended with the answer to a plain HTTP request.
    ClosedHttp = "closed_http",
    /// Links that led to this relay itself.
    ClosedItself = "closed_itself",
    /// Connections closed because the relay stops.
    ClosedStopping = "closed_stopping",
    /// Connections the operating system failed.
    ClosedBroken = "closed_broken",
    /// Frames for a link that were given up: it was down for too long, too much was said meanwhile, memory was full, or
    /// its connection broke under them; or, in an upgrade, because too much waited for the other process.
    DroppedLinkDown = "dropped_link_down",
}

/// One thread's counters.
#[derive(Debug)]
pub struct Counters([Tally; Counter::ALL.len()]);

impl Counters {
    /// Counts `n` more. Only the thread that owns the counters may.
    pub fn add(&self, counter: Counter, n: u64) {
        self.0[counter as usize].add(n);
    }

    /// Counts one more.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// How often this thread counted it.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].get()
    }
}

/// The figures of all threads.
#[derive(Debug, Default)]
pub struct Metrics {
    threads: Mutex<Vec<Arc<Counters>>>,
    loops: Mutex<Vec<Arc<Loop>>>,
    batches: Mutex<Vec<Arc<Batches>>>,
    delays: Mutex<Delays>,
}

impl Metrics {
    /// Counters for one more thread.
    pub fn for_thread(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters(std::array::from_fn(|_| Tally::default())));
        lock(&self.threads).push(counters.clone());
        counters
    }

    /// The figures of one more event loop, on the thread of this name.
    pub fn for_loop(&self, name: String) -> Arc<Loop> {
        let figures = Arc::new(Loop::new(name));
        lock(&self.loops).push(figures.clone());
        figures
    }

    /// The figures of one more writer's batches.
    pub fn for_batches(&self) -> Arc<Batches> {
        let batches = Arc::new(Batches::default());
        lock(&self.batches).push(batches.clone());
        batches
    }

    /// The sum over all threads.
    pub fn get(&self, counter: Counter) -> u64 {
        lock(&self.threads).iter().map(|counters| counters.get(counter)).sum()
    }

    /// The event loops.
    pub fn loops(&self) -> Vec<Arc<Loop>> {
        lock(&self.loops).clone()
    }

    /// The batches of each writer.
    pub fn batches(&self) -> Vec<Arc<Batches>> {
        lock(&self.batches).clone()
    }

    /// Shows how long messages took, all writers together, brought up to date.
    pub fn with_delays<R>(&self, look: impl FnOnce(&Delays) -> R) -> R {
        let mut delays = lock(&self.delays);
        for batches in &*lock(&self.batches) {
            delays.collect(batches);
        }
        look(&delays)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
