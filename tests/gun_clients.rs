//! Unchanged Gun.js peers talk through one relay: under node, and in a real browser.
//!
//! A relay stores nothing. Whatever a peer reads here comes out of the memory of another peer.

mod support;

use serde_json::{Value, json};

use support::browser::{self, Browser};
use support::gun::{Event, Gun};
use support::http::{Files, PageServer};
use support::node;
use support::peer::Peer;
use support::relay::{Kind, Port, Relay, Setup};

/// A relay and two connected Gun peers.
fn pair() -> Option<(Relay, Gun, Gun)> {
    node::ensure()?;
    let relay = Relay::start(&[]);
    let (alice, bob) = (connected(&relay), connected(&relay));
    Some((relay, alice, bob))
}

fn connected(relay: &Relay) -> Gun {
    let mut peer = Gun::browser(&relay.url());
    peer.connected();
    peer
}

#[test]
fn a_put_reaches_a_peer_that_listens() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    let heard = bob.on(&["mark"]);
    alice.put(&["mark"], json!({"name": "Mark", "age": 23}));
    heard.expect(json!({"name": "Mark", "age": 23}));
}

#[test]
fn updates_go_live_both_ways() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    let (at_alice, at_bob) = (alice.on(&["room", "bob"]), bob.on(&["room", "alice"]));
    for turn in 0..5 {
        alice.put(&["room", "alice"], json!(turn));
        at_bob.expect(json!(turn));
        bob.put(&["room", "bob"], json!(turn * 10));
        at_alice.expect(json!(turn * 10));
    }
}

#[test]
fn every_listener_hears_every_writer() {
    let Some((relay, alice, bob)) = pair() else { return };
    let mut peers = [alice, bob, connected(&relay), connected(&relay)];
    let listeners: Vec<_> = peers.iter_mut().map(|peer| peer.on(&["board"])).collect();
    for (index, peer) in peers.iter_mut().enumerate() {
        peer.put(&["board", &format!("of{index}")], json!(index));
    }
    for listener in &listeners {
        listener.expect(json!({"of0": 0, "of1": 1, "of2": 2, "of3": 3}));
    }
}

#[test]
fn a_server_with_axe_talks_through_the_relay() {
    let Some((relay, mut alice, _bob)) = pair() else { return };
    let mut server = Gun::server(&relay.url());
    server.put(&["news", "first"], json!("from the disk"));
    let at_server = server.on(&["news"]);
    server.connected();
    // AXE sends a put only to links that asked for the node before: the listener's question is that.
    let at_alice = alice.on(&["news"]);
    at_alice.expect(json!({"first": "from the disk"}));
    server.put(&["news", "second"], json!("live"));
    at_alice.expect(json!({"first": "from the disk", "second": "live"}));
    alice.put(&["news", "third"], json!("from a page"));
    at_server.expect(json!({"first": "from the disk", "second": "live", "third": "from a page"}));
}

#[test]
fn once_reads_what_another_peer_knows() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    alice.put(&["shelf"], json!({"title": "Dune", "pages": 412}));
    assert_eq!(alice.once(&["shelf", "title"]).value(), Some(json!("Dune")));

    assert_eq!(bob.once(&["shelf"]).value(), Some(json!({"title": "Dune", "pages": 412})));
    assert_eq!(bob.once(&["shelf", "pages"]).value(), Some(json!(412)));
}

#[test]
fn once_finds_nothing_where_nobody_knows_anything() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    alice.put(&["shelf", "title"], json!("Dune"));
    assert_eq!(bob.once(&["shelf", "title"]).value(), Some(json!("Dune")));
    assert_eq!(bob.once(&["shelf", "author"]).value(), None);
}

#[test]
fn a_listener_that_comes_late_gets_the_data_and_then_the_updates() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    alice.put(&["counter", "value"], json!(1));
    let heard = bob.on(&["counter", "value"]);
    heard.expect(json!(1));
    alice.put(&["counter", "value"], json!(2));
    heard.expect(json!(2));
}

#[test]
fn map_gives_every_item_of_a_set() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    alice.set(&["list"], json!({"name": "before"}));
    let heard = bob.map(&["list"]);
    heard.expect(json!({"name": "before"}));
    alice.set(&["list"], json!({"name": "after"}));
    bob.set(&["list"], json!({"name": "own"}));
    heard.expect(json!({"name": "after"}));

    let at_alice = alice.map(&["list"]);
    for name in ["before", "after", "own"] {
        at_alice.expect(json!({"name": name}));
    }
}

#[test]
fn null_deletes() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    let heard = bob.on(&["note", "text"]);
    alice.put(&["note", "text"], json!("soon gone"));
    heard.expect(json!("soon gone"));
    alice.put(&["note", "text"], Value::Null);
    heard.expect(Value::Null);
    assert_eq!(bob.once(&["note", "text"]).value(), Some(Value::Null));
}

#[test]
fn text_of_every_script_arrives_unchanged() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    let texts = [
        "ünïcödé ☃",
        "😀👩‍👩‍👧‍👦🇮🇸",
        "日本語 العربية עברית",
        "quote \" backslash \\ slash / \n\t\r\u{0}\u{1f}\u{7f}",
        "\u{2028}\u{2029}\u{feff}\u{ffff}",
        "",
    ];
    for (index, text) in texts.into_iter().enumerate() {
        let key = format!("key {index} é☃😀");
        let heard = bob.on(&["texts ☃", &key]);
        alice.put(&["texts ☃", &key], json!(text));
        heard.expect(json!(text));
    }
}

#[test]
fn half_an_emoji_arrives_as_half_an_emoji() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    for (key, text) in [
        ("high", r#""half \ud83d""#),
        ("low", r#""\ude00 half""#),
        ("swapped", r#""\ude00\ud83d""#),
    ] {
        let heard = bob.on(&["halves", key]);
        alice.put_text(&["halves", key], text);
        heard.expect_text(text);
    }
}

#[test]
fn numbers_and_booleans_keep_their_type_and_value() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    let values = [
        "0",
        "1",
        "-1.5",
        "1e-7",
        "1e+21",
        "9007199254740993",
        "5e-324",
        "1.7976931348623157e+308",
        "true",
        "false",
    ];
    for (index, value) in values.into_iter().enumerate() {
        let key = format!("key{index}");
        let heard = bob.on(&["values", &key]);
        alice.put_text(&["values", &key], value);
        let value: Value = serde_json::from_str(value).expect("JSON");
        let number = |event: &Event| {
            event.value().is_some_and(|heard| {
                heard == value || (heard.is_number() && heard.as_f64() == value.as_f64())
            })
        };
        heard.find(number);
    }
}

#[test]
fn nested_objects_become_linked_nodes() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    alice.put(
        &["company"],
        json!({"name": "Acme", "boss": {"name": "Ada", "pet": {"name": "Rex"}}}),
    );
    bob.on(&["company", "boss", "pet", "name"]).expect(json!("Rex"));
    bob.on(&["company", "boss", "name"]).expect(json!("Ada"));
    bob.on(&["company", "name"]).expect(json!("Acme"));
}

#[test]
fn references_lead_to_the_node_they_name() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    let through_the_link = bob.on(&["team", "lead", "name"]);
    alice.put(&["people", "ada"], json!({"name": "Ada"}));
    alice.link(&["team", "lead"], &["people", "ada"]);
    through_the_link.expect(json!("Ada"));
    alice.put(&["people", "ada", "name"], json!("Ada L."));
    through_the_link.expect(json!("Ada L."));
}

#[test]
fn a_put_is_acknowledged_by_a_peer_that_keeps_it() {
    let Some((relay, _alice, mut keeper)) = pair() else { return };
    // Only a storage acknowledges, and it keeps what its peer listens to. The putter's own would do it too, so the
    // putter has none. (Where nobody keeps a put its callback is never called, not even with an error.)
    let mut putter = Gun::bare(&relay.url());
    putter.connected();
    let kept = keeper.on(&["diary"]);
    let acks = putter.put_acknowledged(&["diary", "today"], json!("dear diary"));
    kept.expect(json!({"today": "dear diary"}));
    let ack = acks.find(|_| true).ack().expect("an ack");
    assert_eq!(ack["err"], Value::Null, "{ack}");
    assert!(!ack["ok"].is_null(), "{ack}");
}

#[test]
fn two_hundred_puts_of_one_turn_all_arrive() {
    let Some((_relay, mut alice, mut bob)) = pair() else { return };
    let heard = bob.on(&["many"]);
    alice.puts(&["many"], 200);
    let all: serde_json::Map<String, Value> =
        (0..200).map(|i| (format!("key{i}"), json!(i))).collect();
    heard.expect(Value::Object(all));
}

#[test]
fn a_large_text_arrives_live_and_on_request() {
    let Some((relay, mut alice, mut bob)) = pair() else { return };
    let text: String = (0..100 * 1024 / 8).map(|i| format!("{i:08}")).collect();
    let heard = bob.on(&["file"]);
    alice.put(&["file"], json!({"text": text, "name": "numbers"}));
    heard.expect(json!({"text": text, "name": "numbers"}));
    assert_eq!(connected(&relay).once(&["file", "text"]).value(), Some(json!(text)));
}

#[test]
fn a_node_of_many_keys_is_read_whole() {
    let Some((relay, mut alice, mut bob)) = pair() else { return };
    let node: serde_json::Map<String, Value> =
        (0..500).map(|i| (format!("field{i}"), json!(format!("value {i}")))).collect();
    let heard = bob.on(&["wide"]);
    alice.put(&["wide"], Value::Object(node.clone()));
    heard.expect(Value::Object(node.clone()));
    // An answer of this size comes in pieces, all of them routed to the asker.
    connected(&relay).on(&["wide"]).expect(Value::Object(node));
}

#[test]
fn peers_come_back_after_a_restart_and_ask_again() {
    if node::ensure().is_none() {
        return;
    }
    let port = Port::reserve();
    let mut relay = Setup::new(Kind::under_test()).port(&port).start();
    let (mut alice, mut bob) = (connected(&relay), connected(&relay));
    let heard = bob.on(&["log", "line"]);
    alice.put(&["log", "line"], json!("before"));
    heard.expect(json!("before"));

    // Gun dials once, 2 s after it lost its relay, and never again if that fails: the relay has to be back by then.
    relay.restart();
    let mut witness = Peer::join(&relay, "WITNESS00");
    wait_for_question(&mut witness, "log");
    alice.connected();
    bob.connected();
    alice.put(&["log", "line"], json!("after"));
    heard.expect(json!("after"));
    bob.put(&["log", "line"], json!("and back"));
    alice.on(&["log", "line"]).expect(json!("and back"));
}

fn wait_for_question(witness: &mut Peer, soul: &str) {
    while witness.hear()["get"]["#"] != soul {}
}

#[test]
fn a_page_in_a_browser_and_a_node_peer_exchange_puts() {
    let Some(node) = node::ensure() else { return };
    let Some(chromium) = browser::find() else { return };
    let relay = Relay::start(&[]);
    let mut peer = connected(&relay);
    peer.put(&["shelf", "book"], json!("Dune"));
    let from_the_page = peer.on(&["room", "page"]);

    let page = include_str!("node/page.html").to_owned();
    let server = PageServer::start(Files::from([
        ("/", ("text/html; charset=utf-8", page)),
        ("/gun.js", ("text/javascript", node.gun_js())),
    ]));
    let _browser = Browser::open(
        chromium,
        &format!("http://127.0.0.1:{}/?relay={}", server.port, relay.url()),
    );

    from_the_page.expect(json!("the page says hello 😀"));
    assert_eq!(server.reported("read"), json!("Dune"), "the page reads what the node peer knows");
    peer.put(&["room", "node"], json!("node says hello 😀"));
    assert_eq!(server.reported("heard"), json!("node says hello 😀"));
    assert_eq!(server.all().iter().find(|report| report.get("error").is_some()), None);
}
