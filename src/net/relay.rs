//! A whole relay: its threads, from start to stop.
//!
//! Owns: who is made of what, and in which order things start and end. Must not know: what the
//! threads do.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use mio::net::TcpListener;
use mio::{Poll, Waker};
use rand::RngExt;
use rustls::ClientConfig;
use socket2::{Domain, Protocol, Type};

use super::admission::Admission;
use super::conn::Link;
use super::dial::{self, Dialer, LinkEvent, LinkSink, Timing};
use super::handshake::{self, Doors, Porch, Secured, Shaker};
use super::memory::{Keeper, Memory, Pressure};
use super::placement::Placement;
use super::queue::{self, Budget, Lane, Outbound, Outbox};
use super::reactor::command::Command;
use super::reactor::shared::Shared;
use super::reactor::token::COMMANDS;
use super::reactor::{self, Reactor};
use super::renewal;
use super::roster::Roster;
use super::session::Session;
use super::view::View;
use super::web::Web;
use super::writer::{self, BELL, Writer};
use crate::config::{Config, PeerUrl};
use crate::dam::batch::Limits;
use crate::dam::mesh::{Mesh, Router};
use crate::dam::peer::PeerId;
use crate::metrics::{Counter, Metrics};
use crate::readiness::{Readiness, Reason};
use crate::tls::identity::Identity;
use crate::tls::reload::Reloader;
use crate::tls::trust;
use crate::ws::upgrade::HeadLimits;

/// Connections the kernel holds until they are accepted. It has a limit of its own as well
/// (`net.core.somaxconn`).
const ACCEPT_BACKLOG: i32 = 4096;

/// Commands that may wait for a reactor. Each dialler and each thread that shakes hands has one on its
/// way at most, and waits with it.
const COMMANDS_MAX: usize = 1024;

/// Between two looks at how far something is.
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// Beyond the drain, for peers to hang up.
const STOP_GRACE: Duration = Duration::from_secs(6);

/// A relay that runs.
pub struct Relay {
    addresses: Vec<SocketAddr>,
    metrics: Arc<Metrics>,
    memory: Arc<Memory>,
    view: View,
    shared: Arc<Shared>,
    /// As it was last reloaded.
    config: Arc<Mutex<Arc<Config>>>,
    /// Gone when the relay accepts no more.
    listeners: Mutex<Vec<StdTcpListener>>,
    reactors: Vec<ReactorHandle>,
    diallers: Vec<Sender<LinkEvent>>,
    /// With TLS.
    porch: Option<Arc<Porch>>,
    /// With TLS, until the relay stops: asks for the certificate to be read anew.
    renewals: Mutex<Option<Sender<()>>>,
    /// For what the relay itself has to tell its writers; gone when it is joined.
    outbox: Mutex<Option<Outbox>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The link to the process that follows this one.
pub struct Successor {
    peer: PeerId,
    /// Where its end is told, which nobody waits for.
    _events: Receiver<LinkEvent>,
}

/// The way to a reactor.
#[derive(Clone)]
struct ReactorHandle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl ReactorHandle {
    fn send(&self, command: Command) {
        // An error says that the reactor has ended, as it does when the relay stops.
        let _ended = self.commands.send(command);
        let _ended = self.waker.wake();
    }
}

impl Relay {
    /// Starts a relay. It serves until [`stop`](Self::stop).
    ///
    /// # Errors
    /// An address cannot be listened on, the certificate cannot be used, there are no roots for links
    /// that need them, or the process may not have the threads or files it needs.
    pub fn start(config: Config) -> io::Result<Relay> {
        let listeners = listen_everywhere(&config)?;
        let relay = Relay::prepare(config, listeners)?;
        relay.serve()?;
        Ok(relay)
    }

    /// Starts a relay that does everything but accept connections from `listeners`, of which there is at least one,
    /// until it [serves](Self::serve).
    ///
    /// # Errors
    /// The certificate cannot be used, there are no roots for links that need them, there is no directory of files
    /// where one is configured, or the process may not have the threads or files it needs.
    pub fn prepare(config: Config, listeners: Vec<StdTcpListener>) -> io::Result<Relay> {
        let identity = load_identity(&config)?;
        let roots = load_roots(&config)?;
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::default());
        let shared = Arc::new(Shared {
            mesh: Arc::new(Mesh::new(config.dedup_entries_max, random_secret(), rand::random())),
            admission: Admission::new(&config.admission, Instant::now()),
            started: Instant::now(),
            open: AtomicUsize::new(0),
            links: AtomicUsize::new(0),
            sequence: AtomicU64::new(0),
            placement: Placement::new(config.writers, config.peers_per_writer),
            readiness: Readiness::default(),
            config: config.clone(),
        });
        let memory = Arc::new(Memory::new(&config));
        let budget = Budget::counted(config.queue_bytes_max, memory.of_all());
        let mut starter = Starter {
            shared,
            metrics,
            memory,
            budget,
            lanes: Vec::new(),
            threads: Vec::new(),
            rosters: Vec::new(),
            links: Vec::new(),
        };
        let addresses = addresses(&listeners)?;
        let (porch, handshake_lanes) = match &identity {
            Some(_) => {
                let built = Porch::build(config.tls_threads, config.tls_handshakes_max)?;
                (Some(built.0), built.1)
            }
            None => (None, Vec::new()),
        };
        for index in 0..config.writers {
            starter.start_writer(index)?;
        }
        let web = starter.start_web()?;
        let mut reactors = Vec::new();
        for index in 0..config.reactors {
            reactors.push(starter.start_reactor(index, porch.clone(), web.clone())?);
        }
        let mut renewals = None;
        if let (Some(identity), Some(porch)) = (&identity, &porch) {
            for (index, lane) in handshake_lanes.into_iter().enumerate() {
                starter.start_shaker(index, lane, porch, identity, &reactors)?;
            }
            renewals = Some(starter.start_renewal(identity)?);
        }
        starter.set_alarm(&reactors);
        let mut outbox = starter.outbox();
        let mut diallers = Vec::new();
        for (index, url) in config.peers.iter().enumerate() {
            let reactor = reactors[index % reactors.len()].clone();
            let roots = roots.clone().filter(|_| url.is_tls);
            diallers.push(starter.start_dialler(url, roots, reactor, &mut outbox)?);
        }
        let Starter { shared, metrics, memory, threads, budget, rosters, links, .. } = starter;
        let (outbox, threads) = (Mutex::new(Some(outbox)), Mutex::new(threads));
        let (config, listeners) = (Arc::new(Mutex::new(config)), Mutex::new(listeners));
        let view = View {
            shared: shared.clone(),
            config: config.clone(),
            metrics: metrics.clone(),
            budget,
            memory: memory.clone(),
            rosters,
            links,
        };
        let renewals = Mutex::new(renewals);
        Ok(Relay {
            addresses,
            metrics,
            memory,
            view,
            shared,
            config,
            listeners,
            reactors,
            diallers,
            porch,
            renewals,
            outbox,
            threads,
        })
    }

    /// Whether there is memory for more.
    pub fn pressure(&self) -> Pressure {
        self.memory.pressure()
    }

    /// Accepts connections. A listener is shared where there are more reactors, and a reactor has several where there
    /// are more listeners.
    ///
    /// # Errors
    /// The process may not open more files.
    pub fn serve(&self) -> io::Result<()> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        for (reactor, listener) in self.shares(&listeners)? {
            let listener = listener.try_clone()?;
            listener.set_nonblocking(true)?;
            let is_tls = self.speaks_tls(listener.local_addr()?);
            reactor.send(Command::Listen(TcpListener::from_std(listener), is_tls));
        }
        Ok(())
    }

    /// Which reactor accepts from which listener: of each address, each has one.
    fn shares<'a>(
        &'a self,
        listeners: &'a [StdTcpListener],
    ) -> io::Result<Vec<(&'a ReactorHandle, &'a StdTcpListener)>> {
        let mut shares = Vec::new();
        for address in &self.addresses {
            let mut here = Vec::new();
            for listener in listeners {
                if listener.local_addr()? == *address {
                    here.push(listener);
                }
            }
            for index in 0..here.len().max(self.reactors.len()) {
                let reactor = &self.reactors[index % self.reactors.len()];
                shares.push((reactor, here[index % here.len()]));
            }
        }
        Ok(shares)
    }

    /// Whether TLS is spoken at an address. Listeners may come from another process, and only the public address is
    /// known to be the first.
    fn speaks_tls(&self, address: SocketAddr) -> bool {
        match &self.shared.config.tls {
            Some(tls) => tls.listen.is_none() || address != self.addresses[0],
            None => false,
        }
    }

    /// The listening sockets, for another process to accept from as well.
    ///
    /// # Errors
    /// The process may not open more files.
    pub fn listeners(&self) -> io::Result<Vec<StdTcpListener>> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().map(StdTcpListener::try_clone).collect()
    }

    /// What may change while the relay runs is from now on as in `config`.
    pub fn reload(&self, config: Config) {
        let config = Arc::new(config);
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config.clone();
        for reactor in &self.reactors {
            reactor.send(Command::Reload(config.clone()));
        }
        self.tell_writers(Outbound::Reload(config));
    }

    /// Whether every thread of the data path answers within `limit`.
    pub fn is_alive(&self, limit: Duration) -> bool {
        let expected = self.reactors.len() + self.shared.config.writers;
        let (sender, answers) = crossbeam_channel::bounded(expected);
        let deadline = Instant::now() + limit;
        for reactor in &self.reactors {
            reactor.send(Command::Probe(sender.clone()));
        }
        self.tell_writers(Outbound::Probe(sender));
        (0..expected).all(|_| answers.recv_deadline(deadline).is_ok())
    }

    /// Takes a connection to the process this one follows for a peer. When this returns true it is one, and misses
    /// nothing that is said from now on.
    pub fn join_predecessor(&self, stream: TcpStream, limit: Duration) -> bool {
        self.reactors[0].send(Command::Join(stream));
        self.is_alive(limit)
    }

    /// Links to the process that follows this one. When this returns, what is said from now on will reach it. What
    /// becomes of the link is told to the receiver.
    ///
    /// # Errors
    /// The stream cannot be used.
    pub fn link_successor(&self, stream: TcpStream) -> io::Result<Successor> {
        stream.set_nonblocking(true)?;
        let peer = self.shared.next_peer();
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

    fn tell_writers(&self, item: Outbound) {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outbox) = &mut *outbox {
            outbox.push_to_all(item);
            outbox.flush();
        }
    }

    /// Accepts no more, for another process accepts from the same listeners. Waits for requests that have begun.
    pub fn hand_over(&self) {
        self.close_listeners();
        for reactor in &self.reactors {
            reactor.send(Command::StopAccepting);
        }
        let deadline = Instant::now() + self.config().handshake_timeout;
        let is_busy = || self.shared.open.load(Ordering::Relaxed) > self.shared.mesh.peers.near();
        while is_busy() && Instant::now() < deadline {
            thread::sleep(POLL_PAUSE);
        }
    }

    fn close_listeners(&self) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn config(&self) -> Arc<Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Everywhere it listens, in the order of [`Config::listeners`].
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Reads the TLS certificate and key anew, soon and in another thread. Says whether there are any.
    pub fn reload_tls(&self) -> bool {
        let renewals = self.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(renewals) = &*renewals {
            // An error says that a request waits already, which is as good.
            let _as_good = renewals.try_send(());
        }
        renewals.is_some()
    }

    /// How often something has happened so far.
    pub fn count(&self, counter: Counter) -> u64 {
        self.metrics.get(counter)
    }

    /// What may be seen of it from outside. It outlives the relay.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Whether it is to be sent new peers.
    pub fn readiness(&self) -> &Readiness {
        &self.shared.readiness
    }

    /// The mesh: who is connected and what was heard.
    pub fn mesh(&self) -> &Mesh {
        &self.shared.mesh
    }

    /// Accepts no more and closes all peers with 1012, spread over the drain time.
    pub fn stop(&self) {
        self.readiness().set(Reason::Draining, true);
        let drain_time = self.config().drain_time;
        self.close_listeners();
        for dialler in &self.diallers {
            // An error says that it has ended.
            let _ended = dialler.send(LinkEvent::Stop);
        }
        drop(self.renewals.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(porch) = &self.porch {
            porch.close();
        }
        let ends = Instant::now() + drain_time + STOP_GRACE;
        for reactor in &self.reactors {
            reactor.send(Command::Stop(ends));
        }
        self.tell_writers(Outbound::Drain(drain_time));
    }

    /// Waits until a relay that was [stopped](Self::stop) has ended.
    pub fn join(&self) {
        let deadline = Instant::now() + self.config().drain_time + STOP_GRACE;
        while self.has_clients() && Instant::now() < deadline {
            thread::sleep(POLL_PAUSE);
        }
        self.tell_writers(Outbound::DrainLinks);
        // Writers end when nobody can send to them any more.
        drop(self.outbox.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Relay {
    /// Somebody is connected who is no link.
    fn has_clients(&self) -> bool {
        self.shared.open.load(Ordering::Relaxed) > self.shared.links.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    /// Its threads end by themselves.
    fn drop(&mut self) {
        self.stop();
    }
}

/// What starting threads needs.
struct Starter {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    memory: Arc<Memory>,
    budget: Arc<Budget>,
    lanes: Vec<Lane>,
    threads: Vec<JoinHandle<()>>,
    rosters: Vec<Arc<Roster>>,
    links: Vec<Arc<Link>>,
}

impl Starter {
    fn outbox(&self) -> Outbox {
        Outbox::new(self.lanes.clone(), self.budget.clone(), self.metrics.for_thread())
    }

    /// A shortage of memory wakes everybody.
    fn set_alarm(&self, reactors: &[ReactorHandle]) {
        let wakers: Vec<_> = reactors.iter().map(|reactor| reactor.waker.clone()).collect();
        let bells: Vec<_> = self.lanes.iter().map(Lane::bell).collect();
        self.memory.set_alarm(move || {
            for waker in &wakers {
                // An error says that the reactor has ended.
                let _ended = waker.wake();
            }
            bells.iter().for_each(|bell| bell.ring());
        });
    }

    fn start_writer(&mut self, index: usize) -> io::Result<()> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), BELL)?;
        let (lane, queue, bell) = queue::lane(self.shared.config.queue_turns_max, waker);
        self.lanes.push(lane);
        let config = self.shared.config.clone();
        let gauge = self.memory.of_writer(index, config.reactors);
        let name = format!("writer-{index}");
        let writer = Writer::new(writer::Parts {
            index,
            poll,
            queue,
            bell,
            config,
            counters: self.metrics.for_thread(),
            figures: self.metrics.for_loop(name.clone()),
            batches: self.metrics.for_batches(),
            keeper: Keeper::new(self.memory.clone(), gauge),
        });
        self.spawn(name, move || writer.run())
    }

    fn start_web(&self) -> io::Result<Option<Arc<Web>>> {
        let config = &self.shared.config;
        let start = |dir: &PathBuf| Web::start(dir, config, self.metrics.for_thread());
        config.www.as_ref().map(start).transpose()
    }

    fn start_reactor(
        &mut self,
        index: usize,
        porch: Option<Arc<Porch>>,
        web: Option<Arc<Web>>,
    ) -> io::Result<ReactorHandle> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), COMMANDS)?);
        let (sender, commands) = crossbeam_channel::bounded(COMMANDS_MAX);
        let shared = self.shared.clone();
        let limits = Limits {
            message_units_max: shared.config.message_bytes_max,
            depth_max: shared.config.message_depth_max,
        };
        let name = format!("reactor-{index}");
        let roster = Arc::new(Roster::default());
        self.rosters.push(roster.clone());
        let reactor = Reactor::new(reactor::Parts {
            poll,
            index,
            porch,
            web,
            commands,
            router: Router::new(shared.mesh.clone(), limits, rand::random()),
            outbox: self.outbox(),
            counters: self.metrics.for_thread(),
            figures: self.metrics.for_loop(name.clone()),
            roster,
            ages_memory: index == 0,
            keeper: Keeper::new(self.memory.clone(), self.memory.of_reactor(index)),
            shared,
        });
        self.spawn(name, move || reactor.run())?;
        Ok(ReactorHandle { commands: sender, waker })
    }

    fn start_shaker(
        &mut self,
        index: usize,
        lane: handshake::Lane,
        porch: &Arc<Porch>,
        identity: &Arc<Identity>,
        reactors: &[ReactorHandle],
    ) -> io::Result<()> {
        let shaker = Shaker::new(handshake::Parts {
            lane,
            porch: porch.clone(),
            identity: identity.clone(),
            doors: ReactorDoors { reactors: reactors.to_vec(), shared: self.shared.clone() },
            timeout: self.shared.config.handshake_timeout,
            counters: self.metrics.for_thread(),
        });
        self.spawn(format!("tls-{index}"), move || shaker.run())
    }

    /// It is not waited for when the relay stops: it holds nothing.
    fn start_renewal(&self, identity: &Arc<Identity>) -> io::Result<Sender<()>> {
        let (sender, requests) = crossbeam_channel::bounded(1);
        let (reloader, counters) = (Reloader::new(identity.clone()), self.metrics.for_thread());
        let run = move || renewal::run(reloader, requests, counters);
        thread::Builder::new().name("tls-renewal".to_owned()).spawn(run)?;
        Ok(sender)
    }

    fn start_dialler(
        &mut self,
        url: &PeerUrl,
        roots: Option<Arc<ClientConfig>>,
        reactor: ReactorHandle,
        outbox: &mut Outbox,
    ) -> io::Result<Sender<LinkEvent>> {
        let config = &self.shared.config;
        let peer = self.shared.next_peer();
        // Before the dialler runs: its connection is not to reach the writer first.
        outbox.push(peer, Outbound::Expect(peer));
        outbox.flush();
        let (sender, events) = crossbeam_channel::unbounded();
        let link = Arc::new(Link::new(peer, url.name.clone(), sender.clone()));
        self.links.push(link.clone());
        let dialler = Dialer {
            url: url.clone(),
            roots,
            events,
            sink: Sink { link, reactor, shared: self.shared.clone() },
            limits: HeadLimits { head_bytes_max: config.head_bytes_max, ..HeadLimits::default() },
            timing: Timing { handshake: config.handshake_timeout, ..Timing::default() },
        };
        // It is not waited for when the relay stops: it may sit in a name lookup, and holds nothing.
        thread::Builder::new().name("dialler".to_owned()).spawn(move || dial::run(dialler))?;
        Ok(sender)
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }
}

/// What a dialler does with a link.
struct Sink {
    link: Arc<Link>,
    reactor: ReactorHandle,
    shared: Arc<Shared>,
}

impl LinkSink for Sink {
    fn opened(&self, socket: TcpStream, session: Option<Box<Session>>, early: Vec<u8>) {
        self.reactor.send(Command::Adopt(socket, session, early, self.link.clone()));
    }

    fn still_twin(&self) -> bool {
        self.link.has_twin(&self.shared.mesh.peers)
    }
}

/// Where connections go after their TLS handshake.
struct ReactorDoors {
    reactors: Vec<ReactorHandle>,
    shared: Arc<Shared>,
}

impl Doors for ReactorDoors {
    fn enter(&self, reactor: usize, secured: Secured) {
        self.reactors[reactor].send(Command::Welcome(secured));
    }

    fn lost(&self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who the relay is, if it speaks TLS.
fn load_identity(config: &Config) -> io::Result<Option<Arc<Identity>>> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let identity = Identity::load(tls.files.clone()).map_err(io::Error::other)?;
    Ok(Some(Arc::new(identity)))
}

/// Whom links trust, if one of them needs it.
fn load_roots(config: &Config) -> io::Result<Option<Arc<ClientConfig>>> {
    if !config.peers.iter().any(|peer| peer.is_tls) {
        return Ok(None);
    }
    trust::client_config(config.tls_roots.as_deref()).map(Some).map_err(io::Error::other)
}

/// Listeners at all addresses, those of the public one first.
///
/// # Errors
/// An address cannot be listened on, and what to do about it.
pub fn listen_everywhere(config: &Config) -> io::Result<Vec<StdTcpListener>> {
    let mut listeners = Vec::new();
    for (address, _) in config.listeners() {
        let flag = if address == config.listen[0] { "--listen" } else { "--tls-listen" };
        let here = listen_all(address, config.reactors);
        listeners.extend(here.map_err(|error| explain(error, address, flag))?);
    }
    Ok(listeners)
}

/// The error of listening in words that help; `flag` is what chose the address.
pub fn explain(error: io::Error, listen: SocketAddr, flag: &str) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(": something else listens there; choose another with {flag}")
        }
        io::ErrorKind::PermissionDenied => {
            ": ports below 1024 need a privilege; try another".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => ": this machine does not have that address".to_owned(),
        _ => String::new(),
    };
    io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}{advice}"))
}

/// Where they listen, each address once.
fn addresses(listeners: &[StdTcpListener]) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for listener in listeners {
        let address = listener.local_addr()?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// A listener for each reactor on the same address: the kernel spreads connections over them.
pub fn listen_all(address: SocketAddr, count: usize) -> io::Result<Vec<StdTcpListener>> {
    // A shared port would be shared with a relay that runs already: find out alone first.
    if address.port() != 0 {
        drop(listen(address, false)?);
    }
    let mut listeners: Vec<StdTcpListener> = Vec::new();
    while listeners.len() < count {
        // With port 0 the others need the port that the first one got.
        let address = listeners.first().map_or(Ok(address), StdTcpListener::local_addr)?;
        listeners.push(listen(address, true)?.into());
    }
    Ok(listeners)
}

fn listen(address: SocketAddr, is_shared: bool) -> io::Result<socket2::Socket> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    Ok(socket)
}

fn random_secret() -> [u8; 192] {
    let mut secret = [0; 192];
    rand::rng().fill(&mut secret);
    secret
}
