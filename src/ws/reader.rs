//! The read side of one WebSocket connection: received bytes in, messages and control frames out
//! (RFC 6455 sections 5 and 8).
//!
//! Owns the unfinished part of a frame or message, and judges whether the peer keeps the framing
//! rules. Must not know sockets, what a text means, or how a fault is answered.
//!
//! Invariants:
//! - A text frame that lies wholly in the input is unmasked there and lent out: nothing is copied and
//!   nothing allocated.
//! - Memory follows the bytes that arrived, never the length a peer announced.
//! - Between messages a reader holds no heap memory (after the next call, if the last event was lent).
//! - The events do not depend on how the input is cut.
//! - After a close frame or a fault, everything else is ignored.

use std::ops::{Deref, Range};

use bytes::Bytes;

use super::frame::{HEADER_BYTES_MAX, Opcode, mask, unmask_is_ascii};
use assembly::{Assembly, Joined};
pub use fault::ReadError;
use head::Head;

mod assembly;
mod fault;
mod head;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

/// Which end of the connection reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We accepted the connection: every frame must be masked.
    Server,
    /// We dialled: no frame may be masked.
    Client,
}

/// A text message, valid UTF-8.
#[derive(Debug)]
pub enum Payload<'a> {
    /// It lies in the input.
    Borrowed(&'a [u8]),
    /// It arrived in parts and was assembled.
    Owned(Bytes),
}

impl Payload<'_> {
    /// The message as shared bytes. Copies it only when it is borrowed.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Owned(bytes) => bytes,
        }
    }

    /// The message as a string. Validates a second time, so it is not for the path of every message.
    pub fn as_str(&self) -> &str {
        simdutf8::basic::from_utf8(self).expect("a reader yields only valid UTF-8")
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// What a peer said.
#[derive(Debug)]
pub enum Event<'a> {
    /// A whole text message.
    Text(Payload<'a>),
    /// The end of a binary message of so many bytes. Its content was skipped.
    Binary(u64),
    /// The end of a text of so many bytes, more than are kept. Its content was skipped.
    LongText(u64),
    /// A question, to be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// A pong with its payload.
    Pong(&'a [u8]),
    /// The peer's last frame, with its code if it gave one. Nothing follows.
    Close(Option<u16>),
}

/// An event before anything is lent: where its payload lies.
enum Found {
    Text(Range<usize>),
    Joined(Joined),
    Control(Opcode, Place),
}

/// Where the payload of a control frame lies.
enum Place {
    Input(Range<usize>),
    Assembly,
}

/// How much of a text is seen before it is its turn: what is first in a message is its id.
pub const START_BYTES: usize = 32;

/// Reads the frames of one connection.
#[derive(Debug)]
pub struct FrameReader {
    /// Bound on a message, joined or not: beyond it the connection fails.
    frame_bytes_max: usize,
    /// Bound on a text that is kept: beyond it the text is skipped.
    text_bytes_max: usize,
    /// The unfinished frame or message, if the input ever ended in the middle of one.
    assembly: Option<Box<Assembly>>,
    /// The beginning of a header that the input cut, `partial_bytes` of it.
    partial: [u8; HEADER_BYTES_MAX],
    partial_bytes: u8,
    role: Role,
    /// A close frame or a fault was seen.
    ended: bool,
}

impl FrameReader {
    /// A reader that accepts messages of up to `frame_bytes_max` bytes, however many frames they take.
    pub fn new(role: Role, frame_bytes_max: usize) -> Self {
        Self {
            frame_bytes_max,
            text_bytes_max: frame_bytes_max,
            assembly: None,
            partial: [0; HEADER_BYTES_MAX],
            partial_bytes: 0,
            role,
            ended: false,
        }
    }

    /// Skips texts of more bytes than this, and says so, instead of keeping them. The connection
    /// goes on.
    pub fn skipping_texts_over(self, text_bytes_max: usize) -> Self {
        Self { text_bytes_max, ..self }
    }

    /// Takes the next event out of `input[*at..]` and advances `*at`; `None` when all of it is consumed.
    ///
    /// What is consumed was unmasked in place, so the caller passes each byte once.
    ///
    /// # Errors
    /// The peer broke a rule: answer [`ReadError::close_code`] and end the connection. Later calls ignore
    /// their input.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        at: &mut usize,
    ) -> Result<Option<Event<'a>>, ReadError> {
        if let Some((key, payload)) = self.peek_short_text(input, *at) {
            *at = payload.end;
            let text = &mut input[payload];
            if !unmask_is_ascii(text, key) && simdutf8::basic::from_utf8(text).is_err() {
                return Err(self.fail(ReadError::TextNotUtf8));
            }
            return Ok(Some(Event::Text(Payload::Borrowed(text))));
        }
        self.next_any(input, at)
    }

    /// The starts of the short texts that lie whole in `input[at..]`, in a row, and where each of their frames
    /// ends. Consumes nothing and changes nothing. A start is [`START_BYTES`] long, whatever its text is.
    pub fn peek<'a>(
        &'a self,
        input: &'a [u8],
        mut at: usize,
    ) -> impl Iterator<Item = ([u8; START_BYTES], usize)> {
        std::iter::from_fn(move || {
            let (key, payload) = self.peek_short_text(input, at)?;
            at = payload.end;
            let mut start = *input[payload.start..].first_chunk()?;
            mask(&mut start, key, 0);
            Some((start, at))
        })
    }

    /// Whether bytes of an unfinished frame or message are held.
    pub fn is_mid_frame(&self) -> bool {
        self.partial_bytes > 0 || self.assembly.as_ref().is_some_and(|a| a.is_open())
    }

    /// Heap memory held for an unfinished message, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, |a| a.held_bytes())
    }

    /// Key and payload of the frame that nearly all frames are: a whole, short, masked text. Every
    /// other frame takes [`Self::next_any`], which would read this one alike.
    #[inline]
    fn peek_short_text(&self, input: &[u8], at: usize) -> Option<([u8; 4], Range<usize>)> {
        if self.assembly.is_some() || self.partial_bytes > 0 || self.ended {
            return None;
        }
        let (payload_bytes, header_bytes, key) = head::short_masked_text(input.get(at..)?)?;
        let start = at + header_bytes;
        let end = start + payload_bytes;
        let fits = self.role == Role::Server && payload_bytes <= self.text_bytes_max;
        (fits && end <= input.len()).then_some((key, start..end))
    }

    fn next_any<'a>(
        &'a mut self,
        input: &'a mut [u8],
        at: &mut usize,
    ) -> Result<Option<Event<'a>>, ReadError> {
        if self.ended {
            *at = input.len();
            return Ok(None);
        }
        self.release();
        match self.find(input, at) {
            Ok(None) => Ok(None),
            Ok(Some(found)) => self.present(found, input),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Gives back the memory of a message that was delivered.
    fn release(&mut self) {
        self.assembly = self.assembly.take().filter(|a| a.is_open());
    }

    fn fail(&mut self, error: ReadError) -> ReadError {
        self.ended = true;
        self.assembly = None;
        self.partial_bytes = 0;
        error
    }

    /// Consumes input until it holds an event or ends.
    fn find(&mut self, input: &mut [u8], at: &mut usize) -> Result<Option<Found>, ReadError> {
        loop {
            if let Some(assembly) = &mut self.assembly
                && assembly.in_frame()
            {
                let found = assembly.fill(input, at, self.text_bytes_max);
                if found.is_some() || assembly.in_frame() {
                    return Ok(found);
                }
            }
            let Some(head) = self.take_head(input, at) else {
                return Ok(None);
            };
            let opcode = self.check(&head)?;
            if let Some(found) = take_whole(opcode, &head, input, at, self.text_bytes_max) {
                return Ok(Some(found));
            }
            self.assembly.get_or_insert_default().begin(opcode, &head, self.text_bytes_max);
        }
    }

    /// Takes a frame header, which may have begun in earlier input.
    fn take_head(&mut self, input: &[u8], at: &mut usize) -> Option<Head> {
        let rest = &input[*at..];
        let before = self.partial_bytes as usize;
        let added = rest.len().min(HEADER_BYTES_MAX - before);
        self.partial[before..before + added].copy_from_slice(&rest[..added]);
        let Some(head) = Head::decode(&self.partial[..before + added]) else {
            self.partial_bytes = (before + added) as u8;
            *at += added;
            return None;
        };
        self.partial_bytes = 0;
        *at += head.header_bytes - before;
        Some(head)
    }

    /// The rules of RFC 6455 section 5 that a header alone can break.
    fn check(&self, head: &Head) -> Result<Opcode, ReadError> {
        let opcode = head.opcode()?;
        match (self.role, head.key) {
            (Role::Server, None) => return Err(ReadError::Unmasked),
            (Role::Client, Some(_)) => return Err(ReadError::Masked),
            _ => {}
        }
        if opcode.is_control() {
            return Ok(opcode);
        }
        let begun = self.assembly.as_ref().and_then(|a| a.message_bytes());
        match (opcode, begun) {
            (Opcode::Continuation, None) => return Err(ReadError::LoneContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ReadError::InterruptedMessage),
            _ => {}
        }
        let bytes = begun.unwrap_or(0).saturating_add(head.payload_bytes);
        if bytes > self.frame_bytes_max as u64 {
            let bytes_max = self.frame_bytes_max;
            return Err(ReadError::TooLong { bytes, bytes_max });
        }
        Ok(opcode)
    }

    /// Turns a finding into an event: the last judgement, and what is lent to the caller.
    fn present<'a>(
        &'a mut self,
        found: Found,
        input: &'a [u8],
    ) -> Result<Option<Event<'a>>, ReadError> {
        let payload = match found {
            Found::Joined(Joined::Binary(bytes)) => return Ok(Some(Event::Binary(bytes))),
            Found::Joined(Joined::LongText(bytes)) => return Ok(Some(Event::LongText(bytes))),
            Found::Joined(Joined::Text(text)) => Payload::Owned(text),
            Found::Text(range) => Payload::Borrowed(&input[range]),
            Found::Control(Opcode::Close, place) => return self.present_close(place, input),
            Found::Control(opcode, place) => {
                let payload = self.payload(place, input);
                return Ok(Some(match opcode {
                    Opcode::Ping => Event::Ping(payload),
                    _ => Event::Pong(payload),
                }));
            }
        };
        match simdutf8::basic::from_utf8(&payload) {
            Ok(_) => Ok(Some(Event::Text(payload))),
            Err(_) => Err(self.fail(ReadError::TextNotUtf8)),
        }
    }

    fn present_close(
        &mut self,
        place: Place,
        input: &[u8],
    ) -> Result<Option<Event<'static>>, ReadError> {
        let code = close_code(self.payload(place, input));
        self.ended = true;
        self.assembly = None;
        Ok(Some(Event::Close(code?)))
    }

    fn payload<'a>(&'a self, place: Place, input: &'a [u8]) -> &'a [u8] {
        match place {
            Place::Input(range) => &input[range],
            Place::Assembly => self.assembly.as_ref().map_or(&[], |a| a.control()),
        }
    }
}

/// Takes a frame that is an event by itself and lies wholly in the input.
fn take_whole(
    opcode: Opcode,
    head: &Head,
    input: &mut [u8],
    at: &mut usize,
    text_bytes_max: usize,
) -> Option<Found> {
    let alone = opcode.is_control() || (head.is_final() && opcode != Opcode::Continuation);
    let rest_bytes = input.len() - *at;
    if !alone || head.payload_bytes > rest_bytes as u64 {
        return None;
    }
    let payload = *at..*at + head.payload_bytes as usize;
    *at = payload.end;
    if opcode == Opcode::Binary {
        return Some(Found::Joined(Joined::Binary(head.payload_bytes)));
    }
    if opcode == Opcode::Text && payload.len() > text_bytes_max {
        return Some(Found::Joined(Joined::LongText(head.payload_bytes)));
    }
    if let Some(key) = head.key {
        mask(&mut input[payload.clone()], key, 0);
    }
    Some(match opcode {
        Opcode::Text => Found::Text(payload),
        control => Found::Control(control, Place::Input(payload)),
    })
}

/// The code in a close frame (RFC 6455 sections 5.5.1 and 7.4). Ours to accept are those that Gun's
/// usual WebSocket library accepts.
fn close_code(payload: &[u8]) -> Result<Option<u16>, ReadError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        let empty = payload.is_empty();
        return if empty { Ok(None) } else { Err(ReadError::CloseTruncated) };
    };
    if simdutf8::basic::from_utf8(reason).is_err() {
        return Err(ReadError::CloseReasonNotUtf8);
    }
    match u16::from_be_bytes(*code) {
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(Some(code)),
        code => Err(ReadError::CloseCodeInvalid(code)),
    }
}
