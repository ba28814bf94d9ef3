//! What waits for a peer: pieces of frames, in the order in which they leave.
//!
//! Owns: which of them are kept, how long, and what they count for. Must not know: sockets' use, when they are written.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::{Pen, Piece, Remote, State};
use crate::metrics::Counter;
use crate::net::memory::Held;
use crate::net::session::SEALED_BYTES_MAX;

/// How long a frame waits for a link that is down: as long as relays remember ids for sure. An
/// older message may have reached the others another way, and they would take it for new.
pub(super) const HELD_MAX: Duration = Duration::from_secs(9);

/// Places in the list of what waits that are kept when nothing waits any more; what a spike left is
/// given back.
const KEPT_PLACES_MAX: usize = 64;

/// A piece in a backlog.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) bytes: Bytes,
    pub(super) ends_frame: bool,
    since: Instant,
    /// Counts its place in the list, and its bytes if they are this peer's alone.
    _held: Held,
}

impl Waiting {
    pub(super) fn new(bytes: Bytes, ends_frame: bool, is_alone: bool, pen: &Pen<'_>) -> Self {
        let alone = if is_alone { bytes.len() } else { 0 };
        let _held = Held::new(pen.gauge, PLACE_BYTES + alone);
        Waiting { bytes, ends_frame, since: pen.now, _held }
    }
}

/// A place in the list of what waits, which may have grown to twice what it needs.
const PLACE_BYTES: usize = 2 * size_of::<Waiting>();

impl Remote {
    /// The memory it holds that it can be made to give up, as far as one can say when much of it is shared, in bytes.
    pub fn held_bytes(&self) -> usize {
        if self.is_bridge() && self.is_mid_frame {
            return self.backlog_bytes - self.front_frame_bytes();
        }
        let sealed = if self.held.is_some() { SEALED_BYTES_MAX } else { 0 };
        self.backlog_bytes + self.backlog.len() * PLACE_BYTES + sealed
    }

    /// Keeps what is left of pieces of which so many bytes were written.
    pub(super) fn keep_rest(&mut self, pieces: &[Piece], mut written: usize, pen: &Pen<'_>) {
        let mut is_mid_frame = false;
        for piece in pieces {
            let done = written.min(piece.bytes.len());
            written -= done;
            if done < piece.bytes.len() {
                if self.backlog.is_empty() {
                    self.is_mid_frame = is_mid_frame || done > 0;
                }
                self.backlog_bytes += piece.bytes.len() - done;
                let rest = piece.bytes.slice(done..);
                self.backlog.push_back(Waiting::new(rest, piece.ends_frame, piece.is_alone, pen));
            }
            is_mid_frame = !piece.ends_frame;
        }
        if !self.backlog.is_empty() {
            self.note_pending();
        }
    }

    /// So many bytes of what waits were written.
    pub(super) fn drop_written(&mut self, mut written: usize) {
        self.backlog_bytes -= written;
        self.note_pending();
        while let Some(front) = self.backlog.front_mut() {
            if written < front.bytes.len() {
                front.bytes.advance(written);
                self.is_mid_frame |= written > 0;
                return;
            }
            written -= front.bytes.len();
            self.is_mid_frame = !front.ends_frame;
            self.backlog.pop_front();
        }
    }

    /// Too much waits behind the frame being written.
    pub(super) fn is_over(&self, bytes_max: usize) -> bool {
        self.state == State::Open
            && self.backlog_bytes > bytes_max
            && self.backlog_bytes - self.front_frame_bytes() > bytes_max
    }

    /// Bytes of the frame at the front that are still to be written.
    pub(super) fn front_frame_bytes(&self) -> usize {
        self.front_frame().map(|piece| piece.bytes.len()).sum()
    }

    fn front_frame(&self) -> impl Iterator<Item = &Waiting> {
        let mut is_over = false;
        self.backlog
            .iter()
            .take_while(move |piece| !std::mem::replace(&mut is_over, piece.ends_frame))
    }

    /// For those who watch; after every change of the backlog while there is a socket.
    pub(super) fn note_pending(&self) {
        if let Some(socket) = &self.socket {
            socket.traffic.pending_bytes.set(self.backlog_bytes as u64);
        }
    }

    /// Gives up what waits, but for the rest of a frame that was begun.
    pub(super) fn keep_begun_frame(&mut self) {
        let kept = if self.is_mid_frame { self.front_frame().count() } else { 0 };
        self.backlog.truncate(kept);
        self.backlog_bytes = self.backlog.iter().map(|piece| piece.bytes.len()).sum();
        self.note_pending();
    }

    /// Gives up what waits for the other process, but for the frame being written.
    pub(super) fn relieve_bridge(&mut self, pen: &Pen<'_>) {
        let (frames, bytes) = (self.frames(), self.backlog_bytes);
        self.keep_begun_frame();
        let (frames, bytes) = (frames - self.frames(), bytes - self.backlog_bytes);
        pen.counters.add(Counter::DroppedLinkDown, frames as u64);
        tracing::error!(
            "upgrade: {frames} frames ({bytes} bytes) ARE LOST between the old process and the new one, which is too \
             busy to take them; peers on its side have not heard them"
        );
    }

    /// Gives up the rest of a frame that was begun.
    pub(super) fn cut_frame(&mut self) {
        if self.is_mid_frame {
            let cut = self.front_frame().count();
            self.backlog.drain(..cut);
            self.backlog_bytes = self.backlog.iter().map(|piece| piece.bytes.len()).sum();
            self.is_mid_frame = false;
        }
    }

    /// Keeps what waits for a link that is down within bounds: the oldest goes first.
    pub(super) fn shorten(&mut self, pen: &Pen<'_>) {
        let is_old = |since| pen.now.duration_since(since) > HELD_MAX;
        while let Some(front) = self.backlog.front()
            && (self.backlog_bytes > pen.backlog_bytes_max || is_old(front.since))
        {
            let oldest = self.front_frame().count();
            for piece in self.backlog.drain(..oldest) {
                self.backlog_bytes -= piece.bytes.len();
            }
            pen.counters.count(Counter::DroppedLinkDown);
        }
    }

    /// Frames that wait, the one being written included.
    pub(super) fn frames(&self) -> usize {
        self.backlog.iter().filter(|piece| piece.ends_frame).count()
    }

    /// Gives up all that waits.
    pub(super) fn give_up_waiting(&mut self) {
        self.backlog = VecDeque::new();
        self.backlog_bytes = 0;
        self.is_mid_frame = false;
    }

    /// Nothing waits: the room that a spike took is not kept.
    pub(super) fn give_back_places(&mut self) {
        if self.backlog.capacity() > KEPT_PLACES_MAX {
            self.backlog = VecDeque::new();
        }
    }
}
