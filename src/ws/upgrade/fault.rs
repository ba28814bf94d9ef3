//! What can be wrong with a request head, one variant each.
//!
//! Owns the wording and the status codes. Must not know how a fault is found, or what the response looks
//! like besides.

use std::fmt;

/// Why a head is no HTTP/1 request that could be answered properly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// It does not follow RFC 9112; what the parser stumbled over.
    Malformed(httparse::Error),
    /// It is the start of a TLS connection.
    Tls,
    /// It is neither HTTP/1.0 nor HTTP/1.1.
    HttpVersion,
    /// It did not end within `HeadLimits::head_bytes_max`.
    TooLong,
    /// It has more lines than `HeadLimits::headers_max`.
    TooManyHeaders,
}

impl HeadError {
    /// The status that answers it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Tls => 400,
            Self::TooLong | Self::TooManyHeaders => 431,
            Self::HttpVersion => 505,
        }
    }
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyHeaders,
            httparse::Error::Version => Self::HttpVersion,
            error => Self::Malformed(error),
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "the request is not HTTP: {error}"),
            Self::Tls => f.write_str(
                "the request is encrypted, and this port is not: use ws:// and http://, \
                 or put a proxy that speaks TLS in front",
            ),
            Self::HttpVersion => f.write_str("only HTTP/1.1 and HTTP/1.0 are spoken here"),
            Self::TooLong => f.write_str("the head of the request is too long"),
            Self::TooManyHeaders => f.write_str("the request has too many headers"),
        }
    }
}

impl std::error::Error for HeadError {}

/// Why a request with an `Upgrade` header does not become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadUpgrade {
    /// It asks for something else, such as `h2c`. A server may ignore that (RFC 9110 section 7.8).
    OtherProtocol,
    /// The method is not GET.
    Method,
    /// HTTP/1.0 has no upgrades.
    HttpVersion,
    /// `Sec-WebSocket-Version` is missing, repeated, or neither 13 nor 8.
    Version,
    /// `Sec-WebSocket-Key` is missing.
    NoKey,
    /// `Sec-WebSocket-Key` is repeated or not the base64 of 16 bytes.
    Key,
}

impl fmt::Display for BadUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherProtocol => "the Upgrade header asks for something other than websocket",
            Self::Method => "a WebSocket begins with GET",
            Self::HttpVersion => {
                "a WebSocket needs HTTP/1.1 and this came as HTTP/1.0; \
                 a proxy in between may need to be told (nginx: proxy_http_version 1.1)"
            }
            Self::Version => "Sec-WebSocket-Version must be 13",
            Self::NoKey => "Sec-WebSocket-Key is missing",
            Self::Key => "Sec-WebSocket-Key must be the base64 of 16 bytes",
        })
    }
}

impl std::error::Error for BadUpgrade {}
