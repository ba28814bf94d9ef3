//! Links come up, carry frames, and break.

use std::rc::Rc;

use super::super::link::{Frame, Node};
use super::{Event, World};

impl World {
    // Links

    pub(super) fn dial(&mut self, link: usize) {
        let it = &mut self.links[link];
        if it.is_given_up || it.is_joined[0] || it.life > 0 && !it.is_cut {
            return;
        }
        it.open();
        let life = it.life;
        let Node::Relay(to) = it.ends[1] else { unreachable!("clients are not dialled") };
        let up_ms = it.arrival(1, self.now_ms, &mut self.rng);
        self.at(up_ms - self.now_ms, Event::Connected { link, life });
        let (peer, greeting) = self.relays[to].accept(link, life);
        self.peers[link][1] = Some(peer);
        self.log(|_| format!("link {link} is dialled, relay {to} greets {peer:?}"));
        self.send(link, 1, greeting);
    }

    pub(super) fn connected(&mut self, link: usize, life: u32) {
        let it = &mut self.links[link];
        if it.life != life || it.is_cut {
            return;
        }
        it.is_joined[0] = true;
        self.parts = None;
        self.log(|_| format!("link {link} is up"));
        let (Node::Relay(relay), Some(peer)) = (self.links[link].ends[0], self.peers[link][0])
        else {
            return;
        };
        let url = self.links[link].url.clone();
        for frame in self.relays[relay].connect(peer, life, &url) {
            self.patience += self.patience_for_one();
            self.send(link, 0, frame);
        }
    }

    /// The connection breaks. What is under way is lost; the ends notice one after the other.
    pub(super) fn cut(&mut self, link: usize) {
        let it = &mut self.links[link];
        if it.life == 0 || it.is_cut {
            return;
        }
        it.is_cut = true;
        let (ends, life) = (it.ends, it.life);
        self.parts = None;
        self.count("links cut");
        self.log(|_| format!("link {link} is cut"));
        for end in ends {
            let node = self.node(end);
            self.shadow.lose_link(node);
        }
        self.unaware += 1;
        let ms = self.notice_ms();
        self.at(ms, Event::Lost { link, life });
        if let (Node::Relay(relay), Some(peer)) = (ends[1], self.peers[link][1]) {
            self.unaware += 1;
            let ms = self.notice_ms();
            let relay_life = self.relay_lives[relay];
            self.at(ms, Event::PeerLost { relay, relay_life, peer });
        }
    }

    fn notice_ms(&mut self) -> u64 {
        if self.rng.one_in(3) { self.rng.ms(100, 6_000) } else { self.rng.ms(0, 5) }
    }

    pub(super) fn lost(&mut self, link: usize, life: u32) {
        self.unaware -= 1;
        let it = &mut self.links[link];
        if it.life != life || !it.is_cut {
            return;
        }
        it.is_joined[0] = false;
        let end = it.ends[0];
        self.log(|_| format!("link {link}: the dialling side notices"));
        if let (Node::Relay(relay), Some(peer)) = (end, self.peers[link][0]) {
            self.relays[relay].leave(peer);
        }
        let ms =
            if self.rng.one_in(4) { self.rng.ms(2_000, 30_000) } else { self.rng.ms(1, 3_000) };
        self.at(ms, Event::Dial { link });
    }

    /// One end of a link has something to send; it leaves when the turn ends.
    pub(super) fn send(&mut self, link: usize, side: usize, frame: Rc<Frame>) {
        let it = &mut self.links[link];
        let life = it.life;
        it.ways[side].outbox.push(frame);
        if !self.plan.has_batches {
            return self.flush(link, life, side);
        }
        if self.links[link].ways[side].outbox.len() == 1 {
            let ms = self.rng.ms(0, 2);
            self.at(ms, Event::Flush { link, life, side });
        }
    }

    pub(super) fn flush(&mut self, link: usize, life: u32, side: usize) {
        let it = &mut self.links[link];
        if it.life != life {
            return;
        }
        let frames = std::mem::take(&mut it.ways[side].outbox);
        if !it.carries_from(side, life) {
            return;
        }
        let frame = match &frames[..] {
            [one] => one.clone(),
            more => Frame::join(more),
        };
        it.messages += frame.parts.iter().filter(|part| part.message.is_some()).count() as u64;
        let arrival_ms = it.arrival(side, self.now_ms, &mut self.rng);
        let (in_ms, to) = (arrival_ms - self.now_ms, 1 - side);
        if matches!(self.links[link].ends[to], Node::Relay(_)) {
            self.repeat(link, life, to, in_ms, &frame);
        }
        self.at(in_ms, Event::Deliver { link, life, to, frame });
    }

    /// Has a frame arrive more than once, as if it had come by other ways too.
    fn repeat(&mut self, link: usize, life: u32, to: usize, in_ms: u64, frame: &Rc<Frame>) {
        let mut again_ms = Vec::new();
        if self.plan.has_duplicates && self.rng.one_in(10) {
            again_ms.push(in_ms + self.rng.ms(0, 300));
        }
        if self.plan.has_echoes_of_old && self.rng.one_in(40) {
            again_ms.extend((1..=6).map(|n| in_ms + n * 4_900));
        }
        if again_ms.is_empty() {
            return;
        }
        self.count("frames repeated");
        let from_client = matches!(self.links[link].ends[1 - to], Node::Client(_));
        for message in frame.parts.iter().filter_map(|part| part.message) {
            if from_client && self.shadow.is_nameless(message) {
                self.shadow.allow_repeat(message);
            }
        }
        for ms in again_ms {
            self.at(ms, Event::Deliver { link, life, to, frame: frame.clone() });
        }
    }
}
