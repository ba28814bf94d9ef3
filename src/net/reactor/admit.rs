//! From a listening socket to a place among the connections, or away.
//!
//! Owns: who is accepted, admitted, sent to shake hands, turned away. Must not know: what a
//! connection says, how it ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::Token;
use mio::net::{TcpListener, TcpStream};

use super::Reactor;
use super::shared::Opened;
use super::token::{self, LISTENER, TLS_LISTENER};
use crate::net::admission::Rejection;
use crate::net::admission::crowd::Pass;
use crate::net::conn::{Conn, Link, Stage};
use crate::net::handshake::{Newcomer, Secured};
use crate::net::http;
use crate::net::memory::{Pressure, connection_bytes};
use crate::net::session::Session;
use crate::net::socket::Socket;

/// Connections accepted in one turn, so that a storm of them does not starve those that are there.
const ACCEPTS_PER_TURN_MAX: usize = 256;

impl Reactor {
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            match self.acceptor.accept(self.now, &self.counters) {
                Some((stream, address)) => self.welcome(stream, address),
                None => break,
            }
        }
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            match self.tls_acceptor.accept(self.now, &self.counters) {
                Some((stream, address)) => self.secure(stream, address),
                None => break,
            }
        }
    }

    pub(super) fn listen(&mut self, listener: TcpListener, is_tls: bool) {
        let (acceptor, token) = match is_tls {
            true => (&mut self.tls_acceptor, TLS_LISTENER),
            false => (&mut self.acceptor, LISTENER),
        };
        if let Err(error) = acceptor.add(listener, self.poll.registry(), token) {
            tracing::error!(%error, "a listening socket cannot be watched");
        }
    }

    pub(super) fn stop_accepting(&mut self) {
        self.acceptor.stop(self.poll.registry());
        self.tls_acceptor.stop(self.poll.registry());
    }

    fn welcome(&mut self, stream: TcpStream, sender: SocketAddr) {
        let pass = match self.admit(sender) {
            Ok(pass) => pass,
            Err(rejection) => return self.turn_away(&stream, sender, rejection),
        };
        let stage = match self.admission.expects_proxy_header(sender) {
            true => Stage::Proxy(Vec::new()),
            false => Stage::Head(Vec::new()),
        };
        if let Some(token) = self.insert(stream, sender, None, stage, None) {
            self.conns[token::index(token)].pass = pass;
            self.handshakes.set(self.now, self.config.handshake_timeout, token);
        }
    }

    /// Has a TLS handshake made. The connection comes back with [`Command::Welcome`](super::command::Command::Welcome). One that is
    /// turned away just ends: nothing can be said to it in plain.
    fn secure(&mut self, stream: TcpStream, sender: SocketAddr) {
        let Some(pool) = self.tls_pool.clone() else { return };
        let pass = match self.admit(sender) {
            Ok(pass) => pass,
            Err(rejection) => return self.note_refusal(rejection, sender),
        };
        let expects_header = self.admission.expects_proxy_header(sender);
        let (reactor, timeout) = (self.index, self.config.handshake_timeout);
        let stay = Box::new(Opened::new(&self.shared));
        let newcomer = Newcomer { stream, sender, expects_header, pass, stay, reactor, timeout };
        if !pool.admit(newcomer) {
            self.note_refusal(Rejection::TlsFull, sender);
        }
    }

    pub(super) fn welcome_secured(&mut self, secured: Secured) {
        let Secured { stream, sender, client, pass, stay, held, session, mut early, since } =
            secured;
        if self.ends.is_some() {
            return;
        }
        let stage = Stage::Head(Vec::new());
        let Some(token) = self.insert(stream, sender, Some(session), stage, None) else { return };
        // It was counted when it was accepted, and `insert` counted it again.
        drop((stay, held));
        let index = token::index(token);
        self.conns[index].since = since;
        self.conns[index].pass = pass;
        self.handshakes.set(self.now, self.config.handshake_timeout, token);
        if self.keeper.memory().pressure() == Pressure::Full {
            return self.reject(index, Rejection::Memory);
        }
        if let Some(client) = client
            && let Err(rejection) = self.name(index, client)
        {
            return self.reject(index, rejection);
        }
        if !early.is_empty() {
            self.count_received(index, early.len());
            self.hear(index, &mut early);
        }
    }

    /// Whether a connection may come in, as far as that is known before it says anything.
    fn admit(&self, sender: SocketAddr) -> Result<Option<Pass>, Rejection> {
        if self.shared.open.load(Ordering::Relaxed) >= self.config.connections_max {
            return self.admission.enter_to_ask(Rejection::Full).map(Some);
        }
        if self.keeper.memory().pressure() >= Pressure::High {
            return self.admission.enter_to_ask(Rejection::Memory).map(Some);
        }
        let admission = &self.admission;
        match admission.speaks_for_another(sender) {
            true => Ok(None),
            false => admission.enter(sender, self.now),
        }
    }

    /// Answers a connection that is not even read.
    fn turn_away(&mut self, mut stream: &TcpStream, sender: SocketAddr, rejection: Rejection) {
        self.note_refusal(rejection, sender);
        // Closing a socket whose input was not read resets it, and may cost the other end the answer.
        let _request = io::Read::read(&mut stream, &mut self.buffer);
        // What does not fit into a fresh socket's buffer is not worth waiting for.
        let written = io::Write::write(&mut stream, &http::reject(rejection));
        self.count_http(written.unwrap_or(0));
    }

    pub(super) fn note_refusal(&mut self, rejection: Rejection, address: SocketAddr) {
        self.counters.count(rejection.counter());
        self.refusals.note(rejection, address, self.now);
    }

    /// Gives a connection a slot and has it watched. None if that cannot be: it is closed.
    pub(super) fn insert(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        session: Option<Box<Session>>,
        stage: Stage,
        link: Option<Arc<Link>>,
    ) -> Option<Token> {
        let bytes = connection_bytes(session.is_some());
        let entry = self.conns.vacant_entry();
        self.generation = token::next_generation(self.generation);
        let token = token::pack(entry.key(), self.generation);
        // Without this, small frames wait for the other end's delayed acknowledgements.
        let _slower = stream.set_nodelay(true);
        let socket = match Socket::watched(stream, address, self.poll.registry(), token) {
            Ok(socket) => Arc::new(socket.with_session(session)),
            Err(error) => {
                let what = "a connection cannot be watched and is closed";
                self.faults.note(what, &error, self.now);
                return None;
            }
        };
        self.shared.links.fetch_add(usize::from(link.is_some()), Ordering::Relaxed);
        entry.insert(Conn {
            socket,
            generation: self.generation,
            stage,
            is_ready: false,
            is_paused: false,
            is_hung_up: false,
            link,
            pass: None,
            since: self.now,
            bytes_in: 0,
            held: 0,
        });
        self.keeper.gauge().add(bytes);
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        Some(token)
    }
}
