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

use super::{POLL_PAUSE, Relay, lock};
use crate::net::conn::Link;
use crate::net::reactor::command::Command;

impl Relay {
    /// The listening sockets, for another process to accept from as well.
    ///
    /// # Errors
    /// The process may not open more files.
    pub fn listeners(&self) -> io::Result<Vec<TcpListener>> {
        let listeners = lock(&self.listeners);
        listeners.iter().map(|listener| listener.socket.try_clone()).collect()
    }

    /// Takes a connection to the process this one follows for a peer. When this returns true it is one, and misses
    /// nothing that is said from now on.
    pub fn join_predecessor(&self, stream: TcpStream, limit: Duration) -> bool {
        self.reactors[0].send(Command::JoinPredecessor(stream));
        self.is_alive(limit)
    }

    /// Takes a connection to the process that follows this one for a peer, until it ends. When this returns true it is
    /// one, and misses nothing that is said from now on.
    ///
    /// # Errors
    /// The stream cannot be used.
    pub fn join_successor(&self, stream: TcpStream, limit: Duration) -> io::Result<bool> {
        stream.set_nonblocking(true)?;
        let name = format!("successor-{}", stream.peer_addr()?);
        // Nobody waits for its end: it is not dialled again.
        let (sender, _) = crossbeam_channel::bounded(0);
        let link = Arc::new(Link::new(self.shared().next_peer(), name, sender));
        self.reactors[0].send(Command::JoinSuccessor(stream, link));
        Ok(self.is_alive(limit))
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
