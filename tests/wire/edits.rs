//! What forwarding changes in a message, and what it leaves alone.

use serde_json::{Value, json};

use crate::support::peer::without_skip;
use crate::support::relay::Kind;
use crate::{NOTHING, heard_of, ids, trio};

#[test]
fn unknown_fields_and_deep_values_are_untouched() {
    let (_relay, [mut a, mut b, _c]) = trio();
    let message = json!({
        "#": "m1", "x": 1, "lot": {"s": [1, [2, [3]], {}]}, "%": 7, "nested": {"_": {"#": "kept here"}, "><": "kept"},
        "empty": [{}, [], "", null, false, 0], "ünï ☃ 😀": "\u{0}\u{1f}\"\\/\u{2028}", "length": 3, "constructor": {"prototype": 1},
    });
    a.say(message.clone());
    assert_eq!(without_skip(b.hear()), message);
}

#[test]
fn a_top_level_underscore_is_dropped() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say_text(r##"{"_":{"via":1},"#":"m1","x":{"_":2}}"##);
    a.say_text(r##"{"#":"m2","x":1,"_":[1,{"_":3}]}"##);
    a.say_text(r##"{"#":"m3","_":0,"\u005f":1,"x":1}"##);
    let heard: Vec<Value> = heard_of(&mut b, &mut a).into_iter().map(without_skip).collect();
    assert_eq!(
        heard,
        [json!({"#": "m1", "x": {"_": 2}}), json!({"#": "m2", "x": 1}), json!({"#": "m3", "x": 1})]
    );
}

#[test]
fn a_message_without_an_id_gets_one_that_all_receivers_see() {
    let (_relay, [mut a, mut b, mut c]) = trio();
    for text in [
        r#"{"x":1}"#,
        r##"{"#":"","x":1}"##,
        r##"{"x":1,"#":0}"##,
        r##"{"#":null,"x":1}"##,
        r##"{"#":false,"x":1}"##,
    ] {
        a.say_text(text);
        let (at_b, at_c) = (b.hear(), c.hear());
        assert_eq!(at_b["x"], 1, "{text}");
        let id = at_b["#"].as_str().unwrap_or_else(|| panic!("{text} came as {at_b}"));
        assert!(
            id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{text} came as {at_b}"
        );
        assert_eq!(at_b, at_c);
        // And it is remembered like any other.
        b.say(json!({"@": id, "#": format!("k-{id}")}));
        assert_eq!(a.hear()["@"], id);
    }
}

#[test]
fn numeric_ids_stay_numbers_and_are_the_same_as_text() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say_text(r##"{"#":5,"x":1}"##);
    assert_eq!(b.hear()["#"], 5);
    a.say_text(r##"{"#":"5","x":2}"##);
    a.say_text(r##"{"#":5.0,"x":3}"##);
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
    b.say_text(r##"{"#":"k1","@":5}"##);
    assert_eq!(a.hear_text(), r##"{"#":"k1","@":5}"##);
    b.say_text(r##"{"#":"k2","@":"5"}"##);
    assert_eq!(a.hear()["#"], "k2");
}

#[test]
fn keys_and_ids_are_what_their_escapes_mean() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say_text(r#"{"\u0023":"esc","x":1}"#);
    assert_eq!(b.hear()["#"], "esc");
    a.say_text(r##"{"#":"\u0065s\u0063","x":2}"##);
    a.say_text(r##"{"#":"a\/b"}"##);
    a.say_text(r##"{"#":"a/b"}"##);
    a.say_text(r##"{"#":"\ud83d\ude00"}"##);
    a.say_text(r##"{"#":"😀"}"##);
    assert_eq!(ids(&heard_of(&mut b, &mut a)), ["a/b", "😀"]);
    b.say_text(r##"{"#":"k1","\u0040":"esc"}"##);
    assert_eq!(a.hear()["@"], "esc");
    a.say_text(r#"{"d\u0061m":"hi","x":"swallowed"}"#);
    a.say_text(r##"{"#":"skipping","\u003e<":"BBBBBBBBB"}"##);
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn of_duplicate_keys_the_last_one_counts() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say_text(r##"{"#":"first","x":1,"#":"last","x":2}"##);
    assert_eq!(without_skip(b.hear()), json!({"#": "last", "x": 2}));
    a.say_text(r##"{"#":"last"}"##);
    a.say_text(r##"{"#":"first"}"##);
    assert_eq!(ids(&heard_of(&mut b, &mut a)), ["first"]);
    a.say_text(r##"{"#":"m1","><":"BBBBBBBBB","><":"XXXXXXXXX"}"##);
    assert_eq!(b.hear()["><"], "AAAAAAAAA,BBBBBBBBB,CCCCCCCCC");
    b.say_text(r##"{"#":"k1","@":"nobody","\u0040":"m1"}"##);
    assert_eq!(a.hear()["#"], "k1");
}

#[test]
fn half_an_emoji_survives_in_values_keys_and_ids() {
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say_text(r##"{"#":"m1","\ude00":"half \ud83d","put":{"x":"\ud83d\ud83d\ude00"}}"##);
    let text = b.hear_text();
    assert!(text.contains(r#""\ude00":"half \ud83d""#), "{text}");
    assert!(text.contains(r#"\ud83d\ud83d\ude00"#) || text.contains(r"\ud83d😀"), "{text}");

    // Two halves are two ids, and neither is the replacement character.
    for id in [r"\ud83d", r"\ud83e", r"\ufffd"] {
        a.say_text(format!(r##"{{"#":"{id}","x":1}}"##));
        let heard = b.hear_text();
        assert!(heard.contains(&format!(r#""{id}""#)) || heard.contains('\u{fffd}'), "{heard}");
        b.say_text(format!(r##"{{"#":"k{id}","@":"{id}"}}"##));
        let answer = a.hear_text();
        assert!(answer.contains(&format!(r#""{id}""#)) || answer.contains('\u{fffd}'), "{answer}");
    }
    a.say_text(r##"{"#":"\uD83D","x":2}"##);
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn numbers_keep_their_value() {
    let (_relay, [mut a, mut b, _c]) = trio();
    let numbers = [
        "0",
        "-0",
        "1.0",
        "1e2",
        "-1.5e-7",
        "1e21",
        "12345678901234567890",
        "0.1",
        "5e-324",
        "1.7976931348623157e308",
    ];
    a.say_text(format!(r##"{{"#":"m1","x":[{}]}}"##, numbers.join(",")));
    let heard = b.hear();
    for (index, number) in numbers.iter().enumerate() {
        assert_eq!(heard["x"][index].as_f64(), number.parse().ok(), "{number}");
    }
}

#[test]
fn a_number_beyond_all_bounds_does_not_lose_the_message() {
    let (_relay, [mut a, mut b, _c]) = trio();
    // A receiver in JavaScript reads infinity, or null where the reference was between.
    a.say_text(r##"{"#":"m1","x":1e400,"y":2}"##);
    let text = b.hear_text();
    assert!(text.contains(r#""x":1e400,"#) || text.contains(r#""x":null,"#), "{text}");
    assert!(text.contains(r#""y":2"#), "{text}");
}

#[test]
fn a_deep_nesting_survives() {
    let (_relay, [mut a, mut b, _c]) = trio();
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    a.say_text(format!(r##"{{"#":"m1","x":{deep}}}"##));
    let text = b.hear_text();
    assert!(text.contains(&deep), "{text:.200}");
}

#[test]
fn ok_beside_a_put_is_a_hop_budget() {
    let (_relay, [mut a, mut b, _c]) = trio();
    for (ok, left) in [
        (json!({"@": 9, "/": 1}), 8),
        (json!({"@": 1, "more": 1}), 0),
        (json!({}), 0),
        (json!(true), 0),
    ] {
        a.say(json!({"put": {"x": 1}, "ok": ok}));
        assert_eq!(b.hear()["ok"], json!({"@": left, "/": 3}), "{ok}");
    }
    for ok in [json!(0), json!(null), json!(false), json!("")] {
        a.say(json!({"put": {"x": 1}, "ok": ok}));
        assert_eq!(b.hear()["ok"], ok);
    }
    for put in [json!(null), json!(0), json!("")] {
        a.say(json!({"put": put, "ok": {"@": 9, "/": 1, "more": 1}}));
        assert_eq!(b.hear()["ok"], json!({"@": 9, "/": 1, "more": 1}), "beside no put");
    }
}

#[test]
fn debug_fields_are_data_like_any_other() {
    // The reference replaces them by timestamps.
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say(json!({"#": "m1", "DBG": {"a": 1}, "__proto__": {"x": 1}}));
    assert_eq!(without_skip(b.hear()), json!({"#": "m1", "DBG": {"a": 1}, "__proto__": {"x": 1}}));
}
