//! The HTTP/1.1 heads a WebSocket begins with (RFC 6455 section 4, RFC 9112).
//!
//! Owns the parsing of request heads, the rules of the upgrade, and the 101; [`client_request`] and
//! [`verify_response`] are the same for the side that dials. Must not know paths, sockets or what a
//! plain request is answered.
//!
//! Invariants:
//! - Nothing a peer sent is written back, except a subprotocol made of token characters and the digest
//!   of a key made of base64 characters: no head of ours can be forged.
//! - Bodies are never read: whoever answers a plain request closes the connection.
//! - What is strict and what is lenient follows the WebSocket library Gun relays use. In particular the
//!   `Connection` header is not looked at, and no extension is ever accepted.

use tungstenite::handshake::derive_accept_key;

pub use client::{ResponseError, client_request, verify_response};
pub use fault::{BadUpgrade, HeadError};

mod client;
mod fault;
#[cfg(test)]
mod tests;

/// How much of a head is accepted.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes up to and including the empty line.
    pub head_bytes_max: usize,
    /// Number of header lines.
    pub headers_max: usize,
}

impl HeadLimits {
    /// The default but for the length of a head.
    pub fn new(head_bytes_max: usize) -> Self {
        Self { head_bytes_max, ..Self::default() }
    }
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { head_bytes_max: 16 << 10, headers_max: 64 }
    }
}

/// The methods that are answered differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Give me this.
    Get,
    /// As `Get`, but keep the body.
    Head,
    /// What may a page from elsewhere do here (CORS)?
    Options,
    /// Anything else.
    Other,
}

/// A request head.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// The target up to a `?`, as sent: not decoded and not normalised.
    pub path: String,
    /// What follows the `?`.
    pub query: Option<String>,
    /// Whether the client asks to leave HTTP, and if it does so well.
    pub upgrade: Option<Result<Upgrade, BadUpgrade>>,
    /// `Accept` names `application/json`, and not `text/html` before it.
    pub accepts_json: bool,
    /// The `Host` header as sent, if there is exactly one. Not to be trusted.
    pub host: Option<String>,
    /// The `Origin` header: the page a browser asks for. Empty if it came more than once.
    pub origin: Option<String>,
    /// The `Authorization` header, if there is exactly one. Not for logs.
    pub authorization: Option<String>,
    /// The `X-Forwarded-For` lines as one list. To be believed of trusted proxies only.
    pub forwarded_for: Option<String>,
    /// Length of the head. What follows it in the input is already WebSocket.
    pub head_bytes: usize,
}

/// A valid request for a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// 24 characters of base64.
    key: String,
    /// The subprotocol offered first: token characters only.
    protocol: Option<String>,
}

/// Reads a request head from the start of `input`; `None` when it has not ended yet.
///
/// # Errors
/// What arrived is no acceptable HTTP/1 request, and more input cannot change that.
pub fn parse(input: &[u8], limits: &HeadLimits) -> Result<Option<Request>, HeadError> {
    if input.first() == Some(&TLS_HANDSHAKE) {
        return Err(HeadError::Tls);
    }
    let mut headers = vec![httparse::EMPTY_HEADER; limits.headers_max];
    let mut head = httparse::Request::new(&mut headers);
    let window = &input[..input.len().min(limits.head_bytes_max)];
    match head.parse(window)? {
        httparse::Status::Complete(head_bytes) => Ok(Some(Request::new(&head, head_bytes))),
        httparse::Status::Partial if window.len() == limits.head_bytes_max => {
            Err(HeadError::TooLong)
        }
        httparse::Status::Partial => Ok(None),
    }
}

/// Whether [`parse`] may find something new in `input`, of which it has looked at the first `seen`
/// bytes: a line ended, or there is too much. Who asks at every byte reads each line a few times, and
/// not all of the head for each of its bytes.
pub fn is_worth_a_look(input: &[u8], seen: usize, limits: &HeadLimits) -> bool {
    seen == 0 || input.len() >= limits.head_bytes_max || input[seen..].contains(&b'\n')
}

/// The first byte of a TLS connection, which no HTTP request begins with (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// The 101 that answers a valid upgrade. WebSocket follows it.
pub fn accept(upgrade: &Upgrade) -> Vec<u8> {
    let digest = derive_accept_key(upgrade.key.as_bytes());
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Accept: {digest}\r\n"
    );
    if let Some(protocol) = &upgrade.protocol {
        head.push_str(&format!("Sec-WebSocket-Protocol: {protocol}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

impl Request {
    fn new(head: &httparse::Request<'_, '_>, head_bytes: usize) -> Self {
        let headers = Headers(head.headers);
        let target = head.path.unwrap_or("/");
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Self {
            method: method(head.method),
            path: path.to_owned(),
            query,
            upgrade: upgrade(head, headers),
            accepts_json: accepts_json(headers),
            host: headers.single("host").ok().flatten().map(str::to_owned),
            origin: headers.single("origin").unwrap_or(Some("")).map(str::to_owned),
            authorization: headers.single("authorization").ok().flatten().map(str::to_owned),
            forwarded_for: headers.joined("x-forwarded-for"),
            head_bytes,
        }
    }
}

fn method(name: Option<&str>) -> Method {
    match name {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("OPTIONS") => Method::Options,
        _ => Method::Other,
    }
}

/// The rules of RFC 6455 section 4.2.1, as far as Gun's usual library asks for them.
fn upgrade(
    head: &httparse::Request<'_, '_>,
    headers: Headers<'_>,
) -> Option<Result<Upgrade, BadUpgrade>> {
    headers.items("upgrade").next()?;
    if !headers.has_item("upgrade", "websocket") {
        return Some(Err(BadUpgrade::OtherProtocol));
    }
    if method(head.method) != Method::Get {
        return Some(Err(BadUpgrade::Method));
    }
    if head.version != Some(1) {
        return Some(Err(BadUpgrade::HttpVersion));
    }
    Some(websocket(headers))
}

fn websocket(headers: Headers<'_>) -> Result<Upgrade, BadUpgrade> {
    match headers.single("sec-websocket-version") {
        Ok(Some("13" | "8")) => {}
        _ => return Err(BadUpgrade::Version),
    }
    let key = match headers.single("sec-websocket-key") {
        Ok(Some(key)) if is_key(key) => key.to_owned(),
        Ok(None) => return Err(BadUpgrade::NoKey),
        _ => return Err(BadUpgrade::Key),
    };
    let protocol = headers.items("sec-websocket-protocol").next();
    Ok(Upgrade { key, protocol: protocol.filter(|name| is_token(name)).map(str::to_owned) })
}

/// Whether this is the base64 of 16 bytes (RFC 6455 section 4.1). As in Gun's library, the unused bits
/// of the last character may be anything.
fn is_key(key: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    key.len() == 24 && key.strip_suffix("==").is_some_and(|digits| digits.bytes().all(is_base64))
}

/// Whether this is a token (RFC 9110 section 5.6.2), and therefore safe in a header.
fn is_token(name: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token_byte)
}

/// Whether JSON is asked for, and before HTML. Weights are not compared, only `q=0` counts as a no.
fn accepts_json(headers: Headers<'_>) -> bool {
    for item in headers.items("accept") {
        let mut parts = item.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        if parts.any(|part| part.eq_ignore_ascii_case("q=0")) {
            continue;
        }
        if kind.eq_ignore_ascii_case("application/json") {
            return true;
        }
        if kind.eq_ignore_ascii_case("text/html") {
            return false;
        }
    }
    false
}

/// The header lines of a head. Values that are not UTF-8 count as empty.
#[derive(Clone, Copy)]
struct Headers<'a>(&'a [httparse::Header<'a>]);

/// A header that must come once came twice.
struct Repeated;

impl<'a> Headers<'a> {
    fn values(self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.0.iter();
        lines
            .filter(move |line| line.name.eq_ignore_ascii_case(name))
            .map(|line| std::str::from_utf8(line.value).unwrap_or_default().trim())
    }

    fn single(self, name: &'a str) -> Result<Option<&'a str>, Repeated> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Repeated),
        }
    }

    /// The lines of a list as one, in order (RFC 9110 section 5.3).
    fn joined(self, name: &'a str) -> Option<String> {
        let values: Vec<_> = self.values(name).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// The items of a list, which may be spread over several lines (RFC 9110 section 5.3).
    fn items(self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.values(name).flat_map(|value| value.split(',')).map(str::trim)
    }

    fn has_item(self, name: &'a str, item: &str) -> bool {
        self.items(name).any(|found| found.eq_ignore_ascii_case(item))
    }
}
