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
mod tests {
    use super::*;

    #[test]
    fn accepts_what_javascript_accepts() {
        let texts = [
            r#"{"a":"\ud83d"}"#,
            r#"{"\ud83d":1}"#,
            "[1e400,-1e-400,-0,0e9]",
            "{}\n\r\t ",
            r#"{"a":1,"a":2}"#,
            "{\"\u{2028}\":\"\u{7f}\"}",
        ];
        for text in texts {
            assert_eq!(check(text.as_bytes(), 9), Ok(text.trim_end().as_bytes()), "{text}");
        }
    }

    #[test]
    fn refuses_what_javascript_refuses() {
        let texts = [
            "{",
            "[1,]",
            "{\"a\":1,}",
            "[01]",
            "[1.]",
            "[.5]",
            "[-]",
            "[+1]",
            "[1e]",
            "{}x",
            "{} {}",
            "[\"\n\"]",
            r#"["\x"]"#,
            r#"["\u12"]"#,
            "[\u{a0}1]",
            "[\u{b}]",
            "[\u{c}]",
            "[nul]",
            "{a:1}",
            "{'a':1}",
            "[NaN]",
            "{\"a\"}",
            "{1:2}",
            "[1}",
            "[\u{feff}]",
        ];
        for text in texts {
            assert_eq!(check(text.as_bytes(), 9), Err(Fault::Broken), "{text}");
        }
    }

    #[test]
    fn depth_is_counted_without_recursion() {
        let nest = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(nest(9).as_bytes(), 9).is_ok());
        assert_eq!(check(nest(10).as_bytes(), 9), Err(Fault::TooDeep));
        assert!(check(nest(1_000_000).as_bytes(), 1_000_000).is_ok());
        assert_eq!(check("[".repeat(1_000_000).as_bytes(), 9), Err(Fault::Broken));
        assert!(check(br#"["[[[[","{{\"{{"]"#, 1).is_ok(), "brackets in strings do not count");
    }

    #[test]
    fn splits_into_source_texts() {
        let object = br#"{ "a" : 1 , "\u0023" : [ {} ] }"#;
        let mut found = Vec::new();
        members(object, |key, value| found.push((offset(object, key), key, value)));
        assert_eq!(found, [(2, &b"\"a\""[..], &b"1"[..]), (12, br#""\u0023""#, b"[ {} ]")]);
        let mut found = Vec::new();
        elements(b"[ 1 ,\"x\", {} ]", |element| found.push(element));
        assert_eq!(found, [&b"1"[..], b"\"x\"", b"{}"]);
    }
}
