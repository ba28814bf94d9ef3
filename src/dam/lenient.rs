//! Splitting JSON that `JSON.parse` accepts and the fast parser refuses.
//!
//! Owns: checking a whole text, its nesting, and cutting objects and arrays into source slices.
//! Must not know: messages, fields, batches.
//! Invariants: accepts exactly what JavaScript accepts (lone surrogates, `1e400`, any depth up to
//! the caller's limit, duplicate keys); memory and stack do not grow with the text: the skipping
//! inside `RawValue` is iterative and keeps one byte per open bracket.
//!
//! This is also the dumb slow path that the fast one is tested against.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::js;

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not JSON.
    Broken,
    /// JSON that nests deeper than allowed.
    TooDeep,
}

/// Checks a text that opens with `{` or `[`, and gives it back without the space behind it.
pub fn check(text: &[u8], depth_max: usize) -> Result<&[u8], Fault> {
    let value: &RawValue = serde_json::from_slice(text).map_err(|_| Fault::Broken)?;
    let value = value.get().as_bytes();
    if js::container_end(value, 0).1 > depth_max {
        return Err(Fault::TooDeep);
    }
    Ok(value)
}

/// The source texts of each key and value of an object that was checked before, in order.
pub fn members<'a>(object: &'a [u8], each: impl FnMut(&'a [u8], &'a [u8])) {
    let done = Deserializer::from_slice(object).deserialize_map(Members(each));
    debug_assert!(done.is_ok(), "the object was checked before");
}

/// The source text of each element of an array that was checked before, in order.
pub fn elements<'a>(array: &'a [u8], each: impl FnMut(&'a [u8])) {
    let done = Deserializer::from_slice(array).deserialize_seq(Elements(each));
    debug_assert!(done.is_ok(), "the array was checked before");
}

/// The position of a slice in the text it was cut from.
pub fn offset(text: &[u8], slice: &[u8]) -> usize {
    slice.as_ptr().addr() - text.as_ptr().addr()
}

struct Members<F>(F);

impl<'de, F: FnMut(&'de [u8], &'de [u8])> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            (self.0)(key.get().as_bytes(), value.get().as_bytes());
        }
        Ok(())
    }
}

struct Elements<F>(F);

impl<'de, F: FnMut(&'de [u8])> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element::<&RawValue>()? {
            (self.0)(value.get().as_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
