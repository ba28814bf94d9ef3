//! What the public port answers to an HTTP request.
//!
//! Owns paths, statuses, headers and texts. Must not know sockets or clocks: requests go in, bytes come
//! out. Invariants: everything but the 101 closes the connection, so no body and no second request is ever
//! read; anything a client sent is either validated or escaped before it is written back.

use std::fmt::Write;
use std::time::Duration;

use super::admission::Rejection;
use crate::ws::upgrade::{BadUpgrade, HeadError, Method, Request, accept};

/// Where Gun connects.
const GUN_PATH: &str = "/gun";
/// Where load balancers ask.
const HEALTH_PATH: &str = "/healthz";
/// Shown when a request does not say by which name it reached us.
const HOST_FALLBACK: &str = "HOST:8765";
/// Longest `Host` that is believed, in bytes: a DNS name and a port.
const HOST_BYTES_MAX: usize = 253 + 6;

const TEXT: &str = "text/plain; charset=utf-8";
const NO_STORE: &str = "Cache-Control: no-store\r\n";
/// The page may be kept for seconds, and says itself what it may load: its own style, nothing else.
const PAGE_HEADERS: &str = "Cache-Control: public, max-age=10\r\nVary: Accept, Host\r\n\
    Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";

/// What to do with a connection after its request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send this 101; WebSocket follows.
    Upgrade(Vec<u8>),
    /// Send this response and close. The label names the answer in the log.
    Close(Vec<u8>, &'static str),
}

/// What the relay tells about itself.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Version of the relay.
    pub version: &'static str,
    /// Time since its start.
    pub uptime: Duration,
    /// Open WebSockets.
    pub peers: usize,
    /// The request came through TLS.
    pub is_secure: bool,
}

impl About {
    /// The scheme by which the client reached us.
    fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }
}

/// The answer to a request whose head was read.
pub fn answer(request: &Request, about: &About) -> Answer {
    let (response, label) = match (&request.upgrade, &*request.path) {
        (Some(Ok(upgrade)), GUN_PATH) => return Answer::Upgrade(accept(upgrade)),
        (Some(Err(reason)), GUN_PATH) => (bad_upgrade(*reason), "bad_upgrade"),
        // A wish for something other than WebSocket may be ignored (RFC 9110 section 7.8).
        (Some(Err(BadUpgrade::OtherProtocol)) | None, _) => plain(request, about),
        // Whether it is a good upgrade matters only at the right path.
        (Some(_), _) => (upgrade_elsewhere(), "upgrade_elsewhere"),
    };
    let with_body = request.method != Method::Head;
    Answer::Close(response.into_bytes(with_body), label)
}

/// The answer to a head that is no request.
pub fn refuse(error: &HeadError) -> Vec<u8> {
    let status = match error.status() {
        431 => "431 Request Header Fields Too Large",
        505 => "505 HTTP Version Not Supported",
        _ => "400 Bad Request",
    };
    Response::text(status, format!("gunmetal: {error}.\n")).into_bytes(true)
}

/// The answer to a connection that may not come in.
pub fn reject(rejection: Rejection) -> Vec<u8> {
    let status = match rejection {
        Rejection::Full
        | Rejection::Memory
        | Rejection::Pace(_)
        | Rejection::TlsFull
        | Rejection::Files => "503 Service Unavailable",
        Rejection::AddressFull | Rejection::AddressPace(_) | Rejection::AddressFiles => {
            "429 Too Many Requests"
        }
        Rejection::Origin => "403 Forbidden",
        Rejection::Token => "401 Unauthorized",
        Rejection::NoProxyHeader => "400 Bad Request",
    };
    let Some(wait) = rejection.retry_after() else {
        let response = Response::text(status, format!("gunmetal: {rejection}.\n"));
        let challenge = "WWW-Authenticate: Bearer realm=\"gunmetal\"\r\n";
        let is_challenge = rejection == Rejection::Token;
        return response.with(if is_challenge { challenge } else { "" }).into_bytes(true);
    };
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    Response::text(status, format!("gunmetal: {rejection}. Try again in {seconds} s.\n"))
        .with(&format!("Retry-After: {seconds}\r\n"))
        .into_bytes(true)
}

/// Whether the request only asks if the relay is well.
pub fn is_health_check(request: &Request) -> bool {
    request.upgrade.is_none() && &*request.path == HEALTH_PATH
}

/// Whether a file may be the answer, rather than what [`answer`] says.
pub fn may_be_file(request: &Request) -> bool {
    let is_plain = matches!(request.upgrade, None | Some(Err(BadUpgrade::OtherProtocol)));
    let is_file = match &*request.path {
        GUN_PATH | HEALTH_PATH => false,
        "/" => !request.accepts_json,
        _ => true,
    };
    is_plain && is_file && matches!(request.method, Method::Get | Method::Head)
}

/// The answer to a request for a file that cannot be read.
pub fn file_failed() -> Vec<u8> {
    Response::text("500 Internal Server Error", "gunmetal: the file cannot be read.\n")
        .into_bytes(true)
}

/// The answer, in plain, to plain HTTP where TLS is spoken.
pub fn tls_only() -> Vec<u8> {
    let text =
        "gunmetal: this port speaks TLS. Use https:// or wss:// instead of http:// or ws://.\n";
    Response::text("400 Bad Request", text).into_bytes(true)
}

/// The answer when a request head took too long.
pub fn timeout() -> Vec<u8> {
    let text = "gunmetal: the request took too long to arrive.\n";
    Response::text("408 Request Timeout", text).into_bytes(true)
}

fn plain(request: &Request, about: &About) -> (Response, &'static str) {
    match (request.method, &*request.path) {
        (Method::Options, _) => (preflight(), "options"),
        (Method::Other, _) => (method_not_allowed(), "bad_method"),
        (_, GUN_PATH) => (upgrade_required(request, about), "upgrade_required"),
        (_, "/") if request.accepts_json => (summary(request, about), "summary"),
        (_, "/") => (page(request, about), "page"),
        (_, HEALTH_PATH) => (Response::text("200 OK", "ok\n"), "health"),
        _ => (not_found(request, about), "not_found"),
    }
}

fn bad_upgrade(reason: BadUpgrade) -> Response {
    let response = Response::text("400 Bad Request", format!("gunmetal: {reason}.\n"));
    match reason {
        BadUpgrade::Version => response.with("Sec-WebSocket-Version: 13, 8\r\n"),
        _ => response,
    }
}

fn upgrade_elsewhere() -> Response {
    let text = "gunmetal: Gun connects to the path /gun, exactly, and not to this one.\n";
    Response::text("404 Not Found", text)
}

fn upgrade_required(request: &Request, about: &About) -> Response {
    let (scheme, host) = (about.scheme(), shown_host(request));
    let text = format!(
        "gunmetal: this address is for WebSockets. In your app: Gun(['{scheme}://{host}/gun'])\n\
         If you did ask for a WebSocket, a proxy in between removed the Upgrade header.\n"
    );
    Response::text("426 Upgrade Required", text)
        .with("Upgrade: websocket\r\nConnection: Upgrade\r\n")
}

fn preflight() -> Response {
    Response::empty("204 No Content")
        .with("Allow: GET, HEAD, OPTIONS\r\n")
        .with("Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n")
        .with("Access-Control-Allow-Headers: *\r\nAccess-Control-Max-Age: 86400\r\n")
}

fn method_not_allowed() -> Response {
    let text = "gunmetal: only GET, HEAD and OPTIONS. Data goes through the WebSocket at /gun.\n";
    Response::text("405 Method Not Allowed", text).with("Allow: GET, HEAD, OPTIONS\r\n")
}

fn not_found(request: &Request, about: &About) -> Response {
    let (scheme, host) = (about.scheme(), shown_host(request));
    let text = format!(
        "gunmetal: nothing here. This is a relay for Gun: Gun(['{scheme}://{host}/gun'])\n\
         gun.js comes with the npm package \"gun\"; its operator can put it into the --www directory.\n"
    );
    Response::text("404 Not Found", text)
}

fn summary(request: &Request, about: &About) -> Response {
    // Neither a version nor a validated host has characters that JSON escapes.
    let body = format!(
        "{{\"name\":\"gunmetal\",\"version\":\"{}\",\"connect\":\"{}://{}/gun\",\
         \"peers\":{},\"uptime_seconds\":{}}}\n",
        about.version,
        about.scheme(),
        shown_host(request),
        about.peers,
        about.uptime.as_secs(),
    );
    let kind = "application/json; charset=utf-8";
    Response::new("200 OK", kind, body).with(NO_STORE).with("Vary: Accept, Host\r\n")
}

fn page(request: &Request, about: &About) -> Response {
    let body = PAGE
        .replace("{http}", about.scheme())
        .replace("{ws}", if about.is_secure { "wss" } else { "ws" })
        .replace("{host}", &escape_html(shown_host(request)))
        .replace("{version}", &escape_html(about.version))
        .replace("{peers}", &about.peers.to_string())
        .replace("{uptime}", &spell_duration(about.uptime));
    Response::new("200 OK", "text/html; charset=utf-8", body).with(PAGE_HEADERS)
}

/// The name the client reached us by, if it can be one.
fn shown_host(request: &Request) -> &str {
    match &request.host {
        Some(host) if is_host(host) => host,
        _ => HOST_FALLBACK,
    }
}

/// Whether this is a name or an address, with a port or without (RFC 3986 section 3.2.2, narrowed to
/// characters that mean nothing in HTML, JSON or JavaScript).
fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse().is_ok_and(|port: u16| port > 0)
    };
    let is_name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_reg_name(name),
    };
    host.len() <= HOST_BYTES_MAX && is_name && port.is_none_or(is_port)
}

fn is_reg_name(name: &str) -> bool {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !name.is_empty() && name.bytes().all(is_name_byte)
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(char),
        }
    }
    escaped
}

/// The two largest units: `3 d 4 h`, `5 min 6 s`.
fn spell_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days} d {} h", hours % 24),
        () if hours > 0 => format!("{hours} h {} min", minutes % 60),
        () if minutes > 0 => format!("{minutes} min {} s", seconds % 60),
        () => format!("{seconds} s"),
    }
}

/// A response that ends its connection.
struct Response {
    status: &'static str,
    /// Whole header lines.
    headers: String,
    body: String,
}

impl Response {
    fn empty(status: &'static str) -> Self {
        let headers = NO_STORE.to_owned();
        let body = String::new();
        Self { status, headers, body }
    }

    fn new(status: &'static str, kind: &str, body: String) -> Self {
        let bytes = body.len();
        let headers = format!("Content-Type: {kind}\r\nContent-Length: {bytes}\r\n");
        Self { status, headers, body }
    }

    fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self::new(status, TEXT, body.into()).with(NO_STORE)
    }

    fn with(mut self, lines: &str) -> Self {
        self.headers.push_str(lines);
        self
    }

    /// The bytes to send. A response to HEAD has all the headers and no body.
    fn into_bytes(self, with_body: bool) -> Vec<u8> {
        let mut bytes = String::with_capacity(512 + self.body.len());
        // Writing to a string cannot fail.
        let _ = write!(
            bytes,
            "HTTP/1.1 {}\r\n{}Access-Control-Allow-Origin: *\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
            self.status, self.headers,
        );
        if with_body {
            bytes.push_str(&self.body);
        }
        bytes.into_bytes()
    }
}

/// The page at `/`. It stands alone: nothing is loaded, no script runs.
const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>gunmetal relay</title>
<style>
:root { --ink: #1d2429; --soft: #5d6a73; --paper: #f6f7f8; --card: #fff; --line: #dde2e6; --go: #1a8f5a }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ed; --soft: #93a1ab; --paper: #14181b; --card: #1c2226; --line: #2e363c; --go: #4cc38a }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.55 system-ui, sans-serif }
main { max-width: 40rem; margin: 0 auto; padding: 12vh 1.25rem 3rem }
h1 { margin: 0; font-size: 2.2rem; letter-spacing: -.03em }
h2 { margin: 2rem 0 .5rem; font-size: 1rem }
p { margin: .4rem 0 }
p.soft, footer { color: var(--soft) }
pre { margin: .5rem 0; padding: .9rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem; font: .9rem/1.5 ui-monospace, monospace }
footer { margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .9rem }
a { color: inherit }
b { color: var(--go) }
</style>
<main>
<h1>gunmetal</h1>
<p class="soft">A relay for <a href="https://gun.eco">Gun</a> applications. It passes messages between
peers, and keeps none.</p>
<h2>Connect your app</h2>
<pre>const gun = Gun(['{http}://{host}/gun'])</pre>
<p>Everyone connected to this relay can then share data.</p>
<h2>Or another relay</h2>
<pre>{ws}://{host}/gun</pre>
<p class="soft">This page is a plain answer to your browser. Gun itself talks to <code>/gun</code> over a
WebSocket.</p>
<footer><b>&#9679;</b> running for {uptime} &middot; peers: {peers} &middot; version {version}</footer>
</main>
"#;

#[cfg(test)]
mod tests;
