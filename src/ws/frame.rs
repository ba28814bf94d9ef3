//! Frames to send: opcodes, close codes, headers and masks (RFC 6455 section 5).
//!
//! Owns the byte layout of every frame this relay writes. Must not know what a payload means, nor who
//! receives it. Invariants: a server frame is never masked, so one header and one payload are the same
//! bytes for every peer; a length always takes its shortest form; a control frame never carries more
//! than [`CONTROL_BYTES_MAX`].

use std::ops::Deref;

use bytes::Bytes;

/// Close code: the purpose of the connection is fulfilled (RFC 6455 section 7.4.1).
pub const CLOSE_NORMAL: u16 = 1000;
/// Close code: the peer broke the framing rules.
pub const CLOSE_PROTOCOL: u16 = 1002;
/// Close code: a text message was not UTF-8.
pub const CLOSE_INVALID: u16 = 1007;
/// Close code: a message is longer than the receiver takes.
pub const CLOSE_TOO_BIG: u16 = 1009;
/// Close code: the relay restarts; the peer should come back (IANA registry, not the RFC).
pub const CLOSE_RESTART: u16 = 1012;
/// Close code: overloaded or the peer is too slow; it should come back later (IANA registry).
pub const CLOSE_AGAIN: u16 = 1013;

/// Longest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// First header byte: the last frame of a message.
pub(super) const FIN: u8 = 0x80;
/// Second header byte: a masking key follows the length.
pub(super) const MASKED: u8 = 0x80;
/// Longest header: two bytes, an eight byte length and a key.
pub const HEADER_BYTES_MAX: usize = 14;

/// What a frame is (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message that an earlier frame began.
    Continuation = 0,
    /// A text message, or its first part.
    Text = 1,
    /// A binary message, or its first part.
    Binary = 2,
    /// The last frame of a connection.
    Close = 8,
    /// A question that a pong answers.
    Ping = 9,
    /// The answer to a ping, or a heartbeat.
    Pong = 10,
}

impl Opcode {
    /// The opcode of a first header byte; `None` when the RFC reserves it.
    #[inline]
    pub fn of(first: u8) -> Option<Self> {
        match first & 0x0f {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    /// Control frames are short, whole, and may come between the parts of a message.
    #[inline]
    pub fn is_control(self) -> bool {
        self as u8 & 0x08 != 0
    }
}

/// The header of a frame, on the stack. Dereferences to its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl Header {
    fn new(opcode: Opcode, payload_bytes: usize) -> Self {
        let mut header = Self { bytes: [0; HEADER_BYTES_MAX], len: 0 };
        header.push(&[FIN | opcode as u8]);
        match payload_bytes {
            0..=125 => header.push(&[payload_bytes as u8]),
            126..=0xffff => {
                header.push(&[126]);
                header.push(&(payload_bytes as u16).to_be_bytes());
            }
            _ => {
                header.push(&[127]);
                header.push(&(payload_bytes as u64).to_be_bytes());
            }
        }
        header
    }

    fn with_key(mut self, key: [u8; 4]) -> Self {
        self.bytes[1] |= MASKED;
        self.push(&key);
        self
    }

    fn push(&mut self, bytes: &[u8]) {
        let start = self.len as usize;
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

/// The header of an unfragmented text frame from a server, for a payload of `len` bytes.
pub fn text_header(len: usize) -> Header {
    Header::new(Opcode::Text, len)
}

/// What a close frame carries: the code, then the reason, cut at a character so that it fits.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(CONTROL_BYTES_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    [&code.to_be_bytes(), &reason.as_bytes()[..end]].concat()
}

/// A whole ping, pong or close frame, masked with `key` if it is from a client. A payload longer than
/// [`CONTROL_BYTES_MAX`] is cut.
pub fn control(opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>) -> Bytes {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    match key {
        Some(key) => masked(opcode, &[payload], key).into(),
        None => [&*Header::new(opcode, payload.len()), payload].concat().into(),
    }
}

/// A whole frame from a client: header, key, and the masked concatenation of `payload`.
///
/// The key must be fresh and unpredictable for every frame (RFC 6455 section 10.3).
pub fn masked(opcode: Opcode, payload: &[&[u8]], key: [u8; 4]) -> Vec<u8> {
    let payload_bytes = payload.iter().map(|part| part.len()).sum();
    let header = Header::new(opcode, payload_bytes).with_key(key);
    let mut frame = Vec::with_capacity(header.len() + payload_bytes);
    frame.extend_from_slice(&header);
    for part in payload {
        frame.extend_from_slice(part);
    }
    mask(&mut frame[header.len()..], key, 0);
    frame
}

/// Masks or unmasks `bytes`, which begin `offset` bytes into their payload (RFC 6455 section 5.3).
#[inline]
pub fn mask(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    mask_and_or(bytes, key, offset);
}

/// Unmasks a whole payload. Tells whether it is ASCII, and therefore UTF-8, without a second pass.
#[inline]
pub(super) fn unmask_is_ascii(payload: &mut [u8], key: [u8; 4]) -> bool {
    mask_and_or(payload, key, 0) & 0x8080_8080_8080_8080 == 0
}

/// Masks, and returns all resulting bytes or'ed together, spread over a word.
#[inline]
fn mask_and_or(bytes: &mut [u8], key: [u8; 4], offset: usize) -> u64 {
    let key = u32::from_le_bytes(key).rotate_right(8 * (offset as u32 & 3));
    let wide = u64::from(key) << 32 | u64::from(key);
    let mut seen = 0;
    let (blocks, rest) = bytes.as_chunks_mut::<8>();
    // Whole words in a plain loop: the compiler turns it into vector instructions.
    for block in blocks {
        let word = u64::from_le_bytes(*block) ^ wide;
        seen |= word;
        *block = word.to_le_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide.to_le_bytes()) {
        *byte ^= key;
        seen |= u64::from(*byte);
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use tungstenite::protocol::frame::FrameHeader;
    use tungstenite::protocol::frame::coding::{Data, OpCode};

    #[test]
    fn headers_equal_tungstenites() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 100 << 20] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let mut expected = Vec::new();
                let opcode = OpCode::Data(Data::Text);
                let oracle = FrameHeader { opcode, mask, ..FrameHeader::default() };
                oracle.format(len as u64, &mut expected).unwrap();
                let plain = text_header(len);
                let header = mask.map_or(plain, |key| plain.with_key(key));
                assert_eq!(*header, *expected, "length {len}");
            }
        }
    }

    #[test]
    fn mask_equals_byte_by_byte() {
        let key = [0x11, 0x52, 0xa3, 0xf4];
        for offset in 0..9 {
            for len in 0..70 {
                let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
                let expected: Vec<u8> = plain
                    .iter()
                    .enumerate()
                    .map(|(i, byte)| byte ^ key[(i + offset) % 4])
                    .collect();
                let mut bytes = plain;
                mask(&mut bytes, key, offset);
                assert_eq!(bytes, expected, "length {len}, offset {offset}");
            }
        }
    }

    #[test]
    fn masked_joins_its_parts() {
        // The example of RFC 6455 section 5.7.
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let key = [0x37, 0xfa, 0x21, 0x3d];
        assert_eq!(masked(Opcode::Text, &[b"Hel", b"", b"lo"], key), hello);
    }

    #[test]
    fn control_frames_have_the_layout_of_the_rfc() {
        let close = close_payload(CLOSE_AGAIN, "slow");
        assert_eq!(*control(Opcode::Close, &close, None), *b"\x88\x06\x03\xf5slow");
        assert_eq!(*control(Opcode::Ping, b"Hello", None), *b"\x89\x05Hello");
        assert_eq!(*control(Opcode::Pong, b"", None), *b"\x8a\x00");
        // RFC 6455 section 5.7.
        let masked = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(*control(Opcode::Pong, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d])), *masked);
    }

    #[test]
    fn long_reasons_are_cut_at_a_character() {
        let payload = close_payload(CLOSE_PROTOCOL, &"é".repeat(100));
        assert_eq!(payload.len(), 2 + 122);
        assert!(std::str::from_utf8(&payload[2..]).is_ok());
        assert_eq!(control(Opcode::Ping, &[0; 200], None).len(), 2 + CONTROL_BYTES_MAX);
    }
}
