//! Accepting connections, also when the process or the kernel is out of something.
//!
//! Owns: the listeners and when to ask them. Must not know: what becomes of a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::metrics::{Counter, Counters};

/// How long accepting pauses when the process is out of file descriptors or the kernel of memory.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How many acceptors of a relay are in a pause.
pub type Pauses = Arc<AtomicUsize>;

/// See the module's head.
pub struct Acceptor {
    pauses: Pauses,
    is_paused: bool,
    /// Empty before the relay serves and when it stops.
    listeners: Vec<TcpListener>,
    /// The one to be asked next.
    at: usize,
    /// When to ask them: they may have connections, or accepting is paused until then.
    due: Option<Instant>,
}

impl Acceptor {
    /// Without a listener; `pauses` counts it while it is in a pause.
    pub fn new(pauses: Pauses) -> Self {
        Acceptor { pauses, is_paused: false, listeners: Vec::new(), at: 0, due: None }
    }

    /// Accepts from `listener` as well, which `registry` is to watch under `token`.
    ///
    /// # Errors
    /// It cannot be watched.
    pub fn add(
        &mut self,
        mut listener: TcpListener,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        registry.register(&mut listener, token, Interest::READABLE)?;
        self.listeners.push(listener);
        Ok(())
    }

    /// When to call [`accept`](Self::accept) without an event. In the past: at once.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The poll says that connections wait.
    pub fn notice(&mut self, now: Instant) {
        self.at = 0;
        self.due.get_or_insert(now);
    }

    /// Accepts no more. What waits in the kernel is refused, unless another process has the listener too.
    pub fn stop(&mut self, registry: &Registry) {
        for mut listener in self.listeners.drain(..) {
            // A listener that another process has stays watched otherwise.
            let _unwatched = registry.deregister(&mut listener);
        }
        self.due = None;
        self.set_paused(false);
    }

    /// The next connection, if there is one and accepting is not paused.
    pub fn accept(&mut self, now: Instant, counters: &Counters) -> Option<(TcpStream, SocketAddr)> {
        self.due.filter(|due| *due <= now)?;
        while let Some(listener) = self.listeners.get(self.at) {
            match listener.accept() {
                Ok(connection) => {
                    self.set_paused(false);
                    counters.count(Counter::Accepted);
                    return Some(connection);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.at += 1,
                Err(error) if is_shortage(&error) => {
                    tracing::warn!(%error, "cannot accept connections; trying again in a second");
                    counters.count(Counter::AcceptPauses);
                    self.set_paused(true);
                    self.due = Some(now + ACCEPT_PAUSE);
                    return None;
                }
                // The connection was gone before it was accepted.
                Err(_) => {}
            }
        }
        self.due = None;
        self.set_paused(false);
        None
    }

    fn set_paused(&mut self, is_paused: bool) {
        match (std::mem::replace(&mut self.is_paused, is_paused), is_paused) {
            (false, true) => _ = self.pauses.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.pauses.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// The process or the kernel is out of something that may come back.
fn is_shortage(error: &io::Error) -> bool {
    use libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE | ENOMEM | ENOBUFS))
}
