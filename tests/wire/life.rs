//! The relay over time: its heartbeat, and its end.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::peer::{Incoming, Peer, messages};
use crate::support::relay::{Kind, Relay};
use crate::support::wait;
use crate::websocket::client_frame;
use crate::{NOTHING, trio, trio_with};

#[test]
fn the_heartbeat_comes_every_twenty_seconds() {
    let relay = Relay::start(&[]);
    let mut peer = Peer::join(&relay, "AAAAAAAAA");
    let start = Instant::now();
    let frame = loop {
        match peer.receive_within(Duration::from_secs(30)).expect("a heartbeat") {
            Incoming::Text(frame) => break frame,
            Incoming::Ping(_) => {} // answered by the client's library
            other => panic!("a quiet connection gets {other:?}"),
        }
    };
    assert_eq!(frame, "[]");
    let after = start.elapsed().as_secs_f64();
    assert!((15.0..25.0).contains(&after), "after {after} s");
}

/// Whoever pings wants to know whether the other side still reads: data says only that it writes.
#[test]
fn a_peer_that_talks_but_answers_no_ping_is_closed() {
    if !Kind::under_test().is_gunmetal() {
        return; // The reference sends no pings.
    }
    let relay = Relay::start(&["--ping-interval", "1", "--pong-timeout", "1"]);
    let mut mute = Peer::join(&relay, "AAAAAAAAA");
    let mut reader = Peer::join(&relay, "BBBBBBBBB");
    let reader = thread::spawn(move || {
        let mut ids = Vec::new();
        while ids.last().is_none_or(|id| id != "last") {
            match reader.receive() {
                Incoming::Text(frame) => ids.extend(messages(&frame).iter().map(|text| id(text))),
                Incoming::Ping(_) => {} // answered by the client's library
                other => panic!("a peer that answers gets {other:?}"),
            }
        }
        ids
    });
    // Nothing is read here, so no ping is answered; the peer speaks until it cannot.
    let mut said = 0;
    wait::until("the peer that answers no ping to be closed", || {
        let text = json!({"#": format!("m{said}")}).to_string();
        let spoke = mute.tcp().write_all(&client_frame(0x81, text.as_bytes()));
        said += 1;
        spoke.is_err().then_some(())
    });
    Peer::join(&relay, "CCCCCCCCC").say(json!({"#": "last"}));
    let heard = reader.join().expect("the reader");
    assert!(heard.len() > 2, "it was heard as long as it was there: {heard:?}");
}

fn id(text: &str) -> String {
    let message: serde_json::Value = serde_json::from_str(text).expect("JSON");
    message["#"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn on_sigterm_the_peers_are_told_and_the_relay_ends_well() {
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let (mut relay, [mut a, mut b, c]) = trio();
    a.say(json!({"#": "m1", "x": 1}));
    assert_eq!(b.hear()["#"], "m1");
    relay.process.signal("TERM");
    for peer in [a, b, c].iter_mut() {
        assert_eq!(peer.close_code(), Some(1012));
    }
    let status = relay.process.exit_within(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn what_was_said_before_the_end_still_arrives() {
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let (mut relay, [mut a, mut b, _c]) = trio();
    // The peers do not even answer the close: the relay ends all the same.
    a.say(json!((0..1000).map(|i| json!({"#": format!("m{i}")})).collect::<Vec<_>>()));
    assert_eq!(a.fence(), NOTHING);
    assert_eq!(relay.terminate().code(), Some(0));
    for i in 0..1000 {
        assert_eq!(b.hear()["#"], format!("m{i}"));
    }
    assert_eq!(b.close_code(), Some(1012));
}

#[test]
fn a_second_signal_ends_the_relay_at_once() {
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let patient = ["--drain-time", "60", "--stall-timeout", "120", "--backlog-bytes-max", "64M"];
    let (mut relay, [mut a, mut stuck, mut c]) = trio_with(&patient);
    // What waits for a peer that does not read keeps the relay from ending by itself.
    for turn in 0..20 {
        a.say(json!({"#": format!("m{turn}"), "x": "x".repeat(1_000_000)}));
        assert_eq!(c.hear()["#"], format!("m{turn}"));
    }
    relay.process.signal("TERM");
    // The first of those that are closed over the minute.
    assert_eq!(a.close_code(), Some(1012));
    assert!(!relay.process.ended(), "it waits for the peer that does not read");
    relay.process.signal("TERM");
    relay.process.exit_within(Duration::from_secs(10));
    while !matches!(stuck.receive(), Incoming::Ended | Incoming::Close(_)) {}
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind any port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_gunmetal"))
        .args(["--listen", &address])
        .output()
        .expect("run gunmetal");
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains(&address), "{message}");
    assert!(!message.contains("panicked"), "{message}");
}
