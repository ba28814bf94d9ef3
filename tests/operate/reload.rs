//! Settings that change while the relay runs.

use std::fs;

use crate::support::node::Scratch;
use crate::support::peer::Peer;
use crate::{logged, start};

#[test]
fn a_reload_applies_what_it_can_and_says_what_it_cannot() {
    let scratch = Scratch::new();
    let path = scratch.0.join("gunmetal.toml");
    let file = path.to_str().expect("UTF-8");
    fs::write(&path, "connections-max = 2\nwriters = 2\n").unwrap();
    let (mut relay, url) = start(&["--config", file], &[]);
    let mut first = Peer::join_at(&url, "AAAAAAAAA");
    let mut second = Peer::join_at(&url, "BBBBBBBBB");
    assert!(Peer::try_connect(&url).is_none(), "two are the most");

    fs::write(&path, "connections-max = 3\nwriters = 1\nlog = 'debug'\n").unwrap();
    relay.signal("HUP");
    logged(&mut relay, "reload: done, 3 settings differ", 1);
    let log = relay.log();
    for line in [
        "reload: connections-max: 2 -> 3",
        "reload: log: info -> debug",
        "reload: writers: 2 -> 1 needs a new process",
    ] {
        assert!(log.contains(line), "{line} is missing");
    }
    let third = Peer::join_at(&url, "CCCCCCCCC");
    assert!(Peer::try_connect(&url).is_none(), "three are the most");
    assert_eq!(first.fence().len() + second.fence().len(), 0, "the others are still there");
    third.vanish();
    // A line of level debug, which was not logged before.
    logged(&mut relay, "closed: the peer hung up", 1);
}

#[test]
fn a_reload_of_a_wrong_file_changes_nothing() {
    let scratch = Scratch::new();
    let path = scratch.0.join("gunmetal.toml");
    fs::write(&path, "connections-max = 1\n").unwrap();
    let (mut relay, url) = start(&[], &[("GUNMETAL_CONFIG", path.to_str().expect("UTF-8"))]);
    let mut peer = Peer::join_at(&url, "AAAAAAAAA");
    fs::write(&path, "connections-max = 9\nlog = 'debug'\ngapp = 1\n").unwrap();
    relay.signal("HUP");
    logged(&mut relay, "reload: nothing is changed", 1);
    assert!(relay.log().contains("line 3: unknown key gapp; did you mean gap?"));
    assert!(Peer::try_connect(&url).is_none(), "one is still the most");
    assert_eq!(peer.fence().len(), 0);
}

#[test]
fn log_lines_can_be_json() {
    let (mut relay, _) = start(&["--log-format=json"], &[]);
    relay.signal("HUP");
    logged(&mut relay, "reload: done", 1);
    for line in relay.log().lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("a JSON object per line");
        assert!(object["level"].is_string() && object["message"].is_string(), "{line}");
    }
}
