//! The threads of a relay.
//!
//! Owns: what each kind of thread is made of, and the way to a reactor. Must not know: in which
//! order they start and end.

use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crossbeam_channel::Sender;
use mio::{Poll, Waker};
use rustls::ClientConfig;

use crate::config::{Config, PeerUrl};
use crate::dam::batch::Limits;
use crate::dam::mesh::Router;
use crate::metrics::Metrics;
use crate::net::conn::Link;
use crate::net::dial::{self, Dialer, LinkEvent, LinkSink, Timing};
use crate::net::handshake::{self, HandshakePool, HandshakeWorker, Secured, SecuredSink};
use crate::net::memory::{Keeper, Memory, give_back};
use crate::net::queue::{self, Budget, Lane, Outbound, Outbox};
use crate::net::reactor::command::Command;
use crate::net::reactor::shared::Shared;
use crate::net::reactor::token::COMMANDS;
use crate::net::reactor::{self, Reactor};
use crate::net::renewal;
use crate::net::roster::Roster;
use crate::net::session::Session;
use crate::net::view::{Depth, View};
use crate::net::web::Web;
use crate::net::writer::{self, BELL, Writer};
use crate::tls::identity::Identity;
use crate::tls::reload::Reloader;
use crate::ws::upgrade::HeadLimits;

/// Commands that may wait for a reactor. Each dialler and each thread that shakes hands has one on its
/// way at most, and waits with it.
const COMMANDS_MAX: usize = 1024;

/// The threads that were started so far, and what those to come need.
pub struct Starter {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    memory: Arc<Memory>,
    budget: Arc<Budget>,
    lanes: Vec<Lane>,
    queues: Vec<Depth>,
    rosters: Vec<Arc<Roster>>,
    links: Vec<Arc<Link>>,
    /// The ways to the reactors.
    pub reactors: Vec<ReactorHandle>,
    /// Those that are waited for when the relay stops.
    pub threads: Vec<JoinHandle<()>>,
}

impl Starter {
    /// No thread yet.
    pub fn new(config: Arc<Config>) -> Self {
        let memory = Arc::new(Memory::new(&config));
        Starter {
            budget: Budget::counted(config.queue_bytes_max, memory.of_all()),
            shared: Arc::new(Shared::new(config)),
            metrics: Arc::new(Metrics::default()),
            memory,
            lanes: Vec::new(),
            queues: Vec::new(),
            rosters: Vec::new(),
            links: Vec::new(),
            reactors: Vec::new(),
            threads: Vec::new(),
        }
    }

    /// What may be seen of the relay.
    pub fn view(&self) -> View {
        View {
            shared: self.shared.clone(),
            config: Arc::new(Mutex::new(self.shared.config.clone())),
            metrics: self.metrics.clone(),
            budget: self.budget.clone(),
            memory: self.memory.clone(),
            rosters: self.rosters.clone(),
            links: self.links.clone(),
            queues: self.queues.clone(),
        }
    }

    /// A way to the writers, of which all have been started.
    pub fn outbox(&self) -> Outbox {
        let (placement, budget) = (self.shared.placement.clone(), self.budget.clone());
        Outbox::new(self.lanes.clone(), placement, budget, self.metrics.for_thread())
    }

    /// A shortage of memory wakes everybody.
    pub fn set_alarm(&self) {
        let wakers: Vec<_> = self.reactors.iter().map(|reactor| reactor.waker.clone()).collect();
        let bells: Vec<_> = self.lanes.iter().map(Lane::bell).collect();
        self.memory.set_alarm(move || {
            for waker in &wakers {
                // An error says that the reactor has ended.
                let _ended = waker.wake();
            }
            bells.iter().for_each(|bell| bell.ring());
        });
    }

    /// Starts the thread that gives freed memory back.
    ///
    /// It is not waited for when the relay stops: it holds nothing.
    pub fn start_giving_back(&self) -> io::Result<()> {
        give_back::start(&self.memory, &self.shared.mesh)
    }

    /// Starts the writers.
    pub fn start_writers(&mut self) -> io::Result<()> {
        (0..self.shared.config.writers).try_for_each(|index| self.start_writer(index))
    }

    fn start_writer(&mut self, index: usize) -> io::Result<()> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), BELL)?;
        let (lane, queue, bell) = queue::lane(self.shared.config.queue_turns_max, waker);
        self.lanes.push(lane);
        self.queues.push(Depth::of(&queue));
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
            faults: RefCell::default(),
            keeper: Keeper::new(self.memory.clone(), gauge),
        });
        self.spawn(name, move || writer.run())
    }

    /// Starts the reactors, and the thread that serves files, if there are any.
    pub fn start_reactors(&mut self, tls_pool: Option<&Arc<HandshakePool>>) -> io::Result<()> {
        let config = self.shared.config.clone();
        let start_web = |dir: &PathBuf| Web::start(dir, self.metrics.for_thread());
        let web = config.www.as_ref().map(start_web).transpose()?;
        for index in 0..config.reactors {
            self.start_reactor(index, tls_pool.cloned(), web.clone())?;
        }
        Ok(())
    }

    fn start_reactor(
        &mut self,
        index: usize,
        tls_pool: Option<Arc<HandshakePool>>,
        web: Option<Arc<Web>>,
    ) -> io::Result<()> {
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
            tls_pool,
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
        self.reactors.push(ReactorHandle { commands: sender, waker });
        self.spawn(name, move || reactor.run())
    }

    /// Where those who come for TLS shake hands, and the ends of its threads.
    pub fn build_tls_pool(&self) -> io::Result<(Arc<HandshakePool>, Vec<handshake::Lane>)> {
        let Config { tls_threads, tls_handshakes_max, .. } = *self.shared.config;
        let inside = self.shared.handshakes.clone();
        HandshakePool::build(tls_threads, tls_handshakes_max, inside, self.memory.clone())
    }

    /// Starts the threads of `pool`, which shake hands for TLS; each has one of its `lanes`.
    pub fn start_tls_workers(
        &mut self,
        pool: &Arc<HandshakePool>,
        lanes: Vec<handshake::Lane>,
        identity: &Arc<Identity>,
    ) -> io::Result<()> {
        let mut lanes = lanes.into_iter().enumerate();
        lanes.try_for_each(|(index, lane)| self.start_tls_worker(index, lane, pool, identity))
    }

    fn start_tls_worker(
        &mut self,
        index: usize,
        lane: handshake::Lane,
        pool: &Arc<HandshakePool>,
        identity: &Arc<Identity>,
    ) -> io::Result<()> {
        let name = format!("tls-{index}");
        let worker = HandshakeWorker::new(handshake::Parts {
            lane,
            pool: pool.clone(),
            identity: identity.clone(),
            sink: ReactorSink(self.reactors.clone()),
            counters: self.metrics.for_thread(),
            figures: self.metrics.for_loop(name.clone()),
        });
        self.spawn(name, move || worker.run())
    }

    /// Starts the thread that reads certificates anew when it is asked to.
    ///
    /// It is not waited for when the relay stops: it holds nothing.
    pub fn start_renewal(&self, identity: &Arc<Identity>) -> io::Result<Sender<()>> {
        let (sender, requests) = crossbeam_channel::bounded(1);
        let (reloader, counters) = (Reloader::new(identity.clone()), self.metrics.for_thread());
        let run = move || renewal::run(reloader, requests, counters);
        thread::Builder::new().name("tls-renewal".to_owned()).spawn(run)?;
        Ok(sender)
    }

    /// Starts a dialler for each configured peer. Links to those that speak TLS trust `roots`.
    pub fn start_diallers(
        &mut self,
        roots: Option<&Arc<ClientConfig>>,
        outbox: &mut Outbox,
    ) -> io::Result<Vec<Sender<LinkEvent>>> {
        let config = self.shared.config.clone();
        let mut diallers = Vec::new();
        for (index, url) in config.peers.iter().enumerate() {
            let reactor = self.reactors[index % self.reactors.len()].clone();
            let roots = roots.filter(|_| url.is_tls).cloned();
            diallers.push(self.start_dialler(url, roots, reactor, outbox)?);
        }
        Ok(diallers)
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
            limits: HeadLimits::new(config.head_bytes_max),
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

/// The way to a reactor.
#[derive(Clone)]
pub struct ReactorHandle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl ReactorHandle {
    /// Has the reactor do something, soon.
    pub fn send(&self, command: Command) {
        // An error says that the reactor has ended, as it does when the relay stops.
        let _ended = self.commands.send(command);
        let _ended = self.waker.wake();
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
struct ReactorSink(Vec<ReactorHandle>);

impl SecuredSink for ReactorSink {
    fn secured(&self, reactor: usize, secured: Secured) {
        self.0[reactor].send(Command::Welcome(secured));
    }
}
