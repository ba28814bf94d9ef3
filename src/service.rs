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
use crate::net::relay::Relay;
use sockets::Sockets;
use upgrade::{Attempt, Estate, Predecessor};
use watch::Watch;

pub mod notify;
pub mod sockets;
pub mod upgrade;
pub mod watch;

/// The id of the first process of a container: when it ends the kernel ends all others.
const FIRST_PROCESS: u32 = 1;
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
    /// The service manager chose where it listens.
    has_fixed_sockets: bool,
    /// The upgrade that is under way.
    upgrade: Option<Attempt>,
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
        let (relay, admin, has_fixed_sockets) = start_relay(config)?;
        for line in config.start_lines(relay.places()) {
            tracing::info!("{line}");
        }
        for fault in cli::unknown_variables() {
            tracing::warn!("{fault}");
        }
        let relay = Arc::new(relay);
        notify::ready(relay.address());
        notify::start_watchdog(relay.clone());
        Ok(Service { loaded, logs, relay, admin, sender, events, has_fixed_sockets, upgrade: None })
    }

    fn serve(mut self) {
        while let Ok(event) = self.events.recv() {
            match event {
                Event::Signal(SIGHUP) => self.reload(),
                Event::Signal(SIGUSR2) => self.upgrade(),
                Event::Signal(_) => return self.stop(),
                Event::Upgraded => return self.retire(),
                Event::UpgradeFailed(error) => {
                    self.upgrade = None;
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
        if self.upgrade.is_some() {
            return tracing::warn!("an upgrade is under way already");
        }
        if std::process::id() == FIRST_PROCESS {
            return tracing::error!(
                "upgrade: not begun, this one goes on: it is the first process of its container, which ends with it; \
                 start a container of the new image instead"
            );
        }
        let attempt = Attempt::default();
        self.upgrade = Some(attempt.clone());
        let (relay, sender) = (self.relay.clone(), self.sender.clone());
        let estate =
            Estate { are_fixed: self.has_fixed_sockets, admin: self.loaded.config.admin.address() };
        thread::spawn(move || {
            let event = match upgrade::start_successor(&relay, estate, &attempt) {
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
        if let Some(attempt) = &self.upgrade {
            tracing::warn!("stopping: the upgrade that is under way is called off");
            attempt.call_off();
        }
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

/// A relay that serves, what the operator sees of it, and whether the service manager chose where it listens.
///
/// All that can fail does so before the relay accepts anybody: if this process takes over from another, that one is
/// still there.
fn start_relay(config: &Config) -> io::Result<(Relay, Watch, bool)> {
    let (predecessor, sockets) = match cli::is_successor() {
        true => {
            let (predecessor, sockets) = Predecessor::meet()?;
            (Some(predecessor), Sockets::inherit(sockets, cli::has_fixed_sockets(), config)?)
        }
        false => (None, Sockets::open(config)?),
    };
    let relay = Relay::prepare(config.clone(), sockets.listeners)?;
    let admin = Watch::start(config.admin, relay.view())?;
    let joined = predecessor.map(|predecessor| predecessor.join(&relay)).transpose()?;
    relay.serve()?;
    if let Some(joined) = joined {
        joined.release();
    }
    Ok((relay, admin, sockets.are_fixed))
}
