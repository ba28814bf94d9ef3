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
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mio::net::TcpStream;
use rustls::Connection;

use self::records::Records;
use super::socket::{Received, Written};

pub mod records;

/// Plaintext that is encrypted at once, and may then wait as ciphertext, in bytes: four records.
pub const SEALED_BYTES_MAX: usize = 64 * 1024;

/// No record on the wire is longer, in bytes (RFC 5246 section 6.2.3: 2^14 + 2048, and a header).
const RECORD_BYTES_MAX: usize = 16 * 1024 + 2048 + 5;

/// What is left of a record between two reads of rustls makes it take more room, which is worth
/// giving back where it was more than this, in bytes.
const SPARE_BYTES_MAX: usize = 1024;

/// See the module's head.
#[derive(Debug)]
pub struct Session {
    state: Mutex<State>,
    /// The peer said that it has nothing more to say, or broke the protocol.
    is_closed: AtomicBool,
    /// This end has nothing more to say, and hears nothing more.
    is_finished: AtomicBool,
    /// Bytes of records that came and could not be read yet.
    half_read: AtomicUsize,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    /// What came.
    records: Records,
}

impl Session {
    /// Of a connection whose handshake is done; `records` has noted all that came.
    pub fn new(connection: impl Into<Connection>, mut records: Records) -> Box<Session> {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(SEALED_BYTES_MAX));
        give_back_room(&mut connection);
        records.begin();
        let half_read = AtomicUsize::new(records.held_bytes());
        let (is_closed, is_finished) = Default::default();
        Box::new(Session {
            state: Mutex::new(State { connection, records }),
            is_closed,
            is_finished,
            half_read,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes it holds of what came, until the rest of it comes.
    pub fn half_read_bytes(&self) -> usize {
        self.half_read.load(Ordering::Relaxed)
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
        let has_more = end == buffer.len();
        if self.is_finished.load(Ordering::Relaxed) {
            return Ok(Received::Bytes { count: 0, has_more });
        }
        let mut state = self.lock();
        let (count, is_closed) = open(&mut state, buffer, RECORD_BYTES_MAX, end);
        self.half_read.store(state.records.held_bytes(), Ordering::Relaxed);
        if state.connection.wants_write() {
            // An error will be met by whoever writes next.
            let _later = send(&mut state.connection, stream);
        }
        self.is_closed.store(is_closed, Ordering::Relaxed);
        match is_closed && count == 0 {
            true => Ok(Received::End),
            false => Ok(Received::Bytes { count, has_more: is_closed || has_more }),
        }
    }

    /// Encrypts and writes what the kernel takes, after what still waits here.
    pub fn write(&self, stream: &TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<Written> {
        let State { connection, .. } = &mut *self.lock();
        let (mut taken, mut sent) = (0, send(connection, stream)?);
        if !connection.wants_write() {
            taken = connection.writer().write_vectored(pieces)?;
            sent += send(connection, stream)?;
        }
        Ok(Written { taken, sent, is_held: connection.wants_write() })
    }

    /// Tells the other end that nothing follows (`close_notify`), if the kernel takes that. One that
    /// is full has a peer that does not read; the end of the connection tells it as well. What comes
    /// from now on is not even kept.
    pub fn finish(&self, stream: &TcpStream) {
        self.is_finished.store(true, Ordering::Relaxed);
        let State { connection, .. } = &mut *self.lock();
        connection.send_close_notify();
        let _full_or_gone = send(connection, stream);
    }
}

/// Decrypts `buffer[start..end]` to the front of `buffer`. Returns how many bytes of plaintext there
/// are, and whether nothing follows them.
fn open(state: &mut State, buffer: &mut [u8], start: usize, end: usize) -> (usize, bool) {
    let State { connection, records } = state;
    let (mut at, mut count, mut most_held) = (start, 0, records.held_bytes());
    while at < end {
        // It has room, as all that could be decrypted was.
        let Ok(taken @ 1..) = connection.read_tls(&mut &buffer[at..end]) else {
            return (count, true);
        };
        records.note(&buffer[at..at + taken]);
        at += taken;
        // A fault is the other side's, or the other side says that we are at fault. What was said
        // before it counts.
        let is_closed =
            connection.process_new_packets().map_or(true, |state| state.peer_has_closed());
        let plaintext = take_plaintext(connection, &mut buffer[count..at]);
        records.take(plaintext);
        count += plaintext;
        most_held = most_held.max(records.held_bytes());
        if is_closed {
            return (count, true);
        }
    }
    if most_held > SPARE_BYTES_MAX && records.held_bytes() == 0 {
        give_back_room(connection);
    }
    (count, false)
}

/// rustls keeps the room it read into until it reads with nothing left of what came before.
fn give_back_room(connection: &mut Connection) {
    struct Nothing;
    impl Read for Nothing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }
    let _nothing = connection.read_tls(&mut Nothing);
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
