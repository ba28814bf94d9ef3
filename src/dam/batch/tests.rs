use serde_json::{Value, json};

use super::super::message::{Kind, Rewrite};
use super::*;
use crate::dam::random::Random;

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
        Heard::Duplicate => "Duplicate".to_owned(),
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
    for text in
        ["{", "[", "{}x", "[1,]", "{\"a\":\"\n\"}", "[{\"#\":1},{]", "{} {}", "[\"\\x\"]", "[1]\0"]
    {
        assert_eq!(hear(text.as_bytes()), ["Broken"], "{text}");
    }
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
        Parser::new(limits).hear(wrap(levels).as_bytes(), &mut |heard| events.push(brief(heard)));
        assert_eq!(events, [want]);
    }
}

#[test]
fn only_texts_of_their_own_have_no_place_in_the_payload() {
    for payload in
        [&br##"[ {"#":1} ,"{\"#\":2}",{"#":3}]"##[..], br##"[ {"#":1} ,"{\"#\":2}",{"#":1e400}]"##]
    {
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
        Heard::Message(message) => ids.push(message.id.text().to_vec()),
        other => ids.push(brief(other).into_bytes()),
    });
    assert_eq!(ids, [&b"\xED\xA0\xBD"[..], b"\xED\xA0\xBD", b"Element", b"Broken"]);
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

/// Long enough to cross the chunks that the scanner works in, at any offset.
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

/// All of it but how much is settled, which the slow path does not say.
fn shown(heard: Heard<'_>) -> String {
    let text = format!("{heard:?}");
    let Some((before, settled)) = text.split_once("settled_end: ") else { return text };
    before.to_owned() + settled.split_once(", ").expect("it is not the last field").1
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
        if parser.hear_fast(text.as_bytes(), |_| None, &mut |heard| fast.push(shown(heard))) {
            fast_count += 1;
            hear_slow(text.as_bytes(), 0, &limits, &mut |heard| slow.push(shown(heard)));
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
                checked += usize::from(check_rewrite(message, &new, seed));
            }
        });
    }
    assert!(checked > 5000, "{checked}");
}

fn check_rewrite(message: &Message<'_>, new: &Rewrite<'_>, seed: u64) -> bool {
    let mut text = Vec::new();
    message.append(new, &mut text);
    assert!(lenient::check(&text, 30).is_ok(), "seed {seed}: {}", String::from_utf8_lossy(&text));
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
