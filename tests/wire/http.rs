//! From HTTP to WebSocket, and the requests that never get there.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::NOTHING;
use crate::support::http::{Answer, get, request};
use crate::support::peer::{Peer, read_to_end};
use crate::support::relay::{Kind, Relay};

const UPGRADE: [&str; 5] = [
    "Host: 127.0.0.1",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// Sends an upgrade request with these changes, and returns the head of the answer.
fn upgrade(relay: &Relay, line: &str, headers: &[&str]) -> String {
    let mut stream = relay.connect();
    let head = format!("{line}\r\n{}\r\n\r\n", headers.join("\r\n"));
    stream.write_all(head.as_bytes()).expect("send a request");
    read_head(&mut stream)
}

fn read_head(stream: &mut std::net::TcpStream) -> String {
    use std::io::Read;
    stream.set_read_timeout(Some(crate::support::wait::SOON)).expect("a read timeout");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream
            .read_exact(&mut byte)
            .unwrap_or_else(|e| panic!("{e} after {}", String::from_utf8_lossy(&head)));
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("a head of text")
}

fn with(changed: &[&'static str]) -> Vec<&'static str> {
    let name = |header: &str| header.split(':').next().expect("a name").to_owned();
    let kept = UPGRADE
        .into_iter()
        .filter(|header| !changed.iter().any(|other| name(other) == name(header)));
    kept.chain(changed.iter().copied()).collect()
}

#[test]
fn gun_is_at_its_path_whatever_the_query() {
    let relay = Relay::start(&[]);
    for path in ["/gun", "/gun?x=1", "/gun?", "/gun?a=/b"] {
        let mut peer = Peer::connect_to(&format!("ws://127.0.0.1:{}{path}", relay.port));
        assert_eq!(peer.hear()["dam"], "?", "{path}");
    }
}

#[test]
fn the_accept_key_is_right_and_nothing_is_negotiated() {
    let relay = Relay::start(&[]);
    let head = upgrade(
        &relay,
        "GET /gun HTTP/1.1",
        &with(&[
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
            "Origin: https://anywhere.example",
        ]),
    );
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let lower = head.to_lowercase();
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    assert!(
        lower.contains("\r\nupgrade: websocket\r\n")
            && lower.contains("\r\nconnection: upgrade\r\n"),
        "{head}"
    );
    assert!(
        !lower.contains("sec-websocket-extensions") && !lower.contains("sec-websocket-protocol"),
        "{head}"
    );
}

#[test]
fn the_first_subprotocol_is_accepted() {
    let relay = Relay::start(&[]);
    let head =
        upgrade(&relay, "GET /gun HTTP/1.1", &with(&["Sec-WebSocket-Protocol: first, second"]));
    assert!(head.to_lowercase().contains("\r\nsec-websocket-protocol: first\r\n"), "{head}");
}

#[test]
fn upgrade_headers_in_any_case_and_the_old_version_are_fine() {
    let relay = Relay::start(&[]);
    for changed in
        ["Upgrade: WebSocket", "Sec-WebSocket-Version: 8", "Connection: keep-alive, Upgrade"]
    {
        assert!(
            upgrade(&relay, "GET /gun HTTP/1.1", &with(&[changed])).starts_with("HTTP/1.1 101 "),
            "{changed}"
        );
    }
}

#[test]
fn a_bad_upgrade_is_refused() {
    let relay = Relay::start(&[]);
    for changed in [
        "Sec-WebSocket-Version: 12",
        "Sec-WebSocket-Key: short",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==x",
    ] {
        assert!(
            upgrade(&relay, "GET /gun HTTP/1.1", &with(&[changed])).starts_with("HTTP/1.1 400 "),
            "{changed}"
        );
    }
    let without_key: Vec<_> =
        UPGRADE.into_iter().filter(|header| !header.contains("Key")).collect();
    assert!(upgrade(&relay, "GET /gun HTTP/1.1", &without_key).starts_with("HTTP/1.1 400 "));
    assert!(
        !upgrade(&relay, "POST /gun HTTP/1.1", &with(&["Content-Length: 0"]))
            .starts_with("HTTP/1.1 101 ")
    );
}

#[test]
fn other_paths_are_refused() {
    let relay = Relay::start(&[]);
    let status =
        if Kind::under_test() == Kind::Gunmetal { "HTTP/1.1 404 " } else { "HTTP/1.1 400 " };
    for path in ["/", "/gun/", "/gunx", "/GUN", "/x/gun", "/%67un"] {
        let head = upgrade(&relay, &format!("GET {path} HTTP/1.1"), &UPGRADE);
        assert!(head.starts_with(status), "{path}: {head}");
    }
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let relay = Relay::start(&[]);
    let mut stream = relay.connect();
    stream.set_nodelay(true).expect("TCP_NODELAY");
    let head = format!("GET /gun HTTP/1.1\r\n{}\r\n\r\n", UPGRADE.join("\r\n"));
    for byte in head.bytes() {
        stream.write_all(&[byte]).expect("send a byte");
    }
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    // The greeting: an unmasked text frame.
    let mut first = [0; 3];
    std::io::Read::read_exact(&mut stream, &mut first).expect("a frame");
    assert_eq!((first[0], first[2]), (0x81, b'{'));
}

#[test]
fn frames_that_come_with_the_request_are_heard() {
    let relay = Relay::start(&[]);
    let mut other = Peer::join(&relay, "OTHEROTHE");
    let mut stream = relay.connect();
    let mut bytes = format!("GET /gun HTTP/1.1\r\n{}\r\n\r\n", UPGRADE.join("\r\n")).into_bytes();
    bytes.extend(crate::websocket::client_frame(0x81, br##"{"#":"early","x":1}"##));
    stream.write_all(&bytes).expect("send a request and a frame");
    assert_eq!(other.hear()["#"], "early");
}

#[test]
fn a_handshake_that_stops_in_the_middle_is_ended_after_five_seconds() {
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let relay = Relay::start(&[]);
    let (mut silent, mut halfway) = (relay.connect(), relay.connect());
    halfway
        .write_all(b"GET /gun HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: webso")
        .expect("send half a request");
    let start = Instant::now();
    let limit = Duration::from_secs(15);
    let answer = read_to_end(&mut halfway, limit).expect("half a handshake is ended");
    assert!(start.elapsed() >= Duration::from_secs(4), "after {:?} already", start.elapsed());
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(read_to_end(&mut silent, limit).is_some(), "a connection without a request is ended");
    assert_eq!(Peer::join(&relay, "AAAAAAAAA").fence(), NOTHING);
}

/// Only gunmetal answers plain requests itself; a Gun relay leaves them to the application around it.
fn gunmetal() -> Option<Relay> {
    Kind::under_test().is_gunmetal().then(|| Relay::start(&[]))
}

fn assert_any_origin(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), "*", "{answer:?}");
}

#[test]
fn gun_without_a_websocket_needs_an_upgrade() {
    let Some(relay) = gunmetal() else { return };
    let answer = get(relay.connect(), "/gun");
    assert_eq!((answer.status, answer.header("upgrade")), (426, "websocket"));
    assert!(answer.body.contains("/gun"), "it tells what to do: {answer:?}");
    assert_any_origin(&answer);
}

#[test]
fn the_root_is_a_page_for_people_and_json_for_programs() {
    let Some(relay) = gunmetal() else { return };
    let host = format!("Host: 127.0.0.1:{}", relay.port);
    let ask = |accept: &str| request(relay.connect(), &["GET / HTTP/1.1", &host, accept]);

    let page = ask("Accept: text/html,application/xhtml+xml,*/*;q=0.8");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    assert!(page.body.contains(&format!("127.0.0.1:{}/gun", relay.port)), "{page:?}");
    assert_any_origin(&page);

    let _peer = Peer::join(&relay, "AAAAAAAAA");
    let summary = ask("Accept: application/json");
    assert_eq!(summary.status, 200);
    assert!(summary.header("content-type").starts_with("application/json"), "{summary:?}");
    let fields: Value = serde_json::from_str(&summary.body).expect("JSON");
    assert_eq!((&fields["name"], &fields["peers"]), (&json!("gunmetal"), &json!(1)));
    assert_any_origin(&summary);
}

#[test]
fn health_is_told_to_whoever_asks() {
    let Some(relay) = gunmetal() else { return };
    let answer = get(relay.connect(), "/healthz");
    assert_eq!(answer.status, 200);
    assert_any_origin(&answer);
}

#[test]
fn a_page_from_elsewhere_may_ask() {
    let Some(relay) = gunmetal() else { return };
    let preflight = [
        "OPTIONS / HTTP/1.1",
        "Host: 127.0.0.1",
        "Origin: https://anywhere.example",
        "Access-Control-Request-Method: GET",
    ];
    let answer = request(relay.connect(), &preflight);
    assert_eq!(answer.status, 204);
    assert_any_origin(&answer);
    assert!(answer.header("access-control-allow-methods").contains("GET"), "{answer:?}");
}

#[test]
fn unknown_paths_and_methods_and_garbage_are_told_so() {
    let Some(relay) = gunmetal() else { return };
    assert_eq!(get(relay.connect(), "/nothing/here").status, 404);
    assert_eq!(request(relay.connect(), &["DELETE /gun HTTP/1.1", "Host: 127.0.0.1"]).status, 405);
    let mut stream = relay.connect();
    stream
        .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS, or anything\r\n\r\n")
        .expect("send garbage");
    let answer = read_to_end(&mut stream, Duration::from_secs(15)).expect("garbage is ended");
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let mut stream = relay.connect();
    let long = format!("GET /gun HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let _ = stream.write_all(long.as_bytes()); // It may be cut off before all is sent.
    assert!(
        read_to_end(&mut stream, Duration::from_secs(15)).is_some(),
        "an endless head is ended"
    );
    assert_eq!(Peer::join(&relay, "AAAAAAAAA").fence(), NOTHING);
}
