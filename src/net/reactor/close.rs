//! How connections end: with a response, with a last frame, or just so.
//!
//! Owns: what is undone when a connection is gone. Must not know: why it ends.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::{Reactor, token};
use crate::metrics::Counter;
use crate::net::conn::{Conn, Stage};
use crate::net::memory::connection_bytes;
use crate::net::queue::Outbound;
use crate::net::socket::{Bridge, Ending};

/// Time for the other end to hang up after its last frame or response was sent.
const LINGER_TIMEOUT: Duration = Duration::from_secs(10);

impl Reactor {
    /// Sends a whole response; the connection ends when the other end has it.
    pub(super) fn respond(&mut self, index: usize, response: &[u8]) {
        let conn = &mut self.conns[index];
        conn.socket.end(Ending::Http);
        // A response fits into a fresh socket's buffer; one that does not is not worth waiting for.
        let written = conn.socket.write(&[io::IoSlice::new(response)]);
        conn.socket.finish();
        conn.stage = Stage::Ended(None);
        self.count_http(written.map_or(0, |written| written.taken));
        self.linger(index);
    }

    /// So many bytes were written that are no peer's.
    pub(super) fn count_http(&self, bytes: usize) {
        self.counters.add(Counter::BytesOut, bytes as u64);
        self.counters.add(Counter::HttpBytesOut, bytes as u64);
    }

    /// Nothing more is heard of a peer; its last frame is on its way.
    pub(super) fn finish(&mut self, index: usize, last: Bytes, ending: Ending) {
        let conn = &mut self.conns[index];
        conn.socket.end(ending);
        let Stage::Open(hearing) = &conn.stage else { return };
        let id = hearing.peer.id;
        conn.leave(&self.shared.mesh.peers);
        conn.stage = Stage::Ended(Some(id));
        self.outbox.push(id, Outbound::Finish(id, last));
        self.linger(index);
    }

    fn linger(&mut self, index: usize) {
        let token = token::pack(index, self.conns[index].generation);
        self.lingering.set(self.now, LINGER_TIMEOUT, token);
    }

    /// The connection is gone. Gun: `mesh.bye`.
    #[doc(alias = "bye")]
    pub(super) fn remove(&mut self, index: usize, ending: Ending) {
        let conn = self.vacate(index);
        conn.socket.end(ending);
        let ending = conn.socket.ending().unwrap_or(ending);
        conn.leave(&self.shared.mesh.peers);
        self.roster.leave(index, self.now, ending);
        if let Some(peer) = conn.peer() {
            self.outbox.push(peer, Outbound::Close(peer));
        }
        let bridge = conn.socket.bridge();
        if let Some(link) = &conn.link {
            link.ended.add(1);
            link.report(ending, &self.shared.mesh.peers);
        }
        if conn.link.is_some() || bridge.is_some() {
            self.shared.links.fetch_sub(1, Ordering::Relaxed);
        }
        // A link that is dialled again keeps its place while it is down.
        if let (true, Some(peer)) = (conn.link.is_none() || bridge.is_some(), conn.peer()) {
            self.shared.placement.leave(peer.writer());
        }
        if let Some(bridge) = bridge {
            self.note_lost_bridge(bridge, &conn, ending);
        }
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        self.counters.count(Counter::Closed);
        self.counters.count(ending.counter());
        tracing::debug!(
            address = %conn.socket.address,
            seconds = (self.now - conn.since).as_secs(),
            bytes_in = conn.bytes_in,
            "closed: {ending}",
        );
    }

    /// The two processes that were joined are not any more: loud, unless one of them said goodbye.
    fn note_lost_bridge(&self, bridge: Bridge, conn: &Conn, ending: Ending) {
        let is_goodbye = matches!(conn.stage, Stage::Ended(_)) || ending == Ending::Stopping;
        match bridge {
            _ if is_goodbye => {}
            Bridge::Predecessor => tracing::error!(
                "upgrade: the process before this one is gone too early ({ending}); its peers were not told"
            ),
            // Until then nobody depends on it, and whoever started it says what became of it.
            Bridge::Successor if !self.shared.is_draining.load(Ordering::Relaxed) => {}
            Bridge::Successor => tracing::error!(
                "upgrade: THE NEW PROCESS IS GONE ({ending}): nobody accepts connections here; start the relay again"
            ),
        }
    }

    /// Empties a slot. The connection is counted no more with what it holds.
    pub(super) fn vacate(&mut self, index: usize) -> Conn {
        let conn = self.conns.remove(index);
        if self.conns_ebb.is_low(self.conns.len()) {
            self.conns.shrink_to_fit();
        }
        let bytes = conn.held + connection_bytes(conn.socket.is_secure());
        self.keeper.gauge().sub(bytes);
        conn
    }
}
