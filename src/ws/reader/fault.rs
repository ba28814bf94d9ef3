//! What a peer can do wrong in RFC 6455, one variant each.
//!
//! Owns the wording and the close codes. Must not know how a fault is found or answered.

use std::fmt;

use crate::ws::frame::{CLOSE_INVALID, CLOSE_PROTOCOL, CLOSE_TOO_BIG, CONTROL_BYTES_MAX};

/// The rule a peer broke. Always the peer's fault, never ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// A reserved header bit is set, which only a negotiated extension may do (section 5.2).
    ReservedBits,
    /// The opcode has no meaning (section 5.2).
    ReservedOpcode(u8),
    /// A client did not mask a frame (section 5.1).
    Unmasked,
    /// A server masked a frame (section 5.1).
    Masked,
    /// A control frame comes in parts (section 5.5).
    FragmentedControl,
    /// A control frame carries this many bytes (section 5.5).
    LongControl(u64),
    /// A continuation without a message to continue (section 5.4).
    LoneContinuation,
    /// A new message before the last one ended (section 5.4).
    InterruptedMessage,
    /// A close frame with one byte, half a code (section 5.5.1).
    CloseTruncated,
    /// A close code that must not be sent (section 7.4).
    CloseCodeInvalid(u16),
    /// The reason in a close frame is not UTF-8 (section 5.5.1).
    CloseReasonNotUtf8,
    /// A text message is not UTF-8 (section 8.1).
    TextNotUtf8,
    /// A message of at least `bytes`, where we take `bytes_max` (section 10.4).
    TooLong {
        /// What was announced so far.
        bytes: u64,
        /// What is accepted.
        bytes_max: usize,
    },
}

impl ReadError {
    /// The close code that answers this fault (RFC 6455 section 7.4.1).
    pub fn close_code(&self) -> u16 {
        match self {
            Self::CloseReasonNotUtf8 | Self::TextNotUtf8 => CLOSE_INVALID,
            Self::TooLong { .. } => CLOSE_TOO_BIG,
            _ => CLOSE_PROTOCOL,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBits => f.write_str("frame sets header bits of an extension not in use"),
            Self::ReservedOpcode(opcode) => write!(f, "frame has the reserved opcode {opcode}"),
            Self::Unmasked => f.write_str("frame of a client is not masked"),
            Self::Masked => f.write_str("frame of a server is masked"),
            Self::FragmentedControl => f.write_str("control frame is fragmented"),
            Self::LongControl(bytes) => {
                write!(f, "control frame of {bytes} bytes, over {CONTROL_BYTES_MAX}")
            }
            Self::LoneContinuation => f.write_str("continuation frame without a message"),
            Self::InterruptedMessage => f.write_str("new message before the last one ended"),
            Self::CloseTruncated => f.write_str("close frame with half a close code"),
            Self::CloseCodeInvalid(code) => write!(f, "close frame with the invalid code {code}"),
            Self::CloseReasonNotUtf8 => f.write_str("reason of the close frame is not UTF-8"),
            Self::TextNotUtf8 => f.write_str("text message is not UTF-8"),
            Self::TooLong { bytes, bytes_max } => {
                write!(f, "message of {bytes} bytes, over the limit of {bytes_max}")
            }
        }
    }
}

impl std::error::Error for ReadError {}
