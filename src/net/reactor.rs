//! A reactor thread: the read side of its connections.
//!
//! Owns: the loop and its timers. Must not know: how anything is written; it hands over to writers
//! through its [`Outbox`] only.
//!
//! A turn of the loop: take what the poll tells, accept, read each ready connection once, push
//! what came of it. The poll is edge-triggered: a connection stays in the ready list until a read
//! came back short.
//!
//! The files beneath are the life of a connection: `admit` lets it in, `request` hears what it asks
//! for, `join` makes it a peer, `read` has its messages heard, `close` ends it. `evict` keeps to the
//! memory there is; `command` is what other threads want.
//!
//! Invariants:
//! - No connection is read twice before every other ready one was read once.
//! - A connection's slot is freed when its socket is done with; its token carries a generation, so
//!   that a late event cannot meet a newer connection in the same slot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::{Events, Poll, Token};
use slab::Slab;

use super::accept::Acceptor;
use super::admission::{Admission, RefusalLog};
use super::conn::Conn;
use super::handshake::HandshakePool;
use super::http;
use super::log_throttle::FaultLog;
use super::memory::Keeper;
use super::poll;
use super::queue::Outbox;
use super::roster::Roster;
use super::socket::Ending;
use super::timers::Timers;
use super::web::Web;
use crate::config::Config;
use crate::dam::dedup::GENERATION_MS;
use crate::dam::mesh::Router;
use crate::ebb::Ebb;
use crate::metrics::Counters;
use crate::metrics::loops::Loop;
use command::Command;
use read::READ_BYTES;
use shared::Shared;
use token::{COMMANDS, LISTENER, TLS_LISTENER};

mod admit;
mod close;
pub mod command;
mod evict;
mod join;
mod read;
mod request;
pub mod shared;
pub mod token;

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
    pub tls_pool: Option<Arc<HandshakePool>>,
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
    tls_pool: Option<Arc<HandshakePool>>,
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
    conns_ebb: Ebb,
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
            tls_pool: parts.tls_pool,
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
            conns_ebb: Ebb::default(),
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
