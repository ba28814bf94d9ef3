//! The opening handshake of the side that dials (RFC 6455 sections 4.1 and 4.2.2).
//!
//! Owns the request and the judgement of its answer. Must not know DNS, sockets, redials or where the key
//! comes from. Invariant: whatever host and path are configured, the request is one request.

use std::fmt::{self, Write};

use tungstenite::handshake::derive_accept_key;

use super::{HeadLimits, Headers};

/// How much of a reason phrase from elsewhere goes into our messages, in characters.
const REASON_CHARS_MAX: usize = 60;

/// Why the answer to our request does not open a WebSocket. The other host's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// It is not an HTTP/1 response; what the parser stumbled over.
    NotHttp(httparse::Error),
    /// Its head does not end within the limits.
    TooLong,
    /// An ordinary response: status and reason phrase.
    NotSwitching(u16, String),
    /// A 101 whose `Upgrade` is not `websocket`.
    WrongUpgrade,
    /// A 101 whose `Connection` is not `Upgrade`.
    WrongConnection,
    /// `Sec-WebSocket-Accept` does not belong to our key.
    WrongAccept,
    /// It switches on an extension or subprotocol nobody asked for.
    Unasked(&'static str),
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp(error) => write!(f, "the host does not answer in HTTP: {error}"),
            Self::TooLong => f.write_str("the head of the host's answer is too long"),
            Self::NotSwitching(status, reason) => {
                let separator = if reason.is_empty() { "" } else { " " };
                write!(f, "the host answered {status}{separator}{reason}, not a WebSocket")
            }
            Self::WrongUpgrade => f.write_str("the host answered 101, but not for websocket"),
            Self::WrongConnection => {
                f.write_str("the host answered 101 without Connection: Upgrade")
            }
            Self::WrongAccept => f.write_str(
                "the host answered 101 with the wrong Sec-WebSocket-Accept; a cache in between?",
            ),
            Self::Unasked(header) => write!(f, "the host answered 101 with an unasked {header}"),
        }
    }
}

impl std::error::Error for ResponseError {}

/// The request that asks `host` (as in a URL, with a port unless it is the usual one) for a WebSocket.
///
/// `key` is the base64 of 16 fresh random bytes. Characters that have no place in a host are left out,
/// and those that have none in a path are percent-encoded.
pub fn client_request(host: &str, path_and_query: &str, key: &str) -> Vec<u8> {
    let host: String = host.chars().filter(char::is_ascii_graphic).collect();
    let key: String = key.chars().filter(char::is_ascii_graphic).collect();
    let target = encode_target(path_and_query);
    format!(
        "GET {target} HTTP/1.1\r\n\
         Host: {host}\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Version: 13\r\n\
         \r\n"
    )
    .into_bytes()
}

fn encode_target(path_and_query: &str) -> String {
    let mut target = String::with_capacity(path_and_query.len() + 1);
    if !path_and_query.starts_with('/') {
        target.push('/');
    }
    for byte in path_and_query.bytes() {
        if byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte) {
            target.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(target, "%{byte:02X}");
        }
    }
    target
}

/// Judges the answer at the start of `input`. `Some(n)`: the WebSocket is open, and what follows the
/// first `n` bytes already belongs to it. `None`: the head has not ended yet.
///
/// # Errors
/// The other host did not open a WebSocket for `key`.
pub fn verify_response(
    input: &[u8],
    key: &str,
    limits: &HeadLimits,
) -> Result<Option<usize>, ResponseError> {
    let mut headers = vec![httparse::EMPTY_HEADER; limits.headers_max];
    let mut head = httparse::Response::new(&mut headers);
    let window = &input[..input.len().min(limits.head_bytes_max)];
    match head.parse(window) {
        Ok(httparse::Status::Complete(head_bytes)) => {
            check(&head, key)?;
            Ok(Some(head_bytes))
        }
        Ok(httparse::Status::Partial) if window.len() < limits.head_bytes_max => Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Err(ResponseError::TooLong)
        }
        Err(error) => Err(ResponseError::NotHttp(error)),
    }
}

fn check(head: &httparse::Response<'_, '_>, key: &str) -> Result<(), ResponseError> {
    let headers = Headers(head.headers);
    let status = head.code.unwrap_or_default();
    if status != 101 {
        let reason = head.reason.unwrap_or_default();
        return Err(ResponseError::NotSwitching(status, printable(reason)));
    }
    if !headers.has_item("upgrade", "websocket") {
        return Err(ResponseError::WrongUpgrade);
    }
    if !headers.has_item("connection", "upgrade") {
        return Err(ResponseError::WrongConnection);
    }
    match headers.single("sec-websocket-accept") {
        Ok(Some(accept)) if accept == derive_accept_key(key.as_bytes()) => {}
        _ => return Err(ResponseError::WrongAccept),
    }
    for unasked in ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
        if headers.items(unasked).any(|item| !item.is_empty()) {
            return Err(ResponseError::Unasked(unasked));
        }
    }
    Ok(())
}

/// A phrase from elsewhere, fit for a log line.
fn printable(phrase: &str) -> String {
    let printable = phrase.chars().filter(|c| !c.is_control());
    printable.take(REASON_CHARS_MAX).collect()
}
