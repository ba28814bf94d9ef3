//! A frame or message that arrives in pieces.
//!
//! Owns the buffers, and how they grow. Must not judge: every header was checked before it comes here.
//! Invariants: capacity is at most twice what arrived (or [`START_BYTES`]), never what was announced;
//! a message in one frame ends in a buffer of exactly its size; binary content is never stored.

use std::mem;

use bytes::Bytes;

use super::head::Head;
use super::{Found, Place};
use crate::ws::frame::{Opcode, mask};

/// The least capacity a text buffer starts with, unless the frame is shorter.
const START_BYTES: usize = 4 << 10;

/// A message whose last byte arrived.
#[derive(Debug)]
pub(super) enum Joined {
    /// Not yet validated.
    Text(Bytes),
    /// Its length.
    Binary(u64),
    /// Likewise; a text too long to be kept.
    LongText(u64),
}

/// The unfinished state of one connection, boxed because most connections have none.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    frame: Option<Frame>,
    message: Option<Message>,
    /// What arrived of a text message, unmasked.
    text: Vec<u8>,
    /// What arrived of a control frame, unmasked. A message may be open at the same time.
    control: Vec<u8>,
}

/// A frame whose header was taken, and its payload not entirely.
#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    key: Option<[u8; 4]>,
    payload_bytes: u64,
    filled_bytes: u64,
}

/// A data message whose last frame has not ended.
#[derive(Debug)]
struct Message {
    is_binary: bool,
    /// Announced by its frames so far.
    bytes: u64,
    /// More frames may follow than the first, so its length is not known.
    is_fragmented: bool,
    /// A text longer than is kept.
    is_skipped: bool,
}

impl Assembly {
    /// Whether anything is unfinished.
    pub(super) fn is_open(&self) -> bool {
        self.frame.is_some() || self.message.is_some()
    }

    /// Whether the next bytes of input belong to a frame's payload.
    pub(super) fn in_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Bytes announced so far of the unfinished message, if there is one.
    pub(super) fn message_bytes(&self) -> Option<u64> {
        self.message.as_ref().map(|message| message.bytes)
    }

    /// The payload of the control frame that was finished last.
    pub(super) fn control(&self) -> &[u8] {
        &self.control
    }

    /// Memory held, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.text.capacity() + self.control.capacity()
    }

    /// Begins a frame whose header was checked.
    pub(super) fn begin(&mut self, opcode: Opcode, head: &Head, text_bytes_max: usize) {
        if opcode.is_control() {
            self.control.clear();
        } else {
            let message = self.message.get_or_insert(Message {
                is_binary: opcode == Opcode::Binary,
                bytes: 0,
                is_fragmented: !head.is_final(),
                is_skipped: false,
            });
            message.bytes += head.payload_bytes;
            if !message.is_binary && message.bytes > text_bytes_max as u64 {
                message.is_skipped = true;
                self.text = Vec::new();
            }
        }
        self.frame = Some(Frame {
            opcode,
            is_final: head.is_final(),
            key: head.key,
            payload_bytes: head.payload_bytes,
            filled_bytes: 0,
        });
    }

    /// Takes what belongs to the open frame out of `input[*at..]`. Returns what ended with it, if the
    /// frame ended and anything with it.
    pub(super) fn fill(
        &mut self,
        input: &[u8],
        at: &mut usize,
        text_bytes_max: usize,
    ) -> Option<Found> {
        let mut frame = self.frame.take()?;
        let wanted = frame.payload_bytes - frame.filled_bytes;
        let taken = wanted.min((input.len() - *at) as u64) as usize;
        self.store(&frame, &input[*at..*at + taken], text_bytes_max);
        *at += taken;
        frame.filled_bytes += taken as u64;
        if frame.filled_bytes < frame.payload_bytes {
            self.frame = Some(frame);
            return None;
        }
        self.end(&frame)
    }

    fn store(&mut self, frame: &Frame, part: &[u8], text_bytes_max: usize) {
        let offset = frame.filled_bytes as usize;
        match &self.message {
            _ if frame.opcode.is_control() => append(&mut self.control, part, frame.key, offset),
            Some(message) if !message.is_binary && !message.is_skipped => {
                let ceiling = match message.is_fragmented {
                    true => text_bytes_max,
                    false => message.bytes as usize,
                };
                grow(&mut self.text, part.len(), ceiling);
                append(&mut self.text, part, frame.key, offset);
            }
            _ => {}
        }
    }

    fn end(&mut self, frame: &Frame) -> Option<Found> {
        if frame.opcode.is_control() {
            return Some(Found::Control(frame.opcode, Place::Assembly));
        }
        let message = self.message.take_if(|_| frame.is_final)?;
        if message.is_binary {
            return Some(Found::Joined(Joined::Binary(message.bytes)));
        }
        if message.is_skipped {
            return Some(Found::Joined(Joined::LongText(message.bytes)));
        }
        let mut text = mem::take(&mut self.text);
        // Queues count the length of a payload, so it must not drag a larger buffer along.
        text.shrink_to_fit();
        Some(Found::Joined(Joined::Text(text.into())))
    }
}

/// Makes room for `added` bytes by doubling, up to `ceiling`.
fn grow(text: &mut Vec<u8>, added: usize, ceiling: usize) {
    let needed = text.len() + added;
    if needed > text.capacity() {
        let doubled = text.capacity().saturating_mul(2).max(START_BYTES);
        let target = doubled.min(ceiling).max(needed);
        text.reserve_exact(target - text.len());
    }
}

/// Appends part of a payload, unmasked. It begins `offset` bytes into the payload.
fn append(buffer: &mut Vec<u8>, part: &[u8], key: Option<[u8; 4]>, offset: usize) {
    let start = buffer.len();
    buffer.extend_from_slice(part);
    if let Some(key) = key {
        mask(&mut buffer[start..], key, offset);
    }
}
