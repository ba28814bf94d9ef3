//! The rows of chapter 6: text is UTF-8, all of it.

use super::frames::{TEXT, first, last, more, parts, whole};
use super::run::{Row, message};

const NOT_UTF8: u16 = 1007;
/// What follows the payload of a message.
const END: &str = r#""}"#;

pub fn all() -> Vec<Row> {
    [empty(), fragmented(), well_formed(), ill_formed(), noncharacters()]
        .into_iter()
        .flatten()
        .collect()
}

fn empty() -> Vec<Row> {
    let text = message("nothing around ☃".as_bytes());
    vec![
        Row::new("6.1.1").send(whole(TEXT, b"")),
        Row::new("6.1.2").send(first(TEXT, b"")).send(more(b"")).send(last(b"")),
        Row::new("6.1.3")
            .send(first(TEXT, b""))
            .send(more(&text))
            .send(last(b""))
            .delivers("nothing around ☃"),
    ]
}

fn fragmented() -> Vec<Row> {
    let greek = "γνῶθι σεαυτόν";
    let text = || message(greek.as_bytes());
    let rotten = || message(&["γνῶθι".as_bytes(), b"\xed\xb2\xa9", b"after"].concat());
    vec![
        Row::new("6.2.1").send(whole(TEXT, &text())).delivers(greek),
        two_parts("6.2.2", greek),
        Row::new("6.2.3").send_each(parts(TEXT, &text(), 1)).delivers(greek),
        Row::new("6.2.4").send_each(parts(TEXT, &message("ψυχή".as_bytes()), 1)).delivers("ψυχή"),
        Row::new("6.3.1").send(whole(TEXT, &rotten())).closes(NOT_UTF8),
        Row::new("6.3.2").send_each(parts(TEXT, &rotten(), 1)).closes(NOT_UTF8),
        three_parts("6.4.1", 4),
        three_parts("6.4.2", 1),
        three_parts("6.4.3", 4).at_once(),
        three_parts("6.4.4", 1).chopped(1),
    ]
}

/// Cut between the last two characters.
fn two_parts(number: &str, payload: &str) -> Row {
    let text = message(payload.as_bytes());
    let (cut, _) = payload.char_indices().next_back().expect("a last character");
    let (one, two) = text.split_at(text.len() - END.len() - (payload.len() - cut));
    Row::new(number).send(first(TEXT, one)).send(last(two)).delivers(payload)
}

/// So many bytes of a character that does not exist come in the second of three parts. (A relay may notice at once, and
/// this one notices when the text is complete.)
fn three_parts(number: &str, fault_bytes: usize) -> Row {
    let (before, fault, after) = ("γνῶθι σεαυτόν".as_bytes(), b"\xf4\x90\x80\x80", b"after");
    let text = message(&[before, fault, after].concat());
    let (one, rest) = text.split_at(text.len() - END.len() - after.len() - fault.len());
    let (two, three) = rest.split_at(fault_bytes);
    let row = Row::new(number).send(first(TEXT, one)).send(more(two)).send(last(three));
    row.closes(NOT_UTF8)
}

/// Payloads in whole frames, section by section.
fn well_formed() -> Vec<Row> {
    let sections: [(&str, &[&str]); 5] = [
        ("6.5", &["a $ sign", "a ¢ sign", "a € sign", "a 𤭢 sign", "γνῶθι σεαυτόν"]),
        ("6.7", &["\0", "\u{80}", "\u{800}", "\u{10000}"]),
        ("6.9", &["\u{7f}", "\u{7ff}", "\u{ffff}", "\u{10ffff}"]),
        ("6.11", &["\u{d7ff}", "\u{e000}", "\u{fffd}", "\u{10ffff}"]),
        (
            "6.23",
            &["\u{fff9}", "\u{fffa}", "\u{fffb}", "\u{fffc}", "\u{fffd}", "\u{fffe}", "\u{ffff}"],
        ),
    ];
    let rows = sections.into_iter().flat_map(|(section, texts)| numbered(section, texts, good));
    rows.chain(numbered("6.6", &prefixes(), good_or_bad)).collect()
}

/// A text cut after each of its bytes: good only where no character is cut.
fn prefixes() -> Vec<&'static [u8]> {
    let text = "κ\u{1f79}σμε".as_bytes();
    (1..=text.len()).map(|end| &text[..end]).collect()
}

fn ill_formed() -> Vec<Row> {
    let sections: [(&str, &[&[u8]]); 8] = [
        ("6.8", &[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]),
        ("6.10", &[b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"]),
        ("6.14", &INCOMPLETE),
        ("6.15", &[&INCOMPLETE.concat()]),
        ("6.16", &[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
        // Overlong: a slash, the last of each length, and NUL.
        (
            "6.17",
            &[
                b"\xc0\xaf",
                b"\xe0\x80\xaf",
                b"\xf0\x80\x80\xaf",
                b"\xf8\x80\x80\x80\xaf",
                b"\xfc\x80\x80\x80\x80\xaf",
            ],
        ),
        (
            "6.18",
            &[
                b"\xc1\xbf",
                b"\xe0\x9f\xbf",
                b"\xf0\x8f\xbf\xbf",
                b"\xf8\x87\xbf\xbf\xbf",
                b"\xfc\x83\xbf\xbf\xbf\xbf",
            ],
        ),
        (
            "6.19",
            &[
                b"\xc0\x80",
                b"\xe0\x80\x80",
                b"\xf0\x80\x80\x80",
                b"\xf8\x80\x80\x80\x80",
                b"\xfc\x80\x80\x80\x80\x80",
            ],
        ),
    ];
    let rows =
        sections.into_iter().flat_map(|(section, payloads)| numbered(section, payloads, bad));
    let rows = rows.chain(numbered("6.12", &stray_continuations(), bad));
    let rows = rows.chain(numbered("6.13", &lonely_starts(), bad));
    let singles = [0xd800, 0xdb7f, 0xdb80, 0xdbff, 0xdc00, 0xdf80, 0xdfff].map(surrogate);
    let rows = rows.chain(numbered("6.20", &singles, bad));
    let rows = rows.chain(numbered("6.21", &surrogate_pairs(), bad));
    // The first code point beyond the last.
    rows.chain([bad("6.11.5".to_owned(), b"\xf4\x90\x80\x80")]).collect()
}

/// The last byte is missing.
const INCOMPLETE: [&[u8]; 10] = [
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xf8\x80\x80\x80",
    b"\xfc\x80\x80\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf7\xbf\xbf",
    b"\xfb\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf",
];

fn stray_continuations() -> Vec<Vec<u8>> {
    let one = [vec![0x80], vec![0xbf]];
    let alternating = (2..=6).map(|count| [0x80, 0xbf].into_iter().cycle().take(count).collect());
    one.into_iter().chain(alternating).chain([(0x80..=0xbf).collect()]).collect()
}

/// First bytes of characters of two to six bytes, each before a space.
fn lonely_starts() -> Vec<Vec<u8>> {
    let ranges = [0xc0..=0xdf, 0xe0..=0xef, 0xf0..=0xf7, 0xf8..=0xfb, 0xfc..=0xfd];
    ranges.map(|bytes| bytes.flat_map(|byte| [byte, b' ']).collect()).to_vec()
}

fn surrogate_pairs() -> Vec<Vec<u8>> {
    let highs = [0xd800, 0xdb7f, 0xdb80, 0xdbff];
    let pairs = highs.into_iter().flat_map(|high| [0xdc00, 0xdfff].map(|low| [high, low]));
    pairs.map(|pair| pair.map(surrogate).concat()).collect()
}

/// One half of a pair, spelled as if it were a character.
fn surrogate(unit: u16) -> [u8; 3] {
    [0xed, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]
}

/// The last two code points of each plane are not characters, but they are good.
fn noncharacters() -> Vec<Row> {
    let lasts = (0..=16).flat_map(|plane| [0xfffe, 0xffff].map(|last| plane << 16 | last));
    let texts: Vec<String> = lasts.filter_map(char::from_u32).map(String::from).collect();
    numbered("6.22", &texts, good)
}

/// The rows `section.1`, `section.2`, …, one for each payload.
fn numbered<P: AsRef<[u8]>>(
    section: &str,
    payloads: &[P],
    row: fn(String, &[u8]) -> Row,
) -> Vec<Row> {
    let numbers = (1..).map(|case| format!("{section}.{case}"));
    numbers.zip(payloads).map(|(number, payload)| row(number, payload.as_ref())).collect()
}

fn good_or_bad(number: String, payload: &[u8]) -> Row {
    let is_good = std::str::from_utf8(payload).is_ok();
    if is_good { good(number, payload) } else { bad(number, payload) }
}

fn bad(number: String, payload: &[u8]) -> Row {
    Row::new(number).send(whole(TEXT, &message(payload))).closes(NOT_UTF8)
}

fn good(number: String, payload: &[u8]) -> Row {
    let row = Row::new(number).send(whole(TEXT, &message(payload)));
    let text = std::str::from_utf8(payload).expect("the payload of a good row");
    // JSON wants control characters escaped: good WebSocket, refused one level higher. (YSON lets them pass.)
    let is_json = payload.iter().all(|byte| *byte >= b' ');
    if is_json { row.delivers(text) } else { row.gets_an_error().unlike_gun() }
}
