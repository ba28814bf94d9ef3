//! The rules of RFC 6455 one by one, every way to cut the input, and what is held in memory.

use super::{Event, FrameReader, Payload, ReadError, Role, START_BYTES};
use crate::ws::frame::{Opcode, masked};

const KEY: [u8; 4] = [0x9a, 0x03, 0xff, 0x41];

/// An event without borrows, to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Text(String),
    Binary(u64),
    LongText(u64),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Fault(u16),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.as_str().to_owned()),
            Event::Binary(bytes) => Self::Binary(bytes),
            Event::LongText(bytes) => Self::LongText(bytes),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(code) => Self::Close(code),
        }
    }
}

/// Feeds the pieces one after another.
pub(super) fn read_pieces<'a>(
    reader: &mut FrameReader,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Seen>, Option<ReadError>) {
    let mut seen = Vec::new();
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut at = 0;
        loop {
            match reader.next(&mut input, &mut at) {
                Ok(Some(event)) => seen.push(event.into()),
                Ok(None) => break,
                Err(error) => {
                    seen.push(Seen::Fault(error.close_code()));
                    return (seen, Some(error));
                }
            }
        }
        assert_eq!(at, input.len(), "None means that all input is consumed");
    }
    (seen, None)
}

fn read(role: Role, input: &[u8]) -> (Vec<Seen>, Option<ReadError>) {
    read_pieces(&mut FrameReader::new(role, 1000), [input])
}

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

/// A masked frame with this first byte.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = masked(Opcode::Text, &[payload], KEY);
    frame[0] = first;
    frame
}

#[test]
fn every_broken_rule_has_its_fault() {
    use ReadError::*;
    let too_long = |bytes| TooLong { bytes, bytes_max: 1000 };
    let top_bit = [0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4].to_vec();
    let table = [
        (frame(0xc1, b""), ReservedBits),
        (frame(0xa1, b""), ReservedBits),
        (frame(0x91, b""), ReservedBits),
        (frame(0xc9, b""), ReservedBits),
        (frame(0x83, b""), ReservedOpcode(3)),
        (frame(0x87, b""), ReservedOpcode(7)),
        (frame(0x8b, b""), ReservedOpcode(11)),
        (frame(0x8f, b""), ReservedOpcode(15)),
        (b"\x81\x02hi".to_vec(), Unmasked),
        (frame(0x08, b""), FragmentedControl),
        (frame(0x09, b""), FragmentedControl),
        (frame(0x0a, b""), FragmentedControl),
        (frame(0x88, &[0; 126]), LongControl(126)),
        (frame(0x89, &[0; 126]), LongControl(126)),
        (frame(0x8a, &[0; 500]), LongControl(500)),
        (frame(0x80, b"x"), LoneContinuation),
        (frame(0x00, b"x"), LoneContinuation),
        ([frame(0x01, b"x"), frame(0x81, b"y")].concat(), InterruptedMessage),
        ([frame(0x01, b"x"), frame(0x01, b"y")].concat(), InterruptedMessage),
        ([frame(0x02, b"x"), frame(0x82, b"y")].concat(), InterruptedMessage),
        (frame(0x88, b"\x03"), CloseTruncated),
        (frame(0x88, b"\x03\xe8\xff"), CloseReasonNotUtf8),
        (frame(0x81, b"\xff"), TextNotUtf8),
        (frame(0x81, b"\xed\xa0\x80"), TextNotUtf8),
        (frame(0x81, b"\xe2\x82"), TextNotUtf8),
        ([frame(0x01, b"\xe2\x82"), frame(0x80, b"a")].concat(), TextNotUtf8),
        (frame(0x81, &[b'a'; 1001]), too_long(1001)),
        (frame(0x82, &[b'a'; 1001]), too_long(1001)),
        (frame(0x81, &[b'a'; 1001])[..8].to_vec(), too_long(1001)),
        ([frame(0x01, &[b'a'; 600]), frame(0x80, &[b'a'; 401])].concat(), too_long(1001)),
        ([frame(0x02, &[b'a'; 600]), frame(0x00, &[b'a'; 401])].concat(), too_long(1001)),
        (top_bit, too_long(1 << 63)),
    ];
    for (input, fault) in table {
        let (seen, error) = read(Role::Server, &input);
        assert_eq!(error, Some(fault), "{input:x?}");
        assert_eq!(seen.len(), 1, "{fault}: no event before it");
    }
}

#[test]
fn one_bad_byte_is_found_anywhere() {
    for len in 1..70 {
        for at in 0..len {
            let mut payload = vec![b'a'; len];
            payload[at] = 0x80;
            let (_, error) = read(Role::Server, &frame(0x81, &payload));
            assert_eq!(error, Some(ReadError::TextNotUtf8), "byte {at} of {len}");
        }
    }
}

#[test]
fn whole_messages_are_lent_out_of_the_input() {
    let mut input = frame(0x81, "grüße".as_bytes());
    let mut reader = FrameReader::new(Role::Server, 1000);
    let event = reader.next(&mut input, &mut 0).unwrap();
    assert!(
        matches!(event, Some(Event::Text(Payload::Borrowed(text))) if text == "grüße".as_bytes())
    );
    assert_eq!(reader.held_bytes(), 0);
}

#[test]
fn accepted_sequences_give_their_events() {
    let table = [
        (frame(0x81, b""), vec![text("")]),
        (frame(0x82, b"{}"), vec![Seen::Binary(2)]),
        (frame(0x81, &[b'a'; 1000]), vec![text(&"a".repeat(1000))]),
        (frame(0x89, &[7; 125]), vec![Seen::Ping(vec![7; 125])]),
        (frame(0x8a, b""), vec![Seen::Pong(vec![])]),
        (
            [frame(0x01, b"\xe2"), frame(0x89, b"?"), frame(0x00, b"\x82"), frame(0x80, b"\xac")]
                .concat(),
            vec![Seen::Ping(b"?".to_vec()), text("€")],
        ),
        ([frame(0x01, b""), frame(0x00, b""), frame(0x80, b"")].concat(), vec![text("")]),
        ([frame(0x02, b"ab"), frame(0x80, b"\xff")].concat(), vec![Seen::Binary(3)]),
        ([frame(0x88, b""), frame(0xff, b"")].concat(), vec![Seen::Close(None)]),
        ([frame(0x01, b"x"), frame(0x88, b"\x03\xe9bye")].concat(), vec![Seen::Close(Some(1001))]),
    ];
    for (input, events) in table {
        assert_eq!(read(Role::Server, &input), (events, None), "{input:x?}");
    }
}

#[test]
fn a_length_may_be_written_long() {
    // RFC 6455 section 5.2 asks for the shortest form; Gun's library accepts any, and so do we.
    let long = [&[0x81, 0xfe, 0, 2], &KEY[..], &[b'h' ^ KEY[0], b'i' ^ KEY[1]]].concat();
    assert_eq!(read(Role::Server, &long).0, [text("hi")]);
}

#[test]
fn clients_read_unmasked_frames_only() {
    assert_eq!(read(Role::Client, b"\x81\x02hi").0, [text("hi")]);
    assert_eq!(read(Role::Client, b"\x01\x01h\x80\x01i").0, [text("hi")]);
    let (_, error) = read(Role::Client, &frame(0x81, b"hi"));
    assert_eq!(error, Some(ReadError::Masked));
}

#[test]
fn close_codes_are_those_gun_accepts() {
    let good = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    for code in 0..=u16::MAX {
        let (seen, error) = read(Role::Server, &frame(0x88, &code.to_be_bytes()));
        if good(code) {
            assert_eq!(seen, [Seen::Close(Some(code))]);
        } else {
            assert_eq!(error, Some(ReadError::CloseCodeInvalid(code)));
        }
    }
}

#[test]
fn nothing_follows_a_close_or_a_fault() {
    for last in [frame(0x88, b""), frame(0x83, b"")] {
        let mut reader = FrameReader::new(Role::Server, 1000);
        read_pieces(&mut reader, [&*last]);
        let after = read_pieces(&mut reader, [&*frame(0x81, b"late"), b"\xff\xff"]);
        assert_eq!(after, (vec![], None));
        assert!(!reader.is_mid_frame());
    }
}

/// Every kind of frame, whole and fragmented, with lengths of all three forms.
fn conversation() -> Vec<u8> {
    let long = "0123456789abcdef".repeat(20);
    [
        frame(0x81, b"[]"),
        frame(0x89, b"are you there"),
        frame(0x01, "gr\u{fc}".as_bytes()),
        frame(0x8a, b"!"),
        frame(0x00, &[]),
        frame(0x80, "\u{df}e".as_bytes()),
        frame(0x82, &[0xff; 130]),
        frame(0x02, &[0xff; 3]),
        frame(0x89, b""),
        frame(0x80, &[0xff; 3]),
        frame(0x81, long.as_bytes()),
        frame(0x81, b""),
        frame(0x88, b"\x03\xe8done"),
        frame(0x81, b"never seen"),
    ]
    .concat()
}

#[test]
fn events_do_not_depend_on_how_the_input_is_cut() {
    let input = conversation();
    let expected = read(Role::Server, &input);
    assert_eq!(expected.0.len(), 10);
    for size in 1..40 {
        let pieces = read_pieces(&mut FrameReader::new(Role::Server, 1000), input.chunks(size));
        assert_eq!(pieces, expected, "pieces of {size} bytes");
    }
    for cut in 0..input.len() {
        let (left, right) = input.split_at(cut);
        let pieces = read_pieces(&mut FrameReader::new(Role::Server, 1000), [left, right]);
        assert_eq!(pieces, expected, "cut at {cut}");
    }
}

#[test]
fn faults_do_not_depend_on_how_the_input_is_cut() {
    let faulty = [
        [frame(0x01, b"abc"), frame(0x81, b"x")].concat(),
        frame(0x81, b"abc\xff"),
        frame(0x88, b"\x03\xed"),
        frame(0x81, &[b'a'; 1001]),
    ];
    for input in faulty {
        let expected = read(Role::Server, &input);
        let single = read_pieces(&mut FrameReader::new(Role::Server, 1000), input.chunks(1));
        assert_eq!(single, expected, "{input:x?}");
    }
}

#[test]
fn an_announced_length_reserves_nothing() {
    let mut reader = FrameReader::new(Role::Server, 100 << 20);
    let mut input = vec![0x81, 0xff];
    input.extend_from_slice(&(90u64 << 20).to_be_bytes());
    input.extend_from_slice(&KEY);
    input.extend_from_slice(b"ten bytes.");
    assert_eq!(read_pieces(&mut reader, [&*input]), (vec![], None));
    assert!(reader.is_mid_frame());
    assert!(reader.held_bytes() < 8 << 10, "{} held", reader.held_bytes());
}

#[test]
fn held_memory_follows_what_arrived() {
    for input in [frame(0x81, &[b'a'; 300_000]), frame(0x01, &[b'a'; 300_000])] {
        let mut reader = FrameReader::new(Role::Server, 1 << 20);
        for (i, piece) in input.chunks(1000).enumerate() {
            read_pieces(&mut reader, [piece]);
            assert!(reader.held_bytes() <= 2 * 1000 * (i + 1) + (8 << 10));
        }
    }
}

#[test]
fn buffers_are_given_back_after_each_message() {
    let mut reader = FrameReader::new(Role::Server, 1 << 20);
    let big = "a".repeat(500_000);
    let (seen, _) = read_pieces(&mut reader, frame(0x81, big.as_bytes()).chunks(7000));
    assert_eq!(seen, [text(&big)]);
    assert!(!reader.is_mid_frame());
    assert_eq!(reader.held_bytes(), 0);
    read_pieces(&mut reader, frame(0x89, b"cut ping").chunks(5));
    assert_eq!((reader.held_bytes(), reader.is_mid_frame()), (0, false));
}

#[test]
fn binary_content_is_never_held() {
    let mut reader = FrameReader::new(Role::Server, 1 << 20);
    let input = frame(0x82, &[1; 500_000]);
    for piece in input[..400_000].chunks(5000) {
        assert_eq!(read_pieces(&mut reader, [piece]).0, []);
        assert!(reader.held_bytes() < 1000);
    }
    assert_eq!(read_pieces(&mut reader, [&input[400_000..]]).0, [Seen::Binary(500_000)]);
}

#[test]
fn assembled_text_has_no_spare_capacity() {
    let input = [frame(0x01, &[b'a'; 5000]), frame(0x80, &[b'b'; 5001])].concat();
    for input in [frame(0x81, &[b'a'; 10_001]), input] {
        let mut reader = FrameReader::new(Role::Server, 1 << 20);
        let mut front = input[..7000].to_vec();
        assert!(reader.next(&mut front, &mut 0).unwrap().is_none());
        let mut rest = input[7000..].to_vec();
        let Ok(Some(Event::Text(Payload::Owned(text)))) = reader.next(&mut rest, &mut 0) else {
            panic!("an assembled message is owned");
        };
        assert_eq!(text.len(), 10_001);
        assert_eq!(text.try_into_mut().unwrap().capacity(), 10_001);
    }
}

#[test]
fn an_idle_reader_is_small() {
    assert!(size_of::<FrameReader>() <= 48, "{}", size_of::<FrameReader>());
}

#[test]
fn a_text_too_long_to_be_kept_is_skipped_and_the_next_is_heard() {
    let long = [b'x'; 300];
    let key = [1, 2, 3, 4];
    let mut input = masked(Opcode::Text, &[&long], key);
    input.extend(masked(Opcode::Text, &[b"next"], key));
    // In two fragments that are each short enough.
    let mut first = masked(Opcode::Text, &[&long[..70]], key);
    first[0] &= 0x7f;
    input.extend(first);
    input.extend(masked(Opcode::Continuation, &[&long[..70]], key));
    input.extend(masked(Opcode::Text, &[b"last"], key));
    for size in 1..=input.len() {
        let mut reader = FrameReader::new(Role::Server, 1000).skipping_texts_over(100);
        let (mut seen, mut held_bytes_max) = (Vec::new(), 0);
        for piece in input.clone().chunks_mut(size) {
            let mut at = 0;
            while let Some(event) = reader.next(piece, &mut at).unwrap() {
                seen.push(Seen::from(event));
            }
            held_bytes_max = held_bytes_max.max(reader.held_bytes());
        }
        let [next, last] = ["next", "last"].map(|text| Seen::Text(text.to_owned()));
        assert_eq!(seen, [Seen::LongText(300), next, Seen::LongText(140), last]);
        assert!(held_bytes_max < 1000, "{held_bytes_max} bytes are held of what is skipped");
    }
}

#[test]
fn the_starts_of_whole_short_texts_are_seen_before_their_turn() {
    let texts = [r##"{"#":"first","put":"as long as a start"}"##, r##"{"#":"second"}"##, "x"];
    let frames: Vec<_> = texts.map(|text| masked(Opcode::Text, &[text.as_bytes()], KEY)).into();
    let ping = masked(Opcode::Ping, &[b"?"], KEY);
    let input = [&frames.concat()[..], &ping, &frames.concat(), &[0; START_BYTES]].concat();
    let mut reader = FrameReader::new(Role::Server, 1000);
    let ends = |count: usize| frames[..count].concat().len();
    let seen: Vec<_> = reader.peek(&input, 0).collect();
    assert_eq!(seen.iter().map(|(_, end)| *end).collect::<Vec<_>>(), [ends(1), ends(2), ends(3)]);
    for ((start, _), text) in seen.iter().zip(texts) {
        let len = text.len().min(START_BYTES);
        assert_eq!(start[..len], text.as_bytes()[..len]);
    }
    let behind = ends(3) + ping.len();
    assert_eq!(reader.peek(&input, ends(3)).count(), 0, "a ping is no text");
    assert_eq!(reader.peek(&input, behind).count(), 3);
    assert_eq!(reader.peek(&input[..ends(1) - 1], 0).count(), 0, "it is not whole");
    assert_eq!(reader.peek(&input, input.len()).count(), 0);
    // Looking ahead has changed nothing.
    let (mut copy, mut at) = (input.clone(), 0);
    let event = reader.next(&mut copy[..behind], &mut at).unwrap().map(Seen::from);
    assert_eq!((event, at), (Some(text(texts[0])), ends(1)));
    // In the middle of a frame nothing is known of what follows.
    let mut half = frames[0][..20].to_vec();
    reader.next(&mut half, &mut 0).unwrap();
    assert_eq!(reader.peek(&input, 0).count(), 0);
}
