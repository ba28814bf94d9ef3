//! A connection becomes a peer: it asked to, this relay dialled it, or another process passed it.
//!
//! Owns: what a new peer is told first, and who is told of it. Must not know: requests, what a peer
//! says then.

use std::net::TcpStream as StdTcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use mio::net::TcpStream;

use super::{Reactor, token};
use crate::config::Config;
use crate::dam::mesh::Peer;
use crate::dam::peer::{Name, PeerId};
use crate::metrics::Counter;
use crate::net::admission::allowance::Allowance;
use crate::net::conn::{Hearing, Link, Stage};
use crate::net::queue::Outbound;
use crate::net::roster::Member;
use crate::net::session::Session;
use crate::net::socket::{Bridge, Ending};
use crate::ws::frame::{self, Opcode};
use crate::ws::reader::{FrameReader, Role};

/// A longer frame closes the connection with 1009, in bytes: the limit of `ws`, which Gun's relays
/// are built on. A higher `--message-bytes-max` raises it.
const FRAME_BYTES_MAX: usize = 100 << 20;

impl Reactor {
    /// The connection becomes a peer. Gun: `mesh.hi`.
    #[doc(alias = "hi")]
    pub(super) fn join(&mut self, index: usize, mut response: Vec<u8>) {
        self.counters.count(Counter::Joined);
        let id = self.shared.next_peer();
        let name = self.router.random_id();
        let seat = self.shared.mesh.peers.join(id, Name::Id(&name));
        let peer = Peer { id, seat, is_dialled: false, pid: None };
        let allowance = Allowance::new(&self.config.admission, self.now);
        self.conns[index].stage = Stage::Open(hearing(peer, allowance, &self.config));
        let greeting = self.router.greeting();
        response.extend_from_slice(&frame::text_header(greeting.len()));
        response.extend_from_slice(greeting.as_bytes());
        self.introduce(index, id, response.into());
    }

    /// A connection to the process that this one takes over from becomes a peer without a request, and may say what it
    /// likes.
    pub(super) fn join_predecessor(&mut self, stream: StdTcpStream) {
        let Ok(address) = stream.peer_addr() else { return };
        let stream = TcpStream::from_std(stream);
        let stage = Stage::Head(Vec::new());
        let Some(token) = self.insert(stream, address, None, stage, None) else {
            return;
        };
        let index = token::index(token);
        self.conns[index].become_bridge(Bridge::Predecessor);
        self.shared.links.fetch_add(1, Ordering::Relaxed);
        self.join(index, Vec::new());
        if let Stage::Open(hearing) = &mut self.conns[index].stage {
            hearing.allowance = None;
        }
        // Whoever is told that this command was taken may rely on it.
        self.outbox.flush();
    }

    /// A connection that this relay dialled becomes a peer. `early` followed its upgrade response.
    pub(super) fn adopt(
        &mut self,
        stream: StdTcpStream,
        session: Option<Box<Session>>,
        mut early: Vec<u8>,
        link: Arc<Link>,
    ) {
        if let Some(index) = self.join_link(stream, session, link, None) {
            self.count_received(index, early.len());
            self.hear(index, &mut early);
        }
    }

    /// A connection to the process that takes over from this one becomes a peer.
    pub(super) fn join_successor(&mut self, stream: StdTcpStream, link: Arc<Link>) {
        self.join_link(stream, None, link, Some(Bridge::Successor));
        // Whoever is told that this command was taken may rely on it.
        self.outbox.flush();
    }

    fn join_link(
        &mut self,
        stream: StdTcpStream,
        session: Option<Box<Session>>,
        link: Arc<Link>,
        bridge: Option<Bridge>,
    ) -> Option<usize> {
        let Ok(address) = stream.peer_addr() else {
            link.report(Ending::Peer, &self.shared.mesh.peers);
            return None;
        };
        let name = Name::Url(&link.name);
        let seat = self.shared.mesh.peers.join(link.peer, name);
        let peer = Peer { id: link.peer, seat, is_dialled: true, pid: None };
        // A relay that is dialled may say what it likes.
        let hearing = hearing(peer, None, &self.config);
        let stream = TcpStream::from_std(stream);
        let stage = Stage::Open(hearing);
        let Some(token) = self.insert(stream, address, session, stage, Some(link.clone())) else {
            self.shared.mesh.peers.leave(seat);
            link.report(Ending::Broken, &self.shared.mesh.peers);
            return None;
        };
        self.counters.count(Counter::LinksUp);
        link.opened.add(1);
        let index = token::index(token);
        if let Some(bridge) = bridge {
            self.conns[index].become_bridge(bridge);
        }
        let hi = self.router.first_words();
        let first = frame::masked(Opcode::Text, &[hi.as_bytes()], rand::random());
        self.introduce(index, link.peer, first.into());
        Some(index)
    }

    /// Tells the writer of a new peer, with what it is to say first, and those who watch.
    fn introduce(&mut self, index: usize, id: PeerId, first: Bytes) {
        let conn = &self.conns[index];
        let socket = conn.socket.clone();
        let member = Member::new(id, socket.clone(), conn.link.clone(), conn.since);
        self.roster.join(index, member);
        self.outbox.push(id, Outbound::Open(id, socket, first));
    }
}

/// Hears a new peer.
fn hearing(peer: Peer, allowance: Option<Box<Allowance>>, config: &Config) -> Box<Hearing> {
    let role = if peer.is_dialled { Role::Client } else { Role::Server };
    Box::new(Hearing { reader: frame_reader(role, config), peer, messages_in: 0, allowance })
}

/// A reader that keeps what may be a message: a UTF-16 code unit is at most three bytes of UTF-8.
/// What is longer is skipped and gets Gun's answer; beyond [`FRAME_BYTES_MAX`] the connection ends.
fn frame_reader(role: Role, config: &Config) -> FrameReader {
    let frame_bytes_max = config.message_bytes_max.max(FRAME_BYTES_MAX);
    let text_bytes_max = config.message_bytes_max.saturating_mul(3).min(frame_bytes_max);
    FrameReader::new(role, frame_bytes_max).skipping_texts_over(text_bytes_max)
}
