//! Who are you? The first messages of a connection.

use serde_json::{Value, json};

use crate::support::peer::{Incoming, Peer};
use crate::support::relay::Relay;
use crate::{NOTHING, heard_of, trio};

#[test]
fn the_greeting_comes_first_and_alone() {
    let relay = Relay::start(&[]);
    let mut peer = Peer::connect(&relay);
    let Incoming::Text(frame) = peer.receive() else { panic!("the greeting is a text frame") };
    let greeting: Value = serde_json::from_str(&frame).expect("JSON");
    assert_eq!(greeting["dam"], "?");
    let fields = greeting.as_object().expect("an object, not a batch");
    assert_eq!(fields.len(), 3, "{greeting}");
    for random in ["pid", "#"] {
        let text = fields[random].as_str().expect("text");
        assert!(text.len() == 9 && text.bytes().all(|b| b.is_ascii_alphanumeric()), "{greeting}");
    }
    assert_eq!(peer.fence(), NOTHING);
}

#[test]
fn the_relay_has_one_pid_for_all() {
    let relay = Relay::start(&[]);
    let [first, second] = [(); 2].map(|()| Peer::connect(&relay).hear());
    assert_eq!(first["pid"], second["pid"]);
    assert_ne!(first["#"], second["#"]);
}

#[test]
fn a_question_is_answered() {
    let relay = Relay::start(&[]);
    let mut peer = Peer::connect(&relay);
    let greeting = peer.hear();
    for question in
        [json!({"dam": "?", "pid": "PPPPPPPPP", "#": "q1"}), json!({"dam": "?", "#": "q2"})]
    {
        peer.say(question.clone());
        let answer = peer.hear();
        assert_eq!(
            (&answer["dam"], &answer["pid"], &answer["@"]),
            (&json!("?"), &greeting["pid"], &question["#"])
        );
        assert!(answer["#"].is_string() && answer["#"] != greeting["#"], "{answer}");
    }
}

#[test]
fn an_answer_is_not_answered() {
    let relay = Relay::start(&[]);
    let mut peer = Peer::connect(&relay);
    let greeting = peer.hear();
    peer.say(json!({"dam": "?", "pid": "PPPPPPPPP", "@": greeting["#"], "#": "h1"}));
    peer.say(json!({"dam": "?", "pid": "PPPPPPPPP", "@": "never asked", "#": "h2"}));
    assert_eq!(peer.fence(), NOTHING);
}

#[test]
fn a_question_asked_twice_is_answered_once() {
    let relay = Relay::start(&[]);
    let mut peer = Peer::connect(&relay);
    peer.hear();
    peer.say(json!({"dam": "?", "#": "q1"}));
    peer.say(json!({"dam": "?", "#": "q1"}));
    assert_eq!(peer.hear()["@"], "q1");
    assert_eq!(peer.fence(), NOTHING);
}

#[test]
fn a_greeting_stays_between_neighbours() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say(json!({"dam": "?", "pid": "AAAAAAAAA", "#": "q1", "put": {"x": 1}}));
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn the_first_pid_stays() {
    let (_relay, [mut a, mut b, _c]) = trio();
    b.say(json!({"dam": "?", "pid": "OTHERNAME", "#": "q1"}));
    b.fence();
    a.say(json!({"#": "m1", "><": "OTHERNAME"}));
    assert_eq!(b.hear()["#"], "m1");
    a.say(json!({"#": "m2", "><": "BBBBBBBBB"}));
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn a_peer_that_never_answers_is_served() {
    let (relay, [mut a, mut b, _c]) = trio();
    let mut silent = Peer::connect(&relay);
    silent.hear();
    a.say(json!({"#": "m1", "x": 1}));
    assert_eq!(silent.hear()["#"], "m1");
    silent.say(json!({"#": "m2", "x": 2}));
    assert_eq!((b.hear()["#"].clone(), b.hear()["#"].clone()), (json!("m1"), json!("m2")));
}
