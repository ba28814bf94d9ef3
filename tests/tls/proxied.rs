//! A proxy that passes TLS on as it is, and says in front of it for whom it speaks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustls::{ClientConnection, StreamOwned};

use crate::certs::Authority;
use crate::support::http;
use crate::support::relay::Relay;

const UPGRADE: &str = "GET /gun HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Version 2 of the header: TCP over IPv4, from `client`, and two bytes that the relay does not know.
fn header(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[127, 0, 0, 1], &5000_u16.to_be_bytes(), &443_u16.to_be_bytes()];
    let unknown = [0xee, 0, 0];
    let length = 12 + unknown.len() as u16;
    let start = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..], &length.to_be_bytes()].concat();
    [start, addresses.concat(), unknown.to_vec()].concat()
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A client behind a proxy that sends `header` in `pieces`; and the status it gets.
fn come(authority: &Authority, relay: &Relay, header: &[u8], pieces: usize) -> (Tls, String) {
    let mut stream = relay.connect();
    stream.set_nodelay(true).expect("no delay");
    for piece in header.chunks(header.len().div_ceil(pieces).max(1)) {
        stream.write_all(piece).expect("send the header");
    }
    let name = "localhost".try_into().expect("a name");
    let client = ClientConnection::new(authority.client(), name).expect("a client");
    let mut stream = StreamOwned::new(client, stream);
    stream.write_all(UPGRADE.as_bytes()).expect("ask");
    let mut status = vec![0; 12];
    stream.read_exact(&mut status).expect("an answer");
    (stream, String::from_utf8(status).expect("text"))
}

fn addresses(admin: SocketAddr) -> Vec<String> {
    let stream = TcpStream::connect(admin).expect("connect to the admin");
    let host = format!("Host: {admin}");
    let answer = http::request(stream, &["GET /peers.json HTTP/1.1", &host]).body;
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let peers = answer["peers"].as_array().expect("a list").iter();
    let mut addresses: Vec<_> = peers.map(|peer| peer["address"].to_string()).collect();
    addresses.sort();
    addresses
}

#[test]
fn clients_with_tls_behind_a_proxy_are_known_by_their_own_addresses() {
    let authority = Authority::new();
    let flags = ["--proxy-protocol", "--trust=127.0.0.0/8", "--address-connections-max=1"];
    let mut relay = authority.relay(&[&flags[..], &["--admin=127.0.0.1:0"]].concat());
    let admin = relay.admin();
    let (_one, status) = come(&authority, &relay, &header([192, 0, 2, 1]), 1);
    assert_eq!(status, "HTTP/1.1 101");
    // Of the same address there is one already; it is told so through TLS.
    let (_, status) = come(&authority, &relay, &header([192, 0, 2, 1]), 1);
    assert_eq!(status, "HTTP/1.1 429");
    let (_two, status) = come(&authority, &relay, &header([192, 0, 2, 2]), 31);
    assert_eq!(status, "HTTP/1.1 101");
    let v1 = b"PROXY TCP4 192.0.2.3 127.0.0.1 5000 443\r\n";
    let (_three, status) = come(&authority, &relay, v1, 1);
    assert_eq!(status, "HTTP/1.1 101");
    let expected = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    assert_eq!(addresses(admin), expected.map(|address| format!("\"{address}:5000\"")));
}

#[test]
fn tls_without_the_header_is_not_let_in() {
    let authority = Authority::new();
    let mut relay =
        authority.relay(&["--proxy-protocol", "--trust=127.0.0.0/8", "--admin=127.0.0.1:0"]);
    let mut stream = relay.connect();
    // The start of a handshake.
    stream
        .write_all(&[&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 100]].concat())
        .expect("send");
    let mut answer = Vec::new();
    // It may be reset.
    let _reset = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"");
    let admin = relay.admin();
    assert!(addresses(admin).is_empty());
}
