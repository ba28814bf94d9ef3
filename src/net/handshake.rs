//! TLS handshakes, in threads of their own: they cost signatures, and must not hold up messages.
//!
//! A reactor that accepts a connection for TLS passes it through the [`Porch`] to one of these
//! threads. When the handshake is done, the connection goes back to that reactor, which reads the
//! request.
//!
//! `porch` beneath this file has the way in, and how many may come.
//!
//! Owns: connections from accept to the end of their handshake. Must not know: requests, frames,
//! peers.
//!
//! Invariants:
//! - At most `--tls-handshakes-max` connections are here, and they hold at most a fixed part of the
//!   memory, all together; a reactor never waits for these threads.
//! - None is here for longer than `--handshake-timeout`, one that failed and hears why included.
//! - What is leaving here has nothing unsent, and what came after the handshake goes with it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Events, Interest, Token};
use rustls::{Connection, ServerConnection};
use slab::Slab;

use super::admission::crowd::Pass;
use super::admission::{Rejection, proxy};
use super::http;
use super::memory::{HELLO_BYTES, Held};
use super::poll;
use super::seldom::FaultLog;
use super::session::records::Records;
use super::session::{Session, send, take_plaintext};
use super::timers::Timers;
use crate::metrics::loops::Loop;
use crate::metrics::{Counter, Counters};
use crate::tls::identity::Identity;
use porch::Permit;
pub use porch::{Lane, Newcomer, Porch, WAKE};

mod porch;

/// Bytes read at once: as much as rustls takes.
const READ_BYTES: usize = 4096;

/// Bytes that are read and forgotten, so that a connection which failed hears why: one closed with
/// bytes unread is reset.
const DISCARDED_BYTES_MAX: usize = 64 * 1024;

/// A TLS record of a handshake begins so (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

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
pub trait Doors: Send {
    /// Its handshake is done: reactor `reactor` is to serve it.
    fn enter(&self, reactor: usize, secured: Secured);
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its PROXY header is incomplete.
    Header,
    /// It said nothing yet.
    Silent,
    /// It speaks TLS.
    Shaking,
    /// It failed and was told so; so many of its bytes were ignored since.
    Failed(usize),
}

/// What is to become of a connection for now.
enum Step {
    /// It waits for the other end.
    Wait,
    /// Its handshake is done.
    Done,
    /// It is over.
    Gone,
}

/// A connection that shakes hands.
struct Shaking {
    newcomer: Newcomer,
    connection: Connection,
    stage: Stage,
    /// What came of its PROXY header, and then whom that names.
    header: Vec<u8>,
    client: Option<SocketAddr>,
    early: Vec<u8>,
    /// Bytes of TLS that came, and their records.
    heard: usize,
    records: Records,
    since: Instant,
    /// Tells it from earlier ones in the same slot.
    number: u64,
    permit: Permit,
}

/// What a thread that shakes hands is made of.
pub struct Parts<D> {
    /// Its end of the porch.
    pub lane: Lane,
    /// The porch.
    pub porch: Arc<Porch>,
    /// Who the relay is.
    pub identity: Arc<Identity>,
    /// Where connections go.
    pub doors: D,
    /// This thread's counters.
    pub counters: Arc<Counters>,
    /// What this loop tells about itself.
    pub figures: Arc<Loop>,
}

/// See the module's head.
pub struct Shaker<D> {
    parts: Parts<D>,
    shaking: Slab<Shaking>,
    timeouts: Timers<(usize, u64)>,
    numbers: u64,
    faults: FaultLog,
    now: Instant,
}

impl<D: Doors> Shaker<D> {
    /// A thread's work, with nobody there yet.
    pub fn new(parts: Parts<D>) -> Self {
        Shaker {
            parts,
            shaking: Slab::new(),
            timeouts: Timers::default(),
            numbers: 0,
            faults: FaultLog::default(),
            now: Instant::now(),
        }
    }

    /// Runs until the porch is closed. Who is still shaking hands then is gone.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(256);
        while !self.parts.porch.is_closed() {
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
        let lost = waiting + self.shaking.len();
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
        let connection = connection.map_err(io::Error::other)?.into();
        let entry = self.shaking.vacant_entry();
        let (slot, interest) = (entry.key(), Interest::READABLE | Interest::WRITABLE);
        self.parts.lane.poll.registry().register(&mut newcomer.stream, Token(slot), interest)?;
        self.numbers += 1;
        let timeout = newcomer.timeout;
        let (number, since, early) = (self.numbers, self.now, Vec::new());
        let stage = if newcomer.expects_header { Stage::Header } else { Stage::Silent };
        entry.insert(Shaking {
            newcomer,
            connection,
            stage,
            header: Vec::new(),
            client: None,
            early,
            heard: 0,
            records: Records::default(),
            since,
            number,
            permit,
        });
        self.timeouts.set(self.now, timeout, (slot, number));
        Ok(())
    }

    /// Goes on with a connection as far as it gets. An event may be late: of one that is gone.
    fn go_on(&mut self, slot: usize) {
        let Some(shaking) = self.shaking.get_mut(slot) else { return };
        match shaking.advance(&self.parts.counters) {
            Step::Wait => {}
            Step::Done => self.hand_over(slot),
            Step::Gone => self.lose(slot),
        }
    }

    fn hand_over(&mut self, slot: usize) {
        let mut shaking = self.shaking.remove(slot);
        let stream = &mut shaking.newcomer.stream;
        if let Err(error) = self.parts.lane.poll.registry().deregister(stream) {
            let what = "a connection cannot leave its TLS handshake, and is closed";
            self.faults.note(what, &error, self.now);
            return self.count_lost();
        }
        self.parts.counters.count(Counter::TlsHandshakes);
        let Shaking { newcomer, connection, records, client, early, since, permit, .. } = shaking;
        let Newcomer { stream, sender, pass, stay, reactor, .. } = newcomer;
        let session = Session::new(connection, records);
        let held = permit.held;
        let secured = Secured { stream, sender, client, pass, stay, held, session, early, since };
        self.parts.doors.enter(reactor, secured);
    }

    fn lose(&mut self, slot: usize) {
        self.shaking.remove(slot);
        self.count_lost();
    }

    fn count_lost(&self) {
        self.parts.counters.count(Counter::Closed);
    }

    fn run_timers(&mut self) {
        while let Some((_, (slot, number))) = self.timeouts.take_due(self.now) {
            let is_late = |shaking: &&Shaking| shaking.number == number;
            let Some(shaking) = self.shaking.get(slot).filter(is_late) else { continue };
            if !matches!(shaking.stage, Stage::Failed(_)) {
                self.parts.counters.count(Counter::HandshakeTimeouts);
                let address = shaking.newcomer.sender;
                tracing::debug!(%address, "closed: the TLS handshake took too long");
            }
            self.lose(slot);
        }
        let Shaker { timeouts, shaking, .. } = self;
        let is_here = |slot, number| shaking.get(slot).is_some_and(|one| one.number == number);
        timeouts.thin_out(shaking.len(), |(slot, number)| is_here(*slot, *number));
    }
}

impl Shaking {
    /// Reads and writes until the other end has to say something.
    fn advance(&mut self, counters: &Counters) -> Step {
        let mut buffer = [0; READ_BYTES];
        loop {
            if send(&mut self.connection, &self.newcomer.stream).is_err() {
                return Step::Gone;
            }
            let is_shaking = self.stage == Stage::Shaking;
            if is_shaking && !self.connection.is_handshaking() && !self.connection.wants_write() {
                return Step::Done;
            }
            match (&self.newcomer.stream).read(&mut buffer) {
                Ok(0) => return self.hung_up(counters),
                Ok(count) => {
                    if let Step::Gone = self.hear(&buffer[..count], counters) {
                        return Step::Gone;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Wait,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.hung_up(counters),
            }
        }
    }

    fn hung_up(&self, counters: &Counters) -> Step {
        // One that connects and says nothing is a probe, as balancers make them.
        if self.stage == Stage::Shaking {
            tracing::debug!(address = %self.newcomer.sender, "TLS handshake failed: the peer hung up");
            counters.count(Counter::TlsHandshakeFailures);
        }
        Step::Gone
    }

    /// Hears what came.
    fn hear(&mut self, bytes: &[u8], counters: &Counters) -> Step {
        match self.stage {
            Stage::Header => return self.hear_header(bytes, counters),
            Stage::Failed(discarded) if discarded + bytes.len() > DISCARDED_BYTES_MAX => {
                return Step::Gone;
            }
            Stage::Failed(discarded) => self.stage = Stage::Failed(discarded + bytes.len()),
            Stage::Silent if is_plain_http(bytes[0]) => {
                counters.count(Counter::PlainOnTls);
                // A fresh socket's buffer has room for it.
                let _sent = (&self.newcomer.stream).write(&http::tls_only());
                self.fail("plain HTTP, where TLS was expected");
            }
            Stage::Silent | Stage::Shaking => {
                self.stage = Stage::Shaking;
                if !self.may_say(bytes.len()) {
                    counters.count(Counter::TlsHandshakeFailures);
                    tracing::debug!(address = %self.newcomer.sender,
                        "TLS handshake failed: it is long, and there is no memory for that");
                    return Step::Gone;
                }
                if let Err(error) = self.shake(bytes) {
                    counters.count(Counter::TlsHandshakeFailures);
                    // The alert that says why.
                    let _sent = send(&mut self.connection, &self.newcomer.stream);
                    self.fail(&error.to_string());
                }
            }
        }
        Step::Wait
    }

    /// Counts what the client says more than others do. Says whether there is memory for it.
    fn may_say(&mut self, bytes: usize) -> bool {
        let beyond = |heard: usize| heard.saturating_sub(HELLO_BYTES);
        let more = beyond(self.heard + bytes) - beyond(self.heard);
        self.heard += bytes;
        more == 0 || self.permit.grow(more)
    }

    /// A proxy says for whom it speaks, in plain, before TLS begins.
    fn hear_header(&mut self, bytes: &[u8], counters: &Counters) -> Step {
        self.header.extend_from_slice(bytes);
        match proxy::parse(&self.header) {
            Ok(None) => Step::Wait,
            Ok(Some(header)) => {
                self.client = Some(header.client.unwrap_or(self.newcomer.sender));
                self.stage = Stage::Silent;
                let rest = std::mem::take(&mut self.header).split_off(header.bytes);
                if rest.is_empty() { Step::Wait } else { self.hear(&rest, counters) }
            }
            Err(proxy::NoHeader) => {
                counters.count(Rejection::NoProxyHeader.counter());
                self.fail("there is no PROXY header before TLS");
                Step::Wait
            }
        }
    }

    fn shake(&mut self, mut bytes: &[u8]) -> Result<(), rustls::Error> {
        self.records.note(bytes);
        let general = |error: io::Error| rustls::Error::General(error.to_string());
        while !bytes.is_empty() {
            if self.connection.read_tls(&mut bytes).map_err(general)? == 0 {
                return Ok(());
            }
            self.connection.process_new_packets()?;
            let (start, mut plaintext) = (self.early.len(), [0; READ_BYTES]);
            loop {
                let count = take_plaintext(&mut self.connection, &mut plaintext);
                self.early.extend_from_slice(&plaintext[..count]);
                if count < plaintext.len() {
                    break;
                }
            }
            debug_assert!(self.early.len() - start <= 5 * READ_BYTES, "a record and what came");
        }
        Ok(())
    }

    /// Nothing comes of it; the other end has been told.
    fn fail(&mut self, why: &str) {
        tracing::debug!(address = %self.newcomer.sender, "TLS handshake failed: {why}");
        // An error says that the connection is gone.
        let _gone = self.newcomer.stream.shutdown(Shutdown::Write);
        self.stage = Stage::Failed(0);
    }
}

/// A request line begins with an upper-case letter, TLS with [`HANDSHAKE_RECORD`].
fn is_plain_http(first: u8) -> bool {
    first != HANDSHAKE_RECORD && first.is_ascii_uppercase()
}
