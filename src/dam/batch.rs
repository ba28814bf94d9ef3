//! One frame: from the payload of a WebSocket text message to the DAM messages in it.
//!
//! Owns: what a frame may be, its limits, the elements of a batch, and the fast path over
//! simd-json's tape. Gun: mesh.hear
//! Must not know: peers, dedup, routes, answers.
//! Invariants: a frame that does not parse as a whole is heard not at all; the fast path and the
//! slow one hear the same; memory kept between frames and stack are bounded.

use std::mem;

use simd_json::{Buffers, Node, Tape};

use super::message::Message;
use super::{js, lenient};

/// Payloads over this go the slow way. The tape takes up to 30 bytes for each byte of payload,
/// which for the largest frame would be gigabytes; the slow way takes next to nothing.
const FAST_BYTES_MAX: usize = 1 << 20;

/// Buffers that have grown over this are given back after the frame.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// How many frames may be wrapped in each other as texts in batches. Each level doubles the
/// backslashes, so honest peers cannot come near.
const TEXT_LEVELS_MAX: usize = 8;

/// What a frame may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Frames of this many UTF-16 code units are refused. Gun: `opt.max`
    pub message_units_max: usize,
    /// Brackets that may be open at once, that of a batch included.
    pub depth_max: usize,
}

/// What a frame holds, piece by piece.
#[derive(Debug, PartialEq)]
// One is made per message and never stored, so a box would cost more than the size.
#[allow(clippy::large_enum_variant)]
pub enum Heard<'a> {
    /// A message.
    Message(Message<'a>),
    /// To be answered on the wire: the peer's fault.
    Refused(Refusal),
    /// To be counted only.
    Ignored(Ignored),
}

/// Why a frame, or a frame inside a batch, was not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As long as `message_units_max` or longer.
    TooBig,
    /// Not JSON.
    Broken,
    /// Nested deeper than `depth_max`, or too many frames in frames.
    TooDeep,
}

/// What was passed over in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// No text at all.
    Empty,
    /// A batch of nothing, which keeps connections open.
    Heartbeat,
    /// Neither an object nor an array, though it may well be JSON.
    NotJson,
    /// Something in a batch that is no message.
    Element,
}

/// Hears frames. One per thread: its memory is used again for every frame.
pub struct Parser {
    limits: Limits,
    /// A copy of the payload with padding, in which strings are unescaped in place.
    scratch: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl Parser {
    /// A parser without any memory yet.
    pub fn new(limits: Limits) -> Self {
        let buffers = Buffers::with_max_depth(0, limits.depth_max);
        Parser { limits, scratch: Vec::new(), buffers, tape: Tape(Vec::new()) }
    }

    /// Hears one frame, in order. Gun: mesh.hear
    pub fn hear(&mut self, payload: &[u8], heard: &mut dyn FnMut(Heard<'_>)) {
        if let Some(instead) = gate(payload, &self.limits) {
            return heard(instead);
        }
        if payload.len() > FAST_BYTES_MAX || !self.hear_fast(payload, heard) {
            hear_slow(payload, 0, &self.limits, heard);
        }
    }

    /// False, and nothing heard, when simd-json refuses: JavaScript may yet accept.
    fn hear_fast(&mut self, payload: &[u8], heard: &mut dyn FnMut(Heard<'_>)) -> bool {
        self.scratch.clear();
        self.scratch.extend_from_slice(payload);
        self.scratch.resize(payload.len() + simd_json::INPUT_PADDING, b' ');
        let mut tape = mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let filled = simd_json::fill_tape_padded(
            &mut self.scratch,
            payload.len(),
            &mut self.buffers,
            &mut tape,
        );
        if filled.is_ok() {
            let walk = Walk {
                payload,
                nodes: &tape.0,
                marks: self.buffers.structural_indexes(),
                node: 0,
                mark: 0,
            };
            walk.frame(&self.limits, heard);
        }
        self.tape = tape.reset();
        self.shrink();
        filled.is_ok()
    }

    /// Gives memory back after a large frame. The index list is looked at besides the tape, since
    /// of a broken frame it may be all there is.
    fn shrink(&mut self) {
        let tape_bytes = self.tape.0.capacity() * size_of::<Node<'_>>();
        let marks_bytes = size_of_val(self.buffers.structural_indexes());
        if tape_bytes.max(marks_bytes).max(self.scratch.capacity()) > KEPT_BYTES_MAX {
            *self = Parser::new(self.limits);
        }
    }
}

/// What to say about a frame that is not even parsed.
fn gate(payload: &[u8], limits: &Limits) -> Option<Heard<'static>> {
    let max = limits.message_units_max;
    match payload {
        [] => Some(Heard::Ignored(Ignored::Empty)),
        // There are never more units than bytes, so most frames need no counting.
        _ if payload.len() >= max && js::utf16_len(payload) >= max => {
            Some(Heard::Refused(Refusal::TooBig))
        }
        b"[]" => Some(Heard::Ignored(Ignored::Heartbeat)),
        [b'{' | b'[', ..] => None,
        _ => Some(Heard::Ignored(Ignored::NotJson)),
    }
}

/// Hears a frame that passed the gate; `level` counts the texts it was wrapped in.
fn hear_slow(text: &[u8], level: usize, limits: &Limits, heard: &mut dyn FnMut(Heard<'_>)) {
    let text = match lenient::check(text, limits.depth_max) {
        Ok(text) => text,
        Err(lenient::Fault::Broken) => return heard(Heard::Refused(Refusal::Broken)),
        Err(lenient::Fault::TooDeep) => return heard(Heard::Refused(Refusal::TooDeep)),
    };
    let message = |part| {
        Heard::Message(Message::read(part, (level == 0).then(|| lenient::offset(text, part))))
    };
    if text[0] == b'{' {
        return heard(message(text));
    }
    let mut empty = true;
    lenient::elements(text, |element| {
        empty = false;
        match element[0] {
            b'{' => heard(message(element)),
            b'"' => hear_text(&js::decode(element), level, limits, heard),
            _ => heard(Heard::Ignored(Ignored::Element)),
        }
    });
    if empty {
        heard(Heard::Ignored(Ignored::Heartbeat));
    }
}

/// Hears a text in a batch, which may be a frame of its own.
fn hear_text(text: &[u8], level: usize, limits: &Limits, heard: &mut dyn FnMut(Heard<'_>)) {
    match gate(text, limits) {
        None => {}
        Some(Heard::Ignored(Ignored::Empty | Ignored::NotJson)) => {
            return heard(Heard::Ignored(Ignored::Element));
        }
        Some(instead) => return heard(instead),
    }
    if level == TEXT_LEVELS_MAX {
        return heard(Heard::Refused(Refusal::TooDeep));
    }
    match js::escape_surrogates(text) {
        Some(text) => hear_slow(&text, level + 1, limits, heard),
        None => heard(Heard::Refused(Refusal::Broken)),
    }
}

/// A walk over a parsed payload. The tape has a node for each key and value; the marks are the
/// offsets in the payload of all brackets, colons, commas and of the starts of all keys and values.
struct Walk<'w, 't> {
    payload: &'w [u8],
    nodes: &'w [Node<'t>],
    marks: &'w [u32],
    node: usize,
    mark: usize,
}

impl<'w, 't> Walk<'w, 't> {
    fn frame(mut self, limits: &Limits, heard: &mut dyn FnMut(Heard<'_>)) {
        let Node::Array { len, .. } = self.nodes[0] else {
            return heard(Heard::Message(self.message()));
        };
        if len == 0 {
            return heard(Heard::Ignored(Ignored::Heartbeat));
        }
        self.node += 1;
        for _ in 0..len {
            self.mark += 1;
            self.element(limits, heard);
        }
    }

    /// Hears an element of a batch; stops at the comma or bracket behind it.
    fn element(&mut self, limits: &Limits, heard: &mut dyn FnMut(Heard<'_>)) {
        match self.nodes[self.node] {
            Node::Object { .. } => heard(Heard::Message(self.message())),
            Node::String(text) => {
                self.skip();
                hear_text(text.as_bytes(), 0, limits, heard);
            }
            _ => {
                self.skip();
                heard(Heard::Ignored(Ignored::Element));
            }
        }
    }

    /// Reads an object; stops at the mark behind it.
    fn message(&mut self) -> Message<'w> {
        let len = match self.nodes[self.node] {
            Node::Object { len, .. } => len,
            _ => 0,
        };
        let start = self.here();
        let mut message = Message::new(&self.payload[start..], Some(start));
        self.node += 1;
        for _ in 0..len {
            self.mark += 1;
            self.member(start, &mut message);
        }
        self.mark += usize::from(len == 0);
        message.text = &self.payload[start..=self.here()];
        self.mark += 1;
        message
    }

    /// Reads a member; stops at the comma or brace behind it.
    #[inline]
    fn member(&mut self, start: usize, message: &mut Message<'w>) {
        let Node::String(key) = self.nodes[self.node] else {
            return;
        };
        let key_at = self.here() - start;
        self.node += 1;
        self.mark += 2;
        let from = self.here() - start;
        let decoded = match self.nodes[self.node] {
            Node::String(text) => Some(text.as_bytes()),
            _ => None,
        };
        self.skip();
        let end = self.value_end() - start;
        message.member(key.as_bytes(), key_at, from..end, decoded);
    }

    /// The offset of the current mark.
    fn here(&self) -> usize {
        self.marks[self.mark] as usize
    }

    /// The end of the value before the current mark: only space can be in between.
    fn value_end(&self) -> usize {
        let mut end = self.here();
        while matches!(self.payload[end - 1], b' ' | b'\t' | b'\r' | b'\n') {
            end -= 1;
        }
        end
    }

    /// Passes over a value. How many marks it has follows from the nodes: one for each, and for
    /// a container the commas, colons and the closing bracket.
    #[inline]
    fn skip(&mut self) {
        let count = match self.nodes[self.node] {
            Node::Object { count, .. } | Node::Array { count, .. } => count,
            Node::String(_) | Node::Static(_) => 0,
        };
        let nodes = &self.nodes[self.node..=self.node + count];
        self.mark += nodes.len() + nodes.iter().map(marks_inside).sum::<usize>();
        self.node += nodes.len();
    }
}

/// The marks of a container besides its opening bracket and those of its keys and values.
fn marks_inside(node: &Node<'_>) -> usize {
    match node {
        Node::Object { len, .. } => (2 * len).max(1),
        Node::Array { len, .. } => (*len).max(1),
        Node::String(_) | Node::Static(_) => 0,
    }
}

#[cfg(test)]
mod tests;
