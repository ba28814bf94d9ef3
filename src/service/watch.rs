//! Lets the operator look into the relay, where the configuration says.
//!
//! Owns: what happens when that place is taken. Must not know: what is shown there.
//!
//! A process that takes over from another finds the other one there. It waits until that one leaves.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Admin;
use crate::http_thread::Serving;
use crate::net::listen;
use crate::net::view::View;
use crate::{admin, cli};

/// How long a process waits for the one before it to leave.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Between two looks.
const WAIT_PAUSE: Duration = Duration::from_millis(50);

/// The operator's access, while there is one.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    serving: Arc<Mutex<Option<Serving>>>,
}

impl Watch {
    /// Opens the access.
    ///
    /// # Errors
    /// A place that was asked for cannot be listened on.
    pub fn start(setting: Admin, view: View) -> io::Result<Watch> {
        let watch = Watch::default();
        let Some(address) = setting.address() else { return Ok(watch) };
        match watch.open(address, &view) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && cli::may_hold_admin(address) =>
            {
                let waiting = watch.clone();
                thread::spawn(move || waiting.wait(address, &view));
            }
            Err(error) if setting == Admin::Usual => warn_of_absence(address, &error),
            Err(error) => return Err(listen::explain(error, address, "--admin")),
            Ok(()) => {}
        }
        Ok(watch)
    }

    /// Leaves the place to the next process.
    pub fn close(&self) {
        if let Some(serving) = self.lock().take() {
            serving.close();
        }
    }

    fn open(&self, address: SocketAddr, view: &View) -> io::Result<()> {
        let listener = TcpListener::bind(address)?;
        let (bound, serving) = admin::start(listener, view.clone())?;
        *self.lock() = Some(serving);
        tracing::info!("admin: http://{bound}/ (live page, /metrics, /livez, /readyz)");
        if !bound.ip().is_loopback() {
            tracing::warn!(
                "admin: whoever can reach {bound} can read addresses and pids of all peers"
            );
        }
        Ok(())
    }

    fn wait(&self, address: SocketAddr, view: &View) {
        let end = Instant::now() + WAIT_MAX;
        loop {
            match self.open(address, view) {
                Ok(()) => return,
                Err(error) if Instant::now() >= end => return warn_of_absence(address, &error),
                Err(_) => thread::sleep(WAIT_PAUSE),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Serving>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn_of_absence(address: SocketAddr, error: &io::Error) {
    tracing::warn!(
        "NO METRICS, NO HEALTH CHECKS, NO LIVE PAGE: cannot listen on {address}: {error}; \
         another relay here? Give this one --admin ADDRESS:PORT, or --admin off"
    );
}
