//! The TLS side of a connection: one rustls state for two threads.
//!
//! The reactor reads and the writer writes, and both need the state: a lock guards it. Neither holds
//! it for longer than one buffer takes to decrypt, or `SEALED_BYTES_MAX` to encrypt, and never
//! while it waits for the kernel.
//!
//! Owns: what becomes of ciphertext. Must not know: frames, backlogs, polls.
//!
//! Invariants:
//! - At most `SEALED_BYTES_MAX` of plaintext, as ciphertext, wait here for the kernel. Nothing more
//!   is encrypted until they are gone, so that a backlog stays where its bound is.
//! - What was received is decrypted at once: no plaintext waits here for a read.
//! - What rustls says by itself (an alert, an answer to a key update) is at most a record, and leaves
//!   at once or with the next write.

use std::io::{self, IoSlice, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mio::net::TcpStream;
use rustls::Connection;

use super::socket::{Received, Written};

/// Plaintext that is encrypted at once, and may then wait as ciphertext, in bytes: four records.
pub const SEALED_BYTES_MAX: usize = 64 * 1024;

/// No record on the wire is longer, in bytes (RFC 5246 section 6.2.3: 2^14 + 2048, and a header).
const RECORD_BYTES_MAX: usize = 16 * 1024 + 2048 + 5;

/// See the module's head.
#[derive(Debug)]
pub struct Session {
    connection: Mutex<Connection>,
    /// The peer said that it has nothing more to say, or broke the protocol.
    is_closed: AtomicBool,
}

impl Session {
    /// Of a connection whose handshake is done.
    pub fn new(connection: impl Into<Connection>) -> Box<Session> {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(SEALED_BYTES_MAX));
        let is_closed = AtomicBool::new(false);
        Box::new(Session { connection: Mutex::new(connection), is_closed })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what the kernel has, once, and decrypts it.
    ///
    /// Ciphertext comes to lie behind the first `RECORD_BYTES_MAX` bytes of `buffer`, plaintext to
    /// its front. Plaintext is shorter than its ciphertext, and rustls keeps at most a record that is
    /// incomplete: so plaintext never reaches the ciphertext that is not decrypted yet.
    ///
    /// # Panics
    /// `buffer` is not longer than a record.
    pub fn read(&self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Received> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Ok(Received::End);
        }
        let mut source = stream;
        let end = RECORD_BYTES_MAX + source.read(&mut buffer[RECORD_BYTES_MAX..])?;
        if end == RECORD_BYTES_MAX {
            return Ok(Received::End);
        }
        let mut connection = self.lock();
        let (count, is_closed) = open(&mut connection, buffer, RECORD_BYTES_MAX, end);
        if connection.wants_write() {
            // An error will be met by whoever writes next.
            let _later = send(&mut connection, stream);
        }
        self.is_closed.store(is_closed, Ordering::Relaxed);
        match is_closed && count == 0 {
            true => Ok(Received::End),
            false => Ok(Received::Bytes { count, has_more: is_closed || end == buffer.len() }),
        }
    }

    /// Encrypts and writes what the kernel takes, after what still waits here.
    pub fn write(&self, stream: &TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<Written> {
        let mut connection = self.lock();
        let (mut taken, mut sent) = (0, send(&mut connection, stream)?);
        if !connection.wants_write() {
            taken = connection.writer().write_vectored(pieces)?;
            sent += send(&mut connection, stream)?;
        }
        Ok(Written { taken, sent, is_held: connection.wants_write() })
    }

    /// Tells the other end that nothing follows (`close_notify`), if the kernel takes that. One that
    /// is full has a peer that does not read; the end of the connection tells it as well.
    pub fn finish(&self, stream: &TcpStream) {
        let mut connection = self.lock();
        connection.send_close_notify();
        let _full_or_gone = send(&mut connection, stream);
    }
}

/// Decrypts `buffer[start..end]` to the front of `buffer`. Returns how many bytes of plaintext there
/// are, and whether nothing follows them.
fn open(connection: &mut Connection, buffer: &mut [u8], start: usize, end: usize) -> (usize, bool) {
    let (mut at, mut count) = (start, 0);
    while at < end {
        // It has room, as all that could be decrypted was.
        let Ok(taken @ 1..) = connection.read_tls(&mut &buffer[at..end]) else {
            return (count, true);
        };
        at += taken;
        // A fault is the other side's, or the other side says that we are at fault. What was said
        // before it counts.
        let is_closed =
            connection.process_new_packets().map_or(true, |state| state.peer_has_closed());
        count += take_plaintext(connection, &mut buffer[count..at]);
        if is_closed {
            return (count, true);
        }
    }
    (count, false)
}

/// Moves plaintext to `target`. Returns how many bytes it was.
pub(super) fn take_plaintext(connection: &mut Connection, target: &mut [u8]) -> usize {
    let mut count = 0;
    // It is an error that there is none, and zero bytes come after a close_notify.
    while let Ok(taken @ 1..) = connection.reader().read(&mut target[count..]) {
        count += taken;
    }
    count
}

/// Writes ciphertext until there is none or the kernel is full. Returns how many bytes it took.
pub(super) fn send(connection: &mut Connection, mut stream: &TcpStream) -> io::Result<usize> {
    let mut sent = 0;
    while connection.wants_write() {
        match connection.write_tls(&mut stream as &mut dyn Write) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests;
