//! The frames of one peer: the batch less what its marks take out, plus what they put in.
//!
//! Owns: which bytes are copied and which are slices of the batch, masking, where frames end.
//! Must not know: who the peer is.

use std::ops::Range;

use bytes::BytesMut;
use smallvec::SmallVec;

use super::{Coalescer, Group, Mark, MessageRef};
use crate::net::queue::Body;
use crate::net::remote::Piece;
use crate::ws::frame::{self, Opcode};

/// A slice up to this length is copied into the peer's own bytes: cheaper than one more slice
/// for the kernel to walk.
const COPIED_SLICE_BYTES_MAX: usize = 512;

/// A part of a frame: some of its messages, joined by commas.
enum Part {
    /// A range of `Coalescer::encoded`.
    Shared(Range<usize>),
    /// A small message of the peer's own.
    Own(MessageRef),
}

/// Builds the frames of one peer.
pub(super) struct Framing<'a> {
    batch: &'a Coalescer,
    pub(super) is_masked: bool,
    /// Bytes for this peer alone that are not in `pieces` yet.
    pub(super) own: BytesMut,
    pub(super) pieces: Vec<Piece>,
    pub(super) copies: usize,
    pub(super) frames: usize,
    /// The frame being collected: its parts, their bytes, and how many messages they hold.
    parts: SmallVec<[Part; 8]>,
    bytes: usize,
    count: usize,
}

impl<'a> Framing<'a> {
    /// Nothing yet. `own` and `pieces` lend their memory.
    pub(super) fn new(
        batch: &'a Coalescer,
        is_masked: bool,
        own: BytesMut,
        mut pieces: Vec<Piece>,
    ) -> Self {
        pieces.clear();
        Framing {
            batch,
            is_masked,
            own,
            pieces,
            copies: 0,
            frames: 0,
            parts: SmallVec::new(),
            bytes: 0,
            count: 0,
        }
    }

    /// Every group less what the marks take out, plus what they put in.
    pub(super) fn frame_all(&mut self, marks: &[(usize, Mark)]) {
        let joined = match marks.first() {
            Some((_, Mark::From(at))) => *at,
            _ => 0,
        };
        let mut marks = marks.iter().map(|(_, mark)| *mark).peekable();
        for group in &self.batch.groups {
            let Range { start, end } = group.messages;
            let mut next = joined.clamp(start, end);
            while let Some(mark) = marks.next_if(|mark| mark.at() < end) {
                match mark {
                    Mark::From(_) => {}
                    Mark::Except(at) => {
                        self.add_run(group, next..at);
                        next = at + 1;
                    }
                    Mark::Own(at, message) => {
                        self.add_run(group, next..at);
                        next = next.max(at);
                        self.add_own(message);
                    }
                }
            }
            self.add_run(group, next..end);
            self.end_frame();
        }
        for mark in marks {
            if let Mark::Own(_, message) = mark {
                self.add_own(message);
            }
        }
        self.end_frame();
        self.flush_own(true);
    }

    /// Adds neighbouring messages of a group.
    fn add_run(&mut self, group: &Group, run: Range<usize>) {
        if run.is_empty() {
            return;
        }
        self.copies += run.len();
        let broadcasts = &self.batch.broadcasts;
        if group.is_large {
            return self.push_large(broadcasts[run.start].message);
        }
        if run == group.messages && self.count == 0 && !self.is_masked {
            self.flush_own(true);
            self.frames += 1;
            let bytes = self.batch.encoded.slice(group.frame.clone());
            return self.pieces.push(Piece { bytes, ends_frame: true, is_alone: false });
        }
        let text = broadcasts[run.start].text.start..broadcasts[run.end - 1].text.end;
        self.add_part(Part::Shared(text), run.len());
    }

    fn add_own(&mut self, message: MessageRef) {
        self.copies += 1;
        match self.batch.body(message).1 {
            Body::Large(_) => self.push_large(message),
            Body::Small(_) => self.add_part(Part::Own(message), 1),
        }
    }

    fn add_part(&mut self, part: Part, count: usize) {
        let bytes = self.text(&part).len();
        if self.count > 0 && self.bytes + bytes > self.batch.frame_bytes_max {
            self.end_frame();
        }
        self.bytes += bytes;
        self.count += count;
        self.parts.push(part);
    }

    fn text(&self, part: &Part) -> &'a [u8] {
        match part {
            Part::Shared(range) => &self.batch.encoded[range.clone()],
            Part::Own(message) => match self.batch.body(*message) {
                (turn, Body::Small(range)) => turn.text(range),
                _ => unreachable!("a large message is a frame of its own"),
            },
        }
    }

    /// Ends the frame being collected, if it holds anything.
    fn end_frame(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        let (count, bytes) = (std::mem::take(&mut self.count), std::mem::take(&mut self.bytes));
        if count == 0 {
            return;
        }
        self.frames += 1;
        if self.is_masked {
            return self.mask_frame(&parts, count);
        }
        let framing = if count > 1 { parts.len() - 1 + 2 } else { 0 };
        self.own.extend_from_slice(&frame::text_header(bytes + framing));
        for (index, part) in parts.iter().enumerate() {
            if count > 1 {
                self.own.extend_from_slice(if index == 0 { b"[" } else { b"," });
            }
            match (part, self.text(part)) {
                (Part::Shared(range), text) if text.len() > COPIED_SLICE_BYTES_MAX => {
                    self.flush_own(false);
                    let bytes = self.batch.encoded.slice(range.clone());
                    self.pieces.push(Piece { bytes, ends_frame: false, is_alone: false });
                }
                (_, text) => self.own.extend_from_slice(text),
            }
        }
        if count > 1 {
            self.own.extend_from_slice(b"]");
        }
        self.mark_frame_end();
    }

    fn mask_frame(&mut self, parts: &[Part], count: usize) {
        let mut slices: SmallVec<[&[u8]; 16]> = SmallVec::new();
        for (index, part) in parts.iter().enumerate() {
            if count > 1 {
                slices.push(if index == 0 { b"[" } else { b"," });
            }
            slices.push(self.text(part));
        }
        if count > 1 {
            slices.push(b"]");
        }
        let frame = frame::masked(Opcode::Text, &slices, rand::random());
        self.pieces.push(Piece { bytes: frame.into(), ends_frame: true, is_alone: true });
    }

    /// A large message: a frame of its own.
    fn push_large(&mut self, message: MessageRef) {
        self.end_frame();
        self.frames += 1;
        let (_, Body::Large(parts)) = self.batch.body(message) else {
            unreachable!("the message is large");
        };
        if self.is_masked {
            let slices: SmallVec<[&[u8]; 16]> = parts.iter().map(|part| &part[..]).collect();
            let frame = frame::masked(Opcode::Text, &slices, rand::random());
            return self.pieces.push(Piece {
                bytes: frame.into(),
                ends_frame: true,
                is_alone: true,
            });
        }
        let header = frame::text_header(self.batch.len_of(message));
        self.own.extend_from_slice(&header);
        self.flush_own(false);
        self.batch.push_large(message, &mut self.pieces);
    }

    /// Moves the peer's own bytes to its pieces.
    fn flush_own(&mut self, ends_frame: bool) {
        if !self.own.is_empty() {
            let bytes = self.own.split().freeze();
            self.pieces.push(Piece { bytes, ends_frame, is_alone: true });
        }
    }

    /// What was added last ends a frame.
    fn mark_frame_end(&mut self) {
        if self.own.is_empty()
            && let Some(last) = self.pieces.last_mut()
        {
            last.ends_frame = true;
        }
    }
}
