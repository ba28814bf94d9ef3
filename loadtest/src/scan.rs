//! Finds the stamps in what a connection received, without parsing it.
//!
//! Bytes go in as they were read, cut anywhere; every stamped message comes out once, when its last
//! byte has come, with whether the text behind the stamp is the one that was sent. Must not know
//! frames, JSON or who receives.

use crate::stamp::{Kind, MARKER, STAMP_BYTES, Stamp};

/// What follows the stamps of a run: for each kind the same text, up to and with the closing quote.
#[derive(Clone, Debug, Default)]
pub struct Fillers {
    /// Behind a post.
    pub post: Vec<u8>,
    /// Behind a question.
    pub question: Vec<u8>,
    /// Behind an answer.
    pub answer: Vec<u8>,
}

impl Fillers {
    /// What follows a stamp of this kind.
    #[inline]
    pub fn of(&self, kind: Kind) -> &[u8] {
        match kind {
            Kind::Post => &self.post,
            Kind::Question => &self.question,
            Kind::Answer => &self.answer,
        }
    }
}

/// Text of `len` characters, the same every time, and a closing quote.
pub fn filler(len: usize) -> Vec<u8> {
    let text = b"The quick brown fox jumps over the lazy dog, and then does it again. ";
    text.iter().copied().cycle().take(len).chain([b'"']).collect()
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A message; `false` when its text was not the one that was sent.
    Message(Stamp, bool),
    /// Something that begins like a stamp and is none.
    BadStamp,
}

/// How far a connection's scanner is.
#[derive(Debug, Default)]
pub struct Scanner(State);

#[derive(Debug, Default)]
enum State {
    #[default]
    Searching,
    /// The beginning of a stamp.
    InStamp { held: [u8; STAMP_BYTES], len: u8 },
    /// The stamp, and how much of its text came.
    InText(Stamp, u32),
}

/// What all connections of a run have in common.
#[derive(Clone, Debug)]
pub struct Expected {
    /// What makes the stamps of this run its own.
    pub secret: u64,
    /// What follows the stamps.
    pub fillers: Fillers,
}

impl Scanner {
    /// Takes more of the stream.
    #[inline]
    pub fn scan(&mut self, mut bytes: &[u8], expected: &Expected, found: &mut impl FnMut(Found)) {
        while !bytes.is_empty() {
            let (one, rest) = self.next(bytes, expected);
            bytes = rest;
            one.into_iter().for_each(&mut *found);
        }
    }

    /// Whether it is between messages: what it finds next does not depend on what came before.
    #[inline]
    pub fn is_between(&self) -> bool {
        matches!(self.0, State::Searching)
    }

    /// Takes of the stream what there is up to the end of a message, or all. Returns the rest.
    #[inline]
    pub fn next<'a>(
        &mut self,
        mut bytes: &'a [u8],
        expected: &Expected,
    ) -> (Option<Found>, &'a [u8]) {
        let mut found = None;
        while found.is_none() && !bytes.is_empty() {
            (found, bytes) = match &mut self.0 {
                State::Searching => self.search(bytes, expected),
                State::InStamp { .. } => self.finish_stamp(bytes, expected),
                State::InText(..) => self.compare(bytes, expected),
            };
        }
        (found, bytes)
    }

    #[inline]
    fn search<'a>(&mut self, bytes: &'a [u8], expected: &Expected) -> (Option<Found>, &'a [u8]) {
        let Some(at) = memchr::memchr(MARKER, bytes) else { return (None, &[]) };
        let Some((stamp, rest)) = bytes[at..].split_first_chunk::<STAMP_BYTES>() else {
            let mut held = [0; STAMP_BYTES];
            let begun = &bytes[at..];
            held[..begun.len()].copy_from_slice(begun);
            self.0 = State::InStamp { held, len: begun.len() as u8 };
            return (None, &[]);
        };
        let Some(stamp) = Stamp::read(stamp, expected.secret) else {
            return (Some(Found::BadStamp), &bytes[at + 1..]);
        };
        let text = expected.fillers.of(stamp.kind);
        match rest.split_at_checked(text.len()) {
            Some((came, rest)) if came == text => (Some(Found::Message(stamp, true)), rest),
            _ => {
                self.0 = State::InText(stamp, 0);
                (None, rest)
            }
        }
    }

    fn finish_stamp<'a>(
        &mut self,
        bytes: &'a [u8],
        expected: &Expected,
    ) -> (Option<Found>, &'a [u8]) {
        let State::InStamp { held, len } = &mut self.0 else { return (None, bytes) };
        let begun = usize::from(*len);
        let taken = bytes.len().min(STAMP_BYTES - begun);
        held[begun..begun + taken].copy_from_slice(&bytes[..taken]);
        *len += taken as u8;
        let mut found = None;
        if begun + taken == STAMP_BYTES {
            self.0 = match Stamp::read(held, expected.secret) {
                Some(stamp) => State::InText(stamp, 0),
                None => {
                    found = Some(Found::BadStamp);
                    State::Searching
                }
            };
        }
        (found, &bytes[taken..])
    }

    fn compare<'a>(&mut self, bytes: &'a [u8], expected: &Expected) -> (Option<Found>, &'a [u8]) {
        let State::InText(stamp, done) = &mut self.0 else { return (None, bytes) };
        let text = &expected.fillers.of(stamp.kind)[*done as usize..];
        let taken = bytes.len().min(text.len());
        let is_same = bytes[..taken] == text[..taken];
        let is_whole = taken == text.len();
        let stamp = *stamp;
        *done += taken as u32;
        if is_same && !is_whole {
            return (None, &bytes[taken..]);
        }
        self.0 = State::Searching;
        (Some(Found::Message(stamp, is_same)), if is_same { &bytes[taken..] } else { bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Expected {
        let fillers = Fillers { post: filler(100), question: filler(0), answer: filler(7) };
        Expected { secret: 3, fillers }
    }

    fn message(kind: Kind, sequence: u32) -> Vec<u8> {
        let stamp = Stamp { kind, source: 1, sequence, meant_ns: 5, lag_ns: 0 };
        let mut bytes = [0; STAMP_BYTES];
        stamp.write(3, &mut bytes);
        [b"{\"x\":\"", &bytes[..], expected().fillers.of(kind), b"}"].concat()
    }

    fn scan(chunks: &[&[u8]]) -> Vec<Found> {
        let (mut scanner, expected) = (Scanner::default(), expected());
        let mut all = Vec::new();
        chunks.iter().for_each(|chunk| scanner.scan(chunk, &expected, &mut |f| all.push(f)));
        all
    }

    fn stream() -> Vec<u8> {
        let kinds = [Kind::Post, Kind::Question, Kind::Answer, Kind::Post];
        (0..4).flat_map(|n| message(kinds[n as usize], n)).collect()
    }

    #[test]
    fn messages_are_found_wherever_the_stream_is_cut() {
        let stream = stream();
        let whole = scan(&[&stream]);
        assert_eq!(whole.len(), 4);
        for (n, found) in whole.iter().enumerate() {
            assert!(matches!(found, Found::Message(stamp, true) if stamp.sequence == n as u32));
        }
        for cut in 0..stream.len() {
            assert_eq!(scan(&[&stream[..cut], &stream[cut..]]), whole, "cut at {cut}");
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(scan(&bytes), whole);
    }

    #[test]
    fn a_changed_text_is_found_and_the_next_message_is_whole() {
        for at in [60, 100, 156] {
            let mut stream = stream();
            stream[at] ^= 1;
            let found = scan(&[&stream]);
            assert!(matches!(found[0], Found::Message(_, false)), "byte {at}: {found:?}");
            assert!(matches!(found[1], Found::Message(_, true)));
        }
    }

    #[test]
    fn a_changed_stamp_is_found() {
        let mut stream = stream();
        stream[20] ^= 1;
        assert_eq!(scan(&[&stream])[0], Found::BadStamp);
    }
}
