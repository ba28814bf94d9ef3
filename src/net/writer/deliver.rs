//! The batch leaves: every peer gets its share.
//!
//! Owns: when that is, and what is counted of it. Must not know: what comes into a batch, how it is encoded.

use std::time::Instant;

use mio::Token;

use super::{Writer, is_trouble, pen};
use crate::metrics::Counter;
use crate::net::coalesce::{Coalescer, Mark, Marks};
use crate::net::remote::{Pen, Remote};

impl Writer {
    /// When messages may leave: at once, unless some left less than the gap ago (Gun: `opt.gap`).
    pub(super) fn next_delivery(&self) -> Instant {
        self.last_delivery.map_or(self.now, |last| last + self.parts.config.batch_gap)
    }

    /// A batch without messages is not waited with: its turns may hold all of the queues' budget,
    /// and the peers that went with it hold their sockets.
    pub(super) fn deliver_if_due(&mut self) {
        if self.batch.is_empty() || self.next_delivery() <= self.now {
            self.deliver();
        }
    }

    /// Encodes the batch and hands every peer its share.
    fn deliver(&mut self) {
        let mut marks = Marks::default();
        if !self.batch.is_empty() {
            self.last_delivery = Some(self.now);
            marks = self.batch.encode();
            if self.batch.broadcasts() == 0 {
                self.deliver_to_marked(&marks);
            } else {
                self.deliver_to_all(&marks);
            }
            let batch = &self.batch;
            self.parts.batches.record(batch.messages(), batch.reads(), Instant::now());
        }
        self.batch.clear(marks);
        let pen = pen(&self.parts, self.now);
        for (slot, close) in self.finishing.drain(..) {
            self.remotes[slot].finish(close, Token(slot), &pen);
            self.has_trouble = true;
        }
        for slot in self.gone.drain(..) {
            self.remotes.remove(slot);
            if self.remotes_ebb.is_low(self.remotes.len()) {
                self.remotes.shrink_to_fit();
                self.slots.shrink_to_fit();
            }
        }
    }

    fn deliver_to_marked(&mut self, marks: &Marks) {
        let pen = pen(&self.parts, self.now);
        for (slot, marks) in marks.by_slot() {
            let remote = &mut self.remotes[slot];
            self.has_trouble |= deliver_to(remote, slot, marks, &mut self.batch, &pen);
        }
    }

    fn deliver_to_all(&mut self, marks: &Marks) {
        let pen = pen(&self.parts, self.now);
        let mut marked = marks.by_slot().peekable();
        for (slot, remote) in &mut self.remotes {
            let marks =
                marked.next_if(|(marked, _)| *marked == slot).map_or(&[][..], |(_, marks)| marks);
            self.has_trouble |= deliver_to(remote, slot, marks, &mut self.batch, &pen);
        }
    }
}

/// Hands a peer its share of the batch. Says whether it is in trouble.
fn deliver_to(
    remote: &mut Remote,
    slot: usize,
    marks: &[(usize, Mark)],
    batch: &mut Coalescer,
    pen: &Pen<'_>,
) -> bool {
    if !remote.is_open() {
        return is_trouble(remote);
    }
    let (copies, frames, pieces) = if marks.is_empty() && !remote.is_link {
        (batch.broadcasts(), batch.frames(), batch.shared())
    } else {
        let copies = batch.cut_for(marks, remote.is_link);
        (copies, batch.cut_frames(), batch.cut())
    };
    if copies > 0 {
        remote.send(pieces, Token(slot), pen);
    }
    let bytes: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
    pen.counters.add(Counter::FramesOut, frames as u64);
    pen.counters.add(Counter::CopiesOut, copies as u64);
    pen.counters.add(Counter::MessageBytesOut, bytes as u64);
    if let Some(socket) = remote.socket() {
        socket.traffic.messages_out.add(copies as u64);
    }
    is_trouble(remote)
}
