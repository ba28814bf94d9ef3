//! What is heard, what is ignored, what is an error.

use std::net::{Ipv4Addr, TcpListener};

use serde_json::{Value, json};
use tungstenite::Message;

use crate::support::peer::{Incoming, messages, unique};
use crate::support::relay::Kind;
use crate::{NOTHING, heard_of, ids, trio, trio_with};

#[test]
fn every_message_of_a_batch_is_heard() {
    let (_relay, [mut a, mut b, _c]) = trio();
    let batch: Vec<_> = (0..120).map(|i| json!({"#": format!("m{i}"), "x": i})).collect();
    a.say(json!(batch));
    for message in &batch {
        assert_eq!(b.hear()["#"], message["#"]);
    }
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn a_long_batch_is_not_overtaken_by_the_next_frame() {
    // With the reference, which hears nine messages per turn, the next frame comes after the ninth.
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let (_relay, [mut a, mut b, _c]) = trio();
    let batch: Vec<_> = (0..120).map(|i| json!({"#": format!("m{i}"), "x": i})).collect();
    a.say(json!(batch));
    assert_eq!(ids(&heard_of(&mut b, &mut a)), ids(&batch));
}

#[test]
fn the_elements_of_a_batch_that_are_no_objects() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say(json!([
        {"#": "a", "x": 1},
        null, false, 0, "", true, 7, "text",
        "{\"#\":\"b\",\"x\":2}",
        "[{\"#\":\"c\",\"x\":3},{\"#\":\"d\",\"x\":4}]",
        [{"#": "not flattened"}],
        {"#": "a", "x": "again"},
        {"#": "e", "x": 5},
    ]));
    for id in ["a", "b", "c", "d", "e"] {
        assert_eq!(b.hear()["#"], id);
    }
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
    assert_eq!(a.fence(), NOTHING);
}

#[test]
fn a_broken_text_in_a_batch_is_answered_and_its_neighbours_are_heard() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say(json!([{"#": "before"}, "{\"x\":", {"#": "after"}]));
    assert_eq!(a.hear()["err"], "DAM JSON parse error.");
    assert_eq!(a.fence(), NOTHING);
    assert_eq!(ids(&heard_of(&mut b, &mut a)), ["before", "after"]);
}

#[test]
fn the_heartbeat_is_accepted_and_not_answered() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say_text("[]");
    a.say_text("[ ]");
    assert_eq!(a.fence(), NOTHING);
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn broken_json_is_answered_in_guns_words() {
    let (_relay, [mut a, mut b, _c]) = trio();
    let broken = [
        r#"{"x":"#,
        "{",
        "[",
        r##"{"#":"lost"} behind"##,
        r##"{"#":"lost"}{"#":"lost"}"##,
        r##"{"#":"lost",}"##,
        r##"[{"#":"lost"},]"##,
        r##"[{"#":"lost"}"##,
        "{\"#\":\"lost\",\"x\":\"raw\ncontrol\"}",
        "{x:1}",
        r#"{"x":01}"#,
        r#"{"x":.5}"#,
        r#"{"x":NaN}"#,
        r#"{"x":'y'}"#,
        r#"{"x":"\q"}"#,
        r#"{"x":"\u12"}"#,
        "{\"x\":tru}",
    ];
    for text in broken {
        a.say_text(text);
        let error = a.hear();
        assert_eq!(
            (&error["dam"], &error["err"]),
            (&json!("!"), &json!("DAM JSON parse error.")),
            "after {text}"
        );
        assert!(error["#"].is_string(), "{error}");
    }
    a.say(json!({"#": "fine"}));
    assert_eq!(
        ids(&heard_of(&mut b, &mut a)),
        ["fine"],
        "nothing of the broken frames was heard, and the connection stays"
    );
}

#[test]
fn whatever_does_not_start_like_a_message_is_ignored() {
    let (_relay, [mut a, mut b, _c]) = trio();
    let ignored = [
        "",
        " ",
        " {\"#\":\"m\"}",
        "\n[{\"#\":\"m\"}]",
        "\u{feff}{\"#\":\"m\"}",
        "null",
        "7",
        "\"text\"",
        "true",
        "hello",
        "}",
    ];
    for text in ignored {
        a.say_text(text);
    }
    a.send(Message::binary(&b"{\"#\":\"m\"}"[..]));
    assert_eq!(a.fence(), NOTHING);
    a.say_text("{ \"#\" : \"spaced\"\t,\r\n\"x\" : [ 1 , 2 ] } \n");
    assert_eq!(ids(&heard_of(&mut b, &mut a)), ["spaced"]);
}

#[test]
fn an_error_heard_is_not_answered_and_not_passed_on() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say(json!({"dam": "!", "err": "DAM JSON parse error.", "#": "e1", "put": {"x": 1}}));
    assert_eq!(a.fence(), NOTHING);
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn unknown_verbs_are_swallowed_whatever_they_carry() {
    let (_relay, [mut a, mut b, _c]) = trio();
    for verb in [
        json!("hi"),
        json!("rtc"),
        json!("service"),
        json!("tag"),
        json!("no such verb"),
        json!(["x"]),
        json!({}),
        json!(5),
        json!(true),
    ] {
        a.say(json!({"dam": verb, "#": unique("d"), "put": {"x": 1}, "get": {"#": "mark"}, "@": "g1"}));
    }
    assert_eq!(a.fence(), NOTHING);
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn a_falsy_verb_is_no_verb() {
    let (_relay, [mut a, mut b, _c]) = trio();
    for (id, verb) in
        [("m1", json!("")), ("m2", json!(0)), ("m3", json!(null)), ("m4", json!(false))]
    {
        a.say(json!({"dam": verb, "#": id}));
        assert_eq!(b.hear()["#"], id);
    }
}

#[test]
fn the_insides_of_javascript_are_unknown_verbs() {
    // The reference answers them with an error, or ends.
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let (_relay, [mut a, mut b, _c]) = trio();
    for verb in ["constructor", "one", "length", "toString", "c", "d", "__proto__"] {
        a.say(json!({"dam": verb, "#": unique("d"), "put": {"x": 1}}));
    }
    assert_eq!(a.fence(), NOTHING);
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn no_stranger_makes_the_relay_dial() {
    // The reference obeys `mob`, and with AXE `opt`.
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let (mut relay, [mut a, mut b, _c]) = trio();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind any port");
    let url = format!("ws://{}/gun", listener.local_addr().expect("an address"));
    a.say(json!({"dam": "mob", "mob": 3, "peers": {&url: {}}, "#": "mob1"}));
    a.say(json!({"dam": "opt", "opt": {"peers": &url}, "#": "opt1"}));
    assert_eq!(a.fence(), NOTHING, "it neither answers nor hangs up");
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
    assert!(relay.terminate().success());
    listener.set_nonblocking(true).expect("non-blocking");
    assert!(listener.accept().is_err(), "the relay is gone, and nobody came");
}

#[test]
fn a_message_leaves_at_once_as_an_object_and_every_frame_is_one_json_value() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say(json!({"#": "alone"}));
    let Incoming::Text(frame) = b.receive() else { panic!("a text frame") };
    assert!(frame.starts_with('{'), "{frame}");

    let batch: Vec<_> =
        (0..50).map(|i| json!({"#": format!("m{i}"), "x": "y".repeat(500)})).collect();
    a.say(json!(batch));
    let mut heard = 0;
    while heard < batch.len() {
        let Incoming::Text(frame) = b.receive() else { panic!("a text frame") };
        heard += messages(&frame).len();
    }
    assert_eq!(heard, batch.len());
}

#[test]
fn a_gap_collects_what_is_said_meanwhile() {
    const COUNT: usize = 20;
    let (_relay, [mut a, mut b, _c]) = trio_with(&["--gap", "200"]);
    for at in 0..COUNT {
        a.say(json!({"#": format!("m{at}")}));
    }
    let mut frames = Vec::new();
    while frames.iter().flatten().count() < COUNT {
        let Incoming::Text(frame) = b.receive() else { panic!("a text frame") };
        frames.push(messages(&frame));
    }
    let heard: Vec<Value> =
        frames.iter().flatten().map(|text| serde_json::from_str(text).expect("JSON")).collect();
    assert_eq!(ids(&heard), (0..COUNT).map(|at| format!("m{at}")).collect::<Vec<_>>());
    assert!(frames.len() <= 5, "{} frames for {COUNT} messages", frames.len());
}
