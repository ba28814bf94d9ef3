//! The write side of one peer: what waits for it, and how it gets out.
//!
//! Owns: the backlog and its bound, the rules for a slow reader; `backlog` beneath this file has what waits. Must not
//! know: messages, other peers, queues.
//!
//! Invariants:
//! - Frames leave whole and in order. A frame whose first byte was written is finished before
//!   anything else is, a close frame included.
//! - The backlog behind the frame being written is at most `backlog_bytes_max`.
//! - While something waits, a writability event is due (the socket was found full), or there is
//!   no socket (a link that is down). The ciphertext that a TLS session holds back waits as well.
//!   It is bounded there and no part of the backlog, and is counted as memory all the same.
//! - A bridge is not closed for being slow: the peers of two processes would be apart. It has more room, and what is
//!   too much even so is given up, counted, and said loudly.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use smallvec::SmallVec;

use super::log_throttle::FaultLog;
use super::memory::{Gauge, Held};
use super::session::SEALED_BYTES_MAX;
use super::socket::{Ending, Socket, Written};
use crate::dam::peer::PeerId;
use crate::metrics::{Counter, Counters};
use crate::ws::frame::{self, Opcode};
use backlog::Waiting;

mod backlog;

/// The rest of a frame that was begun is kept for a peer that has to go for want of memory if it is
/// at most so long, in bytes.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// What the kernel takes for a peer and cannot send yet, in bytes. More waits here, where it is one copy for all peers, is
/// counted and bounded, and costs no call until there is room: a reader that stops is found out within so much.
const UNSENT_BYTES: usize = 256 * 1024;

/// Slices given to one write call: Linux takes 1024.
const SLICES_MAX: usize = 256;

/// Some bytes to write.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The bytes; shared with other peers as a rule.
    pub bytes: Bytes,
    /// A frame ends with them.
    pub ends_frame: bool,
    /// Nobody else has them, so that this peer answers for their memory.
    pub is_alone: bool,
}

/// What a writer lends to its peers while they write.
pub struct Pen<'a> {
    /// Where a full socket is watched.
    pub registry: &'a Registry,
    /// The writer's counters.
    pub counters: &'a Counters,
    /// The time of this turn.
    pub now: Instant,
    /// See the module's invariants.
    pub backlog_bytes_max: usize,
    /// The same, of a bridge.
    pub bridge_bytes_max: usize,
    /// Where the memory of backlogs is counted.
    pub gauge: &'a Arc<Gauge>,
    /// Where the operating system's faults are told.
    pub faults: &'a RefCell<FaultLog>,
}

/// How far a peer's connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Messages flow.
    Open,
    /// Its close frame waits or was written; nothing follows. Since when.
    Closing(Instant),
    /// Nothing can be written any more; the reactor will say that it is gone.
    Ended,
}

/// See the module's head.
pub struct Remote {
    /// Whose write side this is.
    pub id: PeerId,
    /// A configured peer: frames to it are masked, and it stays while it is down.
    pub is_link: bool,
    /// How often it was connected.
    pub connections: u64,
    socket: Option<Arc<Socket>>,
    state: State,
    backlog: VecDeque<Waiting>,
    backlog_bytes: usize,
    /// Part of the frame at the front was written.
    is_mid_frame: bool,
    /// The writer's poll knows the socket.
    is_watched: bool,
    /// What the kernel takes unsent, as [`UNSENT_BYTES`].
    unsent_bytes_max: usize,
    /// The socket took bytes that the kernel has not yet.
    held: Option<Held>,
    /// When the kernel last took something, or the socket was found full since.
    stuck_since: Option<Instant>,
}

impl Remote {
    /// A peer whose socket comes with [`connect`](Self::connect).
    pub fn new(id: PeerId, is_link: bool) -> Self {
        Remote {
            id,
            is_link,
            connections: 0,
            socket: None,
            state: State::Open,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            is_mid_frame: false,
            is_watched: false,
            unsent_bytes_max: 0,
            held: None,
            stuck_since: None,
        }
    }

    /// Messages may be sent to it.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Its close frame waits or was written, since then.
    pub fn closing_since(&self) -> Option<Instant> {
        match self.state {
            State::Closing(since) => Some(since),
            _ => None,
        }
    }

    /// It has taken nothing since then, though something waits.
    pub fn stuck_since(&self) -> Option<Instant> {
        self.stuck_since
    }

    /// Its connection, while there is one.
    pub fn socket(&self) -> Option<&Socket> {
        self.socket.as_deref()
    }

    /// It joins this process and another.
    pub fn is_bridge(&self) -> bool {
        self.socket().and_then(Socket::bridge).is_some()
    }

    /// It is a link that will be dialled again: not one that led to this relay itself.
    pub fn may_return(&self) -> bool {
        let ending = self.socket().and_then(Socket::ending);
        self.is_link && !self.is_bridge() && ending != Some(Ending::Itself)
    }

    /// Bytes that wait.
    pub fn backlog_bytes(&self) -> usize {
        self.backlog_bytes
    }

    /// The peer is connected: `first` leaves, then what waited for it.
    pub fn connect(&mut self, socket: Arc<Socket>, first: Bytes, token: Token, pen: &Pen<'_>) {
        self.connections += 1;
        self.socket = Some(socket);
        self.state = State::Open;
        self.is_watched = false;
        self.unsent_bytes_max = 0;
        self.make_room(0);
        self.held = None;
        self.shorten(pen);
        self.backlog_bytes += first.len();
        self.backlog.push_front(Waiting::new(first, true, true, pen));
        self.note_pending();
        self.write_backlog(token, pen);
    }

    /// A configured peer's connection is gone. What was not begun waits for the next one, unless
    /// it was given up, or is the close frame of this one.
    pub fn disconnect(&mut self, pen: &Pen<'_>) {
        if self.is_open() {
            pen.counters.add(Counter::DroppedLinkDown, self.is_mid_frame.into());
            self.cut_frame();
        } else {
            self.give_up();
        }
        self.socket = None;
        self.state = State::Open;
        self.held = None;
        self.stuck_since = None;
    }

    /// Sends pieces, the last of which ends a frame.
    pub fn send(&mut self, pieces: &[Piece], token: Token, pen: &Pen<'_>) {
        let mut taken = 0;
        self.make_room(pieces.iter().map(|piece| piece.bytes.len()).sum());
        if let Some(socket) = &self.socket
            && !self.is_waiting()
        {
            match write(socket, pieces.iter().map(|piece| &piece.bytes), pen.counters) {
                Ok(written) => {
                    taken = written.taken;
                    self.note_held(written.is_held, pen);
                }
                Err(error) => {
                    self.keep_rest(pieces, 0, pen);
                    return self.fail(&error, pen);
                }
            }
        }
        self.keep_rest(pieces, taken, pen);
        if !self.is_waiting() {
            return;
        }
        if self.socket.is_none() {
            self.shorten(pen);
        } else if self.stuck_since.is_none() {
            self.write_backlog(token, pen);
        }
        let bytes_max = if self.is_bridge() { pen.bridge_bytes_max } else { pen.backlog_bytes_max };
        if self.is_over(bytes_max) {
            self.close_slow(Ending::Slow, token, pen);
        }
    }

    /// Lets the kernel take twice as much as this at once: a long message leaves in one call, and the next one follows it
    /// without a gap.
    fn make_room(&mut self, bytes: usize) {
        let room = (2 * bytes).next_power_of_two().max(UNSENT_BYTES);
        if room > self.unsent_bytes_max
            && let Some(socket) = &self.socket
        {
            socket.limit_unsent(room);
            self.unsent_bytes_max = room;
        }
    }

    /// Takes back the room that was made for long messages.
    pub fn take_back_room(&mut self) {
        if self.unsent_bytes_max > UNSENT_BYTES {
            self.unsent_bytes_max = 0;
            self.make_room(0);
        }
    }

    /// Writes what waits, as far as the kernel takes it.
    pub fn write_backlog(&mut self, token: Token, pen: &Pen<'_>) {
        let Some(socket) = self.socket.clone() else { return };
        while self.is_waiting() {
            let waiting = self.backlog.iter().map(|piece| &piece.bytes);
            match write(&socket, waiting, pen.counters) {
                Ok(Written { taken: 0, sent: 0, .. }) => return self.watch(&socket, token, pen),
                Ok(written) => {
                    self.drop_written(written.taken);
                    self.note_held(written.is_held, pen);
                    self.stuck_since = None;
                }
                Err(error) => return self.fail(&error, pen),
            }
        }
        self.stuck_since = None;
        self.give_back_places();
        if matches!(self.state, State::Closing(_)) {
            socket.finish();
        }
    }

    /// Sends a close frame after what waits. Nothing follows it.
    pub fn finish(&mut self, close: Bytes, token: Token, pen: &Pen<'_>) {
        if self.state != State::Open {
            return;
        }
        self.state = State::Closing(pen.now);
        pen.counters.count(Counter::ClosesOut);
        pen.counters.add(Counter::ControlBytesOut, close.len() as u64);
        self.backlog_bytes += close.len();
        self.backlog.push_back(Waiting::new(close, true, true, pen));
        self.note_pending();
        if self.stuck_since.is_none() {
            self.write_backlog(token, pen);
        }
    }

    /// Closes a peer that does not keep up, with 1013 after the frame being written; what else
    /// waits is given up.
    pub fn close_slow(&mut self, ending: Ending, token: Token, pen: &Pen<'_>) {
        let Some(socket) = &self.socket else { return };
        if self.is_bridge() {
            return self.relieve_bridge(pen);
        }
        socket.end(ending);
        self.keep_begun_frame();
        let close = self.close_frame(frame::CLOSE_AGAIN, "reading too slowly");
        self.finish(close, token, pen);
    }

    /// Gives up what waits because the memory is full. The peer is told as by
    /// [`close_slow`](Self::close_slow), unless the frame being written is what holds the memory.
    pub fn evict(&mut self, token: Token, pen: &Pen<'_>) {
        match self.state {
            State::Open if self.socket.is_none() => {
                pen.counters.add(Counter::DroppedLinkDown, self.frames() as u64);
                return self.give_up_waiting();
            }
            State::Open => {}
            State::Closing(_) | State::Ended => return self.hang_up(Ending::Memory),
        }
        self.close_slow(Ending::Memory, token, pen);
        if self.backlog_bytes > KEPT_BYTES_MAX && !self.is_bridge() {
            self.hang_up(Ending::Memory);
        }
    }

    /// A close frame as this peer must get it.
    pub fn close_frame(&self, code: u16, reason: &str) -> Bytes {
        let payload = frame::close_payload(code, reason);
        frame::control(Opcode::Close, &payload, self.is_link.then(rand::random))
    }

    /// Ends the connection at once. The reactor sees the hang-up.
    pub fn hang_up(&mut self, ending: Ending) {
        if let Some(socket) = &self.socket {
            socket.end(ending);
            socket.hang_up();
        }
        if self.is_bridge() && self.backlog_bytes > 0 {
            let bytes = self.backlog_bytes;
            tracing::error!(
                "upgrade: {bytes} bytes ARE LOST that waited for the other process: {ending}"
            );
        }
        self.give_up();
    }

    /// The socket holds some of what it took, or does not. Counted is the most that it can be.
    fn note_held(&mut self, is_held: bool, pen: &Pen<'_>) {
        if is_held != self.held.is_some() {
            self.held = is_held.then(|| Held::new(pen.gauge, SEALED_BYTES_MAX));
        }
    }

    /// Something waits for the kernel, or for a socket.
    fn is_waiting(&self) -> bool {
        !self.backlog.is_empty() || self.held.is_some()
    }

    /// The socket is full: the poll is to tell when it is not.
    fn watch(&mut self, socket: &Socket, token: Token, pen: &Pen<'_>) {
        self.stuck_since.get_or_insert(pen.now);
        if self.is_watched {
            return;
        }
        self.is_watched = true;
        let fd = socket.as_raw_fd();
        if let Err(error) = pen.registry.register(&mut SourceFd(&fd), token, Interest::WRITABLE) {
            let what = "a peer's socket cannot be watched and is closed";
            pen.faults.borrow_mut().note(what, &error, pen.now);
            self.hang_up(Ending::Broken);
        }
    }

    fn fail(&mut self, error: &io::Error, pen: &Pen<'_>) {
        tracing::debug!(peer = ?self.id, %error, "write failed");
        if self.is_open() && self.may_return() {
            // The reactor sees the hang-up, and says that the connection is gone, only then; what waits stays.
            self.socket().inspect(|socket| {
                socket.end(Ending::Peer);
                socket.hang_up();
            });
            return self.disconnect(pen);
        }
        if self.is_open() && self.is_bridge() {
            pen.counters.add(Counter::DroppedLinkDown, self.frames() as u64);
        }
        self.hang_up(Ending::Peer);
    }

    /// Sends nothing any more.
    pub fn give_up(&mut self) {
        self.state = State::Ended;
        self.give_up_waiting();
        self.note_pending();
        self.held = None;
        self.stuck_since = None;
    }
}

/// Writes pieces once. Nothing taken and nothing sent says that the kernel is full.
fn write<'a>(
    socket: &Socket,
    pieces: impl Iterator<Item = &'a Bytes>,
    counters: &Counters,
) -> io::Result<Written> {
    let slices: SmallVec<[IoSlice<'_>; 8]> =
        pieces.take(SLICES_MAX).map(|bytes| IoSlice::new(bytes)).collect();
    loop {
        counters.count(Counter::Writes);
        match socket.write(&slices) {
            Ok(written) => {
                counters.add(Counter::BytesOut, written.taken as u64);
                counters.add(Counter::PeerBytesOut, written.taken as u64);
                socket.traffic.bytes_out.add(written.taken as u64);
                return Ok(written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Written { taken: 0, sent: 0, is_held: false });
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
