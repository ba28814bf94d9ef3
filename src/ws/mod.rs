//! RFC 6455, without I/O: bytes come in, events and bytes go out.
//!
//! - [`upgrade`]: the HTTP/1.1 heads a WebSocket begins with, for both sides.
//! - [`reader`]: from received bytes to messages and control frames.
//! - [`frame`]: opcodes, masks, and the bytes of frames to send.
//!
//! Knows no Gun, no sockets, no clocks and no randomness. What a peer does wrong is an enum beside
//! the parser that found it ([`upgrade::HeadError`], [`reader::ReadError`]); the caller turns it into
//! a status or a close code once.

pub mod frame;
pub mod reader;
pub mod upgrade;
