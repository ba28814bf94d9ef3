//! A reactor thread: the read side of its connections.
//!
//! Owns: the listener, the connections from accept to the last byte, reading and the routing of
//! what was read. Must not know: how anything is written; it hands over to writers through its
//! [`Outbox`] only.
//!
//! A turn of the loop: take what the poll tells, accept, read each ready connection once, push
//! what came of it. The poll is edge-triggered: a connection stays in the ready list until a read
//! came back short.
//!
//! Invariants:
//! - No connection is read twice before every other ready one was read once.
//! - A connection's slot is freed when its socket is done with; its token carries a generation, so
//!   that a late event cannot meet a newer connection in the same slot.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Poll, Token};
use slab::Slab;

use super::accept::Acceptor;
use super::admission::allowance::Allowance;
use super::admission::crowd::Pass;
use super::admission::{Admission, RefusalLog, Rejection, proxy};
use super::conn::{Conn, Hearing, Link, Stage};
use super::handshake::{Newcomer, Porch, Secured};
use super::hear::{self, Fate, Hearer};
use super::http::{self, About, Answer};
use super::memory::{Held, Keeper, LOOK_BYTES, Pressure, connection_bytes};
use super::placement::Placement;
use super::queue::{Outbound, Outbox};
use super::roster::{Member, Roster};
use super::session::Session;
use super::socket::{Ending, Received, Socket};
use super::timers::Timers;
use super::web::{self, Visitor, Web};
use crate::config::Config;
use crate::dam::dedup::GENERATION_MS;
use crate::dam::mesh::{Mesh, Peer, Router};
use crate::dam::peer::{Name, PeerId};
use crate::metrics::loops::Loop;
use crate::metrics::{Counter, Counters};
use crate::readiness::Readiness;
use crate::ws::frame::{self, Opcode};
use crate::ws::reader::{FrameReader, Role};
use crate::ws::upgrade::{self, HeadLimits};

/// The token of commands from other threads.
pub const COMMANDS: Token = Token(usize::MAX);
/// The token of plain listeners.
pub const LISTENER: Token = Token(usize::MAX - 1);
/// The token of listeners where TLS is spoken.
pub const TLS_LISTENER: Token = Token(usize::MAX - 2);

/// Bytes read at once; the buffer is the thread's, not the connection's.
const READ_BYTES: usize = 64 * 1024;

/// A longer frame closes the connection with 1009, in bytes: the limit of `ws`, which Gun's relays
/// are built on. A higher `--message-bytes-max` raises it.
const FRAME_BYTES_MAX: usize = 100 << 20;

/// Connections accepted in one turn, so that a storm of them does not starve those that are there.
const ACCEPTS_PER_TURN_MAX: usize = 256;

/// Time for the other end to hang up after its last frame or response was sent.
const LINGER_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the memory of ids is aged, whether this reactor has anything else to do or not: it
/// may be others that hear.
const AGEING_INTERVAL: Duration = Duration::from_millis(GENERATION_MS);

/// Something other threads want of a reactor.
pub enum Command {
    /// Serve this connection to a configured peer. The bytes followed its upgrade response.
    Adopt(StdTcpStream, Option<Box<Session>>, Vec<u8>, Arc<Link>),
    /// Serve this connection, which counts as open already.
    Welcome(Secured),
    /// Accept from this listener too; whether TLS is spoken there.
    Listen(TcpListener, bool),
    /// Serve this connection as a peer that needs no request: the process that this one follows.
    Join(StdTcpStream),
    /// What may change while the relay runs is from now on as here.
    Reload(Arc<Config>),
    /// Show that the loop turns.
    Probe(Sender<()>),
    /// Accept no more; who is in the middle of a request may finish it.
    StopAccepting,
    /// Accept no more, and end when no connection is left or this time has come.
    Stop(Instant),
}

/// What all reactors share.
pub struct Shared {
    /// Limits and times at the start.
    pub config: Arc<Config>,
    /// The mesh.
    pub mesh: Arc<Mesh>,
    /// Whether it is to be sent new peers.
    pub readiness: Readiness,
    /// Who may come in.
    pub admission: Admission,
    /// When the relay was started.
    pub started: Instant,
    /// Connections open now.
    pub open: AtomicUsize,
    /// Those of them that this relay dialled.
    pub links: AtomicUsize,
    /// Peers so far, for their ids.
    pub sequence: AtomicU64,
    /// Which writer a new peer gets.
    pub placement: Placement,
}

impl Shared {
    /// An id for a new peer, which names its writer.
    pub fn next_peer(&self) -> PeerId {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        PeerId::new(sequence, self.placement.enter() as u8)
    }
}

/// What a connection that is served elsewhere is counted with, until it ends.
struct Stay {
    shared: Arc<Shared>,
    _pass: Option<Pass>,
    _held: Held,
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}

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
            shared: parts.shared,
            poll: parts.poll,
            index: parts.index,
            acceptor: Acceptor::default(),
            tls_acceptor: Acceptor::default(),
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
        match self.poll.poll(events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("a poll of our own cannot fail: {error}"),
        }
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
                        self.remove(untoken(token).0, Ending::Peer);
                    }
                }
            }
        }
    }

    fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Adopt(stream, session, early, link) => {
                    self.adopt(stream, session, early, link);
                }
                Command::Welcome(secured) => self.welcome_secured(secured),
                Command::Listen(listener, is_tls) => self.listen(listener, is_tls),
                Command::Join(stream) => self.join_at_once(stream),
                Command::Reload(config) => self.config = config,
                Command::Probe(alive) => {
                    // There is room for all the answers; who asked may have given up.
                    let _answered = alive.try_send(());
                }
                Command::StopAccepting => self.stop_accepting(),
                Command::Stop(ends) => self.stop(ends),
            }
        }
    }

    fn stop(&mut self, ends: Instant) {
        self.ends = Some(ends);
        self.stop_accepting();
        let others = self.conns.iter().filter(|(_, conn)| conn.peer().is_none());
        let others: Vec<_> = others.map(|(index, _)| index).collect();
        for index in others {
            self.remove(index, Ending::Stopping);
        }
    }

    // Accepting

    fn accept(&mut self) {
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

    fn listen(&mut self, listener: TcpListener, is_tls: bool) {
        let (acceptor, token) = match is_tls {
            true => (&mut self.tls_acceptor, TLS_LISTENER),
            false => (&mut self.acceptor, LISTENER),
        };
        if let Err(error) = acceptor.add(listener, self.poll.registry(), token) {
            tracing::error!(%error, "a listening socket cannot be watched");
        }
    }

    fn stop_accepting(&mut self) {
        self.acceptor.stop(self.poll.registry());
        self.tls_acceptor.stop(self.poll.registry());
    }

    /// Has a TLS handshake made. The connection comes back with [`Command::Welcome`]. One that is
    /// turned away just ends: nothing can be said to it in plain.
    fn secure(&mut self, stream: TcpStream, sender: SocketAddr) {
        let Some(porch) = self.porch.clone() else { return };
        let pass = match self.admit(sender) {
            Ok(pass) => pass,
            Err(rejection) => return self.note_refusal(rejection, sender),
        };
        let expects_header = self.shared.admission.expects_proxy_header(sender);
        let reactor = self.index;
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        if !porch.admit(Newcomer { stream, sender, expects_header, pass, reactor }) {
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
            self.counters.count(Counter::RejectedTlsFull);
        }
    }

    fn welcome_secured(&mut self, secured: Secured) {
        let Secured { stream, sender, client, pass, session, mut early, since } = secured;
        // It was counted when it was accepted; `insert` counts it again.
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        if self.ends.is_some() {
            return;
        }
        let stage = Stage::Head(Vec::new());
        let Some(token) = self.insert(stream, sender, Some(session), stage, None) else { return };
        let (index, _) = untoken(token);
        self.conns[index].since = since;
        self.conns[index].pass = pass;
        self.handshakes.set(self.now, self.config.handshake_timeout, token);
        if let Some(client) = client
            && let Err(rejection) = self.name(index, client)
        {
            return self.reject(index, rejection);
        }
        if !early.is_empty() {
            self.hear(index, &mut early);
        }
    }

    /// Whether a connection may come in, as far as that is known before it says anything.
    fn admit(&self, sender: SocketAddr) -> Result<Option<Pass>, Rejection> {
        if self.shared.open.load(Ordering::Relaxed) >= self.config.connections_max {
            return Err(Rejection::Full);
        }
        if self.keeper.memory().pressure() >= Pressure::High {
            return Err(Rejection::Memory);
        }
        let admission = &self.shared.admission;
        match admission.speaks_for_another(sender) {
            true => Ok(None),
            false => admission.enter(sender, self.now),
        }
    }

    fn welcome(&mut self, stream: TcpStream, sender: SocketAddr) {
        let pass = match self.admit(sender) {
            Ok(pass) => pass,
            Err(rejection) => return self.turn_away(&stream, sender, rejection),
        };
        let stage = match self.shared.admission.expects_proxy_header(sender) {
            true => Stage::Proxy(Vec::new()),
            false => Stage::Head(Vec::new()),
        };
        if let Some(token) = self.insert(stream, sender, None, stage, None) {
            self.conns[untoken(token).0].pass = pass;
            self.handshakes.set(self.now, self.config.handshake_timeout, token);
        }
    }

    /// Answers a connection that is not even read.
    fn turn_away(&mut self, mut stream: &TcpStream, sender: SocketAddr, rejection: Rejection) {
        self.note_refusal(rejection, sender);
        // Closing a socket whose input was not read resets it, and may cost the other end the answer.
        let _request = io::Read::read(&mut stream, &mut self.buffer);
        // What does not fit into a fresh socket's buffer is not worth waiting for.
        let _sent = io::Write::write(&mut stream, &http::reject(rejection));
    }

    fn note_refusal(&mut self, rejection: Rejection, address: SocketAddr) {
        self.counters.count(rejection.counter());
        self.refusals.note(rejection, address, self.now);
    }

    fn insert(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        session: Option<Box<Session>>,
        stage: Stage,
        link: Option<Arc<Link>>,
    ) -> Option<Token> {
        let bytes = connection_bytes(session.is_some());
        let entry = self.conns.vacant_entry();
        self.generation = self.generation.wrapping_add(1) & GENERATION_MASK;
        let token = token(entry.key(), self.generation);
        // Without this, small frames wait for the other end's delayed acknowledgements.
        let _slower = stream.set_nodelay(true);
        let socket = match Socket::watched(stream, address, self.poll.registry(), token) {
            Ok(socket) => Arc::new(socket.with_session(session)),
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be watched; it is closed");
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

    fn adopt(
        &mut self,
        stream: StdTcpStream,
        session: Option<Box<Session>>,
        mut early: Vec<u8>,
        link: Arc<Link>,
    ) {
        let Ok(address) = stream.peer_addr() else {
            return link.report(Ending::Peer, &self.shared.mesh.peers);
        };
        let name = Name::Url(&link.name);
        let hearing = Box::new(Hearing {
            reader: frame_reader(Role::Client, &self.config),
            peer: Peer {
                id: link.peer,
                seat: self.shared.mesh.peers.join(link.peer, name),
                is_dialled: true,
                pid: None,
            },
            messages_in: 0,
            // A relay that is dialled may say what it likes.
            allowance: None,
        });
        let seat = hearing.peer.seat;
        let stream = TcpStream::from_std(stream);
        let stage = Stage::Open(hearing);
        let Some(token) = self.insert(stream, address, session, stage, Some(link.clone())) else {
            self.shared.mesh.peers.leave(seat);
            return link.report(Ending::Broken, &self.shared.mesh.peers);
        };
        self.counters.count(Counter::LinksUp);
        link.opened.add(1);
        let (index, _) = untoken(token);
        let hi = self.router.first_words();
        let first = frame::masked(Opcode::Text, &[hi.as_bytes()], rand::random()).into();
        let socket = self.conns[index].socket.clone();
        let member = Member::new(link.peer, socket.clone(), Some(link.clone()), self.now);
        self.roster.join(index, member);
        self.outbox.push(link.peer, Outbound::Open(link.peer, socket, first));
        self.hear(index, &mut early);
    }

    // Reading

    fn read_ready(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else { return };
            let (index, _) = untoken(token);
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

    /// Closes the worst connections while the memory is full and no other thread has worse ones.
    /// Says whether there is room again.
    fn keep_memory(&mut self) -> bool {
        self.grown = 0;
        while self.keeper.look(self.now) {
            let held = |(index, conn): (usize, &Conn)| (conn.held, index);
            let (bytes, index) = self.conns.iter().map(held).max().unwrap_or_default();
            if !self.keeper.is_to_go(bytes, Instant::now()) {
                return false;
            }
            let address = self.conns[index].socket.address;
            self.keeper.note(Some(address), bytes, self.now);
            self.evict(index);
        }
        true
    }

    fn evict(&mut self, index: usize) {
        let Stage::Open(hearing) = &self.conns[index].stage else {
            self.conns[index].socket.end(Ending::Memory);
            self.respond(index, &http::reject(Rejection::Memory));
            return self.settle(index);
        };
        let last = hear::last_frame(Some(frame::CLOSE_AGAIN), "out of memory", &hearing.peer);
        self.finish(index, last, Ending::Memory);
        self.settle(index);
    }

    /// Brings up to date what a connection is counted with.
    fn settle(&mut self, index: usize) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        let held = conn.held_bytes();
        if held == conn.held {
            return;
        }
        let before = std::mem::replace(&mut conn.held, held);
        self.grown += held.saturating_sub(before);
        self.keeper.gauge().add(held);
        self.keeper.gauge().sub(before);
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
                let conn = &mut self.conns[index];
                conn.bytes_in += count as u64;
                conn.socket.traffic.bytes_in.set(conn.bytes_in);
                self.counters.add(Counter::BytesIn, count as u64);
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

    /// Reads a peer no more for a while. TCP slows it down meanwhile.
    fn pause(&mut self, index: usize, time: Duration) {
        self.counters.count(Counter::ReadPauses);
        let conn = &mut self.conns[index];
        conn.is_paused = true;
        // The poll has told what is there, and may not again: the timer puts it into the list.
        conn.is_ready = true;
        conn.socket.pause();
        self.pauses.set(self.now, time, token(index, conn.generation));
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
                head.extend_from_slice(input);
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

    // Requests

    /// Hears whom a proxy speaks for, then the client itself.
    fn hear_proxy(&mut self, index: usize, mut input: Vec<u8>) {
        let header = match proxy::parse(&input) {
            Ok(Some(header)) => header,
            Ok(None) => {
                self.conns[index].stage = Stage::Proxy(input);
                return;
            }
            Err(proxy::NoHeader) => return self.reject(index, Rejection::NoProxyHeader),
        };
        self.conns[index].stage = Stage::Head(Vec::new());
        let client = header.client.unwrap_or(self.conns[index].socket.address);
        if let Err(rejection) = self.name(index, client) {
            return self.reject(index, rejection);
        }
        self.hear(index, &mut input[header.bytes..]);
    }

    /// A proxy says that the connection is of `client`.
    fn name(&mut self, index: usize, client: SocketAddr) -> Result<(), Rejection> {
        // A proxy behind this one has still to tell for whom it speaks.
        if self.shared.admission.speaks_for_another(client) {
            self.conns[index].name_client(client);
            return Ok(());
        }
        self.enter(index, client)
    }

    /// The connection turns out to be of `client`.
    fn enter(&mut self, index: usize, client: SocketAddr) -> Result<(), Rejection> {
        let conn = &mut self.conns[index];
        conn.name_client(client);
        conn.pass = self.shared.admission.enter(client, self.now)?;
        Ok(())
    }

    /// Answers a connection that may not come in.
    fn reject(&mut self, index: usize, rejection: Rejection) {
        self.note_refusal(rejection, self.conns[index].socket.address);
        self.respond(index, &http::reject(rejection));
    }

    fn hear_head(&mut self, index: usize, mut head: Vec<u8>) {
        let config = &self.config;
        let limits = HeadLimits { head_bytes_max: config.head_bytes_max, ..HeadLimits::default() };
        let request = match upgrade::parse(&head, &limits) {
            Ok(Some(request)) => request,
            Ok(None) => {
                self.conns[index].stage = Stage::Head(head);
                return;
            }
            Err(error) => {
                self.counters.count(Counter::RejectedHead);
                return self.respond(index, &http::refuse(&error));
            }
        };
        let sender = self.conns[index].socket.address;
        if self.shared.admission.speaks_for_another(sender) {
            let client = self.shared.admission.client(sender, &request);
            if let Err(rejection) = self.enter(index, client) {
                return self.reject(index, rejection);
            }
        }
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            uptime: self.now - self.shared.started,
            peers: self.shared.mesh.peers.near(),
            is_secure: self.conns[index].socket.is_secure(),
        };
        match http::answer(&request, &about) {
            Answer::Upgrade(response) => {
                if let Err(rejection) = self.shared.admission.check(&request) {
                    return self.reject(index, rejection);
                }
                self.join(index, response);
                self.hear(index, &mut head[request.head_bytes..]);
            }
            Answer::Close(response, label) => {
                self.counters.count(Counter::HttpAnswered);
                if http::may_be_file(&request)
                    && let Some(web) = self.web.clone()
                {
                    return self.hand_over(index, &web, head, response);
                }
                tracing::debug!(address = %self.conns[index].socket.address, "answered: {label}");
                self.respond(index, &response);
            }
        }
    }

    /// The connection is served elsewhere: `request` by a file, or with `otherwise` if there is none. It stays counted
    /// until it ends.
    fn hand_over(&mut self, index: usize, web: &Arc<Web>, request: Vec<u8>, otherwise: Vec<u8>) {
        let Some(place) = web.place() else {
            self.counters.count(Counter::RejectedWww);
            return self.respond(index, &http::files_busy());
        };
        let conn = self.conns.remove(index);
        let bytes = conn.held + connection_bytes(conn.socket.is_secure());
        self.keeper.gauge().sub(bytes);
        let stay = Stay {
            shared: self.shared.clone(),
            _pass: conn.pass,
            _held: Held::new(&self.keeper.memory().of_all(), web::CONNECTION_BYTES),
        };
        // Nobody else has the socket before the connection is a peer.
        let socket = Arc::into_inner(conn.socket);
        let Some(mut socket) = socket else { return };
        if socket.unwatch(self.poll.registry()).is_ok() {
            let stay = Box::new((place, stay));
            web.serve(Visitor { socket, request, otherwise, stay });
        }
    }

    /// The connection becomes a peer. Gun: `mesh.hi`.
    #[doc(alias = "hi")]
    fn join(&mut self, index: usize, mut response: Vec<u8>) {
        self.counters.count(Counter::Joined);
        let id = self.shared.next_peer();
        let name = self.router.random_id();
        let seat = self.shared.mesh.peers.join(id, Name::Id(&name));
        let conn = &mut self.conns[index];
        conn.stage = Stage::Open(Box::new(Hearing {
            reader: frame_reader(Role::Server, &self.config),
            peer: Peer { id, seat, is_dialled: false, pid: None },
            messages_in: 0,
            allowance: Allowance::new(&self.shared.config.admission, self.now),
        }));
        let greeting = self.router.greeting();
        response.extend_from_slice(&frame::text_header(greeting.len()));
        response.extend_from_slice(greeting.as_bytes());
        let socket = conn.socket.clone();
        self.roster.join(index, Member::new(id, socket.clone(), None, conn.since));
        self.outbox.push(id, Outbound::Open(id, socket, response.into()));
    }

    /// A connection that this program made itself becomes a peer without a request, and may say what it likes.
    fn join_at_once(&mut self, stream: StdTcpStream) {
        let Ok(address) = stream.peer_addr() else { return };
        let stream = TcpStream::from_std(stream);
        let stage = Stage::Head(Vec::new());
        let Some(token) = self.insert(stream, address, None, stage, None) else {
            return;
        };
        let (index, _) = untoken(token);
        self.join(index, Vec::new());
        if let Stage::Open(hearing) = &mut self.conns[index].stage {
            hearing.allowance = None;
        }
        // Whoever is told that this command was taken may rely on it.
        self.outbox.flush();
    }

    /// Sends a whole response; the connection ends when the other end has it.
    fn respond(&mut self, index: usize, response: &[u8]) {
        let conn = &mut self.conns[index];
        conn.socket.end(Ending::Http);
        // A response fits into a fresh socket's buffer; one that does not is not worth waiting for.
        let _sent = conn.socket.write(&[io::IoSlice::new(response)]);
        conn.socket.finish();
        conn.stage = Stage::Ended(None);
        self.linger(index);
    }

    // Ending

    /// Nothing more is heard of a peer; its last frame is on its way.
    fn finish(&mut self, index: usize, last: Bytes, ending: Ending) {
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
        let token = token(index, self.conns[index].generation);
        self.lingering.set(self.now, LINGER_TIMEOUT, token);
    }

    /// The connection is gone. Gun: `mesh.bye`.
    #[doc(alias = "bye")]
    fn remove(&mut self, index: usize, ending: Ending) {
        let conn = self.conns.remove(index);
        let bytes = conn.held + connection_bytes(conn.socket.is_secure());
        self.keeper.gauge().sub(bytes);
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

    fn run_timers(&mut self) {
        while let Some((_, token)) = self.handshakes.take_due(self.now) {
            let (index, _) = untoken(token);
            if self.conn_mut(token).is_some_and(|conn| conn.is_handshaking()) {
                self.conns[index].socket.end(Ending::Handshake);
                self.respond(index, &http::timeout());
            }
        }
        while let Some((_, token)) = self.lingering.take_due(self.now) {
            if self.conn_mut(token).is_some() {
                self.remove(untoken(token).0, Ending::Peer);
            }
        }
        while let Some((_, token)) = self.pauses.take_due(self.now) {
            self.resume(token);
        }
        if self.age_at.is_some_and(|at| at <= self.now) {
            let age = self.now - self.shared.started;
            self.shared.mesh.dedup.expire(age.as_millis() as u64);
            self.age_at = Some(self.now + AGEING_INTERVAL);
        }
    }

    fn conn_mut(&mut self, token: Token) -> Option<&mut Conn> {
        let (index, generation) = untoken(token);
        self.conns.get_mut(index).filter(|conn| conn.generation == generation)
    }
}

/// A reader that keeps what may be a message: a UTF-16 code unit is at most three bytes of UTF-8.
/// What is longer is skipped and gets Gun's answer; beyond [`FRAME_BYTES_MAX`] the connection ends.
fn frame_reader(role: Role, config: &Config) -> FrameReader {
    let frame_bytes_max = config.message_bytes_max.max(FRAME_BYTES_MAX);
    let text_bytes_max = config.message_bytes_max.saturating_mul(3).min(frame_bytes_max);
    FrameReader::new(role, frame_bytes_max).skipping_texts_over(text_bytes_max)
}

const GENERATION_MASK: u32 = 0x7fff_ffff;

fn token(index: usize, generation: u32) -> Token {
    Token((generation as usize) << 32 | index)
}

fn untoken(token: Token) -> (usize, u32) {
    (token.0 & 0xffff_ffff, (token.0 >> 32) as u32)
}
