//! Who may come in: the checks between a connection's first byte and its upgrade.
//!
//! Owns: whom a connection comes from, who is refused and why, what refused ones are told and how
//! they are logged. Must not know: sockets' use, the mesh, what peers say.
//!
//! In order: a PROXY header ([`proxy`]) or nothing; the address's limits ([`crowd`]), at once, or
//! when a trusted proxy has named the client ([`forwarded`]); with the request its origin and token.
//! All of it happens once per connection, so locks are fine here.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use self::crowd::{Crowd, Limits, Pass};
use self::forwarded::Trusted;
use super::log_throttle::LogThrottle;
use crate::config;
use crate::metrics::Counter;
use crate::ws::upgrade::Request;

pub mod allowance;
pub mod bucket;
pub mod crowd;
pub mod forwarded;
pub mod proxy;
#[cfg(test)]
mod tests;

/// The query parameter that may carry the token, for clients that cannot set headers.
const TOKEN_PARAMETER: &str = "token";

/// Why a connection may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// `--connections-max` are open.
    Full,
    /// Nine tenths of `--memory-max` are in use.
    Memory,
    /// Too many connections of all together in a short time; when to come again.
    Pace(Duration),
    /// The address has as many connections as it may.
    AddressFull,
    /// The address connects too often; when to come again.
    AddressPace(Duration),
    /// A page of this origin may not connect.
    Origin,
    /// The token is missing or wrong.
    Token,
    /// A trusted proxy sent no PROXY header.
    NoProxyHeader,
    /// `--tls-handshakes-max` shake hands.
    TlsFull,
    /// As many requests for files are being answered as may be.
    Files,
    /// As many of the address are.
    AddressFiles,
}

impl Rejection {
    /// Counts those refused so.
    pub fn counter(self) -> Counter {
        match self {
            Rejection::Full => Counter::RejectedFull,
            Rejection::Memory => Counter::RejectedMemory,
            Rejection::Pace(_) => Counter::RejectedPace,
            Rejection::AddressFull => Counter::RejectedAddressFull,
            Rejection::AddressPace(_) => Counter::RejectedAddressPace,
            Rejection::Origin => Counter::RejectedOrigin,
            Rejection::Token => Counter::RejectedToken,
            Rejection::NoProxyHeader => Counter::RejectedProxyHeader,
            Rejection::TlsFull => Counter::RejectedTlsFull,
            Rejection::Files => Counter::RejectedWww,
            Rejection::AddressFiles => Counter::RejectedAddressWww,
        }
    }

    /// When the refused one may try again, if waiting helps.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Rejection::Pace(wait) | Rejection::AddressPace(wait) => Some(wait),
            Rejection::Full | Rejection::Memory | Rejection::AddressFull => {
                Some(Duration::from_secs(5))
            }
            Rejection::TlsFull | Rejection::Files | Rejection::AddressFiles => {
                Some(Duration::from_secs(1))
            }
            Rejection::Origin | Rejection::Token | Rejection::NoProxyHeader => None,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Rejection::Full => "this relay has as many connections as it may",
            Rejection::Memory => "this relay is short of memory",
            Rejection::Pace(_) => "too many connect to this relay at the same time",
            Rejection::AddressFull => "your address has as many connections as it may",
            Rejection::AddressPace(_) => "your address connects too often",
            Rejection::Origin => "pages of this origin may not connect to this relay",
            Rejection::Token => "this relay asks for a token, and it is missing or wrong",
            Rejection::NoProxyHeader => "this proxy is to send a PROXY header first, and did not",
            Rejection::TlsFull => "too many make a TLS handshake with this relay",
            Rejection::Files => "too many ask this relay for files at the same time",
            Rejection::AddressFiles => "your address asks for too many files at the same time",
        })
    }
}

/// The gate all reactors share: rules that do not change, and the crowd that is counted by them and by those to come.
#[derive(Debug)]
pub struct Admission {
    rules: config::Admission,
    trusted: Trusted,
    crowd: Crowd,
}

impl Admission {
    /// A gate nobody has passed yet.
    pub fn new(rules: &config::Admission, now: Instant) -> Self {
        Admission::of(rules, Crowd::new(Limits::of(rules), now))
    }

    /// A gate with other rules for the same crowd. Who is inside stays, and counts.
    pub fn with_rules(&self, rules: &config::Admission) -> Self {
        Admission::of(rules, self.crowd.with_limits(Limits::of(rules)))
    }

    fn of(rules: &config::Admission, crowd: Crowd) -> Self {
        Admission { trusted: Trusted::new(rules.trust.clone()), crowd, rules: rules.clone() }
    }

    /// Whether a connection from `sender` begins with a PROXY header.
    pub fn expects_proxy_header(&self, sender: SocketAddr) -> bool {
        self.rules.proxy_protocol && self.trusted.holds(sender.ip())
    }

    /// Whether `sender` is a proxy that will name its client.
    pub fn speaks_for_another(&self, sender: SocketAddr) -> bool {
        self.trusted.holds(sender.ip())
    }

    /// The client of a request that came from `sender`.
    pub fn client(&self, sender: SocketAddr, request: &Request) -> SocketAddr {
        match &request.forwarded_for {
            Some(list) => self.trusted.client(sender, list),
            None => sender,
        }
    }

    /// One more connection of `client`, counted until the pass is dropped. Proxies themselves have
    /// no limits of an address.
    ///
    /// # Errors
    /// It is one too many.
    pub fn enter(&self, client: SocketAddr, now: Instant) -> Result<Option<Pass>, Rejection> {
        match self.trusted.holds(client.ip()) {
            true => self.crowd.enter_unnamed(now).map(|()| None),
            false => self.crowd.enter(client.ip(), now),
        }
    }

    /// One more connection though there is no room for it: it may ask whether the relay is well, which a relay is that
    /// is full.
    ///
    /// # Errors
    /// Enough are asking; why there is no room.
    pub fn enter_to_ask(&self, rejection: Rejection) -> Result<Pass, Rejection> {
        self.crowd.enter_to_ask(rejection)
    }

    /// Whether the request for a WebSocket is one of those that may have it.
    ///
    /// # Errors
    /// Its origin or its token says no.
    pub fn check(&self, request: &Request) -> Result<(), Rejection> {
        if let Some(origin) = &request.origin
            && !self.rules.origins.is_empty()
            && !self.rules.origins.iter().any(|allowed| allowed.matches(origin))
        {
            return Err(Rejection::Origin);
        }
        match &self.rules.token {
            Some(token) if !tokens_in(request).any(|given| token.is(&given)) => {
                Err(Rejection::Token)
            }
            _ => Ok(()),
        }
    }
}

/// What the request offers as a token: its bearer credentials (RFC 6750 section 2.1), then its query.
fn tokens_in(request: &Request) -> impl Iterator<Item = Vec<u8>> {
    let bearer = request.authorization.as_deref().and_then(|credentials| {
        let (scheme, token) = credentials.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().as_bytes().to_vec())
    });
    let parameters = request.query.as_deref().unwrap_or_default().split('&');
    let named = parameters.filter_map(|parameter| parameter.split_once('='));
    let named = named.filter(|(name, _)| *name == TOKEN_PARAMETER);
    bearer.into_iter().chain(named.map(|(_, value)| percent_decoded(value)))
}

/// The bytes a URL's part stands for (RFC 3986 section 2.1); what is no escape is itself.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escape = after.first_chunk::<2>().filter(|_| byte == b'%');
        let hex = escape.and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => {
                decoded.push(escaped);
                rest = &after[2..];
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

/// The log lines of a thread about those it refused: the first of a kind at once, then few.
#[derive(Debug, Default)]
pub struct RefusalLog(LogThrottle<Counter>);

impl RefusalLog {
    /// Notes a refusal.
    pub fn note(&mut self, rejection: Rejection, address: SocketAddr, now: Instant) {
        if let Some(due) = self.0.note(rejection.counter(), now) {
            tracing::warn!(%address, "turned away{due}: {rejection}");
        }
    }
}
