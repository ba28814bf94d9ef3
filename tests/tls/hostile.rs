//! Those who do not play along: garbage, slowness, plain HTTP, crowds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gunmetal::config::{Config, Tls};
use gunmetal::metrics::Counter;
use gunmetal::tls::identity::PairFiles;
use rustls::{ClientConnection, StreamOwned};
use serde_json::json;

use crate::certs::{Authority, url};
use crate::support::http;
use crate::support::peer::{Peer, read_to_end};
use crate::support::wait::{self, SOON};
use crate::{connect, join};

/// A relay in this process, whose counters can be read.
pub fn counted(authority: &Authority, limits: Config) -> gunmetal::net::relay::Relay {
    authority.install(&authority.issue());
    let files = PairFiles { cert: authority.cert_file(), key: authority.key_file() };
    let tls = Some(Tls { files, listen: None });
    gunmetal::net::relay::Relay::start(Config { tls, ..limits }).expect("a relay")
}

/// So many handshakes at a time, a second for each.
fn handshakes(tls_handshakes_max: usize) -> Config {
    let handshake_timeout = Duration::from_secs(1);
    Config { tls_handshakes_max, handshake_timeout, ..Config::for_tests() }
}

/// The first bytes of a handshake, as a client says them.
pub fn client_hello(authority: &Authority) -> Vec<u8> {
    let name = "localhost".try_into().expect("a name");
    let mut client = ClientConnection::new(authority.client(), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a hello");
    hello
}

#[test]
fn slow_and_broken_handshakes_disturb_nobody_and_end_in_time() {
    let authority = Authority::new();
    let relay = authority.relay(&["--handshake-timeout=1", "--tls-threads=1"]);
    let trust = authority.client();
    let [mut a, mut b] = ["A", "B"].map(|name| join(&relay, &trust, &name.repeat(9)));
    let hello = client_hello(&authority);
    let mut silent: Vec<_> = (0..50).map(|_| relay.connect()).collect();
    let mut half: Vec<_> = (0..50).map(|_| relay.connect()).collect();
    for stream in &mut half {
        stream.write_all(&hello[..hello.len() / 2]).expect("half a hello");
    }
    let mut finished: Vec<_> = (0..50).map(|_| relay.connect()).collect();
    for stream in &mut finished {
        stream.write_all(&hello).expect("a hello and nothing more");
    }
    let mut garbage: Vec<_> = (0..50).map(|_| relay.connect()).collect();
    for (number, stream) in garbage.iter_mut().enumerate() {
        // Some look like TLS at first.
        let first = [22, 0, 128, 255][number % 4];
        let _gone = stream.write_all(&[first; 300]);
    }
    for number in 0..200 {
        a.say(json!({"#": format!("{number}"), "x": 1}));
        assert_eq!(b.hear()["#"], format!("{number}"));
    }
    assert_eq!(connect(&relay, &trust).hear()["dam"], "?");
    for stream in silent.iter_mut().chain(&mut half).chain(&mut finished).chain(&mut garbage) {
        assert!(read_to_end(stream, SOON).is_some(), "it is closed");
    }
    assert_eq!(a.fence(), [json!(null); 0]);
}

#[test]
fn who_finishes_the_handshake_and_asks_for_nothing_is_told_and_closed() {
    let authority = Authority::new();
    let relay = authority.relay(&["--handshake-timeout=1"]);
    let name = "localhost".try_into().expect("a name");
    let client = ClientConnection::new(authority.client(), name).expect("a client");
    let mut stream = StreamOwned::new(client, relay.connect());
    stream.sock.set_read_timeout(Some(SOON)).expect("a timeout");
    let mut answer = String::new();
    // It ends with a close_notify: a connection that is just cut is an error to rustls.
    stream.read_to_string(&mut answer).expect("a whole answer");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn pages_are_served_by_https_and_name_it() {
    let authority = Authority::new();
    let relay = authority.relay(&[]);
    let name = "localhost".try_into().expect("a name");
    let client = ClientConnection::new(authority.client(), name).expect("a client");
    let mut stream = StreamOwned::new(client, relay.connect());
    let head = "GET / HTTP/1.1\r\nHost: relay.example\r\nAccept: application/json\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a whole answer");
    assert!(answer.contains(r#""connect":"https://relay.example/gun""#), "{answer}");
}

#[test]
fn plain_http_is_told_that_the_port_speaks_tls() {
    let authority = Authority::new();
    let relay = counted(&authority, handshakes(100));
    let connect = || TcpStream::connect(relay.address()).expect("connect");
    let answer = http::get(connect(), "/gun");
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("this port speaks TLS"), "{}", answer.body);
    assert!(Peer::try_connect(&format!("ws://{}/gun", relay.address())).is_none());
    assert_eq!(relay.count(Counter::PlainOnTls), 2);
}

#[test]
fn handshakes_are_bounded_and_counted() {
    let authority = Authority::new();
    let relay = counted(&authority, handshakes(3));
    let connect = || TcpStream::connect(relay.address()).expect("connect");
    let count = |counter| relay.count(counter);
    let mut waiting: Vec<_> = (0..3).map(|_| connect()).collect();
    wait::until("all to be taken in", || (count(Counter::Accepted) == 3).then_some(()));
    let mut refused = connect();
    assert_eq!(read_to_end(&mut refused, SOON).as_deref(), Some(&b""[..]));
    wait::until("it to be counted", || (count(Counter::RejectedTlsFull) == 1).then_some(()));
    for stream in &mut waiting {
        assert!(read_to_end(stream, SOON).is_some(), "its time is over");
    }
    wait::until("them to be counted", || (count(Counter::HandshakeTimeouts) == 3).then_some(()));

    connect().write_all(&[22; 300]).expect("garbage");
    wait::until("garbage to be counted", || {
        (count(Counter::TlsHandshakeFailures) == 1).then_some(())
    });
    let address = format!("wss://{}/gun", relay.address());
    let trust = Arc::clone(&authority.client());
    let peer = wait::until("room", || Peer::try_connect_tls(&address, &trust).ok());
    peer.named("AAAAAAAAA").vanish();
    assert!(count(Counter::TlsHandshakes) >= 1);
    wait::until("all to be gone", || {
        let gone = count(Counter::Closed) + count(Counter::RejectedTlsFull);
        (gone == count(Counter::Accepted)).then_some(())
    });
    relay.stop();
    relay.join();
}

#[test]
fn connections_that_shake_hands_count_as_connections() {
    let authority = Authority::new();
    let handshake_timeout = Duration::from_secs(300);
    let limits = Config { connections_max: 2, handshake_timeout, ..Config::for_tests() };
    let relay = counted(&authority, limits);
    let (url, trust) = (url(relay.address().port()), authority.client());
    let _peer = Peer::try_connect_tls(&url, &trust).expect("connect by wss");
    let shaking = TcpStream::connect(relay.address()).expect("connect");
    // Until then a third could take its place: another reactor may accept it first.
    wait::until("a second", || (relay.view().open_connections() == 2).then_some(()));
    let third = Peer::try_connect_tls(&url, &trust).err().expect("a third is sent away");
    assert!(third.to_string().contains("503"), "{third}");
    assert_eq!(relay.count(Counter::RejectedFull), 1);
    // A few may ask whether it is well; beyond them a connection just ends.
    let mut asking: Vec<_> =
        (0..17).map(|_| TcpStream::connect(relay.address()).expect("connect")).collect();
    wait::until("one too many", || (relay.count(Counter::RejectedFull) == 2).then_some(()));
    asking.clear();
    drop(shaking);
    wait::until("room", || Peer::try_connect_tls(&url, &trust).ok());
}

#[test]
fn who_finds_no_room_for_a_handshake_is_in_the_log() {
    let authority = Authority::new();
    let flags = ["--tls-handshakes-max=1", "--handshake-timeout=300", "--reactors=1"];
    let mut relay = authority.relay(&flags);
    let _shaking = relay.connect();
    let mut second = relay.connect();
    assert_eq!(read_to_end(&mut second, SOON).as_deref(), Some(&b""[..]), "no word in plain");
    relay.process.logged("who was turned away", |line| {
        line.contains("turned away: too many make a TLS handshake").then_some(())
    });
}

#[test]
fn a_relay_that_stops_waits_for_no_handshake() {
    let authority = Authority::new();
    let times = ["--drain-time=300", "--handshake-timeout=300", "--admin=127.0.0.1:0"];
    let mut relay = authority.relay(&times);
    let admin = relay.admin();
    let hello = client_hello(&authority);
    let half: Vec<_> = (0..9).map(|_| relay.connect()).collect();
    for mut stream in &half {
        stream.write_all(&hello[..hello.len() / 2]).expect("half a hello");
    }
    wait::until("all to be counted", || {
        let stats = http::get(TcpStream::connect(admin).expect("connect"), "/stats.json").body;
        let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
        (stats["connections"] == 9).then_some(())
    });
    relay.process.signal("TERM");
    assert_eq!(relay.process.exit_within(SOON).code(), Some(0));
}

#[test]
fn a_reload_of_the_handshake_timeout_reaches_handshakes() {
    let authority = Authority::new();
    let handshake_timeout = Duration::from_secs(300);
    let relay = counted(&authority, Config { handshake_timeout, ..Config::for_tests() });
    let connect = || TcpStream::connect(relay.address()).expect("connect");
    let mut before = connect();
    wait::until("it to be taken in", || (relay.count(Counter::Accepted) == 1).then_some(()));
    let handshake_timeout = Duration::from_millis(100);
    relay.reload(Config { handshake_timeout, ..(*relay.view().config()).clone() });
    assert!(read_to_end(&mut connect(), SOON).is_some(), "it has the new time");
    before.set_nonblocking(true).expect("a socket");
    assert!(before.read(&mut [0]).is_err(), "it has the time it began with");
}

#[test]
fn threads_that_have_ended_are_not_stuck() {
    let relay = counted(&Authority::new(), Config::for_tests());
    relay.stop();
    relay.join();
    let loops = relay.view().metrics().loops();
    assert!(loops.iter().any(|one| one.name == "tls-0"));
    for one in loops {
        assert_eq!(one.awake_for(Instant::now()), None, "{}", one.name);
    }
}
