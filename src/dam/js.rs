//! JavaScript's view of JSON values: what a Gun peer would make of them.
//!
//! Owns: `Boolean(v)`, `String(v)`, `Number(v)` and `s.length` for a value that is known by its
//! JSON source text, and the decoding of JSON strings.
//! Must not know: messages, fields, batches.
//! Invariants: every `source` is one complete, valid JSON value with no space around it; text
//! that is handed out is WTF-8 (UTF-8 plus lone surrogates, which JavaScript's strings may hold);
//! nothing recurses, however deep a value nests.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserializer as _;
use serde::de::Visitor;

/// The text form of every object.
const OBJECT_TEXT: &[u8] = b"[object Object]";

/// Integers of up to this many digits are doubles exactly, and spelled the same in JavaScript.
const EXACT_DIGITS_MAX: usize = 15;

/// The JSON type of a value, or that there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// No such member.
    #[default]
    Absent,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// Any number.
    Number,
    /// A string.
    Text,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// The type of a value; `Absent` for no text at all.
pub fn kind(source: &[u8]) -> Kind {
    match source.first() {
        None => Kind::Absent,
        Some(b'"') => Kind::Text,
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') => Kind::Null,
        Some(_) => Kind::Number,
    }
}

/// `Boolean(value)`: false for nothing, `null`, `false`, `""` and every spelling of zero.
pub fn truthy(source: &[u8]) -> bool {
    match kind(source) {
        Kind::Absent | Kind::Null => false,
        Kind::Bool => source == b"true",
        Kind::Text => source != b"\"\"",
        Kind::Number => is_plain_integer(source) || double(source) != 0.0,
        Kind::Array | Kind::Object => true,
    }
}

/// `String(value)`; nothing at all gives the empty text.
pub fn text(source: &[u8]) -> Cow<'_, [u8]> {
    match kind(source) {
        Kind::Absent | Kind::Null | Kind::Bool => Cow::Borrowed(source),
        Kind::Text => decode(source),
        Kind::Number if is_plain_integer(source) => Cow::Borrowed(source),
        Kind::Number => {
            let mut buffer = ryu_js::Buffer::new();
            Cow::Owned(buffer.format(double(source)).as_bytes().to_vec())
        }
        Kind::Array => Cow::Owned(array_text(source)),
        Kind::Object => Cow::Borrowed(OBJECT_TEXT),
    }
}

/// `Number(value)`, for the arithmetic Gun does on whatever it is sent.
pub fn number(source: &[u8]) -> f64 {
    match kind(source) {
        Kind::Absent | Kind::Object => f64::NAN,
        Kind::Null => 0.0,
        Kind::Bool => f64::from(u8::from(source == b"true")),
        Kind::Number => double(source),
        Kind::Text | Kind::Array => number_of_text(&text(source)),
    }
}

/// The characters of a JSON string literal. Lone surrogates, which are half an emoji that an
/// application cut in two, come out as their three WTF-8 bytes.
pub fn decode(literal: &[u8]) -> Cow<'_, [u8]> {
    let inner = &literal[1..literal.len() - 1];
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let decoded = serde_json::Deserializer::from_slice(literal).deserialize_bytes(Bytes);
    debug_assert!(decoded.is_ok(), "the literal was checked before");
    Cow::Owned(decoded.unwrap_or_default())
}

/// `text.length`: UTF-16 code units of UTF-8 or WTF-8 text.
pub fn utf16_len(text: impl AsRef<[u8]>) -> usize {
    // A byte adds two at most, so the sum of a chunk fits a byte, which lets the compiler use
    // the widest vectors there are.
    let chunks = text.as_ref().chunks(127);
    chunks.map(|chunk| usize::from(chunk.iter().map(|&byte| units(byte)).sum::<u8>())).sum()
}

/// UTF-16 code units that begin with this byte: a character of four bytes is a pair.
fn units(byte: u8) -> u8 {
    u8::from(byte & 0xC0 != 0x80) + u8::from(byte >= 0xF0)
}

/// Makes decoded text fit for parsing and forwarding as JSON: a lone surrogate cannot stand in
/// UTF-8, so it is escaped. None when that would change what the text means: behind a backslash
/// it is an invalid escape.
pub fn escape_surrogates(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if std::str::from_utf8(text).is_ok() {
        return Some(Cow::Borrowed(text));
    }
    let mut escaped = Vec::with_capacity(text.len() + 16);
    let mut at = 0;
    while at < text.len() {
        if text[at] != 0xED || text[at + 1] < 0xA0 {
            escaped.push(text[at]);
            at += 1;
            continue;
        }
        if ends_in_escape(&escaped) {
            return None;
        }
        let unit = 0xD000 | u16::from(text[at + 1] & 0x3F) << 6 | u16::from(text[at + 2] & 0x3F);
        escaped.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
        at += 3;
    }
    Some(Cow::Owned(escaped))
}

/// Whether the next character would be escaped: an odd number of backslashes at the end.
fn ends_in_escape(text: &[u8]) -> bool {
    text.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// The range of the string literal that opens at `at`, quotes included.
pub fn string_range(source: &[u8], at: usize) -> Range<usize> {
    let mut end = at + 1;
    while source[end] != b'"' {
        end += if source[end] == b'\\' { 2 } else { 1 };
    }
    at..end + 1
}

/// The end of the array or object that opens at `at`, and how deep it nests (`[]` is 1).
pub fn container_end(source: &[u8], mut at: usize) -> (usize, usize) {
    let (mut depth, mut deepest) = (0usize, 0);
    loop {
        match source[at] {
            b'"' => at = string_range(source, at).end - 1,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return (at, deepest);
        }
    }
}

/// `String(array)`. Arrays inside are joined by the same comma, so the text is the flat list of
/// everything that is not an array, and their brackets just vanish.
fn array_text(source: &[u8]) -> Vec<u8> {
    let mut joined = Vec::new();
    let mut at = 0;
    while at < source.len() {
        let end = match source[at] {
            b'"' => string_range(source, at).end,
            b'{' => container_end(source, at).0,
            b',' => {
                joined.push(b',');
                at + 1
            }
            b'[' | b']' | b' ' | b'\t' | b'\r' | b'\n' => at + 1,
            _ => scalar_end(source, at),
        };
        let item = &source[at..end];
        if !matches!(item, b"null" | b"," | b"[" | b"]" | b" " | b"\t" | b"\r" | b"\n") {
            joined.extend_from_slice(&text(item));
        }
        at = end;
    }
    joined
}

/// The end of a number or word inside an array.
fn scalar_end(source: &[u8], at: usize) -> usize {
    let stops = |byte: &u8| matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n');
    at + source[at..].iter().position(stops).unwrap_or(source.len() - at)
}

/// Whether JavaScript prints the number just as it is spelled here.
fn is_plain_integer(source: &[u8]) -> bool {
    let digits = source.strip_prefix(b"-").unwrap_or(source);
    matches!(digits.first(), Some(b'1'..=b'9'))
        && digits.len() <= EXACT_DIGITS_MAX
        && digits.iter().all(u8::is_ascii_digit)
}

/// The double a JSON number stands for; too big is infinite, too small is zero.
fn double(source: &[u8]) -> f64 {
    std::str::from_utf8(source).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

/// `Number(text)`.
fn number_of_text(text: &[u8]) -> f64 {
    let Ok(text) = std::str::from_utf8(text) else {
        return f64::NAN;
    };
    let text = text.trim_matches(is_js_space);
    match text.strip_prefix(['-', '+']).unwrap_or(text) {
        "" if text.is_empty() => 0.0,
        "Infinity" if text.starts_with('-') => f64::NEG_INFINITY,
        "Infinity" => f64::INFINITY,
        _ => number_of_prefixed(text).unwrap_or_else(|| number_of_decimal(text)),
    }
}

/// Rust's space differs from JavaScript's in two characters.
fn is_js_space(c: char) -> bool {
    c == '\u{FEFF}' || c.is_whitespace() && c != '\u{85}'
}

/// Hexadecimal, octal and binary numbers, which take no sign.
fn number_of_prefixed(text: &str) -> Option<f64> {
    let radix = match text.get(..2)? {
        "0x" | "0X" => 16,
        "0o" | "0O" => 8,
        "0b" | "0B" => 2,
        _ => return None,
    };
    let digits = Some(&text[2..]).filter(|digits| !digits.is_empty())?;
    digits
        .chars()
        .try_fold(0.0, |sum, c| Some(sum * f64::from(radix) + f64::from(c.to_digit(radix)?)))
}

/// Rust also reads `inf` and `nan`, JavaScript does not.
fn number_of_decimal(text: &str) -> f64 {
    let spelled = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    if !text.chars().all(spelled) {
        return f64::NAN;
    }
    text.parse().unwrap_or(f64::NAN)
}

/// Takes the bytes of a decoded string as they come.
struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests;
