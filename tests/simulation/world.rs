//! The network of a run: relays, clients, links, virtual time, and what goes wrong.
//!
//! Everything happens in the order of (time, sequence) out of one queue, and every choice comes
//! out of one generator, so that a seed is a run.

mod hear;
mod links;
mod say;
mod trouble;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use gunmetal::dam::peer::PeerId;

use self::say::AnswerKind;
use super::link::{Frame, Link, Node};
use super::plan::{Plan, Round};
use super::relay::{Fault, Relay};
use super::rng::Rng;
use super::shadow::{Parts, Shadow, Tally};

/// Answers in one round, so that answers to answers come to an end.
const ANSWERS_MAX: usize = 25;

/// A simple Gun peer.
struct Client {
    pid: Rc<str>,
    link: usize,
    /// Some do not say who they are.
    tells_pid: bool,
    hello_count: u32,
}

enum Event {
    Deliver {
        link: usize,
        life: u32,
        to: usize,
        frame: Rc<Frame>,
    },
    Flush {
        link: usize,
        life: u32,
        side: usize,
    },
    Dial {
        link: usize,
    },
    /// The dialling side learns that the connection is there.
    Connected {
        link: usize,
        life: u32,
    },
    /// The dialling side learns that the connection is gone.
    Lost {
        link: usize,
        life: u32,
    },
    /// A relay learns that a peer which dialled it is gone.
    PeerLost {
        relay: usize,
        relay_life: u32,
        peer: PeerId,
    },
    Say {
        client: usize,
    },
    Answer {
        client: usize,
        to: u32,
        kind: AnswerKind,
    },
    Trouble,
}

/// An event and when it happens; the earliest is the greatest.
struct Due(Reverse<(u64, u64)>, Event);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// See the module's head.
pub struct World {
    pub plan: Plan,
    fault: Fault,
    rng: Rng,
    pub now_ms: u64,
    /// Events so far: where in its run a seed failed.
    pub step: u64,
    queue: BinaryHeap<Due>,
    sequence: u64,
    relays: Vec<Relay>,
    /// How often each relay was started.
    relay_lives: Vec<u32>,
    clients: Vec<Client>,
    pub links: Vec<Link>,
    /// The relay's name for its peer at each end of a link, in the link's current life.
    peers: Vec<[Option<PeerId>; 2]>,
    /// Ends that do not know yet that their connection is gone.
    unaware: usize,
    parts: Option<Parts>,
    pub shadow: Shadow,
    pub tally: Tally,
    /// Frames that may still arrive in this round; at none the network is not falling silent.
    patience: u64,
    answers_left: usize,
    /// Prints every event.
    pub is_loud: bool,
}

impl World {
    pub fn new(plan: Plan, fault: Fault, mut rng: Rng) -> Self {
        let relays: Vec<_> =
            (0..plan.relays).map(|_| Relay::new(plan.dedup_entries_max, fault, &mut rng)).collect();
        let mut world = World {
            fault,
            now_ms: 0,
            step: 0,
            queue: BinaryHeap::new(),
            sequence: 0,
            relay_lives: vec![0; relays.len()],
            relays,
            clients: Vec::new(),
            links: Vec::new(),
            peers: Vec::new(),
            unaware: 0,
            parts: None,
            shadow: Shadow::new(plan.relays, plan.clients.len(), plan.links.len()),
            tally: Tally::new(),
            patience: 0,
            answers_left: 0,
            is_loud: false,
            plan,
            rng,
        };
        world.build();
        world
    }

    fn build(&mut self) {
        for (from, to) in self.plan.links.clone() {
            self.add_link(Node::Relay(from), to);
        }
        for (client, relay) in self.plan.clients.clone().into_iter().enumerate() {
            let link = self.links.len();
            let pid = self.rng.name().into();
            let tells_pid = !self.rng.one_in(6);
            self.clients.push(Client { pid, link, tells_pid, hello_count: 0 });
            self.add_link(Node::Client(client), relay);
        }
    }

    fn add_link(&mut self, from: Node, to: usize) {
        let most = self.plan.delay_ms_max;
        let least = self.rng.ms(0, most / 2);
        let url = format!("wss://relay-{to}.example.org/gun").into();
        let link = self.links.len();
        self.links.push(Link::new([from, Node::Relay(to)], url, (least, most)));
        let peer = match from {
            Node::Relay(relay) => Some(self.relays[relay].expect(link)),
            Node::Client(_) => None,
        };
        self.peers.push([peer, None]);
    }

    /// Everyone dials; relays first, as they are there when clients come.
    pub fn connect(&mut self) {
        for link in 0..self.links.len() {
            let is_client = matches!(self.links[link].ends[0], Node::Client(_));
            let ms = if is_client { self.rng.ms(1_000, 1_500) } else { self.rng.ms(0, 500) };
            self.at(ms, Event::Dial { link });
        }
        self.patience = 20 * self.links.len() as u64;
        self.fall_silent();
    }

    /// Input and trouble, then silence.
    pub fn round(&mut self, round: Round) {
        self.now_ms += round.idle_ms;
        for _ in 0..round.messages {
            let ms = self.rng.ms(0, round.length_ms);
            let client = self.rng.below(self.clients.len());
            self.at(ms, Event::Say { client });
        }
        for _ in 0..round.troubles {
            let ms = self.rng.ms(0, round.length_ms);
            self.at(ms, Event::Trouble);
        }
        self.answers_left = ANSWERS_MAX;
        self.patience = 100;
        self.fall_silent();
    }

    fn fall_silent(&mut self) {
        while let Some(Due(Reverse((at_ms, _)), event)) = self.queue.pop() {
            self.step += 1;
            self.now_ms = self.now_ms.max(at_ms);
            self.happen(event);
            if self.shadow.failure.is_some() {
                return;
            }
        }
        self.shadow.quiet();
        if self.plan.relays <= 16 {
            self.check_tables();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { link, life, to, frame } => self.deliver(link, life, to, &frame),
            Event::Flush { link, life, side } => self.flush(link, life, side),
            Event::Dial { link } => self.dial(link),
            Event::Connected { link, life } => self.connected(link, life),
            Event::Lost { link, life } => self.lost(link, life),
            Event::PeerLost { relay, relay_life, peer } => {
                self.unaware -= 1;
                if self.relay_lives[relay] == relay_life {
                    self.log(|_| format!("relay {relay} notices that {peer:?} is gone"));
                    self.relays[relay].leave(peer);
                }
            }
            Event::Say { client } => self.say(client),
            Event::Answer { client, to, kind } => self.answer(client, to, kind),
            Event::Trouble => self.trouble(),
        }
    }

    fn at(&mut self, in_ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Due(Reverse((self.now_ms + in_ms, self.sequence)), event));
    }

    fn log(&self, line: impl FnOnce(&Self) -> String) {
        if self.is_loud {
            println!("{:>8} ms  step {:>5}  {}", self.now_ms, self.step, line(self));
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Which part of the network every node is in.
    fn parts(&mut self) -> Parts {
        if let Some(parts) = &self.parts {
            return parts.clone();
        }
        let nodes = self.relays.len() + self.clients.len();
        let mut near = vec![Vec::new(); nodes];
        for link in self.links.iter().filter(|link| link.is_up()) {
            let [a, b] = link.ends.map(|end| self.node(end));
            near[a].push(b);
            near[b].push(a);
        }
        let mut parts = vec![u32::MAX; nodes];
        for start in 0..nodes {
            let mut found = vec![start];
            while let Some(node) = found.pop() {
                if parts[node] == u32::MAX {
                    parts[node] = start as u32;
                    found.extend(&near[node]);
                }
            }
        }
        let parts = Rc::new(parts);
        self.parts = Some(parts.clone());
        parts
    }

    fn node(&self, end: Node) -> usize {
        match end {
            Node::Relay(relay) => relay,
            Node::Client(client) => self.relays.len() + client,
        }
    }
}
