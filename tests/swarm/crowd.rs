//! What the clients of a swarm do and check.
//!
//! Owns: who sends what to whom, and the shadow of what must arrive. Must not know: sockets.
//! Everything is a closed loop: so much is under way at most, and nobody falls behind far enough to
//! be closed for it.
#![allow(dead_code)] // Each test binary uses its part.

use std::collections::VecDeque;
use std::ops::Range;

use gunmetal::ws::frame::Opcode;

use super::client::{Crowd, Id, Said, Swarm};
use super::message::{Kind, Message, messages};

/// Sources whose messages all listeners get: each once, in order, and never their own.
pub struct Flood {
    kind: Kind,
    /// What the first source calls itself in its messages.
    first_name: usize,
    sources: Vec<Source>,
    /// By client: its place among the listeners.
    places: Vec<Option<usize>>,
    listeners: usize,
    /// Messages of each source.
    count: usize,
    /// Messages of a source that may be under way.
    window: usize,
    /// By listener and source: the message that comes next.
    next: Vec<usize>,
}

struct Source {
    client: Id,
    sent: usize,
    /// How many listeners miss each message that is under way, the oldest first.
    missing: VecDeque<usize>,
}

impl Source {
    fn taken(&self) -> usize {
        self.sent - self.missing.len()
    }
}

impl Flood {
    /// Each of `sources` sends `count` puts to `listeners`, a part of which the sources may be.
    pub fn new(sources: Range<Id>, listeners: Range<Id>, count: usize, window: usize) -> Flood {
        let source = |client| Source { client, sent: 0, missing: VecDeque::new() };
        let place = |client| listeners.contains(&client).then(|| client - listeners.start);
        Flood {
            kind: Kind::Put,
            first_name: 0,
            next: vec![0; listeners.len() * sources.len()],
            sources: sources.map(source).collect(),
            places: (0..listeners.end).map(place).collect(),
            listeners: listeners.len(),
            count,
            window: window.max(1),
        }
    }

    /// The same with messages of another kind, beside another flood.
    pub fn of(mut self, kind: Kind) -> Flood {
        self.kind = kind;
        self
    }

    /// The same under other names, so that a relay which remembers earlier floods takes them for new.
    pub fn named_from(mut self, first_name: usize) -> Flood {
        self.first_name = first_name;
        self
    }

    /// Ends a flood without end: each source sends as many as the busiest one has.
    pub fn end(&mut self) {
        self.count = self.sources.iter().map(|source| source.sent).max().unwrap_or(0);
    }

    /// Messages that all listeners have, of all sources.
    pub fn taken(&self) -> usize {
        self.sources.iter().map(Source::taken).sum()
    }

    /// The client is one of the listeners.
    pub fn listens(&self, client: Id) -> bool {
        self.place(client).is_some()
    }

    fn place(&self, client: Id) -> Option<usize> {
        self.places.get(client).copied().flatten()
    }

    fn hear_message(&mut self, place: usize, client: Id, message: Message) {
        let (from, n) = (message.source - self.first_name, message.n);
        let next = &mut self.next[place * self.sources.len() + from];
        assert_eq!(n, *next, "client {client}: lost, repeated or out of order: {message:?}");
        *next += 1;
        let source = &mut self.sources[from];
        assert_ne!(source.client, client, "client {client} got its own {message:?}");
        let taken = source.taken();
        source.missing[n - taken] -= 1;
        while source.missing.front() == Some(&0) {
            source.missing.pop_front();
        }
    }
}

impl Crowd for Flood {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        let Some(place) = self.place(client) else { return };
        let Said::Text(text) = said else { panic!("client {client} heard {said:?}") };
        for message in messages(text) {
            if message.kind == self.kind {
                self.hear_message(place, client, message);
            }
        }
    }

    fn act(&mut self, swarm: &mut Swarm) {
        for index in 0..self.sources.len() {
            let client = self.sources[index].client;
            let targets = self.listeners - usize::from(self.place(client).is_some());
            let source = &mut self.sources[index];
            while source.sent < self.count && source.missing.len() < self.window {
                let name = self.first_name + index;
                let message = Message { kind: self.kind, source: name, n: source.sent };
                swarm.send(client, &message.text());
                source.sent += 1;
                source.missing.push_back(targets);
            }
        }
    }

    fn is_done(&self) -> bool {
        self.sources.iter().all(|source| source.taken() == self.count)
    }

    fn state(&self) -> String {
        format!("{} of {} messages", self.taken(), self.count.saturating_mul(self.sources.len()))
    }
}

/// Askers whose questions reach all others, and whose answers reach nobody else. The answerer of an
/// asker is always the same, so that its answers come in order.
pub struct Questions {
    askers: Range<Id>,
    answerers: Range<Id>,
    count: usize,
    window: usize,
    sent: Vec<usize>,
    answered: Vec<usize>,
    /// By client and asker: the question that comes next.
    next: Vec<usize>,
    seen: usize,
    due: Vec<Message>,
}

impl Questions {
    /// Each of `askers` asks `count` questions of its partner among as many `answerers`.
    pub fn new(askers: Range<Id>, answerers: Range<Id>, count: usize, window: usize) -> Questions {
        assert_eq!(askers.len(), answerers.len());
        let pairs = askers.len();
        Questions {
            next: vec![0; 2 * pairs * pairs],
            askers,
            answerers,
            count,
            window: window.max(1),
            sent: vec![0; pairs],
            answered: vec![0; pairs],
            seen: 0,
            due: Vec::new(),
        }
    }

    fn pairs(&self) -> usize {
        self.sent.len()
    }

    fn hear_question(&mut self, client: Id, question: Message) {
        let asker = question.source;
        assert_ne!(client, self.askers.start + asker, "its own question");
        let is_answerer = self.answerers.contains(&client);
        let place = match is_answerer {
            true => self.pairs() + client - self.answerers.start,
            false => client - self.askers.start,
        };
        let pairs = self.pairs();
        let next = &mut self.next[place * pairs + asker];
        assert_eq!(question.n, *next, "client {client}: {question:?}");
        *next += 1;
        self.seen += 1;
        if is_answerer && place - pairs == asker {
            self.due.push(Message { kind: Kind::Answer, ..question });
        }
    }

    fn hear_answer(&mut self, client: Id, answer: Message) {
        let asker = answer.source;
        assert_eq!(client, self.askers.start + asker, "another's answer: {answer:?}");
        assert_eq!(answer.n, self.answered[asker], "client {client}: {answer:?}");
        self.answered[asker] += 1;
    }
}

impl Crowd for Questions {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        let Said::Text(text) = said else { panic!("client {client} heard {said:?}") };
        for message in messages(text) {
            match message.kind {
                Kind::Get => self.hear_question(client, message),
                Kind::Answer => self.hear_answer(client, message),
                _ => panic!("client {client} got {message:?}"),
            }
        }
    }

    fn act(&mut self, swarm: &mut Swarm) {
        for asker in 0..self.pairs() {
            let sent = &mut self.sent[asker];
            while *sent < self.count && *sent - self.answered[asker] < self.window {
                let question = Message { kind: Kind::Get, source: asker, n: *sent };
                swarm.send(self.askers.start + asker, &question.text());
                *sent += 1;
            }
        }
        for answer in self.due.drain(..) {
            swarm.send(self.answerers.start + answer.source, &answer.text());
        }
    }

    fn is_done(&self) -> bool {
        let questions = self.count * self.pairs();
        self.answered.iter().sum::<usize>() == questions
            && self.seen == questions * (2 * self.pairs() - 1)
    }

    fn state(&self) -> String {
        let answered: usize = self.answered.iter().sum();
        format!("{answered} answers of {}, {} seen", self.count * self.pairs(), self.seen)
    }
}

/// Every client pings and gets its pong, and nothing before it: all that was meant for it has come.
pub struct Fence {
    clients: Range<Id>,
    is_sent: bool,
    pongs: usize,
}

impl Fence {
    /// A fence behind what `clients` got.
    pub fn new(clients: Range<Id>) -> Fence {
        Fence { clients, is_sent: false, pongs: 0 }
    }
}

impl Crowd for Fence {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        match said {
            Said::Pong => self.pongs += 1,
            Said::Text("[]") => {}
            said => panic!("client {client} heard {said:?} after all it had to hear"),
        }
    }

    fn act(&mut self, swarm: &mut Swarm) {
        if std::mem::replace(&mut self.is_sent, true) {
            return;
        }
        for client in self.clients.clone() {
            swarm.send_frame(client, Opcode::Ping, b"");
        }
    }

    fn is_done(&self) -> bool {
        self.pongs == self.clients.len()
    }

    fn state(&self) -> String {
        format!("{} pongs of {}", self.pongs, self.clients.len())
    }
}
