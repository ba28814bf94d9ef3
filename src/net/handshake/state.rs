//! A connection that shakes hands.
//!
//! Owns: how far it is, what it says before it is encrypted, and what it hears when it fails. Must not know: other
//! connections, polls, timeouts.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use rustls::{Connection, ServerConnection};

use super::{Newcomer, Permit, Secured};
use crate::metrics::{Counter, Counters};
use crate::net::admission::{Rejection, proxy};
use crate::net::http;
use crate::net::memory::HELLO_BYTES;
use crate::net::session::records::Records;
use crate::net::session::{Session, send, take_plaintext};

/// Bytes read at once: as much as rustls takes.
const READ_BYTES: usize = 4096;

/// Bytes that are read and forgotten, so that a connection which failed hears why: one closed with
/// bytes unread is reset.
const DISCARDED_BYTES_MAX: usize = 64 * 1024;

/// A TLS record of a handshake begins so (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its PROXY header is incomplete.
    Header,
    /// It said nothing yet.
    Silent,
    /// It speaks TLS.
    Tls,
    /// It failed and was told so; so many of its bytes were ignored since.
    Failed(usize),
}

/// What is to become of a connection for now.
pub(super) enum Step {
    /// It waits for the other end.
    Wait,
    /// Its handshake is done.
    Done,
    /// It is over.
    Gone,
}

/// A connection that shakes hands.
pub(super) struct Handshake {
    pub(super) newcomer: Newcomer,
    connection: Connection,
    stage: Stage,
    /// What came of its PROXY header, and then whom that names.
    header: Vec<u8>,
    client: Option<SocketAddr>,
    early: Vec<u8>,
    /// Bytes of TLS that came, and their records.
    heard: usize,
    records: Records,
    since: Instant,
    /// Tells it from earlier ones in the same slot.
    pub(super) number: u64,
    permit: Permit,
}

impl Handshake {
    /// One that has said nothing yet.
    pub(super) fn new(
        newcomer: Newcomer,
        connection: ServerConnection,
        permit: Permit,
        number: u64,
        now: Instant,
    ) -> Self {
        let stage = if newcomer.expects_header { Stage::Header } else { Stage::Silent };
        Handshake {
            newcomer,
            connection: connection.into(),
            stage,
            header: Vec::new(),
            client: None,
            early: Vec::new(),
            heard: 0,
            records: Records::default(),
            since: now,
            number,
            permit,
        }
    }

    /// What it is when its handshake is done, and which reactor is to serve it.
    pub(super) fn into_secured(self) -> (usize, Secured) {
        let Handshake { newcomer, connection, records, client, early, since, permit, .. } = self;
        let Newcomer { stream, sender, pass, stay, reactor, .. } = newcomer;
        let session = Session::new(connection, records);
        let held = permit.held;
        (reactor, Secured { stream, sender, client, pass, stay, held, session, early, since })
    }

    /// It failed and was told so.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.stage, Stage::Failed(_))
    }

    /// Reads and writes until the other end has to say something.
    pub(super) fn advance(&mut self, counters: &Counters) -> Step {
        let mut buffer = [0; READ_BYTES];
        loop {
            if send(&mut self.connection, &self.newcomer.stream).is_err() {
                return Step::Gone;
            }
            let is_tls = self.stage == Stage::Tls;
            if is_tls && !self.connection.is_handshaking() && !self.connection.wants_write() {
                return Step::Done;
            }
            match (&self.newcomer.stream).read(&mut buffer) {
                Ok(0) => return self.hung_up(counters),
                Ok(count) => {
                    if let Step::Gone = self.hear(&buffer[..count], counters) {
                        return Step::Gone;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Wait,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.hung_up(counters),
            }
        }
    }

    fn hung_up(&self, counters: &Counters) -> Step {
        // One that connects and says nothing is a probe, as balancers make them.
        if self.stage == Stage::Tls {
            tracing::debug!(address = %self.newcomer.sender, "TLS handshake failed: the peer hung up");
            counters.count(Counter::TlsHandshakeFailures);
        }
        Step::Gone
    }

    /// Hears what came.
    fn hear(&mut self, bytes: &[u8], counters: &Counters) -> Step {
        match self.stage {
            Stage::Header => return self.hear_header(bytes, counters),
            Stage::Failed(discarded) if discarded + bytes.len() > DISCARDED_BYTES_MAX => {
                return Step::Gone;
            }
            Stage::Failed(discarded) => self.stage = Stage::Failed(discarded + bytes.len()),
            Stage::Silent if is_plain_http(bytes[0]) => {
                counters.count(Counter::PlainOnTls);
                // A fresh socket's buffer has room for it.
                let _sent = (&self.newcomer.stream).write(&http::tls_only());
                self.fail("plain HTTP, where TLS was expected");
            }
            Stage::Silent | Stage::Tls => {
                self.stage = Stage::Tls;
                if !self.may_say(bytes.len()) {
                    counters.count(Counter::TlsHandshakeFailures);
                    tracing::debug!(address = %self.newcomer.sender,
                        "TLS handshake failed: it is long, and there is no memory for that");
                    return Step::Gone;
                }
                if let Err(error) = self.shake(bytes) {
                    counters.count(Counter::TlsHandshakeFailures);
                    // The alert that says why.
                    let _sent = send(&mut self.connection, &self.newcomer.stream);
                    self.fail(&error.to_string());
                }
            }
        }
        Step::Wait
    }

    /// Counts what the client says more than others do. Says whether there is memory for it.
    fn may_say(&mut self, bytes: usize) -> bool {
        let beyond = |heard: usize| heard.saturating_sub(HELLO_BYTES);
        let more = beyond(self.heard + bytes) - beyond(self.heard);
        self.heard += bytes;
        more == 0 || self.permit.grow(more)
    }

    /// A proxy says for whom it speaks, in plain, before TLS begins.
    fn hear_header(&mut self, bytes: &[u8], counters: &Counters) -> Step {
        self.header.extend_from_slice(bytes);
        match proxy::parse(&self.header) {
            Ok(None) => Step::Wait,
            Ok(Some(header)) => {
                self.client = Some(header.client.unwrap_or(self.newcomer.sender));
                self.stage = Stage::Silent;
                let rest = std::mem::take(&mut self.header).split_off(header.bytes);
                if rest.is_empty() { Step::Wait } else { self.hear(&rest, counters) }
            }
            Err(proxy::NoHeader) => {
                counters.count(Rejection::NoProxyHeader.counter());
                self.fail("there is no PROXY header before TLS");
                Step::Wait
            }
        }
    }

    fn shake(&mut self, mut bytes: &[u8]) -> Result<(), rustls::Error> {
        self.records.note(bytes);
        let general = |error: io::Error| rustls::Error::General(error.to_string());
        while !bytes.is_empty() {
            if self.connection.read_tls(&mut bytes).map_err(general)? == 0 {
                return Ok(());
            }
            self.connection.process_new_packets()?;
            let (start, mut plaintext) = (self.early.len(), [0; READ_BYTES]);
            loop {
                let count = take_plaintext(&mut self.connection, &mut plaintext);
                self.early.extend_from_slice(&plaintext[..count]);
                if count < plaintext.len() {
                    break;
                }
            }
            debug_assert!(self.early.len() - start <= 5 * READ_BYTES, "a record and what came");
        }
        Ok(())
    }

    /// Nothing comes of it; the other end has been told.
    fn fail(&mut self, why: &str) {
        tracing::debug!(address = %self.newcomer.sender, "TLS handshake failed: {why}");
        // An error says that the connection is gone.
        let _gone = self.newcomer.stream.shutdown(Shutdown::Write);
        self.stage = Stage::Failed(0);
    }
}

/// A request line begins with an upper-case letter, TLS with [`HANDSHAKE_RECORD`].
fn is_plain_http(first: u8) -> bool {
    first != HANDSHAKE_RECORD && first.is_ascii_uppercase()
}
