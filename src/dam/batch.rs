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
mod tests {
    use serde_json::{Value, json};

    use super::super::message::{Kind, Rewrite};
    use super::*;

    const LIMITS: Limits = Limits { message_units_max: 2000, depth_max: 20 };

    /// What was heard, with a message as its text.
    fn hear(payload: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        Parser::new(LIMITS).hear(payload, &mut |heard| events.push(brief(heard)));
        events
    }

    fn brief(heard: Heard<'_>) -> String {
        match heard {
            Heard::Message(message) => String::from_utf8_lossy(message.text).into_owned(),
            Heard::Refused(refusal) => format!("{refusal:?}"),
            Heard::Ignored(ignored) => format!("{ignored:?}"),
        }
    }

    #[test]
    fn frames_that_hold_no_message() {
        assert_eq!(hear(b""), ["Empty"]);
        assert_eq!(hear(b"[]"), ["Heartbeat"]);
        assert_eq!(hear(b"[ ] "), ["Heartbeat"]);
        for text in [" {}", "\n[]", "\u{feff}{}", "1", "null", "\"{}\"", "x"] {
            assert_eq!(hear(text.as_bytes()), ["NotJson"], "{text}");
        }
        for text in [
            "{",
            "[",
            "{}x",
            "[1,]",
            "{\"a\":\"\n\"}",
            "[{\"#\":1},{]",
            "{} {}",
            "[\"\\x\"]",
            "[1]\0",
        ] {
            assert_eq!(hear(text.as_bytes()), ["Broken"], "{text}");
        }
        assert_eq!(hear(b"{\"\xFF\":1}"), ["Broken"]);
    }

    #[test]
    fn space_behind_and_inside_is_fine() {
        assert_eq!(hear(b"{ \"#\" :\n1 }\r\n\t "), ["{ \"#\" :\n1 }"]);
        assert_eq!(hear(b"[ {\"a\":1} , { } ] "), ["{\"a\":1}", "{ }"]);
    }

    #[test]
    fn elements_of_a_batch() {
        let payload = br##"[{"#":"a"},null,false,0,"",true,7,"text",[{"#":"c"}],"{\"#\":\"b\"}","{","[1,{}]","[]",{"#":"d"}]"##;
        let mut want = vec![r##"{"#":"a"}"##];
        want.extend(["Element"; 8]);
        want.extend([r##"{"#":"b"}"##, "Broken", "Element", "{}", "Heartbeat", r##"{"#":"d"}"##]);
        assert_eq!(hear(payload), want);
    }

    #[test]
    fn a_batch_that_breaks_at_the_end_is_not_heard_at_all() {
        assert_eq!(hear(br##"[{"#":"a"},{"#":"b"},{"#":"c"]"##), ["Broken"]);
    }

    #[test]
    fn length_is_measured_in_utf16_units() {
        let frame = |inner: &str| hear(format!("{{\"a\":\"{inner}\"}}").as_bytes()).remove(0).len();
        let (small, big) = (frame(&"☃".repeat(1991)), frame(&"☃".repeat(1992)));
        assert_eq!((small, big), (3 * 1991 + 8, "TooBig".len()));
        assert_eq!(frame(&"😀".repeat(996)), "TooBig".len());
        let inside = format!("{{\"a\":\"{}\"}}", "x".repeat(1985));
        assert_eq!(
            hear(json!([inside]).to_string().as_bytes()),
            ["TooBig"],
            "escapes count on the wire"
        );
    }

    #[test]
    fn a_text_is_measured_too() {
        let limits = Limits { message_units_max: 100, ..LIMITS };
        let mut events = Vec::new();
        let text = format!("[{}", " ".repeat(99));
        hear_text(text.as_bytes(), 0, &limits, &mut |heard| events.push(brief(heard)));
        assert_eq!(events, ["TooBig"]);
    }

    #[test]
    fn depth_is_limited_on_both_paths() {
        let nest = |depth: usize, inner: &str| "[".repeat(depth) + inner + &"]".repeat(depth);
        assert_eq!(hear(nest(20, "").as_bytes()), ["Element"]);
        assert_eq!(hear(nest(21, "").as_bytes()), ["TooDeep"]);
        assert_eq!(hear(nest(20, "1e400").as_bytes()), ["Element"]);
        assert_eq!(hear(nest(21, "1e400").as_bytes()), ["TooDeep"]);
    }

    #[test]
    fn frames_in_frames_end_somewhere() {
        let wrap =
            |levels: usize| (0..levels).fold("{}".to_owned(), |text, _| json!([text]).to_string());
        let limits = Limits { message_units_max: 1 << 20, ..LIMITS };
        for (levels, want) in [(TEXT_LEVELS_MAX, "{}"), (TEXT_LEVELS_MAX + 1, "TooDeep")] {
            let mut events = Vec::new();
            Parser::new(limits)
                .hear(wrap(levels).as_bytes(), &mut |heard| events.push(brief(heard)));
            assert_eq!(events, [want]);
        }
    }

    #[test]
    fn only_texts_of_their_own_have_no_place_in_the_payload() {
        for payload in [
            &br##"[ {"#":1} ,"{\"#\":2}",{"#":3}]"##[..],
            br##"[ {"#":1} ,"{\"#\":2}",{"#":1e400}]"##,
        ] {
            let mut starts = Vec::new();
            Parser::new(LIMITS).hear(payload, &mut |heard| {
                let Heard::Message(message) = heard else { panic!("{heard:?}") };
                if let Some(start) = message.start {
                    assert_eq!(&payload[start..start + message.text.len()], message.text);
                }
                starts.push(message.start);
            });
            assert_eq!(starts.len(), 3);
            assert_eq!((starts[0], starts[1]), (Some(2), None));
        }
    }

    #[test]
    fn half_an_emoji_is_heard() {
        let mut ids = Vec::new();
        let payload = br##"[{"\u0023":"\ud83d","put":{"a":"\ude00"}},"{\"#\":\"\ud83d\"}","\\\ud83d","{\"#\":\"\\\ud83d\"}"]"##;
        Parser::new(LIMITS).hear(payload, &mut |heard| match heard {
            Heard::Message(message) => ids.push(message.id.text.to_vec()),
            other => ids.push(brief(other).into_bytes()),
        });
        assert_eq!(ids, [&b"\xED\xA0\xBD"[..], b"\xED\xA0\xBD", b"Element", b"Broken"]);
    }

    #[test]
    fn memory_is_given_back() {
        let limits = Limits { message_units_max: 1 << 30, depth_max: 99 };
        let mut parser = Parser::new(limits);
        let ones = |bytes: usize| format!("[{}1]", "1,".repeat(bytes / 2)).into_bytes();
        for bytes in [60_000, FAST_BYTES_MAX - 9, 4 * FAST_BYTES_MAX] {
            let mut count = 0;
            parser.hear(&ones(bytes), &mut |_| count += 1);
            assert_eq!(count, bytes / 2 + 1);
            assert!(parser.tape.0.capacity() * size_of::<Node<'_>>() <= KEPT_BYTES_MAX);
            assert!(parser.scratch.capacity() <= KEPT_BYTES_MAX);
        }
        parser.hear(&ones(1000), &mut |_| {});
        let kept = parser.tape.0.as_ptr();
        parser.hear(&ones(900), &mut |_| {});
        assert_eq!(kept, parser.tape.0.as_ptr(), "ordinary frames use the same memory");
    }

    /// xorshift64*: a failure names the seed that brings it back.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
        }

        fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
            from[self.below(from.len())]
        }
    }

    const KEYS: [&str; 22] = [
        "#",
        "@",
        "##",
        "><",
        "dam",
        "pid",
        "err",
        "ok",
        "put",
        "get",
        "_",
        "_",
        "_",
        "#",
        "\\u0023",
        "\\u003e<",
        "\\u005f",
        "p\\u0075t",
        "x",
        "",
        "\\ud83d",
        "é☃😀",
    ];
    const SCALARS: [&str; 34] = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "0.0",
        "1",
        "-354517093",
        "5.0",
        "1e2",
        "1E+2",
        "1e400",
        "-1e400",
        "1e-400",
        "12345678901234567890",
        "123456789012345678901234567890",
        "0.1",
        "1e21",
        "\"\"",
        "\"a\"",
        "\"a,b,c\"",
        "\"?\"",
        "\"\\ud83d\"",
        "\"\\ud83d\\ude00\"",
        "\"\\u0000\"",
        "\"😀\"",
        "\"\\\\\"",
        "\"\\\"}\"",
        "\"{\\\"#\\\":1}\"",
        "\"[{}]\"",
        "\"{\"",
        "\"]\"",
        "\"\u{2028}\u{7f}\"",
        "\"a\\/b\"",
    ];
    const PIECES: [&str; 12] =
        ["\\\\", "\\\"", "\\n", "\\u00e9", "\\ud83d\\ude00", "é", "😀", "{", "]", ",", ":", " "];
    const SPACES: [&str; 6] = ["", "", "", " ", "\n\t", "  \r\n"];
    const NOISE: [&str; 28] = [
        "\"", "\\", "{", "}", "[", "]", ",", ":", "-", "+", ".", "e", "0", "1", " ", "\n", "\0",
        "\u{b}", "\u{c}", "\u{1f}", "\u{a0}", "\u{2028}", "\u{feff}", "u", "n", "t", "'", "/",
    ];

    /// Long enough to cross the blocks that simd-json works in, at any offset.
    fn long_text(random: &mut Random, to: &mut String) {
        to.push('"');
        for _ in 0..random.below(12) {
            to.push_str(&"x".repeat(random.below(70)));
            to.push_str(&random.pick(&PIECES).repeat(random.below(4)));
        }
        to.push('"');
    }

    fn value(random: &mut Random, depth: usize, to: &mut String) {
        match random.below(if depth > 4 { 6 } else { 9 }) {
            0 => long_text(random, to),
            6 => object(random, depth + 1, to),
            7 | 8 if depth > 0 || random.below(2) == 0 => {
                sequence(random, "[]", depth, to, |random, to| value(random, depth + 1, to))
            }
            _ => to.push_str(random.pick(&SCALARS)),
        }
    }

    fn object(random: &mut Random, depth: usize, to: &mut String) {
        sequence(random, "{}", depth, to, |random, to| {
            to.push_str(&format!(
                "\"{}\"{}:{}",
                random.pick(&KEYS),
                random.pick(&SPACES),
                random.pick(&SPACES)
            ));
            value(random, depth + 1, to);
        });
    }

    fn sequence(
        random: &mut Random,
        brackets: &str,
        depth: usize,
        to: &mut String,
        mut item: impl FnMut(&mut Random, &mut String),
    ) {
        to.push_str(&brackets[..1]);
        to.push_str(random.pick(&SPACES));
        for index in 0..random.below(if depth == 0 { 9 } else { 5 }) {
            if index > 0 {
                to.push(',');
                to.push_str(random.pick(&SPACES));
            }
            item(random, to);
            to.push_str(random.pick(&SPACES));
        }
        to.push_str(&brackets[1..]);
    }

    fn document(random: &mut Random) -> String {
        let mut text = String::new();
        match random.below(3) {
            0 => sequence(random, "[]", 1, &mut text, |random, to| object(random, 0, to)),
            1 => sequence(random, "[]", 0, &mut text, |random, to| value(random, 0, to)),
            _ => object(random, 0, &mut text),
        }
        text.push_str(random.pick(&SPACES));
        if random.below(2) == 0 {
            mutate(random, &mut text);
        }
        text
    }

    fn mutate(random: &mut Random, text: &mut String) {
        for _ in 0..=random.below(2) {
            let mut at = random.below(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match random.below(4) {
                0 => text.truncate(at),
                1 if at < text.len() => drop(text.remove(at)),
                2 if at < text.len() => {
                    text.remove(at);
                    text.insert_str(at, random.pick(&NOISE));
                }
                _ => text.insert_str(at, random.pick(&NOISE)),
            }
        }
    }

    #[test]
    fn the_fast_path_hears_what_the_slow_path_hears() {
        let limits = Limits { message_units_max: 1 << 20, depth_max: 8 };
        let mut parser = Parser::new(limits);
        let mut fast_count = 0;
        for seed in 1..20_000 {
            let text = document(&mut Random(seed * 0x9E37_79B9));
            if gate(text.as_bytes(), &limits).is_some() {
                continue;
            }
            let (mut fast, mut slow) = (Vec::new(), Vec::new());
            if parser.hear_fast(text.as_bytes(), &mut |heard| fast.push(format!("{heard:?}"))) {
                fast_count += 1;
                hear_slow(text.as_bytes(), 0, &limits, &mut |heard| {
                    slow.push(format!("{heard:?}"))
                });
                assert_eq!(fast, slow, "seed {seed}: {text}");
            } else {
                assert!(fast.is_empty(), "seed {seed}");
            }
        }
        assert!(fast_count > 5000, "{fast_count}");
    }

    #[test]
    fn rewritten_text_has_the_same_value_but_for_the_edits() {
        let limits = Limits { message_units_max: 1 << 20, depth_max: 30 };
        let mut parser = Parser::new(limits);
        let mut checked = 0;
        for seed in 1..20_000 {
            let mut random = Random(seed * 0x51_7CC1_B727);
            let text = document(&mut random);
            let mut set = |text: &'static [u8]| (random.below(2) == 0).then_some(text);
            let new =
                Rewrite { id: set(b"\"I\""), skip: set(b"\"S,T\""), ok: set(b"{\"@\":1,\"/\":2}") };
            parser.hear(text.as_bytes(), &mut |heard| {
                if let Heard::Message(message) = heard {
                    checked += usize::from(check_rewrite(&message, &new, seed));
                }
            });
        }
        assert!(checked > 5000, "{checked}");
    }

    fn check_rewrite(message: &Message<'_>, new: &Rewrite<'_>, seed: u64) -> bool {
        let mut text = Vec::new();
        message.append(new, &mut text);
        assert!(
            lenient::check(&text, 30).is_ok(),
            "seed {seed}: {}",
            String::from_utf8_lossy(&text)
        );
        // A Value holds neither lone surrogates nor infinite numbers.
        let Ok(Value::Object(mut want)) = serde_json::from_slice(message.text) else {
            return false;
        };
        want.remove("_");
        let ok = new.ok.filter(|_| message.ok.kind != Kind::Absent);
        for (key, value) in [("#", new.id), ("><", new.skip), ("ok", ok)] {
            if let Some(value) = value {
                want.insert(key.to_owned(), serde_json::from_slice(value).unwrap());
            }
        }
        let got: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(got, Value::Object(want), "seed {seed}: {}", String::from_utf8_lossy(&text));
        true
    }
}
