//! The reader against tungstenite's, on seeded random conversations, mutations and garbage.
//!
//! Where the two may differ: tungstenite refuses a fragmented text at its first bad byte and we at its
//! end, so control frames may come in between; it refuses 1014; and when one header breaks two rules
//! it may name the length first.

use std::io::{self, Read, Write};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig, WebSocketContext};
use tungstenite::{Message, protocol::frame::coding::CloseCode};

use super::tests::{Seen, read_pieces};
use super::{FrameReader, Role};

const BYTES_MAX: usize = 700;
const ROUNDS: u64 = 8_000;

/// A socket with everything in it already, that swallows what is written.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tungstenite_reads(role: Role, input: &[u8]) -> Vec<Seen> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(BYTES_MAX))
        .max_frame_size(Some(BYTES_MAX));
    let role = match role {
        Role::Server => TheirRole::Server,
        Role::Client => TheirRole::Client,
    };
    let mut context = WebSocketContext::new(role, Some(config));
    let mut wire = Wire(input);
    let mut seen = Vec::new();
    loop {
        let event = match context.read(&mut wire) {
            Ok(message) => from_message(message),
            Err(Error::Io(_)) => return seen,
            Err(Error::Utf8(_)) => Seen::Fault(1007),
            Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => Seen::Fault(1009),
            Err(Error::Protocol(_)) => Seen::Fault(1002),
            Err(error) => panic!("{error}"),
        };
        let is_last = matches!(event, Seen::Close(_) | Seen::Fault(_));
        seen.push(event);
        if is_last {
            return seen;
        }
    }
}

fn from_message(message: Message) -> Seen {
    match message {
        Message::Text(text) => Seen::Text(text.as_str().to_owned()),
        Message::Binary(bytes) => Seen::Binary(bytes.len() as u64),
        Message::Ping(payload) => Seen::Ping(payload.to_vec()),
        Message::Pong(payload) => Seen::Pong(payload.to_vec()),
        // How tungstenite reports a code it does not accept.
        Message::Close(Some(close))
            if close.code == CloseCode::Protocol
                && close.reason.as_str() == "Protocol violation" =>
        {
            Seen::Fault(1002)
        }
        Message::Close(close) => Seen::Close(close.map(|close| close.code.into())),
        Message::Frame(_) => unreachable!("never read"),
    }
}

fn random_payload(rng: &mut StdRng, len: usize) -> Vec<u8> {
    let sample = ["a", "\"#\":\"x\",", "é", "€", "🦀"];
    let mut payload = Vec::new();
    while payload.len() < len {
        payload.extend_from_slice(sample.choose(rng).unwrap().as_bytes());
    }
    // Often cut inside a character, which may be right in a fragment and is wrong at an end.
    if rng.random_bool(0.3) {
        payload.truncate(len);
    }
    if rng.random_bool(0.03) && !payload.is_empty() {
        let at = rng.random_range(0..payload.len());
        payload[at] ^= 1 << rng.random_range(0..8);
    }
    payload
}

fn random_len(rng: &mut StdRng, is_control: bool) -> usize {
    match rng.random_range(0..20) {
        0..8 => rng.random_range(0..4),
        8..15 => rng.random_range(0..60),
        15..18 => rng.random_range(120..130),
        _ if is_control => 125,
        _ => rng.random_range(100..BYTES_MAX + 20),
    }
}

fn close_payload(rng: &mut StdRng) -> Vec<u8> {
    let code: u16 = match rng.random_range(0..3) {
        0 => rng.random_range(995..1020),
        1 => rng.random(),
        _ => 1000,
    };
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend(random_payload(rng, 3));
    payload.truncate(rng.random_range(0..=payload.len()));
    payload
}

/// Mostly what may come next, sometimes anything.
fn random_frame(rng: &mut StdRng, role: Role, in_message: &mut bool) -> Vec<u8> {
    let data: &[u8] = if *in_message { &[0x00, 0x80] } else { &[0x01, 0x02, 0x81, 0x81, 0x82] };
    let mut first = match rng.random_range(0..40) {
        0 => rng.random(),
        1 => 0x88,
        2..12 => *[0x89, 0x8a].choose(rng).unwrap(),
        _ => *data.choose(rng).unwrap(),
    };
    if rng.random_bool(0.01) {
        first ^= 0x10 << rng.random_range(0..3);
    }
    let is_control = first & 8 != 0;
    if !is_control {
        *in_message = first & 0x80 == 0;
    }
    let payload = match first {
        0x88 => close_payload(rng),
        _ => {
            let len = random_len(rng, is_control);
            random_payload(rng, len)
        }
    };
    let is_masked = (role == Role::Server) != rng.random_bool(0.005);
    encode(rng, first, is_masked, payload)
}

fn encode(rng: &mut StdRng, first: u8, is_masked: bool, mut payload: Vec<u8>) -> Vec<u8> {
    let mask_bit = if is_masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match (payload.len(), rng.random_range(0..20)) {
        (len @ 0..=125, 2..) => frame.push(mask_bit | len as u8),
        (len @ 0..=0xffff, 1..) => {
            frame.push(mask_bit | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        (len, _) => {
            frame.push(mask_bit | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    if is_masked {
        let key: [u8; 4] = rng.random();
        frame.extend_from_slice(&key);
        for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
            *byte ^= key;
        }
    }
    frame.extend(payload);
    frame
}

fn conversation(rng: &mut StdRng, role: Role) -> Vec<u8> {
    let mut in_message = false;
    let mut input = Vec::new();
    for _ in 0..rng.random_range(1..12) {
        input.extend(random_frame(rng, role, &mut in_message));
    }
    match rng.random_range(0..10) {
        0 => (0..rng.random_range(1..40)).for_each(|_| input.push(rng.random())),
        1 => {
            let at = rng.random_range(0..input.len());
            input[at] = rng.random();
        }
        2 => input.truncate(rng.random_range(0..=input.len())),
        3 => input = (0..rng.random_range(1..60)).map(|_| rng.random()).collect(),
        _ => {}
    }
    // Zeros end any open frame within the limit. Then both must find a fault: what follows is a reserved
    // opcode, or a frame masked by a server where the zeros left half a header.
    input.resize(input.len() + BYTES_MAX + 200, 0);
    input.extend_from_slice(&[0x8f; 40]);
    input
}

fn cut<'a>(rng: &mut StdRng, mut input: &'a [u8]) -> Vec<&'a [u8]> {
    let longest = *[1, 3, 20, 300, 5000].choose(rng).unwrap();
    let mut pieces = Vec::new();
    while !input.is_empty() {
        let (piece, rest) = input.split_at(rng.random_range(1..=longest).min(input.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

/// Whether ours is the oracle's answer, or one of the differences named above.
fn agree(ours: &[Seen], theirs: &[Seen]) -> bool {
    let common = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    match (&ours[common..], &theirs[common..]) {
        ([], []) => true,
        ([Seen::Close(Some(1014))], [Seen::Fault(1002)]) => true,
        ([Seen::Fault(1002)], [Seen::Fault(1009)]) => true,
        ([more @ .., Seen::Fault(_) | Seen::Close(_)], [Seen::Fault(1007)]) => {
            more.iter().all(|seen| matches!(seen, Seen::Ping(_) | Seen::Pong(_)))
        }
        _ => false,
    }
}

#[test]
fn reads_what_tungstenite_reads() {
    let mut exact = 0;
    for seed in 0..ROUNDS {
        let rng = &mut StdRng::seed_from_u64(seed);
        let role = if rng.random_bool(0.7) { Role::Server } else { Role::Client };
        let input = conversation(rng, role);
        let theirs = tungstenite_reads(role, &input);
        let mut reader = FrameReader::new(role, BYTES_MAX);
        let (ours, _) = read_pieces(&mut reader, cut(rng, &input));
        assert!(agree(&ours, &theirs), "seed {seed} {role:?}\nours   {ours:?}\ntheirs {theirs:?}");
        exact += u64::from(ours == theirs);
    }
    assert!(exact > ROUNDS * 9 / 10, "only {exact} of {ROUNDS} agree exactly");
}
