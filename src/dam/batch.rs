//! One frame: from the payload of a WebSocket text message to the DAM messages in it.
//!
//! Owns: what a frame may be, its limits, the elements of a batch, and which way a frame is heard.
//! Gun: mesh.hear
//! Must not know: peers, dedup, routes, answers.
//! Invariants: a frame that does not parse as a whole is heard not at all; the fast path and the
//! slow one hear the same; memory kept between frames and stack are bounded.

use std::ops::Range;

use super::message::Message;
use super::scan::{Member, Scanner};
use super::{js, lenient};

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
#[derive(Debug)]
pub enum Heard<'a> {
    /// A message.
    Message(&'a Message<'a>),
    /// A message with an id that is known, as its text was recognised.
    Duplicate,
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
    scanner: Scanner,
}

impl Parser {
    /// A parser without any memory yet.
    pub fn new(limits: Limits) -> Self {
        Parser { limits, scanner: Scanner::new(limits.depth_max) }
    }

    /// Hears one frame, in order. The payload is UTF-8, which a text frame's reader has made sure of: it is
    /// not looked at for that again. Gun: mesh.hear
    pub fn hear(&mut self, payload: &[u8], heard: &mut dyn FnMut(Heard<'_>)) {
        self.hear_new(payload, |_| None, heard);
    }

    /// [`hear`](Self::hear), where `settled` [says](Scanner::scan) of each message what of it need not be parsed, as
    /// the message is a duplicate, unless it has another id behind that.
    pub fn hear_new(
        &mut self,
        payload: &[u8],
        settled: impl FnMut(&[u8]) -> Option<usize>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) {
        if let Some(instead) = gate(payload, &self.limits) {
            return heard(instead);
        }
        if !self.hear_fast(payload, settled, heard) {
            hear_slow(payload, 0, &self.limits, heard);
        }
    }

    /// False, and nothing heard, when the scanner refuses: JavaScript may yet accept.
    fn hear_fast(
        &mut self,
        payload: &[u8],
        mut settled: impl FnMut(&[u8]) -> Option<usize>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> bool {
        debug_assert!(
            std::str::from_utf8(payload).is_ok(),
            "the reader hands out nothing but UTF-8"
        );
        let Some((elements, members)) = self.scanner.scan(payload, &mut settled) else {
            return false;
        };
        if elements.is_empty() {
            heard(Heard::Ignored(Ignored::Heartbeat));
        }
        let mut first = 0;
        for element in elements {
            let (start, end) = (element.start as usize, element.end as usize);
            let members = &members[first..element.members as usize];
            match payload[start] {
                b'{' if element.is_settled => hear_settled(payload, start..end, members, heard),
                b'{' => heard(Heard::Message(&message(payload, start..end, members))),
                b'"' => hear_text(&js::decode(&payload[start..end]), 0, &self.limits, heard),
                _ => heard(Heard::Ignored(Ignored::Element)),
            }
            first = element.members as usize;
        }
        true
    }
}

/// The message in this part of the payload, with these members.
#[inline]
fn message<'a>(payload: &'a [u8], part: Range<usize>, members: &[Member]) -> Message<'a> {
    let start = part.start;
    let mut message = Message::new(&payload[part], Some(start));
    for member in members {
        let key = &payload[member.key as usize + 1..member.key_end as usize - 1];
        let value = member.value as usize - start..member.end as usize - start;
        message.member(key, member.key as usize - start, value, member.is_plain);
    }
    message
}

/// Hears the message in this part of the payload, of which all members were seen before but these.
fn hear_settled(
    payload: &[u8],
    part: Range<usize>,
    members: &[Member],
    heard: &mut dyn FnMut(Heard<'_>),
) {
    let is_id = |member: &Member| payload[member.key as usize..].starts_with(br##""#""##);
    match members.iter().any(is_id) {
        true => heard(Heard::Message(&Message::read(&payload[part.clone()], Some(part.start)))),
        false => heard(Heard::Duplicate),
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
    let message = |part| Message::read(part, (level == 0).then(|| lenient::offset(text, part)));
    if text[0] == b'{' {
        return heard(Heard::Message(&message(text)));
    }
    let mut empty = true;
    lenient::elements(text, |element| {
        empty = false;
        match element[0] {
            b'{' => heard(Heard::Message(&message(element))),
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

#[cfg(test)]
mod tests;
