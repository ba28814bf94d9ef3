//! The life of the process that serves: signals, reload, drain, and making room for the next process.
//!
//! Owns: what happens at which signal, in which order. Must not know: how the relay works inside.
//!
//! | signal | what happens |
//! |---|---|
//! | SIGHUP | the settings are read again, and the TLS certificate; what can change does |
//! | SIGUSR2 | a new process of the program takes over ([`upgrade`]) |
//! | SIGTERM, SIGINT | drain and end; the second one ends at once |

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::cli::{self, Order};
use crate::config::{Config, Loaded};
use crate::logs::Logs;
use crate::net::listen;
use crate::net::relay::Relay;
use watch::Watch;

pub mod notify;
pub mod upgrade;
pub mod watch;

/// Beyond its drain, what a process asks the service manager for to end in.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// What the main thread waits for.
#[derive(Debug)]
enum Event {
    /// A signal.
    Signal(i32),
    /// A new process serves.
    Upgraded,
    /// It does not; why.
    UpgradeFailed(io::Error),
}

/// A process that serves.
struct Service {
    loaded: Loaded,
    logs: Logs,
    relay: Arc<Relay>,
    admin: Watch,
    sender: Sender<Event>,
    events: Receiver<Event>,
    is_upgrading: bool,
}

/// Serves until it is told to stop.
pub fn run(loaded: Loaded) -> ExitCode {
    let logs = Logs::start(&loaded.config);
    match Service::start(loaded, logs).map(Service::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

impl Service {
    fn start(loaded: Loaded, logs: Logs) -> io::Result<Service> {
        let (sender, events) = crossbeam_channel::unbounded();
        watch_signals(sender.clone())?;
        let config = &loaded.config;
        let relay = match cli::is_successor() {
            true => upgrade::take_over(config)?,
            false => {
                let relay = Relay::prepare(config.clone(), listeners(config)?)?;
                relay.serve()?;
                relay
            }
        };
        for line in config.start_lines(relay.addresses()) {
            tracing::info!("{line}");
        }
        let admin = Watch::start(config.admin, relay.view())?;
        let relay = Arc::new(relay);
        notify::ready(relay.address());
        notify::start_watchdog(relay.clone());
        Ok(Service { loaded, logs, relay, admin, sender, events, is_upgrading: false })
    }

    fn serve(mut self) {
        while let Ok(event) = self.events.recv() {
            match event {
                Event::Signal(SIGHUP) => self.reload(),
                Event::Signal(SIGUSR2) => self.upgrade(),
                Event::Signal(_) => return self.stop(),
                Event::Upgraded => return self.retire(),
                Event::UpgradeFailed(error) => {
                    self.is_upgrading = false;
                    tracing::error!("the new process does not serve, this one goes on: {error}");
                }
            }
        }
    }

    /// Reads the settings again. One that is wrong changes nothing.
    fn reload(&mut self) {
        notify::reloading();
        match Order::read_settings() {
            Err(error) => {
                let text = error.to_string();
                let text = text.trim_start_matches("error: ").trim_end();
                tracing::error!("reload: nothing is changed: {text}");
            }
            Ok(new) => self.apply(&new),
        }
        self.relay.reload_tls();
        notify::ready(self.relay.address());
    }

    fn apply(&mut self, new: &Loaded) {
        let changes = self.loaded.reload(new);
        self.logs.reload(&self.loaded.config);
        self.relay.reload(self.loaded.config.clone());
        for change in &changes {
            match change.is_reloadable {
                true => tracing::info!("reload: {}", change.text),
                false => tracing::warn!(
                    "reload: {} needs a new process: send SIGUSR2, or restart",
                    change.text
                ),
            }
        }
        tracing::info!("reload: done, {} settings differ", changes.len());
    }

    fn upgrade(&mut self) {
        if std::mem::replace(&mut self.is_upgrading, true) {
            return tracing::warn!("an upgrade is under way already");
        }
        let (relay, sender) = (self.relay.clone(), self.sender.clone());
        thread::spawn(move || {
            let event = match upgrade::start_successor(&relay) {
                Ok(()) => Event::Upgraded,
                Err(error) => Event::UpgradeFailed(error),
            };
            // The main thread may have been told to stop meanwhile.
            let _stopped = sender.send(event);
        });
    }

    /// Another process accepts from the same sockets: this one ends without a pause.
    fn retire(self) {
        tracing::info!("a new process serves; this one closes its peers and ends");
        self.relay.set_draining();
        self.admin.close();
        self.end_at_next_signal();
        self.relay.hand_over();
        self.end();
    }

    /// Says that it is not ready, serves a while longer, and closes all peers.
    fn stop(self) {
        self.relay.set_draining();
        let delay = self.loaded.config.drain_delay;
        notify::stopping(delay + self.loaded.config.drain_time + STOP_MARGIN);
        if !delay.is_zero() {
            tracing::info!("stopping: not ready any more, serving for another {delay:?}");
            if self.is_told_again_within(delay) {
                std::process::exit(1);
            }
        }
        tracing::info!("stopping: closing all peers; a second signal ends this at once");
        self.end_at_next_signal();
        self.end();
    }

    fn end(&self) {
        self.relay.stop();
        self.relay.join();
        tracing::info!("stopped");
    }

    fn is_told_again_within(&self, delay: Duration) -> bool {
        let deadline = Instant::now() + delay;
        loop {
            match self.events.recv_deadline(deadline) {
                Ok(Event::Signal(SIGINT | SIGTERM)) => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn end_at_next_signal(&self) {
        let events = self.events.clone();
        thread::spawn(move || {
            let is_end = |event: &Event| matches!(event, Event::Signal(SIGINT | SIGTERM));
            if events.iter().any(|event| is_end(&event)) {
                std::process::exit(1);
            }
        });
    }
}

fn watch_signals(sender: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR2])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if sender.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The listening sockets: those of a socket unit, or new ones.
fn listeners(config: &Config) -> io::Result<Vec<TcpListener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        listeners.extend(passed.take_tcp_listener(index)?);
    }
    if let Some(first) = listeners.first() {
        tracing::info!("listening sockets come from the service manager");
        warn_of_address(first.local_addr()?, config);
        return Ok(listeners);
    }
    listen::everywhere(config)
}

/// A socket that was passed is where it is, whatever is configured.
fn warn_of_address(address: SocketAddr, config: &Config) {
    let asked = config.listen[0];
    if asked.port() != 0 && asked != address {
        tracing::warn!("the listening sockets that were passed are at {address}, not at {asked}");
    }
}
