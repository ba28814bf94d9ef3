//! Scenarios as text, and a run of one against a relay.
//!
//! ```text
//! A B C               they connect and tell their pids: AAAAAAAAA, BBBBBBBBB, CCCCCCCCC
//! D?                  connects and tells nothing
//! A says {"#":"a"}    a text frame; $B stands for the id of what B heard last
//! A utters " {}"      a text frame, given as a JSON string
//! A sends {"#":"a"}   a binary frame
//! B leaves
//! ```
//!
//! After each line there is a barrier: whoever spoke says a marker, which all others wait for, and asks the relay who it
//! is. A relay keeps the order from one source to one receiver, so all that the line caused has been heard by then.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::Message;

use crate::normal::{self, Names};
use crate::relays::url;
use crate::support::peer::{Incoming, Peer, messages, unique};
use crate::support::wait::{self, SOON};

/// With Gun's relay a marker overtakes a batch, which is heard in turns of nine elements or fewer: so many markers it
/// takes for so long a batch.
const BATCH_BYTES_PER_MARKER: usize = 100;
const BATCH_MARKERS: std::ops::Range<usize> = 9..25;

/// What was heard by whom, line by line.
pub fn play(script: &str, port: u16) -> Vec<String> {
    let mut run = Run {
        url: url(port),
        names: Names::new(script),
        peers: BTreeMap::new(),
        last_ids: BTreeMap::new(),
        heard: BTreeMap::new(),
        transcript: Vec::new(),
    };
    for line in script.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
        run.line(line);
    }
    run.transcript
}

struct Run {
    url: String,
    names: Names,
    peers: BTreeMap<char, Seat>,
    last_ids: BTreeMap<char, String>,
    /// What was heard since the line began.
    heard: BTreeMap<char, Vec<String>>,
    transcript: Vec<String>,
}

struct Seat {
    peer: Peer,
    inbox: VecDeque<String>,
}

impl Run {
    fn line(&mut self, line: &str) {
        self.transcript.push(shortened(line));
        self.play(line);
        for (who, texts) in std::mem::take(&mut self.heard) {
            let said = texts
                .iter()
                .map(|text| format!("  {who} hears {}", shortened(&self.names.message(text))));
            self.transcript.extend(said.collect::<Vec<_>>());
        }
    }

    fn play(&mut self, line: &str) {
        let Some((who, rest)) =
            line.split_once(' ').filter(|(_, rest)| rest.starts_with(char::is_lowercase))
        else {
            return line.split(' ').for_each(|who| self.join(who));
        };
        let who = who.chars().next().expect("a name");
        match rest.split_once(' ').unwrap_or((rest, "")) {
            ("says", text) => {
                let text = self.filled_in(text);
                self.say_text(who, &text);
            }
            ("utters", text) => {
                let text: String = serde_json::from_str(text).expect("a JSON string");
                self.say_text(who, &text);
            }
            ("sends", text) => self.say(who, Message::binary(text.as_bytes().to_vec()), 1),
            ("leaves", "") => self.leave(who),
            _ => panic!("{line:?} is no line of a script"),
        }
    }

    fn join(&mut self, name: &str) {
        let who = name.chars().next().expect("a name");
        let mut peer = Peer::connect_to(&self.url);
        peer.name = who.to_string();
        self.peers.insert(who, Seat { peer, inbox: VecDeque::new() });
        let greeting = self.next(who).expect("a greeting");
        self.heard(who, &greeting);
        if !name.ends_with('?') {
            let asked = self.last_ids[&who].clone();
            let pid = name.repeat(9);
            let hello = json!({"dam": "?", "pid": pid, "@": asked, "#": unique("hello")});
            self.peer(who).say(hello);
        }
        self.barrier(who);
    }

    fn say_text(&mut self, who: char, text: &str) {
        let markers = match text.starts_with('[') {
            true => {
                (text.len() / BATCH_BYTES_PER_MARKER).clamp(BATCH_MARKERS.start, BATCH_MARKERS.end)
            }
            false => 1,
        };
        self.say(who, Message::text(text), markers);
    }

    fn say(&mut self, who: char, frame: Message, markers: usize) {
        self.peer(who).send(frame);
        for _ in 0..markers {
            self.barrier(who);
        }
    }

    fn leave(&mut self, who: char) {
        let Seat { mut peer, .. } = self.peers.remove(&who).expect("who leaves is there");
        peer.close(1000);
        peer.close_code();
        drop(peer);
        let (mut speakers, mut left) = (self.peers.keys().copied(), self.peers.len());
        let (speaker, listener) =
            (speakers.next().expect("two remain"), speakers.next().expect("two remain"));
        left = left.min(7);
        // The relay has noticed when it names one peer less.
        wait::until(format!("the relay to notice that {who} left"), || {
            let probe = unique("probe");
            self.peer(speaker).say(json!({"#": probe, "probe": 1}));
            let names = loop {
                let heard: Value =
                    serde_json::from_str(&self.next(listener).expect("a probe")).expect("JSON");
                if heard["#"] == probe.as_str() {
                    break heard["><"].as_str().map_or(1, |names| names.split(',').count());
                }
            };
            (names == left).then_some(())
        });
        self.skip_probes(speaker);
    }

    /// Those who did not wait for probes have heard them too.
    fn skip_probes(&mut self, speaker: char) {
        self.barrier(speaker);
        for texts in self.heard.values_mut() {
            texts.retain(|text| !text.contains("\"probe\":1"));
        }
    }

    fn barrier(&mut self, who: char) {
        let (marker, question) = (unique("marker"), unique("fence"));
        self.peer(who).say(json!({"#": marker, "marker": 1}));
        self.peer(who).say(json!({"dam": "?", "#": question}));
        for listener in self.peers.keys().copied().collect::<Vec<_>>() {
            if listener == who {
                self.listen(who, |message| {
                    message["dam"] == "?" && message["@"] == question.as_str()
                });
            } else {
                self.listen(listener, |message| message["#"] == marker.as_str());
            }
        }
    }

    /// Notes what a peer hears, up to a message that `is_last`, or until the relay hangs up.
    fn listen(&mut self, who: char, is_last: impl Fn(&Value) -> bool) {
        loop {
            let text = self.next(who).unwrap_or_else(|| panic!("{who} is hung up on"));
            if normal::value(&text).is_some_and(|message| is_last(&message)) {
                return;
            }
            // A marker said just before somebody came may reach it.
            if !text.contains("\"marker\":1") {
                self.heard(who, &text);
            }
        }
    }

    fn heard(&mut self, who: char, text: &str) {
        if let Some(message) = normal::value(text) {
            self.last_ids.insert(who, message["#"].as_str().unwrap_or_default().to_owned());
        }
        self.heard.entry(who).or_default().push(text.to_owned());
    }

    /// The next message; `None` when the relay hung up.
    fn next(&mut self, who: char) -> Option<String> {
        let Seat { peer, inbox } = self.peers.get_mut(&who).expect("who listens is there");
        let end = Instant::now() + SOON;
        loop {
            if let Some(text) = inbox.pop_front() {
                return Some(text);
            }
            match peer.receive_within(
                end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)),
            ) {
                Some(Incoming::Text(frame)) => inbox.extend(messages(&frame)),
                Some(Incoming::Close(_) | Incoming::Ended) => return None,
                Some(_) => {}
                None => panic!("{who} waited {SOON:?} for a message"),
            }
        }
    }

    fn peer(&mut self, who: char) -> &mut Peer {
        &mut self.peers.get_mut(&who).unwrap_or_else(|| panic!("{who} is not there")).peer
    }

    fn filled_in(&self, text: &str) -> String {
        self.last_ids
            .iter()
            .fold(text.to_owned(), |text, (who, id)| text.replace(&format!("${who}"), id))
    }
}

/// Long texts are told by their ends and their length.
fn shortened(text: &str) -> String {
    let length = text.chars().count();
    if length <= 1500 {
        return text.to_owned();
    }
    let start: String = text.chars().take(100).collect();
    let end: String = text.chars().skip(length - 100).collect();
    format!("{start} … {length} characters … {end}")
}
