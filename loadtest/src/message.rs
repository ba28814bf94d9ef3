//! Messages built once: a template for each sender, patched in place for each message.
//!
//! Owns: what the messages of a run look like in each protocol, and where their fields are. Must not
//! know connections or schedules.
//!
//! The stamp is inside a value of the graph, which every relay passes on as it is, whatever it does to
//! the rest. The key of the value changes with each message, so that a relay that merges what arrives
//! close together does not merge these.

use gunmetal::ws::frame::{self, Opcode};
use serde::{Deserialize, Serialize};

use crate::scan::{Fillers, filler};
use crate::stamp::{Kind, STAMP_BYTES, Stamp, spread};

/// Gun merges what arrives within 9 ms; a sender's keys come around after this many messages.
const KEYS: u32 = 1024;
/// A client's frames are masked; any key is as much work to unmask as another.
const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];
/// What marks the identity of an answer off from that of a message with the same source and number.
const ANSWER_BIT: u32 = 1 << 31;

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Gun's, over WebSocket.
    Dam,
    /// NATS's own text protocol.
    Nats,
    /// Messages and nothing else, after one byte of the server.
    Raw,
}

/// What the senders of a run send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exchange {
    /// Data for everybody.
    Post,
    /// A question for everybody; one peer answers with data.
    Ask,
    /// Data for everybody; one peer acknowledges it.
    Ack,
}

/// What all templates of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// What carries them.
    pub protocol: Protocol,
    /// What is exchanged.
    pub exchange: Exchange,
    /// Length of a message in bytes; short ones are as long as their fields.
    pub size: usize,
    /// What makes the ids and stamps of this run its own.
    pub secret: u64,
}

/// A message of which only the changing fields are written anew.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    places: Places,
    /// Where the masked payload begins, if it is masked.
    masked_from: Option<usize>,
    secret: u64,
    source: u32,
}

#[derive(Clone, Debug, Default)]
struct Places {
    ids: Vec<usize>,
    asked_ids: Vec<usize>,
    keys: Vec<usize>,
    states: Vec<usize>,
    reply_to: Option<usize>,
    stamp: usize,
}

// Fields are spelled with characters that appear nowhere else, at their full width.
const ID: &str = "\u{1}222222222222222";
const ASKED: &str = "\u{2}222222222222222";
const KEY: &str = "\u{3}2222222";
const STATE: &str = "\u{4}222222222222.222";
const REPLY: &str = "\u{5}2222222";
const STAMP: &str = "\u{6}";

impl Style {
    /// What follows the stamps.
    pub fn fillers(&self) -> Fillers {
        let room = |text: &str| self.size.saturating_sub(text.len() + STAMP_BYTES - STAMP.len());
        let long = filler(room(&self.post_text("loadtest/0")));
        match self.exchange {
            Exchange::Post => Fillers { post: long, question: filler(0), answer: filler(0) },
            Exchange::Ack => Fillers { post: filler(0), question: long, answer: filler(0) },
            Exchange::Ask => Fillers {
                post: filler(0),
                question: filler(0),
                answer: filler(room(&self.answer_text())),
            },
        }
    }

    /// What a sender sends into a room.
    pub fn message(&self, source: u32, room: u32) -> Template {
        let fillers = self.fillers();
        match self.exchange {
            Exchange::Post => {
                self.template(&self.post_text(&soul(room)), &fillers.post, source, Kind::Post)
            }
            Exchange::Ack => {
                let text = self.post_text(&soul(room));
                self.template(&text, &fillers.question, source, Kind::Question)
            }
            Exchange::Ask => {
                let text =
                    format!(r##"{{"#":"{ID}","get":{{"#":"loadtest/q{ID}",".":"{STAMP}}}}}"##);
                self.template(&text, &fillers.question, source, Kind::Question)
            }
        }
    }

    /// What a peer answers.
    pub fn answer(&self, source: u32) -> Template {
        self.template(&self.answer_text(), &self.fillers().answer, source, Kind::Answer)
    }

    /// A question for everything in a room, which makes a relay with subscriptions send it from then on.
    pub fn subscription(&self, source: u32, room: u32) -> Vec<u8> {
        let id = id_of(source ^ ANSWER_BIT, u32::MAX - room, self.secret);
        let id = String::from_utf8_lossy(&id);
        let text = format!(r##"{{"#":"{id}","get":{{"#":"{}"}}}}"##, soul(room));
        frame::masked(Opcode::Text, &[text.as_bytes()], MASK)
    }

    /// Data that is in a room before anything is measured.
    pub fn first_data(&self, source: u32, room: u32, state_us: u64) -> Vec<u8> {
        let id = id_of(source, u32::MAX - room, self.secret);
        let id = String::from_utf8_lossy(&id);
        let (soul, state) = (soul(room), state_us / 1000);
        let text = format!(
            r##"{{"#":"{id}","put":{{"{soul}":{{"_":{{"#":"{soul}",">":{{"first":{state}}}}},"first":1}}}}}}"##
        );
        frame::masked(Opcode::Text, &[text.as_bytes()], MASK)
    }

    fn post_text(&self, soul: &str) -> String {
        format!(
            r##"{{"#":"{ID}","put":{{"{soul}":{{"_":{{"#":"{soul}",">":{{"{KEY}":{STATE}}}}},"{KEY}":"{STAMP}}}}}}}"##
        )
    }

    fn answer_text(&self) -> String {
        match self.exchange {
            Exchange::Ack => format!(r##"{{"#":"{ID}","@":"{ASKED}","ok":"{STAMP}}}"##),
            _ => format!(
                r##"{{"#":"{ID}","@":"{ASKED}","put":{{"loadtest/q{ASKED}":{{"_":{{"#":"loadtest/q{ASKED}",">":{{"v":{STATE}}}}},"v":"{STAMP}}}}}}}"##
            ),
        }
    }

    fn template(&self, text: &str, filler: &[u8], source: u32, kind: Kind) -> Template {
        let (before, after) = text.split_once(STAMP).unwrap_or((text, ""));
        let stamp = [b'^'; STAMP_BYTES];
        let payload = [before.as_bytes(), &stamp, filler, after.as_bytes()].concat();
        let bytes = match self.protocol {
            Protocol::Dam => frame::masked(Opcode::Text, &[&payload], [0; 4]),
            Protocol::Raw => payload.clone(),
            Protocol::Nats => {
                [nats_head(kind, payload.len()).as_bytes(), &payload, b"\r\n"].concat()
            }
        };
        let places = Places {
            ids: find_all(&bytes, ID),
            asked_ids: find_all(&bytes, ASKED),
            keys: find_all(&bytes, KEY),
            states: find_all(&bytes, STATE),
            reply_to: find_all(&bytes, REPLY).first().copied(),
            stamp: find_all(&bytes, "^^^^").first().copied().unwrap_or(0),
        };
        let masked_from = (self.protocol == Protocol::Dam).then_some(bytes.len() - payload.len());
        let mut template = Template { bytes, places, masked_from, secret: self.secret, source };
        template.mask();
        template
    }
}

impl Template {
    /// Length of what is sent for a message.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a message has a stamp.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The message with this stamp. `state_us` is the wall clock.
    pub fn message(&mut self, stamp: &Stamp, state_us: u64) -> &[u8] {
        let id = id_of(stamp.source, stamp.sequence, self.secret);
        self.patch(|places| &places.ids, &id);
        self.patch(|places| &places.keys, &spread(stamp.sequence % KEYS));
        self.patch(|places| &places.states, &state(state_us));
        if let Some(at) = self.places.reply_to {
            self.write(at, &spread(stamp.source));
        }
        self.write_stamp(stamp);
        &self.bytes
    }

    /// The answer to a question with this stamp: our `sequence`th.
    pub fn answer(&mut self, question: &Stamp, sequence: u32, state_us: u64) -> &[u8] {
        let id = id_of(self.source ^ ANSWER_BIT, sequence, self.secret);
        self.patch(|places| &places.ids, &id);
        let asked = id_of(question.source, question.sequence, self.secret);
        self.patch(|places| &places.asked_ids, &asked);
        self.patch(|places| &places.states, &state(state_us));
        if let Some(at) = self.places.reply_to {
            self.write(at, &spread(question.source));
        }
        self.write_stamp(&Stamp { kind: Kind::Answer, ..*question });
        &self.bytes
    }

    fn write_stamp(&mut self, stamp: &Stamp) {
        let mut bytes = [0; STAMP_BYTES];
        stamp.write(self.secret, &mut bytes);
        self.write(self.places.stamp, &bytes);
    }

    fn patch(&mut self, places: impl Fn(&Places) -> &Vec<usize>, bytes: &[u8]) {
        for index in 0..places(&self.places).len() {
            self.write(places(&self.places)[index], bytes);
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let place = &mut self.bytes[at..at + bytes.len()];
        place.copy_from_slice(bytes);
        if let Some(from) = self.masked_from {
            frame::mask(place, MASK, at - from);
        }
    }

    fn mask(&mut self) {
        if let Some(from) = self.masked_from {
            self.bytes[from - 4..from].copy_from_slice(&MASK);
            frame::mask(&mut self.bytes[from..], MASK, 0);
        }
    }
}

/// The node that a room is.
fn soul(room: u32) -> String {
    format!("loadtest/{room}")
}

fn nats_head(kind: Kind, payload_bytes: usize) -> String {
    match kind {
        Kind::Post => format!("PUB lt {payload_bytes}\r\n"),
        Kind::Question => format!("PUB lt a.{REPLY} {payload_bytes}\r\n"),
        Kind::Answer => format!("PUB a.{REPLY} {payload_bytes}\r\n"),
    }
}

/// Where a NATS client hears answers.
pub fn nats_inbox(source: u32) -> String {
    format!("a.{}", String::from_utf8_lossy(&spread(source)))
}

/// Sixteen letters: different for every message, and for every run.
fn id_of(source: u32, sequence: u32, secret: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&spread(source ^ secret as u32));
    id[8..].copy_from_slice(&spread(sequence));
    id
}

/// Milliseconds with three decimals, always 17 characters.
fn state(us: u64) -> [u8; 17] {
    let mut digits = [b'.'; 17];
    let mut rest = us;
    for place in (0..17).rev().filter(|place| *place != 13) {
        digits[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

fn find_all(bytes: &[u8], field: &str) -> Vec<usize> {
    memchr::memmem::find_iter(bytes, field.as_bytes()).collect()
}
