//! One process follows another without a pause.
//!
//! Owns: what a relay does for the one before it and the one after it. Must not know: how the
//! processes find and talk to each other.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::{POLL_PAUSE, Relay, lock};
use crate::dam::peer::PeerId;
use crate::net::conn::Link;
use crate::net::dial::LinkEvent;
use crate::net::queue::Outbound;
use crate::net::reactor::command::Command;

/// The link to the process that follows this one.
pub struct Successor {
    peer: PeerId,
    /// Where its end is told, which nobody waits for.
    _events: Receiver<LinkEvent>,
}

impl Relay {
    /// The listening sockets, for another process to accept from as well.
    ///
    /// # Errors
    /// The process may not open more files.
    pub fn listeners(&self) -> io::Result<Vec<TcpListener>> {
        let listeners = lock(&self.listeners);
        listeners.iter().map(TcpListener::try_clone).collect()
    }

    /// Takes a connection to the process this one follows for a peer. When this returns true it is one, and misses
    /// nothing that is said from now on.
    pub fn join_predecessor(&self, stream: TcpStream, limit: Duration) -> bool {
        self.reactors[0].send(Command::Join(stream));
        self.is_alive(limit)
    }

    /// Links to the process that follows this one. When this returns, what is said from now on will reach it.
    ///
    /// # Errors
    /// The stream cannot be used.
    pub fn link_successor(&self, stream: TcpStream) -> io::Result<Successor> {
        stream.set_nonblocking(true)?;
        let peer = self.shared().next_peer();
        self.tell_writers(Outbound::Expect(peer));
        let (sender, events) = crossbeam_channel::unbounded();
        let name = format!("successor-{}", stream.peer_addr()?);
        let link = Arc::new(Link::new(peer, name, sender));
        self.reactors[0].send(Command::Adopt(stream, None, Vec::new(), link));
        Ok(Successor { peer, _events: events })
    }

    /// The successor did not come about: nothing is kept for it.
    pub fn forget_successor(&self, successor: &Successor) {
        self.tell_writers(Outbound::Forget(successor.peer));
    }

    /// Accepts no more, for another process accepts from the same listeners. Waits for requests that have begun.
    pub fn hand_over(&self) {
        self.close_listeners();
        for reactor in &self.reactors {
            reactor.send(Command::StopAccepting);
        }
        let deadline = Instant::now() + self.view.config().handshake_timeout;
        let is_busy =
            || self.shared().open.load(Ordering::Relaxed) > self.shared().mesh.peers.near();
        while is_busy() && Instant::now() < deadline {
            thread::sleep(POLL_PAUSE);
        }
    }
}
