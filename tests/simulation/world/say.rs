//! What clients say, and what they answer.

use std::collections::VecDeque;
use std::rc::Rc;

use super::super::link::Frame;
use super::super::shadow::{HOPS, Said};
use super::{Event, World};

const DATA: &str = r##","put":{"s":{"_":{"#":"s",">":{"age":1}},"age":1}}"##;

/// What kind of answer.
#[derive(Clone, Copy)]
pub enum AnswerKind {
    NotFound,
    Fine,
    Data,
    Hashed(u32),
}

impl World {
    /// Some client asks something, and all others hear it.
    pub fn say_plainly(&mut self) -> u32 {
        self.answers_left = 0;
        let client = self.rng.below(self.clients.len());
        let (n, id) = (self.shadow.messages.len(), self.rng.name());
        let text = format!(r##"{{"n":{n},"#":"{id}","get":{{"#":"s"}}}}"##).into_bytes();
        self.client_says(Said { client, text, id: Some(id), is_get: true, ..Said::default() });
        self.fall_silent();
        n as u32
    }

    /// Some other client answers. Returns the answer, and over how many links it had to go.
    pub fn answer_plainly(&mut self, to: u32) -> (u32, u64) {
        let asker = self.shadow.messages[to as usize].said.client;
        let client = (asker + 1 + self.rng.below(self.clients.len() - 1)) % self.clients.len();
        let (n, homes) = (self.shadow.messages.len(), &self.plan.clients);
        let hops = 2 + self.distance(homes[asker], homes[client]);
        self.answer(client, to, AnswerKind::Data);
        self.fall_silent();
        (n as u32, hops)
    }

    /// How many links lie between two relays.
    fn distance(&self, from: usize, to: usize) -> u64 {
        let mut near = vec![Vec::new(); self.plan.relays];
        for (a, b) in &self.plan.links {
            near[*a].push(*b);
            near[*b].push(*a);
        }
        let mut distances = vec![None; self.plan.relays];
        distances[from] = Some(0);
        let mut next = VecDeque::from([from]);
        while let Some(relay) = next.pop_front() {
            for other in &near[relay] {
                if distances[*other].is_none() {
                    distances[*other] = distances[relay].map(|distance| distance + 1);
                    next.push_back(*other);
                }
            }
        }
        distances[to].expect("the network is in one piece")
    }

    // Saying

    pub(super) fn say(&mut self, client: usize) {
        let n = self.shadow.messages.len();
        let id = (!self.rng.one_in(12)).then(|| self.rng.name());
        let named = id.as_ref().map(|id| format!(r##","#":"{id}""##)).unwrap_or_default();
        let mut said = Said { client, id, ..Said::default() };
        let body = match self.rng.below(5) {
            0 | 1 => {
                said.has_put = true;
                said.has_ok = self.rng.one_in(3);
                let ok = format!(r#","ok":{{"@":{HOPS},"/":1}}"#);
                format!("{DATA}{}", if said.has_ok { &ok } else { "" })
            }
            2 | 3 => {
                said.is_get = true;
                said.hash = self.rng.one_in(4).then(|| self.rng.below(3) as u32 + 1);
                let hash = said.hash.map(|hash| format!(r###","##":{hash}"###));
                format!(r##","get":{{"#":"s"}}{}"##, hash.unwrap_or_default())
            }
            _ => r#","x":["é",{"y":1}]"#.to_owned(),
        };
        let mut skip = String::new();
        if self.rng.one_in(10) {
            said.has_skip = true;
            let name = &self.clients[self.rng.below(self.clients.len())].pid;
            skip = format!(r#","><":"nobody,{name}""#);
        }
        said.text = format!(r#"{{"n":{n}{named}{body}{skip}}}"#).into_bytes();
        self.client_says(said);
        if self.rng.one_in(8) {
            let junk = ["[]", "7", "{\"dam\":\"nonsense\"}"][self.rng.below(3)];
            let link = self.clients[client].link;
            if !self.plan.has_batches || junk != "[]" {
                self.client_sends(link, Frame::control(junk.to_owned()));
            }
        }
    }

    /// A client may have something to say to a message it got.
    pub(super) fn consider_answer(&mut self, client: usize, to: u32) {
        let heard = &self.shadow.messages[to as usize];
        let is_deep = heard.depth > 2;
        if is_deep || self.answers_left == 0 || heard.id.is_none() || !self.rng.one_in(3) {
            return;
        }
        self.answers_left -= 1;
        let kind = match self.rng.below(5) {
            0 => AnswerKind::NotFound,
            1 => AnswerKind::Fine,
            2 => AnswerKind::Data,
            _ => AnswerKind::Hashed(self.rng.below(3) as u32 + 1),
        };
        if self.rng.one_in(15) {
            // A long stream of answers keeps its way open.
            for n in 0..6 {
                self.at(n * 4_500, Event::Answer { client, to, kind: AnswerKind::Data });
            }
            return;
        }
        let ms = self.rng.ms(0, 1_500);
        self.at(ms, Event::Answer { client, to, kind });
    }

    pub(super) fn answer(&mut self, client: usize, to: u32, kind: AnswerKind) {
        let Some(asked) = self.shadow.messages[to as usize].id.clone() else { return };
        let (n, id) = (self.shadow.messages.len(), self.rng.name());
        let mut said = Said { client, id: Some(id.clone()), answers: Some(to), ..Said::default() };
        let body = match kind {
            AnswerKind::NotFound => String::new(),
            AnswerKind::Fine => r#","ok":true"#.to_owned(),
            AnswerKind::Data => {
                said.has_put = true;
                DATA.to_owned()
            }
            AnswerKind::Hashed(hash) => {
                (said.has_put, said.hash) = (true, Some(hash));
                format!(r###","##":{hash}{DATA}"###)
            }
        };
        said.text = format!(r##"{{"n":{n},"#":"{id}","@":"{asked}"{body}}}"##).into_bytes();
        self.client_says(said);
    }

    fn client_says(&mut self, said: Said) {
        let link = self.clients[said.client].link;
        if !self.links[link].is_joined[0] {
            return;
        }
        self.count(if said.answers.is_some() { "answers said" } else { "messages said" });
        self.patience += self.patience_for_one();
        let parts = self.parts();
        let text = said.text.clone();
        let client = said.client;
        let message = self.shadow.say(said, &parts, self.unaware == 0);
        if self.plan.has_small_memory() {
            self.shadow.lose_memory(self.plan.clients[client]);
        }
        self.log(|_| format!("client {client} says {message}: {}", String::from_utf8_lossy(&text)));
        self.client_sends(link, Frame::single(text, Some(message)));
    }

    fn client_sends(&mut self, link: usize, frame: Rc<Frame>) {
        if self.links[link].is_joined[0] {
            self.send(link, 0, frame);
        }
    }

    /// More frames than one message can cause: twice over every link each way, and repeats.
    pub(super) fn patience_for_one(&self) -> u64 {
        8 * self.links.len() as u64 + 20
    }
}
