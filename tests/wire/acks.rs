//! Answers go to the asker, and to nobody else.

use serde_json::json;

use crate::support::peer::without_skip;
use crate::support::relay::Kind;
use crate::{NOTHING, heard_of, ids, trio};

#[test]
fn an_answer_goes_to_the_asker_alone() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    let questions = [
        json!({"#": "get1", "get": {"#": "mark"}}),
        json!({"#": "put1", "put": {"mark": {}}}),
        json!({"#": "plain1", "x": 1}),
    ];
    for (index, question) in questions.into_iter().enumerate() {
        a.say(question.clone());
        assert_eq!(b.hear()["#"], question["#"]);
        assert_eq!(c.hear()["#"], question["#"]);
        let answer = json!({"#": format!("k{index}"), "@": question["#"], "ok": true, "put": {"x": [1, "☃"]}, "more": null});
        b.say(answer.clone());
        let mut expected = answer;
        expected["ok"] = json!({"@": 0, "/": 3}); // because there is `put` beside it
        assert_eq!(a.hear(), expected);
        assert_eq!(heard_of(&mut c, &mut b), NOTHING);
        assert_eq!(a.fence().len(), 1, "the marker and nothing else");
    }
}

#[test]
fn an_answer_can_be_answered() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    a.say(json!({"#": "r1", "ok": {"rtc": {"id": "AAAAAAAAA"}}}));
    assert_eq!(without_skip(b.hear()), json!({"#": "r1", "ok": {"rtc": {"id": "AAAAAAAAA"}}}));
    b.say(json!({"#": "r2", "@": "r1", "ok": {"rtc": {"offer": {"sdp": "v=0"}}}}));
    assert_eq!(a.hear(), json!({"#": "r2", "@": "r1", "ok": {"rtc": {"offer": {"sdp": "v=0"}}}}));
    a.say(json!({"#": "r3", "@": "r2", "ok": {"rtc": {"answer": {"sdp": "v=0"}}}}));
    assert_eq!(b.hear(), json!({"#": "r3", "@": "r2", "ok": {"rtc": {"answer": {"sdp": "v=0"}}}}));
    assert_eq!(ids(&heard_of(&mut c, &mut a)), ["r1"]);
}

#[test]
fn every_peer_may_answer_and_more_than_once() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    a.say(json!({"#": "g1", "get": {"#": "mark"}}));
    b.hear();
    c.hear();
    for (id, peer) in [("k1", &mut b), ("k2", &mut c)] {
        peer.say(json!({"#": id, "@": "g1", "##": id, "put": {"from": id}, "%": 1}));
        assert_eq!(a.hear()["#"], id);
    }
    b.say(json!({"#": "k3", "@": "g1", "##": "k3", "put": {}}));
    assert_eq!(a.hear()["#"], "k3");
}

#[test]
fn an_answer_to_nothing_known_is_dropped() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    b.say(json!({"#": "k1", "@": "never asked", "put": {"x": 1}}));
    b.say(json!({"#": "k2", "@": "never asked", "ok": 1}));
    b.say(json!({"#": "k3", "x": "is no answer"}));
    for peer in [&mut a, &mut c] {
        assert_eq!(ids(&heard_of(peer, &mut b)).first(), Some(&"k3"));
    }
}

#[test]
fn the_same_answer_under_another_id_is_dropped() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    a.say(json!({"#": "g1", "get": {"#": "mark"}}));
    b.hear();
    c.hear();
    c.say(json!({"#": "k1", "@": "g1", "##": -354517093, "put": {"x": 1}}));
    assert_eq!(a.hear()["#"], "k1");
    b.say(json!({"#": "k2", "@": "g1", "##": -354517093, "put": {"x": 1}}));
    b.say(json!({"#": "k3", "@": "g1", "##": 99, "put": {"x": 2}}));
    // Not the content that the asker is known to have, but a second time all the same.
    b.say(json!({"#": "k4", "@": "g1", "##": 99, "put": {"x": 2}}));
    assert_eq!(ids(&heard_of(&mut a, &mut b)), ["k3"]);
}

#[test]
fn a_put_is_answered_once_with_the_same_hash() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    a.say(json!({"#": "p1", "put": {"mark": {}}}));
    b.hear();
    c.hear();
    c.say(json!({"#": "k1", "@": "p1", "##": 7, "ok": true}));
    assert_eq!(a.hear()["#"], "k1");
    b.say(json!({"#": "k2", "@": "p1", "##": 7, "ok": true}));
    b.say(json!({"#": "k3", "@": "p1", "ok": true}));
    assert_eq!(ids(&heard_of(&mut a, &mut b)), ["k3"]);
}

#[test]
fn not_found_passes_until_data_with_a_hash_came() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    a.say(json!({"#": "g1", "get": {"#": "mark"}}));
    b.hear();
    c.hear();
    b.say(json!({"#": "k1", "@": "g1"}));
    assert_eq!(a.hear(), json!({"#": "k1", "@": "g1"}));
    c.say(json!({"#": "k2", "@": "g1", "put": {"no": "hash"}}));
    assert_eq!(a.hear()["#"], "k2");
    b.say(json!({"#": "k3", "@": "g1"}));
    assert_eq!(a.hear()["#"], "k3");

    c.say(json!({"#": "k4", "@": "g1", "##": 5, "put": {"x": 1}}));
    assert_eq!(a.hear()["#"], "k4");
    b.say(json!({"#": "k5", "@": "g1"}));
    b.say(json!({"#": "k6", "@": "g1", "ok": true}));
    b.say(json!({"#": "k7", "@": "g1", "put": null}));
    b.say(json!({"#": "k8", "@": "g1", "put": {"x": 1}}));
    assert_eq!(ids(&heard_of(&mut a, &mut b)), ["k8"]);
}

#[test]
fn what_the_asker_has_is_not_sent_again() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    a.say(json!({"#": "g1", "##": 777, "get": {"#": "mark"}}));
    assert_eq!(b.hear()["##"], 777);
    c.hear();
    b.say(json!({"#": "k1", "@": "g1", "##": 777, "put": {"x": 1}}));
    b.say(json!({"#": "k2", "@": "g1"}));
    b.say(json!({"#": "k3", "@": "g1", "##": 778, "put": {"x": 2}}));
    assert_eq!(ids(&heard_of(&mut a, &mut b)), ["k3"]);
}

#[test]
fn an_answer_does_not_return_to_its_source() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say(json!({"#": "g1", "get": {"#": "mark"}}));
    assert_eq!(b.hear()["#"], "g1");
    a.say(json!({"#": "k1", "@": "g1", "put": {"x": 1}}));
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
    assert_eq!(a.fence(), NOTHING);
    b.say(json!({"#": "k2", "@": "g1", "put": {"x": 1}}));
    assert_eq!(a.hear()["#"], "k2");
}

#[test]
fn an_answer_with_a_question_in_it_is_an_answer() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    a.say(json!({"#": "g1", "get": {"#": "mark"}}));
    b.hear();
    b.say(json!({"#": "k1", "@": "g1", "get": {"#": "jane"}}));
    assert_eq!(a.hear(), json!({"#": "k1", "@": "g1", "get": {"#": "jane"}}));
    assert_eq!(ids(&heard_of(&mut c, &mut b)), ["g1"]);
}

#[test]
fn a_falsy_at_makes_no_answer() {
    let (_relay, [mut a, mut b, _c]) = trio();
    for (id, at) in [("m1", json!("")), ("m2", json!(0)), ("m3", json!(null)), ("m4", json!(false))]
    {
        a.say(json!({"#": id, "@": at}));
        assert_eq!(b.hear()["#"], id);
    }
}

#[test]
fn the_skip_list_of_an_answer_is_obeyed_and_kept() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say(json!({"#": "g1", "get": {"#": "mark"}}));
    b.hear();
    b.say(json!({"#": "k1", "@": "g1", "put": {"x": 1}, "><": "XXXXXXXXX,AAAAAAAAA"}));
    b.say(json!({"#": "k2", "@": "g1", "put": {"x": 2}, "><": "XXXXXXXXX,CCCCCCCCC"}));
    let heard = heard_of(&mut a, &mut b);
    assert_eq!(
        heard,
        [json!({"#": "k2", "@": "g1", "put": {"x": 2}, "><": "XXXXXXXXX,CCCCCCCCC"})]
    );
}

#[test]
fn an_answer_to_a_peer_that_left_leads_nowhere() {
    let (relay, [a, mut b, mut c]) = trio();
    let mut a = a;
    a.say(json!({"#": "g1", "get": {"#": "mark"}}));
    b.hear();
    c.hear();
    a.vanish();
    crate::support::wait::until("the asker to be gone", || {
        b.say(json!({"#": crate::support::peer::unique("probe")}));
        (c.hear()["><"] == "BBBBBBBBB,CCCCCCCCC").then_some(())
    });
    // Not even when a peer of that name comes back.
    let mut again = crate::support::peer::Peer::join(&relay, "AAAAAAAAA");
    b.say(json!({"#": "k1", "@": "g1", "put": {"x": 1}}));
    assert_eq!(heard_of(&mut again, &mut b), NOTHING);
    assert_eq!(ids(&c.fence()).len(), 1, "the marker and nothing else");
}

#[test]
fn the_insides_of_javascript_are_unknown_ids() {
    // With the reference some of these names end the process.
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let (_relay, [mut a, mut b, _c]) = trio();
    for name in ["constructor", "__proto__", "toString", "in", "out", "put", "undefined"] {
        a.say(json!({"#": format!("k-{name}"), "@": name, "put": {"x": 1}}));
        a.say(json!({"#": name, "x": 1}));
        assert_eq!(b.hear()["#"], name);
        b.say(json!({"#": format!("a-{name}"), "@": name, "x": 2}));
        assert_eq!(a.hear()["@"], name);
    }
    a.say(json!({"#": "m1", "><": "undefined,constructor"}));
    assert_eq!(b.hear()["#"], "m1");
}
