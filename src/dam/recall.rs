//! Duplicates known by their bytes, so that what was checked before is not parsed again.
//!
//! In a mesh a message comes once from each neighbour. Its copies differ in what relays write, `><` and
//! `ok`, and these are its last members; what is before them is the same in each. So a [`Fingerprint`] of that
//! is kept with the id: a text that begins with the same bytes has the same id, and is valid JSON up to there.
//! What follows is parsed as ever.
//!
//! Owns: which part of a text is settled, whether another text begins with it, and whether it pays to ask.
//! Must not know: how the rest is parsed, routes, peers.
//!
//! Invariants:
//! - Nothing changes but the time it takes: what is recognised would be a duplicate, and a broken
//!   frame is found broken.
//! - What is hashed in vain is bounded: after a mismatch the rest of a frame is parsed.
//! - Where duplicates are rare, nothing is hashed.

use std::num::NonZeroU64;

use super::dedup::{Dedup, Key, Keys};
use super::message::Message;

/// Of longer texts nothing is kept. To hash one costs nearly as much as to parse it, which
/// for the most part is to pass over long strings.
const SETTLED_BYTES_MAX: usize = 4096;

/// Bits for a length of up to that.
const LEN_BITS: u32 = 13;

/// What a message that Gun made begins with, up to its id.
const BEFORE_ID: &[u8] = br##"{"#":""##;

/// As many new messages cost, with fingerprints to be made, what is saved with one duplicate.
const NEW_PER_DUPLICATE: u32 = 4;

/// So many new messages, and no duplicate among them, are enough to say that these have become rare.
const MEMORY_MAX: u32 = 1024;

/// The length and a keyed hash of the part of a message's text that relays leave as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(NonZeroU64);

impl Fingerprint {
    /// Its highest bits, which are never set.
    pub const SPARE_BITS: u32 = 2;

    /// Of the members that the message begins with, its id first, if it does.
    pub fn of(message: &Message<'_>, keys: &Keys) -> Option<Self> {
        let settled = message.settled();
        let has_id = settled.starts_with(BEFORE_ID) && message.id_at() == BEFORE_ID.len() - 1;
        (has_id && settled.len() <= SETTLED_BYTES_MAX).then(|| Self::of_text(settled, keys))?
    }

    fn of_text(settled: &[u8], keys: &Keys) -> Option<Self> {
        let hash = keys.hash(settled) >> (LEN_BITS + Self::SPARE_BITS);
        Self::from_bits(hash << LEN_BITS | settled.len() as u64)
    }

    /// The length of the text, in bytes.
    fn len(self) -> usize {
        self.0.get() as usize & ((1 << LEN_BITS) - 1)
    }

    /// As a number, which is not zero.
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// The one that this number was made of, if it was made of one.
    pub fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Fingerprint)
    }

    /// Whether the text begins with what this was made of.
    fn is_of(self, text: &[u8], keys: &Keys) -> bool {
        text.get(..self.len()).is_some_and(|text| Self::of_text(text, keys) == Some(self))
    }
}

/// Whether duplicates are so common that it pays to recognise them.
#[derive(Default)]
pub struct Repeats(u32);

impl Repeats {
    /// A message was a duplicate.
    pub fn saw_duplicate(&mut self) {
        self.0 = (self.0 + NEW_PER_DUPLICATE).min(MEMORY_MAX);
    }

    /// A message was new.
    pub fn saw_new(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// More than one of five messages, lately.
    pub fn are_common(&self) -> bool {
        self.0 > 0
    }
}

/// What was found out about the id that a text begins with, before it was the text's turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foreseen {
    /// Nobody looked.
    #[default]
    Nothing,
    /// It is new, or its text is not known.
    New,
    /// It is known, and how its text is.
    Known(Fingerprint),
}

/// Recognises the messages of one frame.
pub struct Recall<'a> {
    keys: &'a Keys,
    dedup: &'a Dedup,
    /// Of the next text.
    foreseen: Foreseen,
    /// It pays to look.
    looks: bool,
}

impl<'a> Recall<'a> {
    /// By the ids in `dedup`, which `keys` made. `foreseen` is about the first message.
    pub fn new(keys: &'a Keys, dedup: &'a Dedup, foreseen: Foreseen, repeats: &Repeats) -> Self {
        Recall { keys, dedup, foreseen, looks: repeats.are_common() }
    }

    /// How many bytes at the start of `text` are a brace and whole members, with an id that is known, that
    /// were checked before. None: `text` has to be parsed.
    #[inline]
    pub fn settled(&mut self, text: &[u8]) -> Option<usize> {
        let known = match std::mem::take(&mut self.foreseen) {
            _ if !self.looks => return None,
            Foreseen::Nothing => self.dedup.fingerprint(leading_key(text, self.keys)?)?,
            Foreseen::New => return None,
            Foreseen::Known(fingerprint) => fingerprint,
        };
        self.looks = known.is_of(text, self.keys);
        self.looks.then_some(known.len())
    }
}

/// The key of the id that a message begins with, of which this is the start. A guess, made before the text is
/// known to be one.
pub fn leading_key(start: &[u8], keys: &Keys) -> Option<Key> {
    let id = start.strip_prefix(BEFORE_ID)?;
    let end = id.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    (id[end] == b'"').then(|| keys.of(&id[..end]))
}

#[cfg(test)]
mod tests;
