//! Sections 6 and 11: what the memory of ids keeps for how long, and the heartbeat. This takes half a minute, in which
//! everything runs side by side.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::relays::{self, Options, Package, url};
use crate::support::peer::{Incoming, Peer, unique};

pub const DIFFERENCES: &[&str] = &["the last id", "idle relays", "the heartbeat"];

#[test]
fn memory_and_heartbeat() {
    let Some(mesh) = Package::mesh() else { return };
    let relays = [(); 4].map(|()| relays::gunmetal(Options::default()));
    let gun = [(); 4].map(|()| mesh.relay(Options::default()));
    let ours = [0, 1, 2, 3].map(|n| relays[n].port);
    thread::scope(|scope| {
        for ports in [gun, ours] {
            scope.spawn(move || an_id_lives_nine_seconds_after_its_last_touch(ports[0]));
            scope.spawn(move || the_heartbeat_comes_after_twenty_seconds(ports[1]));
            let is_gun = ports == gun;
            scope.spawn(move || assert_ne!(is_gun, a_repeat_is_heard_by_a_quiet_peer(ports[2])));
            scope.spawn(move || assert_ne!(is_gun, an_idle_relay_forgets(ports[3])));
        }
    });
}

struct Clock(Instant);

impl Clock {
    fn wait_until(&self, seconds: f64) {
        thread::sleep(Duration::from_secs_f64(seconds).saturating_sub(self.0.elapsed()));
    }
}

fn pair(port: u16) -> [Peer; 2] {
    ["AAAAAAAAA", "BBBBBBBBB"].map(|name| Peer::join_at(&url(port), name))
}

/// Whether `b` hears `a` say something with this id.
fn is_heard(a: &mut Peer, b: &mut Peer, id: &str) -> bool {
    let marker = unique("marker");
    a.say(json!({"#": id, "x": 1}));
    a.say(json!({"#": marker}));
    b.heard_before(&marker).iter().any(|message| message["#"] == id)
}

fn an_id_lives_nine_seconds_after_its_last_touch(port: u16) {
    let [mut a, mut b] = pair(port);
    let clock = Clock(Instant::now());
    let answered = |a: &mut Peer, b: &mut Peer, id: &str| {
        b.say(json!({"#": id, "@": "question", "##": id, "put": {}}));
        assert_eq!(a.hear()["#"], id, "an answer renews the way back");
    };
    for id in ["renewed", "forgotten"] {
        assert!(is_heard(&mut a, &mut b, id));
    }
    a.say(json!({"#": "question", "get": {"#": "mark"}}));
    assert_eq!(b.hear()["#"], "question");
    clock.wait_until(8.7);
    assert!(!is_heard(&mut b, &mut a, "renewed"), "known for nine seconds");
    answered(&mut a, &mut b, "first");
    clock.wait_until(17.2);
    assert!(!is_heard(&mut a, &mut b, "renewed"), "a duplicate renews");
    answered(&mut a, &mut b, "second");
    // Whenever the memory began to age: without the last touch it is more than eighteen seconds.
    clock.wait_until(25.9);
    assert!(!is_heard(&mut b, &mut a, "renewed"), "every duplicate renews");
    answered(&mut a, &mut b, "third");
    clock.wait_until(28.0);
    assert!(is_heard(&mut a, &mut b, "forgotten"), "gone after eighteen seconds and some");
}

fn the_heartbeat_comes_after_twenty_seconds(port: u16) {
    let mut peer = Peer::connect_to(&url(port));
    let start = Instant::now();
    peer.hear();
    let text = match peer.receive_within(Duration::from_secs(25)) {
        Some(Incoming::Text(text)) => text,
        other => panic!("a heartbeat, not {other:?}"),
    };
    // gunmetal has one timer for all its peers: it may be a second late.
    assert_eq!(text, "[]");
    let seconds = start.elapsed().as_secs_f64();
    assert!((19.5..21.8).contains(&seconds), "after {seconds} s");
}

/// The id that a peer was sent last is not sent again by Gun, however long ago that was.
fn a_repeat_is_heard_by_a_quiet_peer(port: u16) -> bool {
    let [mut a, mut b] = pair(port);
    let clock = Clock(Instant::now());
    a.say(json!({"#": "again", "x": 1}));
    assert_eq!(b.hear()["#"], "again");
    for second in (2..=28).step_by(2) {
        // What makes Gun sweep its memory, and is not heard by the quiet peer.
        clock.wait_until(f64::from(second));
        a.fence();
    }
    is_heard(&mut a, &mut b, "again")
}

/// Gun's memory is swept when something new is remembered; where nothing is, nothing is forgotten.
fn an_idle_relay_forgets(port: u16) -> bool {
    let [mut a, mut b] = pair(port);
    let clock = Clock(Instant::now());
    clock.wait_until(0.5);
    assert!(is_heard(&mut a, &mut b, "idle"));
    clock.wait_until(28.0);
    is_heard(&mut a, &mut b, "idle")
}
