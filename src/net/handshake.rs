//! TLS handshakes, in threads of their own: they cost signatures, and must not hold up messages.
//!
//! A reactor that accepts a connection for TLS passes it through the [`HandshakePool`] to one of these
//! threads. When the handshake is done, the connection goes back to that reactor, which reads the
//! request.
//!
//! `pool` beneath this file has the way in, and how many may come; `state` what one connection says and hears.
//!
//! Owns: connections from accept to the end of their handshake. Must not know: requests, frames,
//! peers.
//!
//! Invariants:
//! - At most `--tls-handshakes-max` connections are here, and they hold at most a fixed part of the
//!   memory, all together; a reactor never waits for these threads.
//! - None is here for longer than `--handshake-timeout`, one that failed and hears why included.
//! - What is leaving here has nothing unsent, and what came after the handshake goes with it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Events, Interest, Token};
use rustls::ServerConnection;
use slab::Slab;

use super::admission::crowd::Pass;
use super::log_throttle::FaultLog;
use super::memory::Held;
use super::poll;
use super::session::Session;
use super::timers::Timers;
use crate::metrics::loops::Loop;
use crate::metrics::{Counter, Counters};
use crate::tls::identity::Identity;
use pool::Permit;
pub use pool::{HandshakePool, Lane, Newcomer, WAKE};
use state::{Handshake, Step};

mod pool;
mod state;

/// A connection whose handshake is done.
pub struct Secured {
    /// The connection, known to no poll.
    pub stream: TcpStream,
    /// Where the other end is.
    pub sender: SocketAddr,
    /// For whom a proxy says that it speaks, if it does.
    pub client: Option<SocketAddr>,
    /// Its place among the connections of its address.
    pub pass: Option<Pass>,
    /// What is dropped when it is counted elsewhere: as open, and with what it holds.
    pub stay: Box<dyn Send>,
    /// Likewise.
    pub held: Held,
    /// Its keys.
    pub session: Box<Session>,
    /// What was said right after the handshake.
    pub early: Vec<u8>,
    /// When it was accepted.
    pub since: Instant,
}

/// Where connections go from here.
pub trait SecuredSink: Send {
    /// Its handshake is done: reactor `reactor` is to serve it.
    fn secured(&self, reactor: usize, secured: Secured);
}

/// What a thread that shakes hands is made of.
pub struct Parts<S> {
    /// Its end of the pool.
    pub lane: Lane,
    /// The pool.
    pub pool: Arc<HandshakePool>,
    /// Who the relay is.
    pub identity: Arc<Identity>,
    /// Where connections go.
    pub sink: S,
    /// This thread's counters.
    pub counters: Arc<Counters>,
    /// What this loop tells about itself.
    pub figures: Arc<Loop>,
}

/// See the module's head.
pub struct HandshakeWorker<S> {
    parts: Parts<S>,
    handshakes: Slab<Handshake>,
    timeouts: Timers<(usize, u64)>,
    numbers: u64,
    faults: FaultLog,
    now: Instant,
}

impl<S: SecuredSink> HandshakeWorker<S> {
    /// A thread's work, with nobody there yet.
    pub fn new(parts: Parts<S>) -> Self {
        HandshakeWorker {
            parts,
            handshakes: Slab::new(),
            timeouts: Timers::default(),
            numbers: 0,
            faults: FaultLog::default(),
            now: Instant::now(),
        }
    }

    /// Runs until the pool is closed. Who is still shaking hands then is gone.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(256);
        while !self.parts.pool.is_closed() {
            self.wait(&mut events);
            self.now = Instant::now();
            self.parts.figures.wake(self.now);
            for event in events.iter().filter(|event| event.token() != WAKE) {
                self.go_on(event.token().0);
            }
            self.take_newcomers();
            self.run_timers();
        }
        self.parts.figures.sleep(self.now, Instant::now());
        let waiting = self.parts.lane.newcomers.try_iter().count();
        let lost = waiting + self.handshakes.len();
        self.parts.counters.add(Counter::Closed, lost as u64);
    }

    fn wait(&mut self, events: &mut Events) {
        let until = self.timeouts.next_due();
        let turn_end = Instant::now();
        self.parts.figures.sleep(self.now, turn_end);
        let timeout = until.map(|until| until.saturating_duration_since(turn_end));
        poll::wait(&mut self.parts.lane.poll, events, timeout);
    }

    fn take_newcomers(&mut self) {
        while let Ok((newcomer, permit)) = self.parts.lane.newcomers.try_recv() {
            if let Err(error) = self.take(newcomer, permit) {
                let what = "a TLS handshake cannot begin, and its connection is closed";
                self.faults.note(what, &error, self.now);
                self.count_lost();
            }
        }
    }

    fn take(&mut self, mut newcomer: Newcomer, permit: Permit) -> io::Result<()> {
        let connection = ServerConnection::new(self.parts.identity.current());
        let connection = connection.map_err(io::Error::other)?;
        let entry = self.handshakes.vacant_entry();
        let (slot, interest) = (entry.key(), Interest::READABLE | Interest::WRITABLE);
        self.parts.lane.poll.registry().register(&mut newcomer.stream, Token(slot), interest)?;
        self.numbers += 1;
        self.timeouts.set(self.now, newcomer.timeout, (slot, self.numbers));
        entry.insert(Handshake::new(newcomer, connection, permit, self.numbers, self.now));
        Ok(())
    }

    /// Goes on with a connection as far as it gets. An event may be late: of one that is gone.
    fn go_on(&mut self, slot: usize) {
        let Some(handshake) = self.handshakes.get_mut(slot) else { return };
        match handshake.advance(&self.parts.counters) {
            Step::Wait => {}
            Step::Done => self.hand_over(slot),
            Step::Gone => self.lose(slot),
        }
    }

    fn hand_over(&mut self, slot: usize) {
        let mut handshake = self.handshakes.remove(slot);
        let stream = &mut handshake.newcomer.stream;
        if let Err(error) = self.parts.lane.poll.registry().deregister(stream) {
            let what = "a connection cannot leave its TLS handshake, and is closed";
            self.faults.note(what, &error, self.now);
            return self.count_lost();
        }
        self.parts.counters.count(Counter::TlsHandshakes);
        let (reactor, secured) = handshake.into_secured();
        self.parts.sink.secured(reactor, secured);
    }

    fn lose(&mut self, slot: usize) {
        self.handshakes.remove(slot);
        self.count_lost();
    }

    fn count_lost(&self) {
        self.parts.counters.count(Counter::Closed);
    }

    fn run_timers(&mut self) {
        while let Some((_, (slot, number))) = self.timeouts.take_due(self.now) {
            let is_late = |handshake: &&Handshake| handshake.number == number;
            let Some(handshake) = self.handshakes.get(slot).filter(is_late) else { continue };
            if !handshake.has_failed() {
                self.parts.counters.count(Counter::HandshakeTimeouts);
                let address = handshake.newcomer.sender;
                tracing::debug!(%address, "closed: the TLS handshake took too long");
            }
            self.lose(slot);
        }
        let HandshakeWorker { timeouts, handshakes, .. } = self;
        let is_here = |slot, number| handshakes.get(slot).is_some_and(|one| one.number == number);
        timeouts.thin_out(handshakes.len(), |(slot, number)| is_here(*slot, *number));
    }
}
