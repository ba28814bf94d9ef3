//! What service managers and load balancers ask.

use serde_json::json;

use crate::support::peer::Peer;
use crate::support::wait;
use crate::{get, watched};

#[test]
fn an_idle_relay_is_live_and_ready() {
    let (_relay, admin) = watched(&[]);
    for path in ["/livez", "/readyz"] {
        let answer = get(admin, path);
        assert_eq!((answer.status, &*answer.body), (200, "ok\n"), "{path}");
    }
}

#[test]
fn a_full_relay_is_live_and_not_ready() {
    let (relay, admin) = watched(&["--connections-max", "2"]);
    let (_a, b) = (Peer::join(&relay, "AAAAAAAAA"), Peer::join(&relay, "BBBBBBBBB"));
    let answer = get(admin, "/readyz");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, "full: 2 connections are open, --connections-max is 2\n");
    assert_eq!(get(admin, "/livez").status, 200);
    b.vanish();
    wait::until("room for another peer", || (get(admin, "/readyz").status == 200).then_some(()));
}

#[test]
fn a_stopping_relay_is_live_and_not_ready() {
    let flags = ["--drain-time", "60", "--stall-timeout", "120", "--backlog-bytes-max", "64M"];
    let (relay, admin) = watched(&flags);
    let (mut a, mut c) = (Peer::join(&relay, "AAAAAAAAA"), Peer::join(&relay, "CCCCCCCCC"));
    let _stuck = Peer::join(&relay, "BBBBBBBBB");
    // What waits for a peer that does not read keeps the relay from ending by itself.
    for turn in 0..20 {
        a.say(json!({"#": format!("m{turn}"), "x": "x".repeat(1_000_000)}));
        assert_eq!(c.hear()["#"], format!("m{turn}"));
    }
    relay.process.signal("TERM");
    assert_eq!(c.close_code(), Some(1012));
    let answer = get(admin, "/readyz");
    assert_eq!(answer.status, 503);
    assert!(answer.body.starts_with("draining: "), "{}", answer.body);
    assert_eq!(get(admin, "/livez").status, 200);
}
