//! A relay as the simulation runs it: the real core with the writers' part in miniature, a clock
//! of its own, and faults to plant in it.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use gunmetal::dam::batch::Limits;
use gunmetal::dam::dedup::GENERATION_MS;
use gunmetal::dam::mesh::{Dropped, Mesh, Peer, Route, Router};
use gunmetal::dam::peer::{Name, PeerId, Peers};

use super::link::Frame;
use super::rng::Rng;

/// How often a relay looks at the age of its memory, on its own clock.
const AGEING_MS: u64 = 1_000;

/// What a dialled link keeps while it is down, in frames.
const HELD_MAX: usize = 16;

/// A fault planted into every relay of a run, to see whether the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Relays as they are.
    None,
    /// Every id is forgotten at once.
    NoMemory,
    /// A message also goes back to the peer it came from.
    Echo,
    /// An answer goes to everybody.
    FloodedAnswer,
    /// `><` is not obeyed.
    IgnoredSkip,
    /// A duplicate does not keep its id in memory.
    NoRefresh,
    /// A message is kept from the newest peer.
    Deaf,
    /// A peer that is gone stays in the list.
    GhostPeer,
    /// Some field of a forwarded message is lost.
    LostField,
}

/// What the core decided about a message, with the text to send.
#[derive(Debug)]
pub enum Step {
    Broadcast(Vec<u8>, Vec<PeerId>),
    Send(PeerId, Vec<u8>),
    Reply(String),
    Drop(Dropped),
    Itself,
}

/// A peer of a relay, as its writer has it.
pub struct Port {
    pub link: usize,
    /// The link's life this port belongs to, while it is up.
    pub life: u32,
    /// 0 where this relay dialled, else 1.
    pub side: usize,
    /// None: a dialled link that is down.
    pub peer: Option<Peer>,
    /// What waits for a dialled link that is down.
    pub held: VecDeque<Rc<Frame>>,
    /// By which the relay knows the peer, as far as the simulation can tell.
    pub names: Vec<Rc<str>>,
}

/// See the module's head.
pub struct Relay {
    pub mesh: Arc<Mesh>,
    router: Router,
    pub ports: BTreeMap<PeerId, Port>,
    fault: Fault,
    peers_made: u64,
    started_ms: u64,
    /// How far its clock is ahead of the network's.
    ahead_ms: u64,
    /// It stands still when it next hears something, for so long.
    stalls_ms: u64,
    aged_next_ms: u64,
    heard_ms: u64,
    /// For [`Fault::NoRefresh`]: when a message was new.
    new_at: BTreeMap<u32, u64>,
}

impl Relay {
    pub fn new(dedup_entries_max: usize, fault: Fault, rng: &mut Rng) -> Self {
        let mut secret = [0; 192];
        for bytes in secret.chunks_exact_mut(8) {
            bytes.copy_from_slice(&rng.next().to_le_bytes());
        }
        let mesh = Arc::new(Mesh::new(dedup_entries_max, secret, rng.next()));
        let limits = Limits { message_units_max: 1 << 20, depth_max: 64 };
        Relay {
            router: Router::new(mesh.clone(), limits, rng.next()),
            mesh,
            ports: BTreeMap::new(),
            fault,
            peers_made: 0,
            started_ms: 0,
            ahead_ms: 0,
            stalls_ms: 0,
            aged_next_ms: 0,
            heard_ms: 0,
            new_at: BTreeMap::new(),
        }
    }

    pub fn peers(&self) -> &Peers {
        &self.mesh.peers
    }

    /// A link this relay dials, which is down at first.
    pub fn expect(&mut self, link: usize) -> PeerId {
        self.add_port(link, 0)
    }

    /// The connection of a dialled link is there. Returns what to send: the first words, then
    /// what waited.
    pub fn connect(&mut self, id: PeerId, life: u32, url: &Rc<str>) -> Vec<Rc<Frame>> {
        let port = self.ports.get_mut(&id).expect("a dialled link has a port");
        let seat = self.mesh.peers.join(id, Name::Url(url));
        port.peer = Some(Peer { id, seat, is_dialled: true, pid: None });
        port.life = life;
        port.names = vec![url.clone()];
        let hi = Frame::control(self.router.first_words());
        std::iter::once(hi).chain(port.held.drain(..)).collect()
    }

    /// A peer has dialled this relay. Returns its id and the greeting.
    pub fn accept(&mut self, link: usize, life: u32) -> (PeerId, Rc<Frame>) {
        let id = self.add_port(link, 1);
        let name = self.router.random_id();
        let seat = self.mesh.peers.join(id, Name::Id(&name));
        let port = self.ports.get_mut(&id).expect("it was just added");
        port.peer = Some(Peer { id, seat, is_dialled: false, pid: None });
        port.life = life;
        port.names = vec![name.into()];
        (id, Frame::control(self.router.greeting()))
    }

    /// The connection of a peer is gone. A dialled one keeps its port.
    pub fn leave(&mut self, id: PeerId) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        if let Some(peer) = port.peer.take()
            && self.fault != Fault::GhostPeer
        {
            self.mesh.peers.leave(peer.seat);
        }
        port.names.clear();
        if port.side == 1 {
            self.ports.remove(&id);
        }
    }

    /// The process starts.
    pub fn start(&mut self, now_ms: u64) {
        self.started_ms = now_ms;
    }

    /// The machine stands still for a while: when it goes on its clock is ahead. Either nothing
    /// waited for it meanwhile, or a frame did, which it hears before it looks at the age of its
    /// memory.
    pub fn stall(&mut self, ms: u64, hears_first: bool, now_ms: u64) {
        if hears_first {
            self.stalls_ms += ms;
            return;
        }
        self.age_before(self.clock(now_ms));
        self.ahead_ms += ms;
        self.age(self.clock(now_ms));
    }

    /// It will have stood still when it hears the next frame.
    pub fn stalls(&self) -> bool {
        self.stalls_ms > 0
    }

    /// This relay's own time, since it was started.
    pub fn clock(&self, now_ms: u64) -> u64 {
        now_ms - self.started_ms + self.ahead_ms
    }

    /// One turn of its event loop, with one frame to hear. As in the real loop the frame is heard
    /// first and the memory aged afterwards, and for an empty memory nobody wakes up.
    pub fn turn(&mut self, id: PeerId, frame: &Frame, now_ms: u64) -> Vec<Step> {
        self.age_before(self.clock(now_ms));
        self.ahead_ms += std::mem::take(&mut self.stalls_ms);
        let clock = self.clock(now_ms);
        self.heard_ms = clock;
        let mut steps = self.receive(id, frame, clock);
        if self.aged_next_ms <= clock {
            self.age(clock);
        }
        self.spoil(id, &mut steps);
        steps
    }

    fn age(&mut self, clock: u64) {
        self.mesh.dedup.expire(clock);
        self.aged_next_ms = clock + AGEING_MS;
    }

    /// The turns without input since the last one.
    fn age_before(&mut self, clock: u64) {
        while self.aged_next_ms < clock && !self.sleeps() {
            self.age(self.aged_next_ms);
        }
    }

    /// Its memory is empty, so that nothing wakes it but a frame. To look takes long, and is of
    /// no use while what was heard last cannot be old.
    fn sleeps(&self) -> bool {
        self.aged_next_ms >= self.heard_ms + GENERATION_MS && self.mesh.dedup.is_empty()
    }

    fn receive(&mut self, id: PeerId, frame: &Frame, clock: u64) -> Vec<Step> {
        if self.fault == Fault::NoMemory {
            for age in 1..=3 {
                self.mesh.dedup.expire((clock + age) << 20);
            }
        }
        if self.fault == Fault::NoRefresh && self.swallows(frame, clock) {
            return vec![Step::Drop(Dropped::DuplicateId)];
        }
        let peer = self.ports.get_mut(&id).and_then(|port| port.peer.as_mut());
        let peer = peer.expect("frames come by ports that are up");
        let mut steps = Vec::new();
        self.router.receive(&frame.text, peer, &mut |route| {
            steps.push(match route {
                Route::Broadcast(message, except) => {
                    let mut text = Vec::new();
                    message.append_to(&mut text);
                    Step::Broadcast(text, except.to_vec())
                }
                Route::Peer(to, message) => {
                    let mut text = Vec::new();
                    message.append_to(&mut text);
                    Step::Send(to, text)
                }
                Route::Reply(text) => Step::Reply(text),
                Route::Drop(dropped) => Step::Drop(dropped),
                Route::Itself => Step::Itself,
            });
        });
        steps
    }

    /// For [`Fault::NoRefresh`]: keeps a duplicate from the core until the core has forgotten.
    fn swallows(&mut self, frame: &Frame, clock: u64) -> bool {
        const FORGOTTEN_MS: u64 = 20_000;
        let [part] = &frame.parts[..] else { return false };
        let Some(message) = part.message else { return false };
        let new_at = *self.new_at.entry(message).or_insert(clock);
        new_at != clock && clock < new_at + FORGOTTEN_MS
    }

    fn spoil(&mut self, from: PeerId, steps: &mut [Step]) {
        let newest = self.ports.keys().next_back().copied();
        for step in steps {
            match (self.fault, &mut *step) {
                (Fault::Echo, Step::Broadcast(_, except)) => except.retain(|id| *id != from),
                (Fault::IgnoredSkip, Step::Broadcast(_, except)) => *except = vec![from],
                (Fault::Deaf, Step::Broadcast(_, except)) => except.extend(newest),
                (Fault::FloodedAnswer, Step::Send(_, text)) => {
                    *step = Step::Broadcast(std::mem::take(text), vec![from]);
                }
                (Fault::LostField, Step::Broadcast(text, _)) => {
                    if let Some(at) = text.windows(7).position(|bytes| bytes == br#""age":1"#) {
                        text[at + 6] = b'2';
                    }
                }
                _ => {}
            }
        }
    }

    fn add_port(&mut self, link: usize, side: usize) -> PeerId {
        self.peers_made += 1;
        let id = PeerId::new(self.peers_made, 0);
        let held = VecDeque::new();
        self.ports.insert(id, Port { link, life: 0, side, peer: None, held, names: Vec::new() });
        id
    }
}

impl Port {
    /// Keeps a frame for a link that is down; the oldest goes when there are too many.
    pub fn hold(&mut self, frame: Rc<Frame>) {
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back(frame);
    }
}
