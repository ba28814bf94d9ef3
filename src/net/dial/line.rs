//! A connection that is being dialled: blocking, with one deadline for all that is said on it.
//!
//! Owns: TLS and timeouts until the link is handed over. Must not know: HTTP, redialling.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::{DialError, Opened};
use crate::net::session::Session;
use crate::net::session::records::Records;

/// See the module's head.
pub(super) struct Line {
    socket: TcpStream,
    /// None: plain.
    tls: Option<ClientConnection>,
    /// Its records.
    records: Records,
    deadline: Instant,
}

impl Line {
    /// A line without TLS.
    pub fn plain(socket: TcpStream, deadline: Instant) -> Line {
        Line { socket, tls: None, records: Records::default(), deadline }
    }

    /// A line with TLS: `host` has proved that it is who it should be.
    pub fn secure(
        socket: TcpStream,
        roots: &Arc<ClientConfig>,
        host: &str,
        deadline: Instant,
    ) -> Result<Line, DialError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| rustls::Error::General(format!("{host} is no name of a host")))?;
        let mut tls = ClientConnection::new(roots.clone(), name)?;
        let mut line = Line::plain(socket, deadline);
        line.send(&mut tls)?;
        while tls.is_handshaking() {
            line.receive(&mut tls)?;
            line.send(&mut tls)?;
        }
        line.tls = Some(tls);
        Ok(line)
    }

    /// Sends all of `bytes`.
    pub fn say(&mut self, bytes: &[u8]) -> Result<(), DialError> {
        let Some(mut tls) = self.tls.take() else {
            self.set_timeouts()?;
            return Ok(self.socket.write_all(bytes)?);
        };
        tls.writer().write_all(bytes)?;
        self.send(&mut tls)?;
        self.tls = Some(tls);
        Ok(())
    }

    /// Reads once, at the end of `input`.
    pub fn hear(&mut self, input: &mut Vec<u8>) -> Result<(), DialError> {
        let Some(mut tls) = self.tls.take() else {
            let mut chunk = [0; 4096];
            let count = self.read(|socket| socket.read(&mut chunk))?;
            input.extend_from_slice(&chunk[..count]);
            return Ok(());
        };
        self.receive(&mut tls)?;
        take_plaintext(&mut tls, input)?;
        self.tls = Some(tls);
        Ok(())
    }

    /// The link is open; `early` has come already.
    pub fn hand_over(self, early: Vec<u8>) -> Result<Opened, DialError> {
        self.socket.set_nonblocking(true)?;
        let session = self.tls.map(|tls| Session::new(tls, self.records));
        Ok((self.socket, session, early))
    }

    fn send(&mut self, tls: &mut ClientConnection) -> Result<(), DialError> {
        while tls.wants_write() {
            self.set_timeouts()?;
            tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    fn receive(&mut self, tls: &mut ClientConnection) -> Result<(), DialError> {
        let mut records = std::mem::take(&mut self.records);
        self.read(|socket| tls.read_tls(&mut Noted(socket, &mut records)))?;
        self.records = records;
        if let Err(error) = tls.process_new_packets() {
            // The alert that says why.
            let _sent = self.send(tls);
            return Err(error.into());
        }
        Ok(())
    }

    /// One read, which ends at the deadline at the latest.
    fn read(
        &mut self,
        mut read: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> Result<usize, DialError> {
        loop {
            self.set_timeouts()?;
            match read(&mut self.socket) {
                Ok(0) => return Err(DialError::HungUp),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Ok(result?),
            }
        }
    }

    fn set_timeouts(&self) -> Result<(), DialError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(DialError::TimedOut);
        }
        self.socket.set_read_timeout(Some(left))?;
        Ok(self.socket.set_write_timeout(Some(left))?)
    }
}

/// A socket, and the records that are read from it.
struct Noted<'a>(&'a mut TcpStream, &'a mut Records);

impl Read for Noted<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(target)?;
        self.1.note(&target[..count]);
        Ok(count)
    }
}

/// Moves what was decrypted to the end of `input`.
fn take_plaintext(tls: &mut ClientConnection, input: &mut Vec<u8>) -> Result<(), DialError> {
    match tls.reader().read_to_end(input) {
        Ok(_closed) => Err(DialError::HungUp),
        // There is no more for now.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error.into()),
    }
}
