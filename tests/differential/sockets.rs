//! Section 1, transport: what is upgraded, and what ends a connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::relays::{self, Options, Package, url};
use crate::support::peer::{Incoming, Peer};
use crate::support::wait::SOON;

pub const DIFFERENCES: &[&str] = &["paths"];

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const UPGRADE: &str = "Upgrade: websocket";

#[test]
fn upgrades_are_accepted_and_refused_as_gun_does() {
    let Some(mesh) = Package::mesh() else { return };
    let (gun, relay) = (mesh.relay(Options::default()), relays::gunmetal(Options::default()));
    let table: &[(&str, &[&str])] = &[
        ("GET /gun HTTP/1.1", &[UPGRADE, KEY, VERSION]),
        ("GET /gun?x=1 HTTP/1.1", &[UPGRADE, KEY, VERSION]),
        ("GET /gun? HTTP/1.1", &[UPGRADE, KEY, VERSION]),
        ("GET /gun HTTP/1.1", &["Upgrade: WebSocket", KEY, VERSION]),
        ("GET /gun HTTP/1.1", &[UPGRADE, KEY, "Sec-WebSocket-Version: 8"]),
        ("GET /gun HTTP/1.1", &[UPGRADE, KEY, "Sec-WebSocket-Version: 12"]),
        ("GET /gun HTTP/1.1", &[UPGRADE, KEY]),
        ("GET /gun HTTP/1.1", &[UPGRADE, VERSION]),
        ("GET /gun HTTP/1.1", &[UPGRADE, "Sec-WebSocket-Key: short", VERSION]),
        ("GET /gun HTTP/1.1", &["Upgrade: h2c", KEY, VERSION]),
        ("POST /gun HTTP/1.1", &[UPGRADE, KEY, VERSION]),
        ("GET /gun HTTP/1.1", &[UPGRADE, KEY, VERSION, "Origin: https://elsewhere.example"]),
        (
            "GET /gun HTTP/1.1",
            &[UPGRADE, KEY, VERSION, "Sec-WebSocket-Extensions: permessage-deflate"],
        ),
        ("GET /gun HTTP/1.1", &[UPGRADE, KEY, VERSION, "Sec-WebSocket-Protocol: one, two"]),
    ];
    for (request, headers) in table {
        let [theirs, ours] = [gun, relay.port].map(|port| answer(port, request, headers));
        assert_eq!(theirs, ours, "{request} {headers:?}");
    }
    for path in ["/", "/gun/", "/gunx", "/GUN", "/gun/x", "/gun%20", "/x/gun"] {
        let request = format!("GET {path} HTTP/1.1");
        let [theirs, ours] = [gun, relay.port]
            .map(|port| answer(port, &request, &[UPGRADE, KEY, VERSION])[0].clone());
        assert_eq!((theirs.as_str(), ours.as_str()), ("400", "404"), "{path}");
    }
}

/// The status, and what of the headers concerns the protocol.
fn answer(port: u16, request: &str, headers: &[&str]) -> Vec<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let head =
        format!("{request}\r\nHost: x\r\nConnection: Upgrade\r\n{}\r\n\r\n", headers.join("\r\n"));
    stream.write_all(head.as_bytes()).expect("send a request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status").to_owned();
    let mut told: Vec<_> = lines
        .filter(|line| line.starts_with("sec-websocket-") && status == "101")
        .map(str::to_owned)
        .collect();
    told.sort();
    told.insert(0, status);
    told
}

const FIN: u8 = 0x80;

/// A masked frame of up to 125 bytes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | payload.len() as u8, 1, 2, 3, 4];
    frame.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[test]
fn frames_are_accepted_and_refused_as_gun_does() {
    let Some(mesh) = Package::mesh() else { return };
    let (gun, relay) = (mesh.relay(Options::default()), relays::gunmetal(Options::default()));
    let question = br##"{"dam":"?","#":"q"}"##;
    let close = |code: u16| frame(FIN | 8, &code.to_be_bytes());
    let unmasked = [&[FIN | 1, 2][..], b"{}"].concat();
    let parts = |middle: &[u8]| {
        [
            &frame(1, &question[..5])[..],
            middle,
            &frame(0, &question[5..9]),
            &frame(FIN, &question[9..]),
        ]
        .concat()
    };
    let table: &[(&str, Vec<u8>)] = &[
        ("a text", frame(FIN | 1, question)),
        ("parts", parts(b"")),
        ("parts around a ping", parts(&frame(FIN | 9, b"hi"))),
        ("a ping", frame(FIN | 9, b"payload")),
        ("a pong", [frame(FIN | 10, b"x"), frame(FIN | 9, b"y")].concat()),
        ("a close", close(1000)),
        ("a close with a code of its own", close(3999)),
        ("an empty close", frame(FIN | 8, b"")),
        ("a close with one byte", frame(FIN | 8, b"x")),
        ("a close with a code that is none", close(1005)),
        ("not UTF-8", frame(FIN | 1, b"{\"\xff\":1}")),
        ("half an emoji in UTF-8", frame(FIN | 1, b"\"\xed\xa0\xbd\"")),
        ("parts that are not UTF-8", [frame(1, b"{\""), frame(FIN, b"\xff\":1}")].concat()),
        ("unmasked", unmasked),
        ("a reserved opcode", frame(FIN | 3, b"")),
        ("a reserved bit", frame(FIN | 0x40 | 1, b"{}")),
        ("a continuation of nothing", frame(FIN, b"{}")),
        ("a text inside of a text", [frame(1, b"{"), frame(FIN | 1, b"{}")].concat()),
        ("a control frame in parts", frame(9, b"x")),
        (
            "more than 100 MiB announced",
            vec![FIN | 1, 0xff, 0, 0, 0, 0, 0x06, 0x40, 0, 1, 1, 2, 3, 4],
        ),
    ];
    for (name, bytes) in table {
        let [theirs, ours] = [gun, relay.port].map(|port| reaction(&url(port), bytes));
        assert_eq!(theirs, ours, "{name}");
    }
}

/// What a relay says to these bytes first, after its greeting.
fn reaction(url: &str, bytes: &[u8]) -> String {
    let mut peer = Peer::connect_to(url);
    peer.hear();
    peer.send_raw(bytes);
    match peer.receive() {
        Incoming::Text(_) => "a text".to_owned(),
        other => format!("{other:?}"),
    }
}
