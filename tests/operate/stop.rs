//! The end of a relay that was told to stop.

use std::time::Duration;

use serde_json::json;

use crate::support::peer::Peer;
use crate::{logged, start};

#[test]
fn before_it_drains_a_relay_serves_a_while_longer() {
    let (mut relay, url) = start(&["--drain-delay=3600"], &[]);
    let mut first = Peer::join_at(&url, "AAAAAAAAA");
    relay.signal("TERM");
    logged(&mut relay, "not ready any more, serving for another", 1);
    let mut second = Peer::join_at(&url, "BBBBBBBBB");
    second.say(json!({"#": "m1"}));
    assert_eq!(first.hear()["#"], "m1");
    relay.signal("TERM");
    assert_eq!(relay.exit_within(Duration::from_secs(10)).code(), Some(1), "at once");
}

#[test]
fn peers_are_closed_before_links_and_what_they_say_meanwhile_gets_through() {
    let (_other, far_url) = start(&[], &[]);
    let mut far = Peer::join_at(&far_url, "FFFFFFFFF");
    let flags = ["--peers", &far_url, "--drain-time=2", "--writers=1"];
    let (mut relay, url) = start(&flags, &[]);
    logged(&mut relay, "is open", 1);
    let mut first = Peer::join_at(&url, "AAAAAAAAA");
    let mut second = Peer::join_at(&url, "BBBBBBBBB");
    relay.signal("TERM");
    assert_eq!(first.close_code(), Some(1012));
    // The one that is still connected is heard to its end, and beyond the relay.
    second.say(json!({"#": "last-words"}));
    assert_eq!(far.hear()["#"], "last-words");
    assert_eq!(second.close_code(), Some(1012));
    assert_eq!(relay.exit_within(Duration::from_secs(20)).code(), Some(0));
}
