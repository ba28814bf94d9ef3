//! Big messages, slow readers, many connections.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::peer::{Incoming, Peer, unique};
use crate::support::relay::{Kind, Relay, Setup};
use crate::support::wait;
use crate::{NOTHING, heard_of, ids, trio, trio_with};

const LIMIT: usize = 1024;
const SMALL: [&str; 2] = ["--message-bytes-max", "1024"];

/// A message of exactly so many of JavaScript's units: a snowman is one, an emoji two.
fn message(id: &str, fill: &str, units: usize) -> String {
    let empty = json!({"#": id, "x": ""}).to_string();
    let count = (units - empty.encode_utf16().count()) / fill.encode_utf16().count();
    let text = json!({"#": id, "x": fill.repeat(count)}).to_string();
    let padding = units - text.encode_utf16().count();
    text + &" ".repeat(padding)
}

fn assert_too_big(source: &mut Peer) {
    let error = source.hear();
    assert_eq!((&error["dam"], &error["err"]), (&json!("!"), &json!("Message too big!")));
}

#[test]
fn a_message_that_is_too_big_is_refused_in_guns_words() {
    let (_relay, [mut a, mut b, _c]) = trio_with(&SMALL);
    a.say_text(message("fits", "x", LIMIT - 1));
    assert_eq!(b.hear()["#"], "fits");
    // The limit itself is too big already.
    a.say_text(message("big", "x", LIMIT));
    assert_too_big(&mut a);
    let half = |id: &str| message(id, "x", LIMIT / 2);
    a.say_text(format!("[{},{}]", half("one"), half("two")));
    assert_too_big(&mut a);
    a.say_text(format!("{{\"broken\": {}", "x".repeat(LIMIT)));
    assert_too_big(&mut a);
    a.say(json!({"#": "small"}));
    assert_eq!(ids(&heard_of(&mut b, &mut a)), ["small"]);
}

#[test]
fn the_limit_counts_the_units_of_javascript() {
    let (_relay, [mut a, mut b, _c]) = trio_with(&SMALL);
    for fill in ["ü", "☃", "😀"] {
        a.say_text(message(fill, fill, LIMIT - 1));
        assert_eq!(b.hear()["#"], fill);
        a.say_text(message("big", fill, LIMIT));
        assert_too_big(&mut a);
    }
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn a_message_far_too_big_is_refused_and_the_connection_stays() {
    let (_relay, [mut a, mut b, _c]) = trio_with(&SMALL);
    a.say_text(message("big", "x", 2 * LIMIT));
    assert_too_big(&mut a);
    a.say_text(message("bigger", "x", 20 * LIMIT));
    assert_too_big(&mut a);
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn a_message_of_20_megabytes_passes() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    let fill = "0123456789abcdef".repeat(20_000_000 / 16);
    let text = format!(r##"{{"#":"large","put":{{"x":"{fill}"}}}}"##);
    thread::scope(|scope| {
        scope.spawn(|| a.say_text(text.as_str()));
        for receiver in [&mut b, &mut c] {
            let (text, fill) = (&text, &fill);
            scope.spawn(move || {
                let heard = receiver.hear_text_within(Duration::from_secs(60));
                assert!(
                    heard.starts_with(r##"{"#":"large""##) && heard.len() > text.len(),
                    "{heard:.100}"
                );
                assert!(heard.contains(fill.as_str()), "{heard:.100}");
            });
        }
    });
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

/// More than the kernel holds for a reader that does not read, and a backlog of [`BACKLOG`] on top.
const FLOOD_MESSAGES: usize = 120;
const FLOOD_MESSAGE_BYTES: usize = 100_000;
const BACKLOG: [&str; 2] = ["--backlog-bytes-max", "1000000"];

fn flood(source: &mut Peer, reader: &mut Peer) {
    let fill = "x".repeat(FLOOD_MESSAGE_BYTES);
    for turn in 0..FLOOD_MESSAGES {
        source.say(json!({"#": format!("m{turn}"), "x": fill}));
        assert_eq!(reader.hear()["#"], format!("m{turn}"), "another reader gets every message");
    }
}

#[test]
fn a_reader_that_stops_reading_is_closed_and_nobody_else_notices() {
    if !Kind::under_test().is_gunmetal() {
        return; // The reference buffers without a limit.
    }
    let (_relay, [mut a, mut b, mut c]) = trio_with(&BACKLOG);
    flood(&mut a, &mut c);
    wait::until("the reader that does not read to be closed", || {
        a.say(json!({"#": unique("probe")}));
        (c.hear()["><"] == "AAAAAAAAA,CCCCCCCCC").then_some(())
    });
    assert_eq!((a.fence(), c.fence()), (vec![], vec![]));
    while !matches!(b.receive(), Incoming::Close(Some(1013)) | Incoming::Ended) {}
}

#[test]
fn a_slow_reader_learns_why_it_is_closed() {
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let (_relay, [mut a, mut b, mut c]) = trio_with(&BACKLOG);
    flood(&mut a, &mut c);
    // It reads on: what was on its way comes whole, then the reason.
    assert_eq!(b.close_code(), Some(1013));
    assert_eq!((a.fence(), c.fence()), (vec![], vec![]));
}

#[test]
fn two_thousand_connections_come_and_go() {
    const CONNECTIONS: usize = 2000;
    const AT_ONCE: usize = 4;
    let (relay, [mut a, mut b, _c]) = trio();
    thread::scope(|scope| {
        for lane in 0..AT_ONCE {
            let relay = &relay;
            scope.spawn(move || {
                for turn in 0..CONNECTIONS / AT_ONCE {
                    come_and_go(relay, lane + turn);
                }
            });
        }
        for turn in 0..100 {
            a.say(json!({"#": format!("m{turn}")}));
            while b.hear()["#"] != format!("m{turn}") {}
        }
    });
    // `ok` beside a put counts the peers: all the visitors are forgotten.
    wait::until("the visitors to be gone", || {
        let id = unique("count");
        a.say(json!({"#": id, "put": {"x": 1}, "ok": {"@": 1}}));
        let message = loop {
            let message = b.hear();
            if message["#"] == id.as_str() {
                break message;
            }
        };
        (message["ok"]["/"] == 3).then_some(())
    });
}

// Some only connect, some say something, and they leave in every way there is.
fn come_and_go(relay: &Relay, way: usize) {
    if way.is_multiple_of(5) {
        drop(relay.connect());
        return;
    }
    let mut peer = Peer::connect(relay);
    match way % 5 {
        1 => peer.vanish(),
        2 => {
            peer.say(json!({"#": unique("visitor"), "x": 1}));
            drop(peer);
        }
        3 => {
            peer.close(1000);
            assert_eq!(peer.close_code(), Some(1000));
        }
        _ => {
            assert_eq!(peer.hear()["dam"], "?");
            peer.say_text("{ broken");
        }
    }
}

#[test]
fn one_connection_too_many_is_sent_away() {
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let relay = Relay::start(&["--connections-max", "2"]);
    let (mut a, b) = (Peer::join(&relay, "AAAAAAAAA"), Peer::join(&relay, "BBBBBBBBB"));
    let get = |path: &str| crate::support::http::get(relay.connect(), path).status;
    assert_eq!(get("/"), 503);
    assert_eq!(get("/healthz"), 200, "a relay that is full is well");
    assert!(Peer::try_connect(&relay.url()).is_none());
    // Those who only wait take no more than their places.
    let silent: Vec<_> = (0..40).map(|_| relay.connect()).collect();
    assert_eq!(get("/"), 503);
    drop(silent);
    wait::until("room to ask", || (get("/healthz") == 200).then_some(()));
    assert_eq!(a.fence(), NOTHING);
    b.vanish();
    let mut next = wait::until("a place to be free again", || Peer::try_connect(&relay.url()));
    assert_eq!(next.hear()["dam"], "?");
}

#[test]
fn a_relay_out_of_file_descriptors_serves_on_and_recovers() {
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let setup = Setup::new(Kind::Gunmetal).open_files_max(64);
    let mut relay = setup.flags(&["--connections-max", "1000"]).start();
    let (mut a, mut b) = (Peer::join(&relay, "AAAAAAAAA"), Peer::join(&relay, "BBBBBBBBB"));
    let crowd: Vec<_> = (0..100).map(|_| relay.connect()).collect();
    relay
        .process
        .logged("a pause", |line| line.contains("cannot accept connections").then_some(()));
    a.say(json!({"#": "in want", "x": 1}));
    assert_eq!(b.hear()["#"], "in want");
    drop(crowd);
    let mut late = wait::until("a place to be free again", || Peer::try_connect(&relay.url()));
    assert_eq!(late.hear()["dam"], "?");
}
