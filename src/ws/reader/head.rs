//! Frame headers as they are received (RFC 6455 section 5.2).
//!
//! Owns the decoding of a header, and the rules that concern one header alone. Must not know what
//! came before it. Invariant: decoding neither consumes nor allocates.

use super::ReadError;
use crate::ws::frame::{CONTROL_BYTES_MAX, FIN, MASKED, Opcode};

/// The three bits of the first byte that belong to extensions, of which we negotiate none.
const RESERVED_BITS: u8 = 0x70;

/// A decoded header.
#[derive(Debug)]
pub(super) struct Head {
    first: u8,
    /// The masking key, if the frame is masked.
    pub(super) key: Option<[u8; 4]>,
    /// Announced length of the payload. A peer may announce anything.
    pub(super) payload_bytes: u64,
    /// Length of the header itself.
    pub(super) header_bytes: usize,
}

impl Head {
    /// Decodes the header at the start of `bytes`; `None` when it is cut.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (payload_bytes, rest) = match second & !MASKED {
            126 => {
                let (len, rest) = rest.split_first_chunk()?;
                (u16::from_be_bytes(*len).into(), rest)
            }
            127 => {
                let (len, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*len), rest)
            }
            len => (len.into(), rest),
        };
        let (key, rest) = match second & MASKED {
            0 => (None, rest),
            _ => {
                let (key, rest) = rest.split_first_chunk()?;
                (Some(*key), rest)
            }
        };
        Some(Self { first, key, payload_bytes, header_bytes: bytes.len() - rest.len() })
    }

    /// Whether this frame ends its message.
    pub(super) fn is_final(&self) -> bool {
        self.first & FIN != 0
    }

    /// The opcode, after the rules that concern any header: reserved bits, reserved opcodes, and the
    /// shape of control frames (RFC 6455 sections 5.2 and 5.5).
    pub(super) fn opcode(&self) -> Result<Opcode, ReadError> {
        if self.first & RESERVED_BITS != 0 {
            return Err(ReadError::ReservedBits);
        }
        let opcode = Opcode::of(self.first).ok_or(ReadError::ReservedOpcode(self.first & 0x0f))?;
        if opcode.is_control() && !self.is_final() {
            return Err(ReadError::FragmentedControl);
        }
        if opcode.is_control() && self.payload_bytes > CONTROL_BYTES_MAX as u64 {
            return Err(ReadError::LongControl(self.payload_bytes));
        }
        Ok(opcode)
    }
}

/// Payload length, header length and key of a masked text frame in one piece and under 64 KiB, which
/// is what nearly every frame is; `None` for any other. [`Head::decode`] without its branches.
#[inline]
pub(super) fn short_masked_text(bytes: &[u8]) -> Option<(usize, usize, [u8; 4])> {
    let &[first, second, a, b, c, d, ..] = bytes else {
        return None;
    };
    if first != FIN | Opcode::Text as u8 {
        return None;
    }
    match second ^ MASKED {
        len @ 0..=125 => Some((len.into(), 6, [a, b, c, d])),
        126 => {
            let (&[e, f], _) = bytes[6..].split_first_chunk()?;
            Some((u16::from_be_bytes([a, b]).into(), 8, [c, d, e, f]))
        }
        _ => None,
    }
}
