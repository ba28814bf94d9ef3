//! The shadow model: what every message may and must do, kept apart from the relays.
//!
//! It knows who said what, which clients were connected then, what each relay heard and when, and
//! checks every delivery against that. It knows nothing of how a relay decides.

use std::collections::BTreeMap;
use std::rc::Rc;

use gunmetal::dam::mesh::Dropped;

use super::relay::Step;

/// A relay must remember an id for so long after it was last seen.
const REMEMBERED_MS: u64 = 9_000;

/// The hop budget clients give to a put that wants to be acknowledged.
pub const HOPS: u64 = 9;

/// What a client says.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub client: usize,
    pub text: Vec<u8>,
    /// Its `#`. None: the first relay invents one.
    pub id: Option<String>,
    /// The message it answers.
    pub answers: Option<u32>,
    pub is_get: bool,
    pub has_put: bool,
    pub has_ok: bool,
    pub hash: Option<u32>,
    /// It names peers that it need not reach.
    pub has_skip: bool,
}

/// Which part of the network each node is in, relays first.
pub type Parts = Rc<Vec<u32>>;

/// A message and what became of it.
pub struct Message {
    pub said: Said,
    /// Its `#` as the clients see it.
    pub id: Option<String>,
    /// How many answers precede it.
    pub depth: usize,
    /// The network when it was said, and the part it was said in.
    parts: Parts,
    part: u32,
    /// The network did not lose anything that could carry it.
    is_whole: bool,
    /// No relay had a reason to forget it.
    is_known: bool,
    /// A relay had a reason to take it for new twice.
    may_repeat: bool,
    got: Vec<u8>,
    heard: Vec<Option<Heard>>,
    /// Over which link and way it went.
    sent: Vec<bool>,
    is_over: bool,
}

/// What a relay last heard of a message.
#[derive(Clone, Copy)]
struct Heard {
    life: u32,
    clock: u64,
}

/// See the module's head.
pub struct Shadow {
    pub messages: Vec<Message>,
    relays: usize,
    clients: usize,
    /// Links between relays come first; what is sent over others is checked where it arrives.
    relay_links: usize,
    /// What is wrong, first.
    pub failure: Option<String>,
    round_start: usize,
}

impl Shadow {
    pub fn new(relays: usize, clients: usize, relay_links: usize) -> Self {
        let (messages, failure) = (Vec::new(), None);
        Shadow { messages, relays, clients, relay_links, failure, round_start: 0 }
    }

    /// A client says something. `is_whole`: everything in the network is as it seems.
    pub fn say(&mut self, said: Said, parts: &Parts, is_whole: bool) -> u32 {
        let depth = said.answers.map_or(0, |to| self.messages[to as usize].depth + 1);
        self.messages.push(Message {
            id: said.id.clone(),
            depth,
            parts: parts.clone(),
            part: parts[self.relays + said.client],
            is_whole,
            is_known: is_whole,
            may_repeat: false,
            got: vec![0; self.clients],
            heard: vec![None; self.relays],
            sent: vec![false; self.relay_links * 2],
            is_over: false,
            said,
        });
        self.messages.len() as u32 - 1
    }

    /// Something that could carry messages is lost at `node`.
    pub fn lose_link(&mut self, node: usize) {
        for message in self.under_way(node) {
            message.is_whole = false;
            message.is_known = false;
        }
    }

    /// A relay's clock jumped: it may forget.
    pub fn lose_memory(&mut self, relay: usize) {
        for message in self.under_way(relay) {
            message.is_known = false;
        }
    }

    /// A relay may take this message for new again.
    pub fn allow_repeat(&mut self, message: u32) {
        self.messages[message as usize].may_repeat = true;
    }

    /// A message has no id before a relay gives it one.
    pub fn is_nameless(&self, message: u32) -> bool {
        self.messages[message as usize].said.id.is_none()
    }

    fn under_way(&mut self, node: usize) -> impl Iterator<Item = &mut Message> {
        self.messages[self.round_start..].iter_mut().filter(move |m| m.parts[node] == m.part)
    }

    /// A relay heard a message and decided. `life` tells its restarts apart, `forgets` says that
    /// its memory was too small for what it heard.
    pub fn relay_heard(
        &mut self,
        (relay, life): (usize, u32),
        index: u32,
        step: &Step,
        clock: u64,
        forgets: bool,
    ) {
        let message = &mut self.messages[index as usize];
        let is_duplicate =
            matches!(step, Step::Drop(Dropped::DuplicateId | Dropped::DuplicateHash));
        let known = message.heard[relay].replace(Heard { life, clock });
        let verdict = match known {
            None if !is_duplicate => Ok(()),
            None if message.said.hash.is_some() => {
                // An id that came with known content is not remembered.
                message.heard[relay] = None;
                Ok(())
            }
            None => Err("it was dropped as a duplicate when heard first".to_owned()),
            Some(_) if is_duplicate => Ok(()),
            Some(known) => {
                let age = clock.saturating_sub(known.clock);
                let may = known.life != life || age >= REMEMBERED_MS || forgets;
                let may = may || message.may_repeat && message.said.id.is_none();
                message.may_repeat = true;
                let early = format!("relay {relay} forgot it after {age} ms");
                if may { Ok(()) } else { Err(early) }
            }
        };
        let verdict = verdict.and_then(|()| match (message.said.answers, step) {
            (None, Step::Send(..) | Step::Reply(_) | Step::Itself) => {
                Err(format!("no answer, and yet {step:?}"))
            }
            (None, Step::Drop(dropped)) if !is_duplicate => Err(format!("dropped: {dropped:?}")),
            (Some(_), Step::Reply(_) | Step::Itself) => Err(format!("an answer led to {step:?}")),
            _ => Ok(()),
        });
        if let (Some(to), Step::Send(..)) = (message.said.answers, step)
            && let Some(asked) = &mut self.messages[to as usize].heard[relay]
        {
            *asked = Heard { life, clock };
        }
        self.check(index, verdict);
    }

    /// A relay sends a message over a link, from this end of it.
    pub fn relay_sent(&mut self, index: u32, link: usize, side: usize) {
        let message = &mut self.messages[index as usize];
        let Some(sent) = message.sent.get_mut(link * 2 + side) else { return };
        let again = std::mem::replace(sent, true) && !message.may_repeat;
        let again = if again { Err(format!("it went over link {link} twice")) } else { Ok(()) };
        self.check(index, again);
    }

    /// A client got a message. True for the first time.
    pub fn client_got(&mut self, client: usize, index: u32, text: &[u8]) -> bool {
        let message = &mut self.messages[index as usize];
        message.got[client] = message.got[client].saturating_add(1);
        let times = message.got[client];
        let said = &message.said;
        let asker = said.answers.map(|to| self.messages[to as usize].said.client);
        let message = &mut self.messages[index as usize];
        let verdict = match message.may_repeat {
            _ if asker.is_some_and(|asker| asker != client) => {
                Err(format!("an answer came to client {client}, who had not asked"))
            }
            false if times > 1 => Err(format!("client {client} got it {times} times")),
            false if message.said.client == client => Err("it came back to its sender".to_owned()),
            _ => message.same(text),
        };
        self.check(index, verdict);
        times == 1
    }

    /// Nothing is under way any more: everything owed must have arrived.
    pub fn quiet(&mut self) {
        for index in self.round_start..self.messages.len() {
            let verdict = match self.messages[index].said.answers {
                None => self.flood_arrived(index),
                Some(asked) => self.answer_arrived(index, asked as usize),
            };
            self.check(index as u32, verdict);
        }
        self.round_start = self.messages.len();
        for message in &mut self.messages {
            message.is_over = true;
            message.sent = Vec::new();
        }
    }

    /// How often a message reached a client, all clients together.
    pub fn arrivals(&self, index: u32) -> usize {
        self.messages[index as usize].got.iter().map(|times| usize::from(*times)).sum()
    }

    /// How many messages were owed to somebody without reserve: a check that never applies is none.
    pub fn owed(&self) -> usize {
        self.messages.iter().filter(|message| message.is_whole && message.is_known).count()
    }

    fn flood_arrived(&self, index: usize) -> Result<(), String> {
        let message = &self.messages[index];
        if !message.is_whole || message.said.has_skip {
            return Ok(());
        }
        let parts = &message.parts[self.relays..];
        let missing = (0..self.clients)
            .find(|&c| parts[c] == message.part && c != message.said.client && message.got[c] == 0);
        match missing {
            Some(client) => Err(format!("client {client} never got it")),
            None => Ok(()),
        }
    }

    fn answer_arrived(&self, index: usize, asked: usize) -> Result<(), String> {
        let (answer, question) = (&self.messages[index], &self.messages[asked]);
        let is_owed = question.is_known
            && !question.is_over
            && !question.may_repeat
            && question.parts[self.relays + answer.said.client] == question.part;
        if !is_owed || answer.may_repeat {
            return Ok(());
        }
        let asker = question.said.client;
        let got = |message: &Message| usize::from(message.got[asker]);
        let others = || {
            let to = Some(asked as u32);
            self.messages[self.round_start..].iter().filter(move |m| m.said.answers == to)
        };
        let (least, got, most) = match answer.said.hash {
            Some(hash) => {
                let all: usize = others().filter(|m| m.said.hash == Some(hash)).map(got).sum();
                let wants =
                    usize::from(!(question.said.is_get && question.said.hash == Some(hash)));
                (wants, all, wants)
            }
            None if answer.said.has_put || !question.said.is_get => (1, got(answer), 1),
            None => {
                let has_data = question.said.hash.is_some();
                let may_drop = has_data || others().any(|m| m.said.hash.is_some());
                (usize::from(!may_drop), got(answer), usize::from(!has_data))
            }
        };
        if (least..=most).contains(&got) {
            return Ok(());
        }
        Err(format!("an answer reached its asker {got} times, not {least} to {most}"))
    }

    fn check(&mut self, index: u32, verdict: Result<(), String>) {
        if let (Err(wrong), None) = (verdict, &self.failure) {
            let said = &self.messages[index as usize].said;
            let text = String::from_utf8_lossy(&said.text);
            self.failure =
                Some(format!("message {index} of client {}: {wrong}: {text}", said.client));
        }
    }

    /// Something else is wrong.
    pub fn fail(&mut self, wrong: String) {
        self.failure.get_or_insert(wrong);
    }
}

impl Message {
    /// What arrives is what was said, but for the fields a relay writes.
    fn same(&mut self, got: &[u8]) -> Result<(), String> {
        let got = std::str::from_utf8(got).map_err(|error| error.to_string())?;
        let said = std::str::from_utf8(&self.said.text).map_err(|error| error.to_string())?;
        let (mut plain, _) = cut(got, ",\"><\":\"", "\"");
        let (mut wanted, _) = cut(said, ",\"><\":\"", "\"");
        if self.said.answers.is_some() {
            (plain, wanted) = (got.to_owned(), said.to_owned());
        }
        if self.said.id.is_none() {
            let (rest, id) = cut(&plain, ",\"#\":\"", "\"");
            plain = rest;
            let id = id.ok_or_else(|| format!("no id was given to it: {got}"))?;
            let known = self.id.get_or_insert_with(|| id.clone());
            if *known != id && !self.may_repeat {
                return Err(format!("it has two ids, {known} and {id}"));
            }
        }
        if self.said.has_ok {
            let (rest, hops) = cut(&plain, "\"ok\":{\"@\":", ",");
            let hops: i64 = hops.and_then(|hops| hops.parse().ok()).unwrap_or(i64::MAX);
            if hops >= HOPS as i64 {
                return Err(format!("no hop was counted: {got}"));
            }
            plain = cut(&rest, "\"/\":", "}").0;
            wanted = cut(&cut(&wanted, "\"ok\":{\"@\":", ",").0, "\"/\":", "}").0;
        }
        if plain == wanted { Ok(()) } else { Err(format!("it arrived as {got}")) }
    }
}

/// The text without what stands between the last `from` and the next `to`, and that.
pub fn cut(text: &str, from: &str, to: &str) -> (String, Option<String>) {
    let Some(start) = text.rfind(from) else { return (text.to_owned(), None) };
    let inner = start + from.len();
    let Some(len) = text[inner..].find(to) else { return (text.to_owned(), None) };
    let rest = [&text[..start], &text[inner + len + to.len()..]].concat();
    (rest, Some(text[inner..inner + len].to_owned()))
}

/// How often each kind of thing happened, to see that a run is about something.
pub type Tally = BTreeMap<&'static str, u64>;
