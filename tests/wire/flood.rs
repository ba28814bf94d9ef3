//! Everything that is no answer goes to everybody else, once.

use std::thread;

use serde_json::json;

use crate::support::peer::{Peer, unique, without_skip};
use crate::support::relay::Relay;
use crate::support::wait;
use crate::{NOTHING, heard_of, ids, trio};

const ALL: &str = "AAAAAAAAA,BBBBBBBBB,CCCCCCCCC";

#[test]
fn a_message_goes_to_all_but_its_source() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    let put =
        json!({"#": "put1", "put": {"mark": {"_": {"#": "mark", ">": {"age": 1}}, "age": 23}}});
    let get = json!({"#": "get1", "get": {"#": "mark", ".": "age"}});
    let plain = json!({"#": "plain1", "ok": {"rtc": {"id": "AAAAAAAAA"}}});
    for message in [put, get, plain] {
        a.say(message.clone());
        let mut expected = message;
        expected["><"] = ALL.into();
        assert_eq!(b.hear(), expected);
        assert_eq!(c.hear(), expected);
        assert_eq!(a.fence(), NOTHING);
    }
}

#[test]
fn an_id_passes_once_whoever_says_it_and_whatever_it_is() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    a.say(json!({"#": "same", "get": {"#": "mark"}}));
    assert_eq!((b.hear()["#"].clone(), c.hear()["#"].clone()), (json!("same"), json!("same")));
    a.say(json!({"#": "same", "get": {"#": "mark"}}));
    a.say(json!({"#": "same", "put": {"x": 1}}));
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
    b.say(json!({"#": "same", "x": 1}));
    assert_eq!(ids(&heard_of(&mut c, &mut b)).len(), 1, "the marker of a, and nothing else");
    assert_eq!(a.fence().len(), 1, "the marker of b, and nothing else");
}

#[test]
fn the_id_of_a_control_message_is_taken_too() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say(json!({"#": "same", "dam": "rtc"}));
    a.say(json!({"#": "same", "x": 1}));
    a.say(json!({"#": "other", "x": 1}));
    assert_eq!(ids(&heard_of(&mut b, &mut a)), ["other"]);
}

#[test]
fn a_hash_deduplicates_answers_only() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say(json!({"#": "p1", "##": 7, "put": {"x": 1}}));
    a.say(json!({"#": "p2", "##": 7, "put": {"x": 1}}));
    a.say(json!({"#": "m1", "##": 7}));
    a.say(json!({"#": "m2", "##": 7}));
    assert_eq!(ids(&heard_of(&mut b, &mut a)), ["p1", "p2", "m1", "m2"]);
}

#[test]
fn peers_named_in_the_skip_list_are_skipped() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    a.say(json!({"#": "m1", "x": 1, "><": "BBBBBBBBB"}));
    assert_eq!(c.hear(), json!({"#": "m1", "x": 1, "><": ALL}));
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
    a.say(json!({"#": "m2", "><": "XXXXXXXXX,CCCCCCCCC,BBBBBBBBB"}));
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn names_in_the_skip_list_are_whole_names() {
    let (_relay, [mut a, mut b, _c]) = trio();
    for (id, skip) in [
        ("m1", " BBBBBBBBB"),
        ("m2", "BBBBBBBB"),
        ("m3", "BBBBBBBBBB"),
        ("m4", "bbbbbbbbb"),
        ("m5", ""),
    ] {
        a.say(json!({"#": id, "><": skip}));
    }
    assert_eq!(ids(&heard_of(&mut b, &mut a)), ["m1", "m2", "m3", "m4", "m5"]);
}

#[test]
fn the_skip_list_is_read_for_99_characters() {
    let (_relay, [mut a, mut b, _c]) = trio();
    let list = |padding: usize| format!("{},BBBBBBBBB", "x".repeat(padding));
    a.say(json!({"#": "fits", "><": list(89)}));
    a.say(json!({"#": "is cut", "><": list(90)}));
    assert_eq!(ids(&heard_of(&mut b, &mut a)), ["is cut"]);
}

#[test]
fn a_skip_list_that_is_no_text_is_ignored() {
    let (_relay, [mut a, mut b, _c]) = trio();
    for (id, skip) in [
        ("m1", json!(["BBBBBBBBB"])),
        ("m2", json!({"BBBBBBBBB": 1})),
        ("m3", json!(5)),
        ("m4", json!(null)),
    ] {
        a.say(json!({"#": id, "><": skip}));
        assert_eq!(b.hear(), json!({"#": id, "><": ALL}));
    }
}

#[test]
fn a_peer_is_skipped_by_its_internal_name_too() {
    let (relay, [mut a, mut b, mut c]) = trio();
    let mut late = Peer::connect(&relay);
    late.hear();
    a.say(json!({"#": "m1"}));
    assert_eq!(late.hear()["#"], "m1");
    let skip = b.hear()["><"].as_str().expect("text").to_owned();
    let internal = skip
        .strip_prefix(ALL)
        .and_then(|rest| rest.strip_prefix(','))
        .expect("a fourth name")
        .to_owned();
    c.hear();

    late.say(json!({"dam": "?", "pid": "DDDDDDDDD", "#": "h1"}));
    late.hear();
    a.say(json!({"#": "m2", "><": internal}));
    assert_eq!(b.hear()["><"], format!("{ALL},DDDDDDDDD"));
    a.say(json!({"#": "m3", "><": "DDDDDDDDD"}));
    assert_eq!(heard_of(&mut late, &mut a), NOTHING);
}

#[test]
fn the_skip_list_names_the_seven_oldest_peers() {
    let relay = Relay::start(&[]);
    let names: Vec<String> = (0..9).map(|i| format!("peer-{i:04}")).collect();
    let mut peers: Vec<Peer> = names.iter().map(|name| Peer::join(&relay, name)).collect();
    peers[8].say(json!({"#": "m1"}));
    for peer in &mut peers[..8] {
        assert_eq!(peer.hear(), json!({"#": "m1", "><": names[..7].join(",")}));
    }
}

#[test]
fn a_peer_that_left_is_no_longer_named() {
    let (_relay, [mut a, b, mut c]) = trio();
    a.say(json!({"#": "m1"}));
    assert_eq!(c.hear()["><"], ALL);
    b.vanish();
    wait::until("the peer that left to leave the skip list", || {
        a.say(json!({"#": unique("probe")}));
        (c.hear()["><"] == "AAAAAAAAA,CCCCCCCCC").then_some(())
    });
}

#[test]
fn with_one_peer_alone_nothing_happens() {
    let relay = Relay::start(&[]);
    let mut only = Peer::join(&relay, "AAAAAAAAA");
    only.say(json!({"#": "m1", "put": {"x": 1}}));
    assert_eq!(only.fence(), NOTHING);
    let mut second = Peer::join(&relay, "BBBBBBBBB");
    only.say(json!({"#": "m2", "put": {"x": 1}}));
    assert_eq!(second.hear()["#"], "m2", "what was said before it came is gone");
}

#[test]
fn ten_thousand_messages_keep_their_order() {
    const COUNT: usize = 10_000;
    let (_relay, [mut a, mut b, mut c]) = trio();
    let id = |at: usize| format!("m{at}");
    thread::scope(|scope| {
        scope.spawn(|| {
            for at in 0..COUNT {
                a.say(json!({"#": id(at), "put": {"n": at}}));
            }
        });
        for receiver in [&mut b, &mut c] {
            scope.spawn(move || {
                for at in 0..COUNT {
                    assert_eq!(
                        without_skip(receiver.hear()),
                        json!({"#": id(at), "put": {"n": at}})
                    );
                }
            });
        }
    });
}

#[test]
fn sources_do_not_disturb_each_other() {
    const COUNT: usize = 1000;
    let (_relay, [mut a, mut b, mut c]) = trio();
    thread::scope(|scope| {
        for source in [&mut a, &mut b] {
            scope.spawn(move || {
                for at in 0..COUNT {
                    source.say(
                        json!({"#": format!("{}{at}", source.name), "from": source.name, "at": at}),
                    );
                }
            });
        }
        let mut next = [0, 0];
        for _ in 0..2 * COUNT {
            let message = c.hear();
            let of = usize::from(message["from"] == "BBBBBBBBB");
            assert_eq!(message["at"], next[of], "{message}");
            next[of] += 1;
        }
    });
}
