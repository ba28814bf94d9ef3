//! Requests for a WebSocket, with every kind of wrong, and what is answered.
//!
//! What is strict and what is lenient follows the WebSocket library of Gun's own relays, except that gunmetal tells more
//! statuses apart.

use std::io::{Read, Write};

use super::support::relay::{Kind, Relay};
use super::support::wait::SOON;

const GUN: &str = "GET /gun HTTP/1.1";

/// Gunmetal's answers only: another relay leaves all but the upgrade to the application around it.
pub fn failures(relay: &Relay) -> Vec<String> {
    if !Kind::under_test().is_gunmetal() {
        return Vec::new();
    }
    let check = |(what, request, expected): (&str, Vec<u8>, u16)| {
        let status = status(relay, &request);
        (status != expected).then(|| format!("{what}: {status}, expected {expected}"))
    };
    requests().into_iter().filter_map(check).collect()
}

fn requests() -> Vec<(&'static str, Vec<u8>, u16)> {
    let long = "x".repeat(20_000);
    let many = |count| (0..count).map(|i| format!("X-{i}: x")).collect::<Vec<_>>().join("\r\n");
    vec![
        ("as it should be", head(GUN, &[]), 101),
        // The line.
        ("a method in lower case", head("get /gun HTTP/1.1", &[]), 400),
        ("HEAD", head("HEAD /gun HTTP/1.1", &[]), 400),
        ("PUT", head("PUT /gun HTTP/1.1", &[]), 400),
        ("OPTIONS", head("OPTIONS /gun HTTP/1.1", &[]), 400),
        ("HTTP/1.0", head("GET /gun HTTP/1.0", &[]), 400),
        ("HTTP/2.0", head("GET /gun HTTP/2.0", &[]), 505),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 505),
        ("no version of HTTP", head("GET /gun", &[]), 400),
        ("two spaces", head("GET  /gun HTTP/1.1", &[]), 400),
        ("a control character in the path", head("GET /gun\x01 HTTP/1.1", &[]), 400),
        ("a path with a fragment", head("GET /gun#x HTTP/1.1", &[]), 404),
        ("a path with two slashes", head("GET //gun HTTP/1.1", &[]), 404),
        ("a star for a path", head("GET * HTTP/1.1", &[]), 404),
        // RFC 9112 section 3.2.2 would have this taken for /gun; no client sends it to an origin server.
        ("a whole URL for a path", head("GET http://127.0.0.1/gun HTTP/1.1", &[]), 404),
        ("a path that is too long", head(&format!("GET /gun?{long} HTTP/1.1"), &[]), 431),
        // Upgrade and Connection.
        ("no Upgrade, as some proxies do", head(GUN, &["-Upgrade"]), 426),
        ("an empty Upgrade", head(GUN, &["Upgrade: "]), 400),
        ("another Upgrade", head(GUN, &["Upgrade: h2c"]), 400),
        ("nearly the Upgrade", head(GUN, &["Upgrade: websockets"]), 400),
        ("the Upgrade among others", head(GUN, &["Upgrade: h2c, websocket"]), 101),
        (
            "the Upgrade in the second of two",
            head(GUN, &["Upgrade: h2c", "Upgrade: websocket"]),
            101,
        ),
        ("no Connection", head(GUN, &["-Connection"]), 101),
        ("a Connection that says otherwise", head(GUN, &["Connection: close"]), 101),
        // The version.
        ("no version", head(GUN, &["-Sec-WebSocket-Version"]), 400),
        ("an empty version", head(GUN, &["Sec-WebSocket-Version: "]), 400),
        ("version 7", head(GUN, &["Sec-WebSocket-Version: 7"]), 400),
        ("version 14", head(GUN, &["Sec-WebSocket-Version: 14"]), 400),
        ("a version with a zero", head(GUN, &["Sec-WebSocket-Version: 013"]), 400),
        ("two versions", head(GUN, &["Sec-WebSocket-Version: 13, 8"]), 400),
        (
            "the version twice",
            head(GUN, &["Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"]),
            400,
        ),
        // The key.
        ("an empty key", head(GUN, &["Sec-WebSocket-Key: "]), 400),
        ("a key of 15 bytes", head(GUN, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"]), 400),
        ("a key of 17 bytes", head(GUN, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE="]), 400),
        ("a key without its end", head(GUN, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"]), 400),
        (
            "a key that is not base64",
            head(GUN, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q=="]),
            400,
        ),
        ("a key for URLs", head(GUN, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25_ZQ=="]), 400),
        ("a key with spare bits", head(GUN, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="]), 101),
        (
            "two keys",
            head(
                GUN,
                &[
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
                ],
            ),
            400,
        ),
        // What is optional may be anything.
        ("no Host", head(GUN, &["-Host"]), 101),
        ("two Hosts", head(GUN, &["Host: a", "Host: b"]), 101),
        ("a subprotocol that is no token", head(GUN, &["Sec-WebSocket-Protocol: a b, \"c\""]), 101),
        ("extensions that are none", head(GUN, &["Sec-WebSocket-Extensions: ;;=, x; y=\"z"]), 101),
        // The form.
        ("empty lines before it", [b"\r\n\r\n", &*head(GUN, &[])].concat(), 101),
        (
            "lines without CR",
            String::from_utf8(head(GUN, &[])).expect("text").replace('\r', "").into(),
            101,
        ),
        ("a space before the colon", head(GUN, &["X : x"]), 400),
        ("a line without a colon", head(GUN, &["nonsense"]), 400),
        ("a line without a name", head(GUN, &[": x"]), 400),
        ("a line that is folded", head(GUN, &["X: x\r\n y"]), 400),
        ("NUL in a value", head(GUN, &["X: \0"]), 400),
        ("a name that is no token", head(GUN, &["X(): x"]), 400),
        ("as many lines as are allowed", head(GUN, &[&many(59)]), 101),
        ("one line more", head(GUN, &[&many(60)]), 431),
        ("lines that are too long", head(GUN, &[&format!("X: {long}")]), 431),
    ]
}

/// The head of a request. A changed line replaces all that have its name, and `-Name` drops them.
fn head(line: &str, changed: &[&str]) -> Vec<u8> {
    const HEADERS: [&str; 5] = [
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let name = |header: &str| header.trim_start_matches('-').split(':').next().map(str::to_owned);
    let kept = |header: &&&str| !changed.iter().any(|other| name(other) == name(header));
    let kept = HEADERS.iter().filter(kept);
    let new = changed.iter().filter(|header| !header.starts_with('-'));
    let lines: Vec<&str> = [&line].into_iter().chain(kept).chain(new).copied().collect();
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

/// The status of the answer; 0 if there is none.
fn status(relay: &Relay, request: &[u8]) -> u16 {
    let mut stream = relay.connect();
    stream.set_read_timeout(Some(SOON)).expect("a read timeout");
    let _refused = stream.write_all(request); // It may be answered before all of it was sent.
    let mut answer = [0; "HTTP/1.1 101".len()];
    let _ended = stream.read_exact(&mut answer);
    let digits = std::str::from_utf8(&answer).ok().and_then(|answer| answer.split(' ').nth(1));
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_default()
}
