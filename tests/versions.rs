//! Versions in the wild: Gun peers and relays of several releases, mixed, with gunmetal in the middle.
//!
//! What 0.2020.520 does differently on the wire:
//! - No message of it carries `><` or `##`, and no put of it an `ok`. Answers out of its memory carry `"ram":1`. (The
//!   later releases say `"FOO":1`.)
//! - Its ids for puts are 10 or more characters of `0-9a-z`, all others 9 as ever. It remembers ids for 27 s, not for 9.
//! - Broken JSON is not answered.
//! - A page never says that it knows nothing: the answers of its storage stay inside. A nested put and an item of a set
//!   wait for somebody who says so, and where only such pages meet at a relay that stores nothing they wait for ever. (So
//!   they do with Gun's own network layer alone for a relay.)
//! - A page that has peers acknowledges only what is no news to it (`"ok":-1`), its relay what it has stored (`"ok":1`,
//!   later `true`). A relay answers out of memory and once more from the disk.
//! - It dials every 2 s while a peer is away, where the later releases give up after the second time, and a relay of it
//!   dials when it starts, not when it first floods something.
//!
//! What 0.2020.1240 does differently: a page keeps, and if it is asked to acknowledges, every put it hears; the newest
//! only those for nodes it listens to.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use support::gun::Gun;
use support::node::{self, Version};
use support::peer::{Peer, unique};
use support::relay::{Kind, Port, Relay, Setup};
use support::tap::Tap;
use support::wait;

/// How long nothing may pass for a network to be at rest: longer than the 2 s of a redial.
const REST: Duration = Duration::from_secs(3);
/// The same where nobody redials: longer than peers take to acknowledge.
const PAUSE: Duration = Duration::from_secs(1);

/// Two peers share everything that Gun's API has for it. Returns when each has heard the other.
fn talk(alice: &mut Gun, bob: &mut Gun) {
    put_and_on(alice, bob);
    put_and_on(bob, alice);
    read_once(alice, bob);
    read_once(bob, alice);
    share_a_set(alice, bob);
    share_a_set(bob, alice);
    delete(alice, bob);
    delete(bob, alice);
    exchange_every_script(alice, bob);
    exchange_every_script(bob, alice);
    nest(alice, bob);
    nest(bob, alice);
}

fn put_and_on(writer: &mut Gun, listener: &mut Gun) {
    let room = unique("room");
    let heard = listener.on(&[&room, "turn"]);
    for turn in 0..3 {
        writer.put(&[&room, "turn"], json!(turn));
        heard.expect(json!(turn));
    }
}

fn read_once(writer: &mut Gun, reader: &mut Gun) {
    let shelf = unique("shelf");
    writer.put(&[&shelf], json!({"title": "Dune", "pages": 412}));
    assert_eq!(writer.once(&[&shelf, "pages"]).value(), Some(json!(412)));
    assert_eq!(reader.once(&[&shelf, "title"]).value(), Some(json!("Dune")));
}

fn share_a_set(first: &mut Gun, second: &mut Gun) {
    let list = unique("list");
    first.set(&[&list], json!({"name": "before"}));
    let at_second = second.map(&[&list]);
    at_second.expect(json!({"name": "before"}));
    first.set(&[&list], json!({"name": "after"}));
    at_second.expect(json!({"name": "after"}));
    let at_first = first.map(&[&list]);
    second.set(&[&list], json!({"name": "back"}));
    at_first.expect(json!({"name": "back"}));
}

/// A put inside of a node that nobody has. It waits until somebody says so.
fn nest(writer: &mut Gun, listener: &mut Gun) {
    let room = unique("room");
    let heard = listener.on(&[&room, "shelf", "title"]);
    writer.put(&[&room, "shelf"], json!({"title": "Dune"}));
    heard.expect(json!("Dune"));
}

fn delete(writer: &mut Gun, listener: &mut Gun) {
    let note = unique("note");
    let heard = listener.on(&[&note, "text"]);
    writer.put(&[&note, "text"], json!("soon gone"));
    heard.expect(json!("soon gone"));
    writer.put(&[&note, "text"], Value::Null);
    heard.expect(Value::Null);
}

fn exchange_every_script(writer: &mut Gun, listener: &mut Gun) {
    let (soul, key) = (unique("душа é☃😀 "), "ключ é☃😀");
    let text = "ünïcödé ☃ 😀👩‍👩‍👧‍👦 日本語 العربية \" \\ / \n\u{0}\u{7f}\u{2028}\u{feff}\u{ffff}";
    let heard = listener.on(&[&soul, key]);
    writer.put(&[&soul, key], json!(text));
    heard.expect(json!(text));
}

fn connected(version: Version, relay: &Relay) -> Gun {
    let mut peer = Gun::browser_of(version, &relay.url());
    peer.connected();
    peer
}

/// Hears everything that is flooded at a relay.
struct Witness {
    peer: Peer,
    heard: BTreeMap<String, Vec<Value>>,
}

impl Witness {
    fn at(relay: &Relay) -> Witness {
        Witness { peer: Peer::join(relay, &unique("witness")), heard: BTreeMap::new() }
    }

    /// How much was flooded so far.
    fn count(&mut self) -> usize {
        for message in self.peer.fence() {
            self.heard.entry(message["#"].to_string()).or_default().push(message);
        }
        self.heard.values().map(Vec::len).sum()
    }

    /// `link` is what went over the link.
    fn assert_nothing_came_twice(&self, link: &[String]) {
        if let Some((id, messages)) = self.heard.iter().find(|(_, messages)| messages.len() > 1) {
            let about: Vec<_> =
                link.iter().filter(|text| text.contains(id.trim_matches('"'))).collect();
            panic!("{} heard {messages:?}; over the link went {about:#?}", self.peer.name);
        }
    }
}

fn peers_talk_through_a_relay(first: Version, second: Version) {
    if node::ensure().is_none() {
        return;
    }
    let relay = Relay::start(&[]);
    let mut witness = Witness::at(&relay);
    let (mut alice, mut bob) = (connected(first, &relay), connected(second, &relay));
    let pages_that_never_say_no = (first, second) == (Version::V520, Version::V520);
    let _somebody_who_does = pages_that_never_say_no.then(|| connected(Version::Newest, &relay));
    talk(&mut alice, &mut bob);
    wait::until_at_rest(PAUSE, 10 * REST, "the relay (messages)", || witness.count());
    witness.assert_nothing_came_twice(&[]);
}

#[test]
fn peers_of_520_among_themselves() {
    peers_talk_through_a_relay(Version::V520, Version::V520);
}

#[test]
fn peers_of_520_and_of_1240() {
    peers_talk_through_a_relay(Version::V520, Version::V1240);
}

#[test]
fn peers_of_520_and_of_the_newest() {
    peers_talk_through_a_relay(Version::V520, Version::Newest);
}

#[test]
fn peers_of_1240_among_themselves() {
    peers_talk_through_a_relay(Version::V1240, Version::V1240);
}

#[test]
fn peers_of_1240_and_of_the_newest() {
    peers_talk_through_a_relay(Version::V1240, Version::Newest);
}

#[test]
fn peers_of_the_newest_among_themselves() {
    peers_talk_through_a_relay(Version::Newest, Version::Newest);
}

/// Which of two relays lists the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialler {
    Here,
    There,
}

/// The relay under test beside a relay of some release, with a tapped link between them.
struct Pair {
    here: Relay,
    there: Relay,
    tap: Tap,
    _ports: [Port; 2],
}

impl Pair {
    fn start(version: Version, dialler: Dialler) -> Pair {
        let ports = [Port::reserve(), Port::reserve()];
        let tap = Tap::start();
        let here = Setup::new(Kind::under_test()).port(&ports[0]);
        let there = Setup::new(Kind::Stock).version(version).port(&ports[1]);
        let (here, there) = match dialler {
            Dialler::Here => (here.peer(tap.url()), there),
            Dialler::There => (here, there.peer(tap.url())),
        };
        tap.lead_to(ports[usize::from(dialler == Dialler::Here)].number);
        let (here, there) = (here.start(), there.start());
        let pair = Pair { here, there, tap, _ports: ports };
        pair.wait_for_the_link();
        pair
    }

    /// A relay of the package may dial only when it first has something to flood.
    fn wait_for_the_link(&self) {
        let mut talkers = [Peer::connect(&self.here), Peer::connect(&self.there)];
        wait::until("the link", || {
            talkers.iter_mut().for_each(|talker| talker.say(json!({"#": unique("wakeup")})));
            self.tap.is_open().then_some(())
        });
    }
}

fn relays_talk(version: Version, dialler: Dialler) {
    if node::ensure().is_none() {
        return;
    }
    let pair = Pair::start(version, dialler);
    let mut witnesses = [Witness::at(&pair.here), Witness::at(&pair.there)];
    let others: Vec<Version> = [Version::V520, Version::V1240, Version::Newest]
        .into_iter()
        .filter(|other| *other != version)
        .collect();
    for other in &others {
        // Nobody else is there who could acknowledge: it is the other relay that stores.
        is_acknowledged(*other, &pair.here);
        is_acknowledged(*other, &pair.there);
    }
    let [mut first, mut second] = [&pair.here, &pair.there]
        .map(|relay| others.iter().map(|other| connected(*other, relay)).collect::<Vec<_>>());
    for (alice, bob) in first.iter_mut().zip(second.iter_mut().rev()) {
        talk(alice, bob);
    }
    wait::until_at_rest(REST, 10 * REST, "the relays (frames, dials, messages)", || {
        let counts = witnesses.iter_mut().map(Witness::count).collect::<Vec<_>>();
        (pair.tap.texts().len(), pair.tap.dialled(), counts)
    });
    let link = pair.tap.texts();
    let [here, there] = &witnesses;
    here.assert_nothing_came_twice(&link);
    // A relay of 520 at times floods a put to its own peers twice, under one id. Neither copy has the skip list that
    // the relay under test writes.
    if version != Version::V520 {
        there.assert_nothing_came_twice(&link);
    }
    assert!(pair.tap.is_open(), "the link is still there");
}

fn is_acknowledged(version: Version, relay: &Relay) {
    let mut putter = Gun::bare_of(version, &relay.url());
    putter.connected();
    let acks = putter.put_acknowledged(&[&unique("diary")], json!({"today": "dear diary"}));
    let ack = acks.find(|_| true).ack().expect("an ack");
    assert_eq!(ack["err"], Value::Null, "{ack}");
    assert!(!ack["ok"].is_null(), "{ack}");
}

#[test]
fn a_relay_of_520_that_is_dialled() {
    relays_talk(Version::V520, Dialler::Here);
}

#[test]
fn a_relay_of_520_that_dials() {
    relays_talk(Version::V520, Dialler::There);
}

#[test]
fn a_relay_of_1240_that_is_dialled() {
    relays_talk(Version::V1240, Dialler::Here);
}

#[test]
fn a_relay_of_1240_that_dials() {
    relays_talk(Version::V1240, Dialler::There);
}

#[test]
fn a_relay_of_the_newest_that_is_dialled() {
    relays_talk(Version::Newest, Dialler::Here);
}

#[test]
fn a_relay_of_the_newest_that_dials() {
    relays_talk(Version::Newest, Dialler::There);
}
