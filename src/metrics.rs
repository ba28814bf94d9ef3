//! What the relay counts.
//!
//! Each thread adds to counters of its own, without a locked instruction; readers sum them up.
//! Owns: the list of counters and their meaning. Must not know who counts or who asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

macro_rules! counters {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[$doc])+ $variant,)+ }

        impl Counter {
            /// Every counter.
            pub const ALL: &[Counter] = &[$(Counter::$variant,)+];

            /// Its name in reports.
            pub fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)+ }
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
    /// Requests for a WebSocket turned away because of `--origins`.
    RejectedOrigin = "rejected_origin",
    /// Requests for a WebSocket turned away because the token was missing or wrong.
    RejectedToken = "rejected_token",
    /// Connections of a trusted proxy turned away because they began with no PROXY header.
    RejectedProxyHeader = "rejected_proxy_header",
    /// Times a peer was not read for a while because it went over its rates.
    ReadPauses = "read_pauses",
    /// Requests that were no acceptable HTTP.
    RejectedHead = "rejected_head",
    /// Plain HTTP requests answered.
    HttpAnswered = "http_answered",
    /// Connections that did not finish their request in time.
    HandshakeTimeouts = "handshake_timeouts",
    /// Times accepting paused for want of file descriptors or memory.
    AcceptPauses = "accept_pauses",
    /// Bytes read from sockets.
    BytesIn = "bytes_in",
    /// Text frames read.
    FramesIn = "frames_in",
    /// Binary frames read and ignored.
    BinaryIn = "binary_in",
    /// Messages heard, dropped ones included.
    MessagesIn = "messages_in",
    /// Messages passed on to everybody else.
    Broadcast = "broadcast",
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
    /// Frames handed to peers' queues: batches, pings, pongs and heartbeats.
    FramesOut = "frames_out",
    /// Bytes written to sockets.
    BytesOut = "bytes_out",
    /// Write calls made.
    Writes = "writes",
    /// Peers closed because they read too slowly: backlog over `--backlog-bytes-max`.
    ClosedSlow = "closed_slow",
    /// Peers closed because they stopped reading for `--stall-timeout`.
    ClosedStalled = "closed_stalled",
    /// Peers closed because they answered no ping.
    ClosedSilent = "closed_silent",
    /// Peers closed because they broke the WebSocket protocol.
    ClosedProtocol = "closed_protocol",
    /// Frames given up because a link was down for too long, or too much was said meanwhile.
    DroppedLinkDown = "dropped_link_down",
}

/// One thread's counters.
#[derive(Debug)]
pub struct Counters([AtomicU64; Counter::ALL.len()]);

impl Counters {
    /// Counts `n` more. Only the thread that owns the counters may.
    pub fn add(&self, counter: Counter, n: u64) {
        let cell = &self.0[counter as usize];
        cell.store(cell.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// Counts one more.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }
}

/// The counters of all threads.
#[derive(Debug, Default)]
pub struct Metrics {
    threads: Mutex<Vec<Arc<Counters>>>,
}

impl Metrics {
    /// Counters for one more thread.
    pub fn for_thread(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters(std::array::from_fn(|_| AtomicU64::new(0))));
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(counters.clone());
        counters
    }

    /// The sum over all threads.
    pub fn get(&self, counter: Counter) -> u64 {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().map(|cells| cells.0[counter as usize].load(Ordering::Relaxed)).sum()
    }
}
