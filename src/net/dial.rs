//! Outbound links: one thread per configured peer, which dials, hands the open socket over and redials when the
//! link is gone.
//!
//! The list of peers is static and short, so a thread may block on name resolution, connecting and the handshake
//! without holding up any event loop. It owns *when* to dial; it knows neither messages nor queues: a socket leaves
//! through [`LinkSink`], what became of the link comes back as a [`LinkEvent`]. `redial` beneath this file has the
//! pauses, `line` a connection that is not a link yet.
//!
//! Invariants: at most one link per peer at a time; a peer is retried for ever (Gun gives up after two failures,
//! which leaves relays apart for good); only [`LinkEvent::Stop`] and a link to ourselves end the thread.

use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rand::RngExt;
use rustls::ClientConfig;
use tracing::{info, warn};
use tungstenite::handshake::client::generate_key;

use super::session::Session;
use crate::config::PeerUrl;
use crate::ws::upgrade::{HeadLimits, ResponseError, client_request, verify_response};
use line::Line;
use redial::{Outcome, Redial, Step};

mod line;
mod redial;

/// Gun's pause before a redial; what a link that lived, and a host that just went away, gets.
const REDIAL_FIRST: Duration = Duration::from_millis(1998);
/// For connecting to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For sending the request and receiving the whole response head.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often we look whether the twin of a closed link is still there.
const TWIN_POLL: Duration = Duration::from_secs(2);
/// A peer that lies about its pid passes for a twin, and must not cut a link for ever.
const TWIN_WAIT_MAX: Duration = Duration::from_secs(300);
/// Between two log lines about the same failing peer.
const FAILURE_LOG_GAP: Duration = Duration::from_secs(60);

/// What a dialler needs from the relay.
pub trait LinkSink: Send {
    /// Takes over an open link: a non-blocking socket, its TLS if it has any, and the bytes that followed the
    /// response head.
    fn opened(&self, socket: TcpStream, session: Option<Box<Session>>, early: Vec<u8>);

    /// Whether the relay at the other end is still connected to us through another link.
    fn still_twin(&self) -> bool;
}

/// What the relay tells a dialler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// The link that was handed over is gone.
    Closed {
        /// What that means for dialling again.
        end: LinkEnd,
        /// Why, for the log.
        reason: String,
    },
    /// The relay stops.
    Stop,
}

/// What the end of a link means for dialling again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEnd {
    /// Nothing special: redial.
    Lost,
    /// The URL leads to this relay: never again.
    Myself,
    /// The other relay is connected to us by another link: not while that one is there.
    Twin,
}

/// How long each phase may take.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For connecting to one address.
    pub connect: Duration,
    /// For the whole handshake on an open connection.
    pub handshake: Duration,
    /// The first pause before a redial.
    pub redial_first: Duration,
    /// Between two looks for a twin.
    pub twin_poll: Duration,
    /// The longest wait for a twin to go.
    pub twin_wait_max: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            connect: CONNECT_TIMEOUT,
            handshake: HANDSHAKE_TIMEOUT,
            redial_first: REDIAL_FIRST,
            twin_poll: TWIN_POLL,
            twin_wait_max: TWIN_WAIT_MAX,
        }
    }
}

/// An open link: its socket, its TLS if it has any, and the bytes that followed the response head.
type Opened = (TcpStream, Option<Box<Session>>, Vec<u8>);

/// The state of one peer's thread.
pub struct Dialer<S> {
    /// Whom to dial.
    pub url: PeerUrl,
    /// What a TLS peer is verified with; `None`: the URL is plain.
    pub roots: Option<Arc<ClientConfig>>,
    /// Where the relay says what became of the link; a closed channel counts as [`LinkEvent::Stop`].
    pub events: Receiver<LinkEvent>,
    /// Where open links go.
    pub sink: S,
    /// How large the head of the response may be.
    pub limits: HeadLimits,
    /// How long each phase may take.
    pub timing: Timing,
}

/// Dials until the relay stops or the peer turns out to be this relay.
pub fn run<S: LinkSink>(dialer: Dialer<S>) {
    let mut redial = Redial::new(dialer.timing.redial_first);
    let mut log = Log::new(&dialer.url);
    while !dialer.stopped_within(Duration::ZERO) {
        let outcome = match dialer.dial() {
            Ok(link) => match dialer.hold(link, &mut log) {
                Some(outcome) => outcome,
                None => return,
            },
            Err(error) => {
                log.failed(&error, Instant::now());
                Outcome::Failed
            }
        };
        let stopped = match redial.next(outcome, rand::rng().random_range(-1.0..=1.0)) {
            Step::Wait(pause) => dialer.stopped_within(pause),
            Step::StandBy => dialer.stand_by(&mut log),
            Step::End => return log.myself(),
        };
        if stopped {
            return;
        }
    }
}

impl<S: LinkSink> Dialer<S> {
    /// Resolves the host and tries its addresses in turn; the last failure counts.
    fn dial(&self) -> Result<Opened, DialError> {
        let addresses = (self.url.host.as_str(), self.url.port)
            .to_socket_addrs()
            .map_err(DialError::Resolve)?;
        let mut failure = DialError::Resolve(io::ErrorKind::NotFound.into());
        for address in addresses {
            let link = TcpStream::connect_timeout(&address, self.timing.connect)
                .map_err(DialError::Connect);
            match link.and_then(|socket| self.handshake(socket)) {
                Ok(link) => return Ok(link),
                Err(error) => failure = error,
            }
            if !self.events.is_empty() {
                // A stop is waiting: the other addresses do not matter any more.
                break;
            }
        }
        Err(failure)
    }

    fn handshake(&self, socket: TcpStream) -> Result<Opened, DialError> {
        let deadline = Instant::now() + self.timing.handshake;
        let key = generate_key();
        socket.set_nodelay(true)?;
        let mut line = match &self.roots {
            Some(roots) => Line::secure(socket, roots, &self.url.host, deadline)?,
            None => Line::plain(socket, deadline),
        };
        line.say(&client_request(&self.url.host_header, &self.url.path_and_query, &key))?;
        let mut input = Vec::new();
        let early = loop {
            line.hear(&mut input)?;
            if let Some(head_bytes) =
                verify_response(&input, &key, &self.limits).map_err(DialError::Refused)?
            {
                break input.split_off(head_bytes);
            }
        };
        line.hand_over(early)
    }

    /// Hands the link over and waits for its end; `None`: the relay stops.
    fn hold(&self, link: Opened, log: &mut Log) -> Option<Outcome> {
        let (socket, session, early) = link;
        log.opened(&socket);
        let opened_at = Instant::now();
        self.sink.opened(socket, session, early);
        let Ok(LinkEvent::Closed { end, reason }) = self.events.recv() else {
            return None;
        };
        let lived = opened_at.elapsed();
        if end == LinkEnd::Lost {
            log.lost(&reason, lived);
        }
        Some(Outcome::Closed { end, lived })
    }

    /// Waits until the twin is gone, but not for ever. Says whether the relay stops.
    fn stand_by(&self, log: &mut Log) -> bool {
        log.stand_by();
        let deadline = Instant::now() + self.timing.twin_wait_max;
        loop {
            if self.stopped_within(self.timing.twin_poll) {
                return true;
            }
            if !self.sink.still_twin() || Instant::now() >= deadline {
                return false;
            }
        }
    }

    /// Waits for `pause`, or shorter when the relay stops; says whether it does.
    fn stopped_within(&self, pause: Duration) -> bool {
        let deadline = Instant::now() + pause;
        loop {
            match self.events.recv_deadline(deadline) {
                // No link is open now: late news of one.
                Ok(LinkEvent::Closed { .. }) => {}
                Ok(LinkEvent::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

/// Why a dial failed, by whose fault.
#[derive(Debug)]
enum DialError {
    /// Name resolution.
    Resolve(io::Error),
    /// The network, or nobody listens.
    Connect(io::Error),
    /// The connection broke during the handshake.
    Broken(io::Error),
    /// The peer closed the connection instead of answering.
    HungUp,
    /// The peer did not finish the handshake in time.
    TimedOut,
    /// The peer's TLS is not acceptable: its certificate, as a rule.
    Tls(rustls::Error),
    /// The peer answered, but did not accept the WebSocket.
    Refused(ResponseError),
}

impl From<rustls::Error> for DialError {
    fn from(error: rustls::Error) -> DialError {
        DialError::Tls(error)
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> DialError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => DialError::TimedOut,
            _ => DialError::Broken(error),
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Resolve(error) => write!(out, "the name cannot be resolved: {error}"),
            DialError::Connect(error) => write!(out, "cannot connect: {error}"),
            DialError::Broken(error) => {
                write!(out, "the connection broke during the handshake: {error}")
            }
            DialError::HungUp => write!(out, "the peer hung up during the handshake"),
            DialError::TimedOut => write!(out, "the peer did not finish the handshake in time"),
            DialError::Tls(error) => write!(out, "TLS with the peer failed: {error}"),
            DialError::Refused(error) => write!(out, "{error}"),
        }
    }
}

/// The log lines of one peer, and what keeps them few.
#[derive(Debug)]
struct Log {
    name: String,
    /// The last line about a dial that failed, since the last link.
    failure_logged: Option<Instant>,
    /// Whether standing by has been logged, since the last link that was lost.
    stood_by: bool,
}

impl Log {
    fn new(url: &PeerUrl) -> Log {
        Log { name: url.name.clone(), failure_logged: None, stood_by: false }
    }

    fn opened(&mut self, socket: &TcpStream) {
        self.failure_logged = None;
        match socket.peer_addr() {
            Ok(address) => info!("link to {} is open ({address})", self.name),
            Err(_) => info!("link to {} is open", self.name),
        }
    }

    fn lost(&mut self, reason: &str, lived: Duration) {
        self.stood_by = false;
        warn!("link to {} is lost after {:.1} s: {reason}", self.name, lived.as_secs_f64());
    }

    fn failed(&mut self, error: &DialError, now: Instant) {
        if self.failure_is_news(now) {
            warn!("link to {} cannot be opened, retrying: {error}", self.name);
        }
    }

    /// The first failure is, then at most one a minute.
    fn failure_is_news(&mut self, now: Instant) -> bool {
        let news =
            self.failure_logged.is_none_or(|last| now.duration_since(last) >= FAILURE_LOG_GAP);
        if news {
            self.failure_logged = Some(now);
        }
        news
    }

    fn stand_by(&mut self) {
        if !std::mem::replace(&mut self.stood_by, true) {
            info!(
                "link to {} is not needed: that relay is connected to us by another link",
                self.name
            );
        }
    }

    fn myself(&self) {
        warn!("peer {} is this relay itself; it will not be dialled again", self.name);
    }
}

#[cfg(test)]
mod tests;
