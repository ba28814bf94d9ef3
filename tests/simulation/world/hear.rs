//! What relays and clients do with a frame.

use std::rc::Rc;

use gunmetal::dam::peer::PeerId;

use super::super::link::{Frame, Node};
use super::super::relay::Step;
use super::World;

/// How much of `><` a relay reads.
const SKIP_UNITS_MAX: usize = 99;

impl World {
    // Receiving

    pub(super) fn deliver(&mut self, link: usize, life: u32, to: usize, frame: &Rc<Frame>) {
        let it = &self.links[link];
        if it.life != life || it.is_cut || !it.is_joined[to] {
            return;
        }
        if self.patience == 0 {
            return self.shadow.fail("the network does not fall silent".to_owned());
        }
        self.patience -= 1;
        self.count("frames delivered");
        match self.links[link].ends[to] {
            Node::Relay(relay) => self.relay_hears(relay, link, to, frame),
            Node::Client(client) => self.client_hears(client, link, frame),
        }
    }

    fn relay_hears(&mut self, relay: usize, link: usize, side: usize, frame: &Rc<Frame>) {
        let Some(from) = self.peers[link][side] else { return };
        self.log(|_| {
            format!("relay {relay} hears {} by link {link}", String::from_utf8_lossy(&frame.text))
        });
        let it = &mut self.relays[relay];
        if it.stalls() {
            self.shadow.lose_memory(relay);
        }
        let steps = it.turn(from, frame, self.now_ms);
        if steps.len() != frame.parts.len() {
            let (heard, routes) = (frame.parts.len(), steps.len());
            return self.shadow.fail(format!("{heard} messages heard, {routes} routes"));
        }
        if self.plan.has_small_memory() && self.step.is_multiple_of(8) {
            self.check_dedup(relay);
        }
        for ((message, text), step) in frame.messages().zip(steps) {
            self.learn_name(relay, from, text);
            if let Some(message) = message {
                let forgets = self.relays[relay].mesh.dedup.evicted_early() > 0;
                let clock = self.relays[relay].clock(self.now_ms);
                let life = self.relay_lives[relay];
                self.shadow.relay_heard((relay, life), message, &step, clock, forgets);
            }
            self.log(|_| format!("    {}", brief(&step)));
            self.take(relay, from, message, text, step);
        }
    }

    /// Does what a relay decided.
    fn take(&mut self, relay: usize, from: PeerId, message: Option<u32>, heard: &[u8], step: Step) {
        match step {
            Step::Broadcast(text, except) => {
                let skipped = skipped_names(heard);
                let frame = Frame::single(text, message);
                let ports = self.relays[relay].ports.iter();
                let to: Vec<PeerId> =
                    ports.map(|(id, _)| *id).filter(|id| !except.contains(id)).collect();
                for peer in to {
                    self.check_target(relay, from, peer, &skipped);
                    self.relay_sends(relay, peer, frame.clone());
                }
            }
            Step::Send(to, text) => {
                if to == from {
                    self.shadow.fail(format!("relay {relay} answers the answerer"));
                }
                self.relay_sends(relay, to, Frame::single(text, message));
            }
            Step::Reply(text) => self.relay_sends(relay, from, Frame::control(text)),
            Step::Drop(_) => {}
            Step::Itself => self.hang_up(relay, from),
        }
    }

    fn check_target(&mut self, relay: usize, from: PeerId, to: PeerId, skipped: &[&str]) {
        if to == from {
            self.shadow.fail(format!("relay {relay} sends a message back to its source"));
        }
        let names = &self.relays[relay].ports[&to].names;
        if let Some(name) = names.iter().find(|name| skipped.contains(&&***name)) {
            self.shadow.fail(format!("relay {relay} sends to {name}, who has the message"));
        }
    }

    fn relay_sends(&mut self, relay: usize, to: PeerId, frame: Rc<Frame>) {
        let Some(port) = self.relays[relay].ports.get_mut(&to) else { return };
        let (link, side, life) = (port.link, port.side, port.life);
        let is_down = port.peer.is_none();
        // The relay may not know yet that this connection is gone, and another one there.
        if !is_down && self.links[link].life != life {
            return;
        }
        if is_down {
            port.hold(frame.clone());
        }
        if let Some(message) = frame.parts[0].message {
            self.shadow.relay_sent(message, link, side);
        }
        match is_down {
            true => self.count("frames held"),
            false => self.send(link, side, frame),
        }
    }

    /// The link leads to the relay itself.
    fn hang_up(&mut self, relay: usize, peer: PeerId) {
        let link = self.relays[relay].ports[&peer].link;
        self.count("links to itself");
        let it = &mut self.links[link];
        it.is_given_up = true;
        it.is_cut = true;
        it.is_joined = [false; 2];
        self.parts = None;
        for peer in std::mem::take(&mut self.peers[link]).into_iter().flatten() {
            self.relays[relay].leave(peer);
            // Nothing is kept for a link that will not come back.
            self.relays[relay].ports.remove(&peer);
        }
    }

    fn learn_name(&mut self, relay: usize, from: PeerId, text: &[u8]) {
        if !text.starts_with(br#"{"dam":"?""#) {
            return;
        }
        let pid = value(text, r#""pid":""#).map(Rc::from);
        let port = self.relays[relay].ports.get_mut(&from);
        if let (Some(pid), Some(port)) = (pid, port)
            && port.names.len() == 1
        {
            port.names.push(pid);
        }
    }

    fn client_hears(&mut self, client: usize, link: usize, frame: &Rc<Frame>) {
        for (message, text) in frame.messages() {
            let Some(message) = message else {
                self.client_greets(client, link, text);
                continue;
            };
            self.log(|_| {
                format!("client {client} hears {message}: {}", String::from_utf8_lossy(text))
            });
            if self.shadow.client_got(client, message, text) {
                self.consider_answer(client, message);
            }
        }
    }

    fn client_greets(&mut self, client: usize, link: usize, text: &[u8]) {
        let it = &mut self.clients[client];
        if !it.tells_pid || value(text, r#""@":""#).is_some() {
            return;
        }
        let Some(asked) = value(text, r##""#":""##) else { return };
        it.hello_count += 1;
        let (pid, count) = (&it.pid, it.hello_count);
        let answer = format!(r##"{{"dam":"?","pid":"{pid}","@":"{asked}","#":"hi{count}{pid}"}}"##);
        self.send(link, 0, Frame::control(answer));
    }
}

/// The names a relay must read in `><`.
fn skipped_names(text: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let Some(at) = text.rfind(r#","><":""#) else { return Vec::new() };
    let list = &text[at + 7..];
    let list = &list[..list.find('"').unwrap_or(list.len()).min(SKIP_UNITS_MAX)];
    list.split(',').collect()
}

/// The text between `from` and the next quote.
fn value<'a>(text: &'a [u8], from: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(text).ok()?;
    let start = text.find(from)? + from.len();
    Some(&text[start..start + text[start..].find('"')?])
}

fn brief(step: &Step) -> String {
    match step {
        Step::Broadcast(_, except) => format!("to all but {except:?}"),
        Step::Send(to, _) => format!("to {to:?}"),
        other => format!("{other:?}"),
    }
}
