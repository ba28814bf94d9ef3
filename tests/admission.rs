//! Who may come in: the relay process, and connections that it refuses, slows down or takes.

mod support;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use support::gun::Gun;
use support::http::{self, Answer};
use support::node;
use support::peer::{Incoming, Peer, messages};
use support::relay::{Kind, Relay};
use support::wait::{self, SOON};

const UPGRADE: [&str; 6] = [
    "GET /gun HTTP/1.1",
    "Host: relay",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn relay(flags: &[&str]) -> Option<Relay> {
    Kind::under_test().is_gunmetal().then(|| Relay::start(flags))
}

/// Sends `first`, then an upgrade with these headers. The connection and the status it got.
fn upgrade(relay: &Relay, first: &[u8], headers: &[&str]) -> (TcpStream, u16) {
    let mut stream = relay.connect();
    let head = [&UPGRADE, headers].concat().join("\r\n");
    stream.write_all(first).expect("send what comes first");
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).expect("send a request");
    stream.set_read_timeout(Some(SOON)).expect("a read timeout");
    let mut line = [0; 12];
    stream.read_exact(&mut line).expect("a status line");
    let status = std::str::from_utf8(&line[9..]).expect("digits").parse().expect("a status");
    (stream, status)
}

fn status(relay: &Relay, headers: &[&str]) -> u16 {
    upgrade(relay, b"", headers).1
}

fn refused(relay: &Relay, headers: &[&str]) -> Answer {
    http::request(relay.connect(), &[&UPGRADE, headers].concat())
}

#[test]
fn only_pages_of_the_listed_origins_connect() {
    let Some(relay) = relay(&["--origins", "https://app.example,https://*.app.example"]) else {
        return;
    };
    for origin in ["Origin: https://app.example", "Origin: https://x.app.example", "X-Not: a page"]
    {
        assert_eq!(status(&relay, &[origin]), 101, "{origin}");
    }
    let answer = refused(&relay, &["Origin: https://evil.example"]);
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("pages of this origin"), "{answer:?}");
    assert_eq!(http::get(relay.connect(), "/healthz").status, 200);
}

#[test]
fn a_token_opens_the_relay_and_is_never_logged() {
    let Some(mut relay) = relay(&["--token", "top-secret-1", "--log", "trace"]) else { return };
    let answer = refused(&relay, &[]);
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (401, "Bearer realm=\"gunmetal\"")
    );
    assert_eq!(status(&relay, &["Authorization: Bearer wrong-secret"]), 401);
    assert_eq!(status(&relay, &["Authorization: Bearer top-secret-1"]), 101);
    let mut peer = Peer::connect_to(&format!("{}?token=top-secret-1", relay.url()));
    assert_eq!(peer.hear()["dam"], "?");
    assert!(Peer::try_connect(&format!("{}?token=other", relay.url())).is_none());
    drop(peer);
    relay.process.logged("the end of a peer", |line| line.contains("closed: ").then_some(()));
    relay.process.logged("a refusal", |line| line.contains("turned away: ").then_some(()));
    assert!(!relay.process.log().contains("secret"));
}

#[test]
fn a_token_comes_from_a_file() {
    let path = std::env::temp_dir().join(format!("gunmetal-token-{}", std::process::id()));
    std::fs::write(&path, "top-secret-2\n").expect("write a file");
    let relay = relay(&["--token-file", path.to_str().expect("UTF-8")]);
    std::fs::remove_file(&path).expect("remove the file");
    let Some(relay) = relay else { return };
    assert_eq!(status(&relay, &["Authorization: Bearer top-secret-2"]), 101);
    assert_eq!(status(&relay, &[]), 401);
}

#[test]
fn gun_itself_sends_the_token_of_its_url() {
    if node::ensure().is_none() {
        return;
    }
    let Some(relay) = relay(&["--token", "top-secret-3"]) else { return };
    // As a page writes it: http:// becomes ws://, the query stays.
    let url = format!("http://127.0.0.1:{}/gun?token=top-secret-3", relay.port);
    Gun::browser(&url).talks_to(&mut Gun::browser(&url));
}

#[test]
fn a_relay_shows_the_token_of_another_to_nobody() {
    let Some(far) = relay(&["--token", "top-secret-4"]) else { return };
    let url = format!("{}?token=top-secret-4", far.url());
    let Some(mut near) = relay(&["--peers", &url, "--log", "trace"]) else { return };
    near.process.logged("the link", |line| line.contains("is open").then_some(()));
    let (mut here, mut there) = (Peer::join(&near, "AAAAAAAAA"), Peer::connect_to(&url));
    assert_eq!(there.hear()["dam"], "?");
    here.say(json!({"#": "over the link", "put": {"x": 1}}));
    let heard = there.hear();
    assert_eq!(heard["#"], "over the link");
    assert!(!heard.to_string().contains("secret"), "{heard}");
    assert!(!near.process.log().contains("secret"), "{}", near.process.log());
}

#[test]
fn an_address_has_so_many_connections_and_others_are_not_concerned() {
    let flags = ["--address-connections-max", "1", "--trust", "127.0.0.0/8,10.0.0.0/8"];
    let Some(relay) = relay(&flags) else { return };
    let from = |list: &str| upgrade(&relay, b"", &[&format!("X-Forwarded-For: {list}")]);
    let (first, status) = from("192.0.2.1");
    assert_eq!(status, 101);
    let answer = refused(&relay, &["X-Forwarded-For: 192.0.2.1, 10.0.0.9"]);
    assert_eq!((answer.status, answer.header("retry-after")), (429, "5"));
    assert!(answer.body.contains("your address has as many"), "{answer:?}");
    // What the client itself wrote is not believed: the walk comes from the right.
    assert_eq!(from("192.0.2.99, 192.0.2.1").1, 429);
    assert_eq!(from("192.0.2.2").1, 101);
    assert_eq!(status_of_a_proxy(&relay), [101; 3]);
    drop(first);
    wait::until("the place to be free again", || (from("192.0.2.1").1 == 101).then_some(()));
}

/// A proxy that names nobody is no client with limits.
fn status_of_a_proxy(relay: &Relay) -> [u16; 3] {
    let open = [(); 3].map(|()| upgrade(relay, b"", &[]));
    open.map(|(_, status)| status)
}

#[test]
fn a_stranger_cannot_name_another_address() {
    let Some(relay) = relay(&["--address-connections-max", "1", "--trust", "10.0.0.0/8"]) else {
        return;
    };
    let (_first, status) = upgrade(&relay, b"", &["X-Forwarded-For: 192.0.2.1"]);
    assert_eq!(status, 101);
    assert_eq!(refused(&relay, &["X-Forwarded-For: 192.0.2.2"]).status, 429);
}

#[test]
fn a_proxy_header_names_the_client() {
    let flags = ["--address-connections-max=1", "--trust=127.0.0.1", "--proxy-protocol"];
    let Some(mut relay) = relay(&[&flags[..], &["--log", "debug"]].concat()) else { return };
    let v1 = b"PROXY TCP4 192.0.2.1 127.0.0.1 56324 8765\r\n";
    let (_one, status) = upgrade(&relay, v1, &[]);
    assert_eq!(status, 101);
    assert_eq!(upgrade(&relay, v1, &[]).1, 429);
    let v2 = |address: [u8; 4]| {
        let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
        [&fixed[..], &address, &[127, 0, 0, 1], &56324u16.to_be_bytes(), &[0, 80]].concat()
    };
    assert_eq!(upgrade(&relay, &v2([192, 0, 2, 1]), &[]).1, 429);
    let (two, status) = upgrade(&relay, &v2([192, 0, 2, 2]), &[]);
    assert_eq!(status, 101);
    drop(two);
    relay.process.logged("the client's address", |line| {
        (line.contains("closed: ") && line.contains("192.0.2.2:56324")).then_some(())
    });
    // The proxy's own health checks, and a proxy that was not told to send the header.
    assert_eq!(upgrade(&relay, b"PROXY UNKNOWN\r\n", &[]).1, 101);
    let answer = http::get(relay.connect(), "/healthz");
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("PROXY header"), "{answer:?}");
}

#[test]
fn a_proxy_header_has_the_time_of_a_handshake_and_may_come_in_pieces() {
    let flags = ["--trust=127.0.0.1", "--proxy-protocol", "--handshake-timeout=1"];
    let Some(relay) = relay(&flags) else { return };
    let mut stream = relay.connect();
    stream.write_all(b"PROXY TCP4 192.0").expect("send a part");
    let answer = support::peer::read_to_end(&mut stream, SOON).expect("an answer, and its end");
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    let mut stream = relay.connect();
    stream.set_nodelay(true).expect("no delay");
    for byte in b"PROXY TCP4 192.0.2.1 127.0.0.1 5 6\r\nGET /healthz HTTP/1.0\r\n\r\n" {
        stream.write_all(&[*byte]).expect("send a byte");
    }
    let answer = support::peer::read_to_end(&mut stream, SOON).expect("an answer, and its end");
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn an_address_that_connects_too_often_is_sent_away_and_then_comes_in() {
    let Some(relay) = relay(&["--address-accepts-per-second", "2"]) else { return };
    let answers: Vec<_> = (0..40).map(|_| http::get(relay.connect(), "/healthz")).collect();
    let refused = answers.iter().find(|answer| answer.status == 429).expect("twenty are too many");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(answers[..20].iter().all(|answer| answer.status == 200), "a burst may come at once");
    let come_in = || Some(()).filter(|()| http::get(relay.connect(), "/healthz").status == 200);
    wait::until("the address to be let in again", come_in);
}

#[test]
fn a_relay_that_is_overrun_says_when_to_come_again() {
    let Some(mut relay) = relay(&["--accepts-per-second", "1"]) else { return };
    let answers: Vec<_> = (0..30).map(|_| http::get(relay.connect(), "/healthz")).collect();
    let refused = answers.iter().find(|answer| answer.status == 503).expect("ten are the most");
    assert_eq!(refused.header("retry-after"), "1");
    let lines = |log: &str| log.lines().filter(|line| line.contains("turned away")).count();
    relay.process.logged("a refusal", |line| line.contains("turned away: ").then_some(()));
    assert!(lines(&relay.process.log()) <= 2, "{}", relay.process.log());
}

/// Pings come and must be answered every second, by peers that are read and by those that are not.
const QUICK_PINGS: [&str; 4] = ["--ping-interval", "1", "--pong-timeout", "1"];

/// Waits until `receiver` has these ids in this order, while `source` answers its pings as well.
fn hear_in_order(source: &mut Peer, receiver: &mut Peer, ids: impl Iterator<Item = String>) {
    const LOOK: Duration = Duration::from_millis(5);
    let mut inbox = VecDeque::new();
    for id in ids {
        let message = wait::until(&id, || {
            if let Some(frame @ (Incoming::Close(_) | Incoming::Ended)) =
                source.receive_within(LOOK)
            {
                panic!("the source is thrown out: {frame:?}");
            }
            match receiver.receive_within(LOOK) {
                Some(Incoming::Text(frame)) => inbox.extend(messages(&frame)),
                Some(Incoming::Ping(_)) | None => {}
                Some(other) => panic!("the receiver gets {other:?}"),
            }
            inbox.pop_front()
        });
        assert!(message.contains(&format!("\"{id}\"")), "{id}: {message:.80}");
    }
}

/// One says so much that it is slowed down for at least this time, and goes on then.
fn overdraw(flags: &[&str], count: usize, fill: &str, at_least: Duration) {
    let Some(relay) = relay(&[flags, &QUICK_PINGS].concat()) else { return };
    let (mut a, mut b) = (Peer::join(&relay, "AAAAAAAAA"), Peer::join(&relay, "BBBBBBBBB"));
    let (start, name) = (Instant::now(), |n: usize| format!("m{n}"));
    for n in 0..count {
        a.say(json!({"#": name(n), "put": {"x": fill}}));
    }
    hear_in_order(&mut a, &mut b, (0..count).map(name));
    a.say(json!({"#": "and on", "put": {"x": 1}}));
    hear_in_order(&mut a, &mut b, ["and on".to_owned()].into_iter());
    assert!(start.elapsed() > at_least, "it went on after {:?}", start.elapsed());
}

#[test]
fn a_peer_that_says_too_much_is_read_slowly_and_loses_nothing() {
    // Ten seconds' worth come at once, the others in four more.
    overdraw(&["--peer-messages-per-second", "20"], 280, "x", Duration::from_secs(3));
}

#[test]
fn a_peer_that_sends_too_many_bytes_is_read_slowly_and_loses_nothing() {
    let fill = "x".repeat(64 * 1024);
    overdraw(&["--peer-bytes-per-second", "64K"], 14, &fill, Duration::from_secs(3));
}
