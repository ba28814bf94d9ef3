//! A reactor thread: the read side of its connections.
//!
//! Owns: the loop, its timers, reading, and the routing of what was read. Must not know: how
//! anything is written; it hands over to writers through its [`Outbox`] only.
//!
//! A turn of the loop: take what the poll tells, accept, read each ready connection once, push
//! what came of it. The poll is edge-triggered: a connection stays in the ready list until a read
//! came back short.
//!
//! This file is the way of a message. The life of a connection around it is in the files beneath:
//! `admit` lets it in, `request` hears what it asks for, `join` makes it a peer, `close` ends it.
//! `evict` keeps to the memory there is; `command` is what other threads want.
//!
//! Invariants:
//! - No connection is read twice before every other ready one was read once.
//! - A connection's slot is freed when its socket is done with; its token carries a generation, so
//!   that a late event cannot meet a newer connection in the same slot.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::{Events, Poll, Token};
use slab::Slab;

use super::accept::Acceptor;
use super::admission::{Admission, RefusalLog};
use super::conn::{Conn, Stage};
use super::handshake::Porch;
use super::hear::{Fate, Hearer};
use super::http;
use super::memory::{Keeper, LOOK_BYTES};
use super::poll;
use super::queue::Outbox;
use super::roster::Roster;
use super::seldom::FaultLog;
use super::socket::{Ending, Received};
use super::timers::Timers;
use super::web::Web;
use crate::config::Config;
use crate::dam::dedup::GENERATION_MS;
use crate::dam::mesh::Router;
use crate::metrics::loops::Loop;
use crate::metrics::{Counter, Counters};
use crate::ws::upgrade;
use command::Command;
use shared::Shared;
use token::{COMMANDS, LISTENER, TLS_LISTENER};

mod admit;
mod close;
pub mod command;
mod evict;
mod join;
mod request;
pub mod shared;
pub mod token;

/// Bytes read at once; the buffer is the thread's, not the connection's.
const READ_BYTES: usize = 64 * 1024;

/// How often the memory of ids is aged, whether this reactor has anything else to do or not: it
/// may be others that hear.
const AGEING_INTERVAL: Duration = Duration::from_millis(GENERATION_MS);

/// What a reactor is made of.
pub struct Parts {
    /// Watches the sockets.
    pub poll: Poll,
    /// Which of the reactors this is.
    pub index: usize,
    /// Where TLS handshakes are made, if any are.
    pub porch: Option<Arc<Porch>>,
    /// Where requests for files are answered, if they are.
    pub web: Option<Arc<Web>>,
    /// What other threads want.
    pub commands: Receiver<Command>,
    /// What all reactors share.
    pub shared: Arc<Shared>,
    /// This thread's way through the mesh.
    pub router: Router,
    /// The way to the writers.
    pub outbox: Outbox,
    /// This thread's counters.
    pub counters: Arc<Counters>,
    /// What this loop tells about itself.
    pub figures: Arc<Loop>,
    /// Its peers, for those who watch.
    pub roster: Arc<Roster>,
    /// This reactor ages the memory of ids for all.
    pub ages_memory: bool,
    /// Looks after the memory that connections hold here.
    pub keeper: Keeper,
}

/// See the module's head.
pub struct Reactor {
    shared: Arc<Shared>,
    /// Limits and times in force.
    config: Arc<Config>,
    /// Who may come in.
    admission: Arc<Admission>,
    poll: Poll,
    index: usize,
    acceptor: Acceptor,
    tls_acceptor: Acceptor,
    porch: Option<Arc<Porch>>,
    web: Option<Arc<Web>>,
    commands: Receiver<Command>,
    router: Router,
    outbox: Outbox,
    counters: Arc<Counters>,
    keeper: Keeper,
    /// Bytes that connections hold more than when the memory was last looked at.
    grown: usize,
    figures: Arc<Loop>,
    roster: Arc<Roster>,
    conns: Slab<Conn>,
    generation: u32,
    ready: VecDeque<Token>,
    handshakes: Timers<Token>,
    lingering: Timers<Token>,
    /// Ends of pauses.
    pauses: Timers<Token>,
    refusals: RefusalLog,
    faults: FaultLog,
    age_at: Option<Instant>,
    ends: Option<Instant>,
    buffer: Box<[u8]>,
    now: Instant,
}

impl Reactor {
    /// A reactor that has accepted nothing yet.
    pub fn new(parts: Parts) -> Self {
        let now = Instant::now();
        Reactor {
            config: parts.shared.config.clone(),
            admission: parts.shared.admission(),
            poll: parts.poll,
            index: parts.index,
            acceptor: Acceptor::new(parts.shared.accept_pauses.clone()),
            tls_acceptor: Acceptor::new(parts.shared.accept_pauses.clone()),
            shared: parts.shared,
            porch: parts.porch,
            web: parts.web,
            commands: parts.commands,
            router: parts.router,
            outbox: parts.outbox,
            counters: parts.counters,
            keeper: parts.keeper,
            grown: 0,
            figures: parts.figures,
            roster: parts.roster,
            conns: Slab::new(),
            generation: 0,
            ready: VecDeque::new(),
            handshakes: Timers::default(),
            lingering: Timers::default(),
            pauses: Timers::default(),
            refusals: RefusalLog::default(),
            faults: FaultLog::default(),
            age_at: parts.ages_memory.then_some(now),
            ends: None,
            buffer: vec![0; READ_BYTES].into(),
            now,
        }
    }

    /// Runs until the relay has stopped.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        while !self.is_done() {
            self.wait(&mut events);
            self.now = Instant::now();
            self.figures.wake(self.now);
            self.outbox.begin_turn(self.now);
            self.take_events(&events);
            self.take_commands();
            self.accept();
            self.read_ready();
            self.run_timers();
            self.outbox.flush();
            self.keep_memory();
        }
        // Who looks meanwhile is not to take it for stuck.
        self.figures.sleep(self.now, Instant::now());
    }

    fn is_done(&self) -> bool {
        self.ends.is_some_and(|ends| self.conns.is_empty() || self.now >= ends)
    }

    fn wait(&mut self, events: &mut Events) {
        let until = [
            self.handshakes.next_due(),
            self.lingering.next_due(),
            self.pauses.next_due(),
            self.acceptor.due(),
            self.tls_acceptor.due(),
            self.age_at,
            self.ends,
            self.keeper.due(self.now),
        ];
        let turn_end = Instant::now();
        self.figures.sleep(self.now, turn_end);
        let timeout = match until.into_iter().flatten().min() {
            _ if !self.ready.is_empty() && !self.keeper.is_full() => Some(Duration::ZERO),
            Some(until) => Some(until.saturating_duration_since(turn_end)),
            None => None,
        };
        poll::wait(&mut self.poll, events, timeout);
    }

    fn take_events(&mut self, events: &Events) {
        for event in events {
            match event.token() {
                COMMANDS => {}
                LISTENER => self.acceptor.notice(self.now),
                TLS_LISTENER => self.tls_acceptor.notice(self.now),
                token => {
                    let is_hung_up = event.is_read_closed() || event.is_error();
                    let is_gone = event.is_write_closed() || event.is_error();
                    let Some(conn) = self.conn_mut(token) else { continue };
                    conn.is_hung_up |= is_hung_up;
                    if !std::mem::replace(&mut conn.is_ready, true) {
                        self.ready.push_back(token);
                    } else if conn.is_paused && is_gone {
                        // Nobody is there any more to be slowed down.
                        self.remove(token::index(token), Ending::Peer);
                    }
                }
            }
        }
    }

    fn read_ready(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else { return };
            let index = token::index(token);
            let is_full = self.keeper.is_full();
            let Some(conn) = self.conn_mut(token) else { continue };
            // A message that is being assembled has to wait until there is memory for it.
            if is_full && conn.held > 0 || self.read(index) {
                self.ready.push_back(token);
            }
            if self.grown >= LOOK_BYTES && !self.keep_memory() {
                return;
            }
        }
    }

    /// Reads a connection once. Says whether it is to be read again without a new event.
    fn read(&mut self, index: usize) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.conns[index].socket.read(&mut buffer);
        let again = match read {
            Ok(Received::End) => {
                self.remove(index, Ending::Peer);
                false
            }
            Ok(Received::Bytes { count, has_more }) => {
                self.count_received(index, count);
                self.hear(index, &mut buffer[..count]);
                has_more
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.conns[index].is_hung_up = false;
                false
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(_) => {
                self.remove(index, Ending::Peer);
                false
            }
        };
        self.buffer = buffer;
        self.settle(index);
        let Some(conn) = self.conns.get_mut(index) else { return false };
        conn.is_ready = again || conn.is_hung_up;
        match conn.overdraft(self.now) {
            Some(time) => {
                self.pause(index, time);
                false
            }
            None => conn.is_ready,
        }
    }

    /// So many bytes came from a connection.
    #[inline]
    fn count_received(&mut self, index: usize, bytes: usize) {
        let (conn, bytes) = (&mut self.conns[index], bytes as u64);
        conn.bytes_in += bytes;
        conn.socket.traffic.bytes_in.set(conn.bytes_in);
        let kind = match conn.stage {
            Stage::Open(_) => Counter::PeerBytesIn,
            _ => Counter::HttpBytesIn,
        };
        self.counters.add(Counter::BytesIn, bytes);
        self.counters.add(kind, bytes);
    }

    /// Reads a peer no more for a while. TCP slows it down meanwhile.
    fn pause(&mut self, index: usize, time: Duration) {
        self.counters.count(Counter::ReadPauses);
        let conn = &mut self.conns[index];
        conn.is_paused = true;
        // The poll has told what is there, and may not again: the timer puts it into the list.
        conn.is_ready = true;
        conn.socket.pause();
        self.pauses.set(self.now, time, token::pack(index, conn.generation));
    }

    /// Reads a peer on whose pause is over, unless it needs a longer one.
    fn resume(&mut self, token: Token) {
        let now = self.now;
        let Some(conn) = self.conn_mut(token) else { return };
        if let Some(time) = conn.overdraft(now) {
            return self.pauses.set(now, time, token);
        }
        conn.is_paused = false;
        conn.socket.resume();
        self.ready.push_back(token);
    }

    /// Hears what came from a connection.
    fn hear(&mut self, index: usize, input: &mut [u8]) {
        let conn = &mut self.conns[index];
        match &mut conn.stage {
            Stage::Proxy(header) => {
                header.extend_from_slice(input);
                let header = std::mem::take(header);
                self.hear_proxy(index, header);
            }
            Stage::Head(head) => {
                let seen = head.len();
                head.extend_from_slice(input);
                if !upgrade::is_worth_a_look(head, seen, &request::limits(&self.config)) {
                    return;
                }
                let head = std::mem::take(head);
                self.hear_head(index, head);
            }
            Stage::Open(hearing) => {
                let (heard, was_named) =
                    (self.counters.get(Counter::MessagesIn), hearing.peer.pid.is_some());
                let hearer = Hearer {
                    router: &mut self.router,
                    outbox: &mut self.outbox,
                    counters: &self.counters,
                    socket: &conn.socket,
                    heard: 0,
                };
                let fate = hearer.hear(hearing, input);
                let heard = self.counters.get(Counter::MessagesIn) - heard;
                conn.socket.traffic.messages_in.add(heard);
                if let (false, Some(pid)) = (was_named, &hearing.peer.pid) {
                    self.roster.learn_pid(index, pid);
                }
                if let Fate::Finish(last, ending) = fate {
                    self.finish(index, last, ending);
                }
            }
            Stage::Ended(_) => {}
        }
    }

    fn run_timers(&mut self) {
        while let Some((_, token)) = self.handshakes.take_due(self.now) {
            let index = token::index(token);
            if self.conn_mut(token).is_some_and(|conn| conn.is_handshaking()) {
                self.conns[index].socket.end(Ending::Handshake);
                self.respond(index, &http::timeout());
            }
        }
        while let Some((_, token)) = self.lingering.take_due(self.now) {
            if self.conn_mut(token).is_some() {
                self.remove(token::index(token), Ending::Peer);
            }
        }
        while let Some((_, token)) = self.pauses.take_due(self.now) {
            self.resume(token);
        }
        self.forget_timers();
        if self.age_at.is_some_and(|at| at <= self.now) {
            let age = self.now - self.shared.started;
            self.shared.mesh.dedup.expire(age.as_millis() as u64);
            self.age_at = Some(self.now + AGEING_INTERVAL);
        }
    }

    /// Of connections that are gone, as they come and go faster than their timers are due.
    fn forget_timers(&mut self) {
        let Reactor { conns, handshakes, lingering, pauses, .. } = self;
        let conn = |token: &Token| {
            let conn = conns.get(token::index(*token));
            conn.filter(|conn| conn.generation == token::generation(*token))
        };
        let count = conns.len();
        handshakes.thin_out(count, |token| conn(token).is_some_and(Conn::is_handshaking));
        lingering.thin_out(count, |token| conn(token).is_some());
        pauses.thin_out(count, |token| conn(token).is_some_and(|conn| conn.is_paused));
    }

    fn conn_mut(&mut self, token: Token) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(token::index(token));
        conn.filter(|conn| conn.generation == token::generation(token))
    }
}
