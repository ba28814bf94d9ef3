//! A row, and what it takes to see whether the relay answers it as it should.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::frames::{self, whole};
use super::support::peer::{Incoming, Peer, messages, unique};
use super::support::relay::{Kind, Relay};

/// How long the relay may take for one step of a row.
const LIMIT: Duration = Duration::from_secs(5);

/// One case: what a client sends, and everything that comes of it.
pub struct Row {
    number: String,
    /// Each is a write of its own.
    writes: Vec<Vec<u8>>,
    /// The payloads another peer hears, in order.
    delivered: Vec<Value>,
    answered: Answered,
    /// No relay of the package does this.
    is_ours_alone: bool,
}

/// What comes back to the sender.
#[derive(Debug, Default, PartialEq)]
struct Answered {
    pongs: Vec<Vec<u8>>,
    /// How often DAM says that it cannot read something.
    errors: usize,
    closed: Option<Code>,
}

/// The code of a close frame, if it has one.
type Code = Option<u16>;

impl Row {
    /// A row that expects silence, and that the connection stays open, until it is told otherwise.
    pub fn new(number: impl Into<String>) -> Row {
        let (number, answered) = (number.into(), Answered::default());
        Row { number, writes: Vec::new(), delivered: Vec::new(), answered, is_ours_alone: false }
    }

    /// Sends these bytes in one write.
    pub fn send(mut self, bytes: Vec<u8>) -> Row {
        self.writes.push(bytes);
        self
    }

    pub fn send_each(mut self, writes: impl IntoIterator<Item = Vec<u8>>) -> Row {
        self.writes.extend(writes);
        self
    }

    /// Sends all of it in one write.
    pub fn at_once(mut self) -> Row {
        self.writes = vec![self.writes.concat()];
        self
    }

    /// Sends all of it in writes of so many bytes.
    pub fn chopped(mut self, bytes: usize) -> Row {
        self.writes = self.writes.concat().chunks(bytes).map(<[u8]>::to_vec).collect();
        self
    }

    pub fn delivers(mut self, payload: impl Into<Value>) -> Row {
        self.delivered.push(payload.into());
        self
    }

    pub fn pongs(mut self, payload: &[u8]) -> Row {
        self.answered.pongs.push(payload.to_vec());
        self
    }

    /// Flawless WebSocket, and not JSON: DAM answers with an error.
    pub fn gets_an_error(mut self) -> Row {
        self.answered.errors += 1;
        self
    }

    pub fn closes(mut self, code: u16) -> Row {
        self.answered.closed = Some(Some(code));
        self
    }

    pub fn unlike_gun(mut self) -> Row {
        self.is_ours_alone = true;
        self
    }

    pub fn closes_without_a_code(mut self) -> Row {
        self.answered.closed = Some(None);
        self
    }
}

/// Runs the rows one after another, each on a connection of its own, and tells which fail.
pub fn failures(relay: &Relay, rows: Vec<Row>) -> Vec<String> {
    let mut room = Room::new(relay);
    let mut failures = Vec::new();
    let is_gunmetal = Kind::under_test() == Kind::Gunmetal;
    for row in rows.into_iter().filter(|row| is_gunmetal || !row.is_ours_alone) {
        if let Err(failure) = room.run(&row) {
            failures.push(format!("{}: {failure}", row.number));
            room = Room::new(relay); // What is still on its way belongs to no other row.
        }
    }
    failures
}

/// Those who see what a row does to others.
struct Room<'a> {
    relay: &'a Relay,
    /// Hears what is delivered.
    witness: Peer,
    inbox: VecDeque<String>,
    /// Speaks for a sender that cannot any more.
    herald: Peer,
}

impl Room<'_> {
    fn new(relay: &Relay) -> Room<'_> {
        let (witness, herald) = (Peer::join(relay, "witness"), Peer::join(relay, "herald"));
        Room { relay, witness, inbox: VecDeque::new(), herald }
    }

    fn run(&mut self, row: &Row) -> Result<(), String> {
        let mut sender = Peer::join(self.relay, "sender");
        for bytes in &row.writes {
            write(&mut sender, bytes);
        }
        let delivered = self.delivered(row.delivered.len())?;
        let stays_open = row.answered.closed.is_none();
        let nothing_more = unique("marker");
        let marker = json!({"#": nothing_more}).to_string();
        if stays_open {
            write(&mut sender, &whole(frames::TEXT, marker.as_bytes()));
        }
        let answered = answered(&mut sender, stays_open)?;
        if !stays_open {
            self.herald.say_text(marker);
        }
        let surplus = self.delivered_before(&nothing_more)?;
        equal("delivered", &[delivered, surplus].concat(), &row.delivered)?;
        equal("answered", &answered, &row.answered)
    }

    /// The payloads of the next messages.
    fn delivered(&mut self, count: usize) -> Result<Vec<Value>, String> {
        (0..count).map(|_| Ok(payload(&mut self.hear()?))).collect()
    }

    /// The payloads of the messages before this one.
    fn delivered_before(&mut self, marker: &str) -> Result<Vec<Value>, String> {
        let mut delivered = Vec::new();
        loop {
            let mut message = self.hear()?;
            if message["#"] == marker {
                return Ok(delivered);
            }
            delivered.push(payload(&mut message));
        }
    }

    fn hear(&mut self) -> Result<Value, String> {
        loop {
            if let Some(text) = self.inbox.pop_front() {
                return serde_json::from_str(&text).map_err(|e| format!("{e}: {text:.200}"));
            }
            match self.witness.receive_within(LIMIT) {
                Some(Incoming::Text(frame)) => self.inbox.extend(messages(&frame)),
                Some(Incoming::Ping(_)) => {}
                other => return Err(format!("nothing is delivered, {}", short(&other))),
            }
        }
    }
}

/// A message that carries this payload as it is, in a text that needs no escapes.
pub fn message(payload: &[u8]) -> Vec<u8> {
    [format!(r##"{{"#":"{}","x":""##, unique("m")).as_bytes(), payload, br#""}"#].concat()
}

fn payload(message: &mut Value) -> Value {
    message["x"].take()
}

/// A connection that was closed in the middle of a row may refuse the rest.
fn write(sender: &mut Peer, bytes: &[u8]) {
    let _refused = sender.tcp().write_all(bytes);
}

/// Everything that comes back: up to the answer to a question, or up to a close frame.
fn answered(sender: &mut Peer, stays_open: bool) -> Result<Answered, String> {
    let question = unique("question");
    if stays_open {
        let text = json!({"dam": "?", "#": question}).to_string();
        write(sender, &whole(frames::TEXT, text.as_bytes()));
    }
    let mut answered = Answered::default();
    loop {
        match sender.receive_within(LIMIT) {
            Some(Incoming::Pong(payload)) => answered.pongs.push(payload),
            Some(Incoming::Text(frame)) => {
                for text in messages(&frame) {
                    let message: Value = serde_json::from_str(&text).expect("a message is JSON");
                    match message["dam"].as_str() {
                        Some("?") if message["@"] == question => return Ok(answered),
                        Some("!") => answered.errors += 1,
                        _ => return Err(format!("an answer that nothing asked for: {text:.200}")),
                    }
                }
            }
            Some(Incoming::Close(code)) => {
                answered.closed = Some(code);
                let end = sender.receive_within(LIMIT);
                let is_end = matches!(end, Some(Incoming::Ended));
                return is_end
                    .then_some(answered)
                    .ok_or("the connection outlives its close".into());
            }
            other => return Err(format!("{} comes after {}", short(&other), short(&answered))),
        }
    }
}

fn equal<T: PartialEq + Debug>(what: &str, seen: &T, expected: &T) -> Result<(), String> {
    let differs = || format!("{what} {}, expected {}", short(seen), short(expected));
    (seen == expected).then_some(()).ok_or_else(differs)
}

fn short(value: &impl Debug) -> String {
    format!("{:.300}", format!("{value:?}"))
}
