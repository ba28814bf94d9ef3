//! Frames as a client sends them, and what no client should.

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
const CONTINUATION: u8 = 0;
const FIN: u8 = 0x80;

/// The bytes of a masked frame with these first eight bits.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    const KEY: [u8; 4] = [0x9a, 0x03, 0xf7, 0x58];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(MASKED | short as u8),
        medium @ 126..=0xffff => {
            frame.push(MASKED | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(MASKED | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(KEY);
    // Word by word: the longest of these payloads are too long for byte by byte in a debug build.
    let (words, rest) = payload.as_chunks::<8>();
    let wide = u64::from_ne_bytes([KEY, KEY].concat().try_into().expect("eight bytes"));
    for word in words {
        frame.extend_from_slice(&(u64::from_ne_bytes(*word) ^ wide).to_ne_bytes());
    }
    frame.extend(rest.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A whole message, or a control frame.
pub fn whole(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(FIN | opcode, payload)
}

/// A whole frame with these reserved bits (1 to 7).
pub fn reserved(bits: u8, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(FIN | bits << 4 | opcode, payload)
}

/// The first part of a message.
pub fn first(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(opcode, payload)
}

/// A further part.
pub fn more(payload: &[u8]) -> Vec<u8> {
    frame(CONTINUATION, payload)
}

/// The last part.
pub fn last(payload: &[u8]) -> Vec<u8> {
    frame(FIN | CONTINUATION, payload)
}

/// A message in parts of so many bytes, each a frame.
pub fn parts(opcode: u8, payload: &[u8], part_bytes: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(part_bytes);
    let part = |(index, part): (usize, &[u8])| {
        let opcode = if index == 0 { opcode } else { CONTINUATION };
        let fin = if index + 1 == count { FIN } else { 0 };
        frame(fin | opcode, part)
    };
    payload.chunks(part_bytes).enumerate().map(part).collect()
}

/// A close frame with this code.
pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    whole(CLOSE, &[&code.to_be_bytes(), reason].concat())
}
