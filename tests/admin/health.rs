//! What service managers and load balancers ask.

use serde_json::json;

use crate::prometheus::value;
use crate::support::peer::Peer;
use crate::support::relay::{Kind, Setup};
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
fn a_relay_that_can_accept_nobody_says_so_and_recovers() {
    let setup = Setup::new(Kind::Gunmetal).open_files_max(80).flags(&["--admin=127.0.0.1:0"]);
    let mut relay = setup
        .flags(&[
            "--connections-max=1000",
            "--handshake-timeout=300",
            "--reactors=2",
            "--writers=2",
        ])
        .start();
    let admin = relay.admin();
    let (mut a, mut b) = (Peer::join(&relay, "AAAAAAAAA"), Peer::join(&relay, "BBBBBBBBB"));
    assert_eq!(get(admin, "/readyz").status, 200);
    let crowd: Vec<_> = (0..120).map(|_| relay.connect()).collect();
    relay
        .process
        .logged("a pause", |line| line.contains("cannot accept connections").then_some(()));
    // There is one file left for who asks.
    let answer = get(admin, "/readyz");
    assert_eq!(answer.status, 503);
    assert!(answer.body.starts_with("accepting paused: "), "{}", answer.body);
    let metrics = get(admin, "/metrics").body;
    assert_eq!(value(&metrics, "gunmetal_ready"), 0.0);
    assert!(value(&metrics, "gunmetal_accept_pauses_total") >= 1.0);
    assert_eq!(get(admin, "/livez").status, 200);
    a.say(json!({"#": "in want", "x": 1}));
    assert_eq!(b.hear()["#"], "in want");
    drop(crowd);
    wait::until("the relay to accept again", || {
        (get(admin, "/readyz").status == 200).then_some(())
    });
    Peer::join(&relay, "CCCCCCCCC");
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
