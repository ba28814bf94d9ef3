//! A connection as its reactor sees it: the read side, from accept to the last byte.
//!
//! Owns: the stages of a connection and the facts its end is logged with. Must not know: polls,
//! other connections.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::admission::Rejection;
use super::admission::allowance::Allowance;
use super::admission::crowd::Pass;
use super::dial::{LinkEnd, LinkEvent};
use super::socket::{Bridge, Ending, Socket};
use crate::config;
use crate::dam::mesh::Peer;
use crate::dam::peer::{PeerId, Peers};
use crate::metrics::Tally;
use crate::ws::reader::FrameReader;

/// A configured peer, as the reactor that serves its link knows it.
#[derive(Debug)]
pub struct Link {
    /// Its id, the same for every connection.
    pub peer: PeerId,
    /// Its URL as configured, which is its name.
    pub name: String,
    /// Where its dialler hears what became of a connection.
    pub events: Sender<LinkEvent>,
    /// The pid it told last.
    pub pid: Mutex<Option<Box<[u8]>>>,
    /// Connections to it so far.
    pub opened: Tally,
    /// Connections to it that ended.
    pub ended: Tally,
}

impl Link {
    /// A link that was never up.
    pub fn new(peer: PeerId, name: String, events: Sender<LinkEvent>) -> Self {
        let (opened, ended) = Default::default();
        Link { peer, name, events, pid: Mutex::new(None), opened, ended }
    }

    /// Another connection leads to the same relay.
    pub fn has_twin(&self, peers: &Peers) -> bool {
        self.pid().as_deref().is_some_and(|pid| peers.is_connected(pid))
    }

    /// It is connected now.
    pub fn is_up(&self) -> bool {
        self.opened.get() > self.ended.get()
    }

    fn pid(&self) -> MutexGuard<'_, Option<Box<[u8]>>> {
        self.pid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the dialler that the connection is gone, after the peer left the list.
    pub fn report(&self, ending: Ending, peers: &Peers) {
        let end = match ending {
            Ending::Itself => LinkEnd::Myself,
            _ if self.has_twin(peers) => LinkEnd::Twin,
            _ => LinkEnd::Lost,
        };
        let reason = ending.to_string();
        // An error says that the dialler has ended, as it does when the relay stops.
        let _ended = self.events.send(LinkEvent::Closed { end, reason });
    }
}

/// A WebSocket being read.
#[derive(Debug)]
pub struct Hearing {
    /// Takes frames apart.
    pub reader: FrameReader,
    /// Who speaks.
    pub peer: Peer,
    /// Messages and control frames heard from it, ever.
    pub messages_in: u64,
    /// How much it may say, if that is limited.
    pub allowance: Option<Box<Allowance>>,
}

/// How far a connection is.
#[derive(Debug)]
pub enum Stage {
    /// Its PROXY header is incomplete; this is what came.
    Proxy(Vec<u8>),
    /// Its HTTP request is incomplete; this is what came.
    Head(Vec<u8>),
    /// It is a peer.
    Open(Box<Hearing>),
    /// Its last frame or response was sent; what it still says is not heard. The peer it was.
    Ended(Option<PeerId>),
}

/// See the module's head.
#[derive(Debug)]
pub struct Conn {
    /// Shared with the writer once it is a peer.
    pub socket: Arc<Socket>,
    /// Tells this connection from earlier ones in the same slot.
    pub generation: u32,
    /// How far it is.
    pub stage: Stage,
    /// It is in the list of those to be read, or will be when a timer ends its pause.
    pub is_ready: bool,
    /// It went over its rates and is not read for a while.
    pub is_paused: bool,
    /// The poll saw the other end hang up: read on until that is reached.
    pub is_hung_up: bool,
    /// It was dialled for this configured peer.
    pub link: Option<Arc<Link>>,
    /// Its place among the connections of its address.
    pub pass: Option<Pass>,
    /// When it was accepted or dialled.
    pub since: Instant,
    /// Bytes read from it.
    pub bytes_in: u64,
    /// Memory it is counted with, in bytes.
    pub held: usize,
}

impl Conn {
    /// The peer leaves the list, if it is on it. Its link remembers who it was.
    #[doc(alias = "bye")]
    pub fn leave(&self, peers: &Peers) {
        let Stage::Open(hearing) = &self.stage else { return };
        peers.leave(hearing.peer.seat);
        if let (Some(link), Some(pid)) = (&self.link, &hearing.peer.pid) {
            *link.pid() = Some(pid.clone());
        }
    }

    /// Its address turns out to be that of a proxy: this is the client's.
    pub fn name_client(&mut self, client: SocketAddr) {
        // Nobody else has the socket before the connection is a peer.
        if let Some(socket) = Arc::get_mut(&mut self.socket) {
            socket.address = client;
        }
    }

    /// It is one too many, for this reason, and may only ask whether the relay is well.
    pub fn may_only_ask(&self) -> Option<Rejection> {
        self.pass.as_ref()?.may_only_ask()
    }

    /// It turns out to join two processes.
    pub fn become_bridge(&mut self, bridge: Bridge) {
        // Nobody else has the socket before the connection is a peer.
        if let Some(socket) = Arc::get_mut(&mut self.socket) {
            socket.become_bridge(bridge);
        }
    }

    /// Memory it holds: its request's head or an unfinished message, and an unfinished record of TLS,
    /// in bytes.
    pub fn held_bytes(&self) -> usize {
        let unfinished = match &self.stage {
            Stage::Proxy(head) | Stage::Head(head) => head.capacity(),
            Stage::Open(hearing) => hearing.reader.held_bytes(),
            // It gives up no more than it has.
            Stage::Ended(_) => return 0,
        };
        unfinished + self.socket.half_read_bytes()
    }

    /// Its request is awaited.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.stage, Stage::Proxy(_) | Stage::Head(_))
    }

    /// For how long it is not to be read, if it has gone over its rates.
    pub fn overdraft(&mut self, now: Instant) -> Option<Duration> {
        let Stage::Open(hearing) = &mut self.stage else { return None };
        let Hearing { allowance, messages_in, .. } = &mut **hearing;
        allowance.as_mut()?.pay(*messages_in, self.bytes_in, now)
    }

    /// What it may say is from now on as in `rules`, unless it may say what it likes.
    pub fn ration(&mut self, rules: &config::Admission, now: Instant) {
        let may_say_all = self.link.is_some() || self.socket.bridge().is_some();
        let Stage::Open(hearing) = &mut self.stage else { return };
        if !may_say_all {
            let heard = (hearing.messages_in, self.bytes_in);
            hearing.allowance = Allowance::renewed(hearing.allowance.take(), rules, heard, now);
        }
    }

    /// The peer it is or was.
    pub fn peer(&self) -> Option<PeerId> {
        match &self.stage {
            Stage::Proxy(_) | Stage::Head(_) => None,
            Stage::Open(hearing) => Some(hearing.peer.id),
            Stage::Ended(peer) => *peer,
        }
    }
}

#[cfg(test)]
mod tests;
