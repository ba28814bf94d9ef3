//! A whole relay: its threads, from start to stop.
//!
//! Owns: in which order things start and end. Must not know: what the threads are made of
//! (`threads` beneath this file), what they do. `handover` is how one process follows another.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use mio::net::TcpListener;
use rustls::ClientConfig;

use super::dial::LinkEvent;
use super::handshake::HandshakePool;
use super::listen::{self, Listener};
use super::memory::Pressure;
use super::queue::{Outbound, Outbox};
use super::reactor::command::Command;
use super::reactor::shared::Shared;
use super::view::View;
use super::web;
use crate::config::Config;
use crate::dam::mesh::Mesh;
use crate::metrics::Counter;
use crate::tls::identity::Identity;
use crate::tls::trust;
use threads::{ReactorHandle, Starter};

mod handover;
mod threads;

/// Between two looks at how far something is.
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// Beyond the drain, for peers to hang up.
const STOP_GRACE: Duration = Duration::from_secs(6);

/// A relay that runs.
pub struct Relay {
    places: Vec<(SocketAddr, bool)>,
    view: View,
    /// Gone when the relay accepts no more.
    listeners: Mutex<Vec<Listener>>,
    reactors: Vec<ReactorHandle>,
    diallers: Vec<Sender<LinkEvent>>,
    /// With TLS.
    tls_pool: Option<Arc<HandshakePool>>,
    /// With TLS, until the relay stops: asks for the certificate to be read anew.
    renewals: Mutex<Option<Sender<()>>>,
    /// For what the relay itself has to tell its writers; gone when it is joined.
    outbox: Mutex<Option<Outbox>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Relay {
    /// Starts a relay. It serves until [`stop`](Self::stop).
    ///
    /// # Errors
    /// An address cannot be listened on, the certificate cannot be used, there are no roots for links
    /// that need them, or the process may not have the threads or files it needs.
    pub fn start(config: Config) -> io::Result<Relay> {
        let listeners = listen::everywhere(&config)?;
        let relay = Relay::prepare(config, listeners)?;
        relay.serve()?;
        Ok(relay)
    }

    /// Whether a relay would find what this configuration names: certificate and key, roots for links that need them,
    /// the directory of files. Addresses are not tried: a relay that runs has them.
    ///
    /// # Errors
    /// Something cannot be used, for an operator to read.
    pub fn check(config: &Config) -> io::Result<()> {
        load_identity(config)?;
        load_roots(config)?;
        config.www.as_deref().map(web::open_site).transpose()?;
        Ok(())
    }

    /// Starts a relay that does everything but accept connections from `listeners`, of which there is at least one,
    /// until it [serves](Self::serve).
    ///
    /// # Errors
    /// The certificate cannot be used, there are no roots for links that need them, there is no directory of files
    /// where one is configured, or the process may not have the threads or files it needs.
    pub fn prepare(config: Config, listeners: Vec<Listener>) -> io::Result<Relay> {
        let identity = load_identity(&config)?;
        let roots = load_roots(&config)?;
        let places = listen::places(&listeners)?;
        let config = Arc::new(config);
        let mut starter = Starter::new(config.clone());
        starter.start_writers()?;
        let (mut tls_pool, mut renewals) = (None, None);
        if let Some(identity) = &identity {
            let (pool, lanes) = starter.build_tls_pool()?;
            starter.start_reactors(Some(&pool))?;
            starter.start_tls_workers(&pool, lanes, identity)?;
            renewals = Some(starter.start_renewal(identity)?);
            tls_pool = Some(pool);
        } else {
            starter.start_reactors(None)?;
        }
        starter.set_alarm();
        starter.start_giving_back()?;
        let mut outbox = starter.outbox();
        let diallers = starter.start_diallers(roots.as_ref(), &mut outbox)?;
        Ok(Relay {
            places,
            view: starter.view(),
            listeners: Mutex::new(listeners),
            reactors: starter.reactors,
            diallers,
            tls_pool,
            renewals: Mutex::new(renewals),
            outbox: Mutex::new(Some(outbox)),
            threads: Mutex::new(starter.threads),
        })
    }

    /// Whether there is memory for more.
    pub fn pressure(&self) -> Pressure {
        self.view.memory().pressure()
    }

    /// Accepts connections. A listener is shared where there are more reactors, and a reactor has several where there
    /// are more listeners.
    ///
    /// # Errors
    /// The process may not open more files.
    pub fn serve(&self) -> io::Result<()> {
        let listeners = lock(&self.listeners);
        let mut shares = Vec::new();
        for (reactor, listener) in self.shares(&listeners)? {
            let socket = listener.socket.try_clone()?;
            socket.set_nonblocking(true)?;
            shares.push((reactor, socket, listener.is_tls));
        }
        // Nothing can fail from here on: nobody is accepted whom this relay would then drop.
        for (reactor, socket, is_tls) in shares {
            reactor.send(Command::Listen(TcpListener::from_std(socket), is_tls));
        }
        Ok(())
    }

    /// Which reactor accepts from which listener: of each address, each has one.
    fn shares<'a>(
        &'a self,
        listeners: &'a [Listener],
    ) -> io::Result<Vec<(&'a ReactorHandle, &'a Listener)>> {
        let mut shares = Vec::new();
        for (address, _) in &self.places {
            let mut here = Vec::new();
            for listener in listeners {
                if listener.socket.local_addr()? == *address {
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

    /// What may change while the relay runs is from now on as in `config`.
    pub fn reload(&self, config: Config) {
        let config = Arc::new(config);
        *lock(&self.view.config) = config.clone();
        self.shared().admit_by(&config.admission);
        for reactor in &self.reactors {
            reactor.send(Command::Reload(config.clone()));
        }
        self.tell_writers(Outbound::Reload(config));
    }

    /// Whether every thread that reads or writes answers within `limit`, and no other one has been in one turn for longer.
    pub fn is_alive(&self, limit: Duration) -> bool {
        let expected = self.reactors.len() + self.shared().config.writers;
        let (sender, answers) = crossbeam_channel::bounded(expected);
        let deadline = Instant::now() + limit;
        for reactor in &self.reactors {
            reactor.send(Command::Probe(sender.clone()));
        }
        self.tell_writers(Outbound::Probe(sender));
        let have_answered = (0..expected).all(|_| answers.recv_deadline(deadline).is_ok());
        have_answered && self.view.threads_awake_for(limit).is_empty()
    }

    fn tell_writers(&self, item: Outbound) {
        let mut outbox = lock(&self.outbox);
        if let Some(outbox) = &mut *outbox {
            outbox.push_to_all(item);
            outbox.flush();
        }
    }

    fn close_listeners(&self) {
        lock(&self.listeners).clear();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.places[0].0
    }

    /// Everywhere it listens, and whether TLS is spoken there.
    pub fn places(&self) -> &[(SocketAddr, bool)] {
        &self.places
    }

    /// Reads the TLS certificate and key anew, soon and in another thread. Says whether there are any.
    pub fn reload_tls(&self) -> bool {
        let renewals = lock(&self.renewals);
        if let Some(renewals) = &*renewals {
            // An error says that a request waits already, which is as good.
            let _as_good = renewals.try_send(());
        }
        renewals.is_some()
    }

    /// How often something has happened so far.
    pub fn count(&self, counter: Counter) -> u64 {
        self.view.metrics().get(counter)
    }

    /// What may be seen of it from outside. It outlives the relay.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// From now on, whoever asks is told that no new peers should be sent here.
    pub fn set_draining(&self) {
        self.shared().is_draining.store(true, Ordering::Relaxed);
    }

    /// It stops, or hands over to another process.
    pub fn is_draining(&self) -> bool {
        self.shared().is_draining.load(Ordering::Relaxed)
    }

    /// The mesh: who is connected and what was heard.
    pub fn mesh(&self) -> &Mesh {
        self.view.mesh()
    }

    /// Accepts no more and closes all peers with 1012, spread over the drain time.
    pub fn stop(&self) {
        self.set_draining();
        let drain_time = self.view.config().drain_time;
        self.close_listeners();
        for dialler in &self.diallers {
            // An error says that it has ended.
            let _ended = dialler.send(LinkEvent::Stop);
        }
        drop(lock(&self.renewals).take());
        if let Some(pool) = &self.tls_pool {
            pool.close();
        }
        let ends = Instant::now() + drain_time + STOP_GRACE;
        for reactor in &self.reactors {
            reactor.send(Command::Stop(ends));
        }
        self.tell_writers(Outbound::Drain(drain_time));
    }

    /// Waits until a relay that was [stopped](Self::stop) has ended.
    pub fn join(&self) {
        let deadline = Instant::now() + self.view.config().drain_time + STOP_GRACE;
        while self.has_clients() && Instant::now() < deadline {
            thread::sleep(POLL_PAUSE);
        }
        self.tell_writers(Outbound::DrainLinks);
        // Writers end when nobody can send to them any more.
        drop(lock(&self.outbox).take());
        let mut threads = lock(&self.threads);
        for thread in threads.drain(..) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// Somebody is connected who is no link.
    fn has_clients(&self) -> bool {
        let Shared { open, links, .. } = self.shared();
        open.load(Ordering::Relaxed) > links.load(Ordering::Relaxed)
    }

    fn shared(&self) -> &Shared {
        &self.view.shared
    }
}

impl Drop for Relay {
    /// Its threads end by themselves.
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
