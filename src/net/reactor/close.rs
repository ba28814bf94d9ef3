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
use crate::net::socket::Ending;

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
        if let Some(link) = &conn.link {
            link.ended.add(1);
            self.shared.links.fetch_sub(1, Ordering::Relaxed);
            link.report(ending, &self.shared.mesh.peers);
        } else if let Some(peer) = conn.peer() {
            // A link keeps its place while it is down.
            self.shared.placement.leave(peer.writer());
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

    /// Empties a slot. The connection is counted no more with what it holds.
    pub(super) fn vacate(&mut self, index: usize) -> Conn {
        let conn = self.conns.remove(index);
        let bytes = conn.held + connection_bytes(conn.socket.is_secure());
        self.keeper.gauge().sub(bytes);
        conn
    }
}
