//! Big messages, slow readers, many connections.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::peer::{Incoming, Peer, unique};
use crate::support::relay::{Kind, Relay};
use crate::support::wait;
use crate::{NOTHING, heard_of, ids, trio, trio_with};

#[test]
fn a_message_that_is_too_big_is_refused_in_guns_words() {
    let (_relay, [mut a, mut b, _c]) = trio_with(&["--message-bytes-max", "1000"]);
    // The limit itself is too big already, and it is counted in JavaScript's units: a snowman is one, an emoji two.
    let message = |id: &str, fill: &str, units: usize| {
        let empty = json!({"#": id, "x": ""}).to_string();
        let count = (units - empty.len()) / fill.encode_utf16().count();
        let text = json!({"#": id, "x": fill.repeat(count)}).to_string();
        format!("{text}{}", " ".repeat(units - text.encode_utf16().count()))
    };
    for fill in ["x", "☃", "😀"] {
        a.say_text(message(&format!("fits {fill}"), fill, 999));
        assert_eq!(b.hear()["#"], format!("fits {fill}"));
        a.say_text(message(&format!("big {fill}"), fill, 1000));
        let error = a.hear();
        assert_eq!((&error["dam"], &error["err"]), (&json!("!"), &json!("Message too big!")));
    }
    a.say_text(format!("[{}]", [message("one", "x", 500), message("two", "x", 500)].join(",")));
    assert_eq!(a.hear()["err"], "Message too big!", "a batch counts as one");
    a.say_text(format!("{{\"broken\": {}", "x".repeat(1000)));
    assert_eq!(a.hear()["err"], "Message too big!", "it is not parsed");
    a.say(json!({"#": "small"}));
    assert_eq!(ids(&heard_of(&mut b, &mut a)), ["small"]);
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
                assert!(heard.starts_with(r##"{"#":"large""##) && heard.len() > text.len(), "{heard:.100}");
                assert!(heard.contains(fill.as_str()), "{heard:.100}");
            });
        }
    });
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn a_reader_that_stops_reading_is_closed_and_nobody_else_notices() {
    if !Kind::under_test().is_gunmetal() {
        return; // The reference buffers without a limit.
    }
    let (_relay, [mut a, mut b, mut c]) = trio_with(&["--backlog-bytes-max", "1000000"]);
    let fill = "x".repeat(100_000);
    wait::until("the slow reader to be closed", || {
        let id = unique("m");
        a.say(json!({"#": id, "x": fill}));
        let heard = c.hear();
        assert_eq!(heard["#"], id, "the other reader gets every message");
        (heard["><"] == "AAAAAAAAA,CCCCCCCCC").then_some(())
    });
    // What was on its way is still read, and then the reason.
    assert_eq!(b.close_code(), Some(1013));
    assert_eq!(a.fence(), NOTHING);
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
    if way % 5 == 0 {
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
    assert_eq!(crate::support::http::get(relay.connect(), "/healthz").status, 503);
    assert_eq!(a.fence(), NOTHING);
    b.vanish();
    let mut next = wait::until("a place to be free again", || {
        let answer = crate::support::http::get(relay.connect(), "/healthz");
        (answer.status == 200).then(|| Peer::connect(&relay))
    });
    assert!(matches!(next.receive(), Incoming::Text(_)));
}
