//! Accepting connections, also when the process or the kernel is out of something.
//!
//! Owns: the listener and when to ask it. Must not know: what becomes of a connection.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};

use crate::metrics::{Counter, Counters};

/// How long accepting pauses when the process is out of file descriptors or the kernel of memory.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// See the module's head.
pub struct Acceptor {
    /// Its connections speak TLS.
    pub is_tls: bool,
    /// None when the relay stops.
    listener: Option<TcpListener>,
    /// When to ask the listener: it may have connections, or accepting is paused until then.
    due: Option<Instant>,
}

impl Acceptor {
    /// Accepts from `listener`, which a poll watches.
    pub fn new(listener: TcpListener, is_tls: bool) -> Self {
        Acceptor { is_tls, listener: Some(listener), due: None }
    }

    /// When to call [`accept`](Self::accept) without an event. In the past: at once.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The poll says that connections wait.
    pub fn notice(&mut self, now: Instant) {
        self.due.get_or_insert(now);
    }

    /// Accepts no more. What waits in the kernel is refused.
    pub fn stop(&mut self) {
        self.listener = None;
        self.due = None;
    }

    /// The next connection, if there is one and accepting is not paused.
    pub fn accept(&mut self, now: Instant, counters: &Counters) -> Option<(TcpStream, SocketAddr)> {
        let listener = self.listener.as_ref().filter(|_| self.due.is_some_and(|due| due <= now))?;
        loop {
            match listener.accept() {
                Ok(connection) => {
                    counters.count(Counter::Accepted);
                    return Some(connection);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.due = None;
                    return None;
                }
                Err(error) if is_shortage(&error) => {
                    tracing::warn!(%error, "cannot accept connections; trying again in a second");
                    counters.count(Counter::AcceptPauses);
                    self.due = Some(now + ACCEPT_PAUSE);
                    return None;
                }
                // The connection was gone before it was accepted.
                Err(_) => {}
            }
        }
    }
}

/// The process or the kernel is out of something that may come back.
fn is_shortage(error: &io::Error) -> bool {
    use libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE | ENOMEM | ENOBUFS))
}
