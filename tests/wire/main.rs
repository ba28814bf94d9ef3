//! The wire, byte by byte and message by message: raw WebSocket peers against one relay.
//!
//! What the reference does is the measure; where gunmetal differs on purpose a test asks for gunmetal by name.

#[path = "../support/mod.rs"]
mod support;

mod acks;
mod edits;
mod flood;
mod greeting;
mod hearing;
mod http;
mod life;
mod limits;
mod websocket;

use serde_json::{Value, json};

use support::peer::{Peer, unique};
use support::relay::Relay;

/// A relay with three named peers, in the order in which they came.
fn trio() -> (Relay, [Peer; 3]) {
    trio_with(&[])
}

fn trio_with(flags: &[&str]) -> (Relay, [Peer; 3]) {
    let relay = Relay::start(flags);
    let peers = ["AAAAAAAAA", "BBBBBBBBB", "CCCCCCCCC"].map(|name| Peer::join(&relay, name));
    (relay, peers)
}

/// What `receiver` heard up to now of what `source` said: up to a marker that `source` says last.
fn heard_of(receiver: &mut Peer, source: &mut Peer) -> Vec<Value> {
    let marker = unique("marker");
    source.say(json!({"#": marker, "marker": true}));
    receiver.heard_before(&marker)
}

/// The ids of messages.
fn ids(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["#"].as_str().expect("an id that is text")).collect()
}

const NOTHING: [Value; 0] = [];
