//! A writer thread: the write side of its peers.
//!
//! Owns: the loop, what comes into the batch, and the peers' write sides. Beneath it `deliver` hands the batch out,
//! `care` has what becomes due for a peer, `drain` the end.
//! Must not know: parsing, routing, reading.
//!
//! A turn of the loop: take what the poll and the queue have, add it to the batch, encode the
//! batch once, hand it to every peer. No timer is involved: what arrives while it writes is the
//! next batch.
//!
//! Invariant: a slot of `remotes` is freed only after the batch that may refer to it is delivered.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, TryRecvError};
use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use super::bell::Bell;
use super::coalesce::Coalescer;
use super::log_throttle::FaultLog;
use super::memory::Keeper;
use super::poll;
use super::queue::{Outbound, Turn};
use super::remote::{Pen, Piece, Remote};
use super::socket::{Bridge, Socket};
use super::timers::Timers;
use crate::config::Config;
use crate::dam::peer::PeerId;
use crate::ebb::Ebb;
use crate::metrics::batches::Batches;
use crate::metrics::loops::Loop;
use crate::metrics::{Counter, Counters};
use crate::ws::frame::Opcode;
use care::{CLOSE_TIMEOUT, Due};
use drain::Drain;

mod care;
mod deliver;
mod drain;

/// The token of the bell; peers have their slots.
pub const BELL: Token = Token(usize::MAX);

/// How often an inbound peer gets an empty batch, which keeps proxies from closing the
/// connection (Gun: `heart` in `lib/wire.js`).
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(20);

/// How often trouble (stuck or closing peers) is looked at, and how timers are rounded up.
const TICK: Duration = Duration::from_secs(1);

/// What a writer is made of.
pub struct Parts {
    /// Which writer this is, as [`PeerId::writer`] counts.
    pub index: usize,
    /// Watches full sockets and the bell.
    pub poll: Poll,
    /// What reactors have for this writer.
    pub queue: Receiver<Arc<Turn>>,
    /// Wakes this writer.
    pub bell: Arc<Bell<Waker>>,
    /// Limits and times.
    pub config: Arc<Config>,
    /// This thread's counters.
    pub counters: Arc<Counters>,
    /// Looks after the memory that peers hold here.
    pub keeper: Keeper,
    /// What this loop tells about itself.
    pub figures: Arc<Loop>,
    /// Likewise about its batches.
    pub batches: Arc<Batches>,
    /// Where the operating system's faults are told.
    pub faults: RefCell<FaultLog>,
}

/// See the module's head.
pub struct Writer {
    parts: Parts,
    remotes: Slab<Remote>,
    remotes_ebb: Ebb,
    slots: HashMap<PeerId, usize, BuildHasherDefault<PeerHasher>>,
    batch: Coalescer,
    /// Slots of peers whose close frame came while the batch was collected.
    finishing: Vec<(usize, Bytes)>,
    /// Slots of peers that went while the batch was collected.
    gone: Vec<usize>,
    timers: Timers<Due>,
    /// Some peer is stuck or closing, so that the tick has something to look at.
    has_trouble: bool,
    next_tick: Instant,
    last_delivery: Option<Instant>,
    drain: Option<Drain>,
    /// No reactor is left.
    is_cut_off: bool,
    now: Instant,
}

impl Writer {
    /// A writer without peers.
    pub fn new(parts: Parts) -> Self {
        let now = Instant::now();
        Writer {
            batch: Coalescer::new(parts.config.batch_bytes_max, parts.keeper.gauge().clone()),
            parts,
            remotes: Slab::new(),
            remotes_ebb: Ebb::default(),
            slots: HashMap::default(),
            finishing: Vec::new(),
            gone: Vec::new(),
            timers: Timers::default(),
            has_trouble: false,
            next_tick: now,
            last_delivery: None,
            drain: None,
            is_cut_off: false,
            now,
        }
    }

    /// Runs until the relay has stopped.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        while !self.is_done() {
            self.wait(&mut events);
            self.now = Instant::now();
            self.parts.figures.wake(self.now);
            self.write_where_possible(&events);
            self.take_turns();
            self.deliver_if_due();
            self.run_timers();
            self.keep_memory();
        }
        // Who looks meanwhile is not to take it for stuck.
        self.parts.figures.sleep(self.now, Instant::now());
        // Reactors may still wait for room in the queue: let them end as well.
        self.parts.queue.iter().for_each(drop);
    }

    /// Reactors end when they have no connections left, so the last peers have gone by then.
    fn is_done(&self) -> bool {
        let is_late = |drain: &Drain| self.now > drain.ends + CLOSE_TIMEOUT;
        self.is_cut_off || self.drain.as_ref().is_some_and(is_late)
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self, events: &mut Events) {
        let until = [
            self.timers.next_due().map(|due| due.max(self.next_tick)),
            self.has_trouble.then_some(self.next_tick),
            self.drain.as_ref().map(|drain| drain.next_slice),
            (!self.batch.is_empty()).then(|| self.next_delivery()),
            self.parts.keeper.due(self.now),
        ];
        let until = until.into_iter().flatten().min();
        let Parts { poll, queue, bell, figures, .. } = &mut self.parts;
        let turn_end = Instant::now();
        figures.sleep(self.now, turn_end);
        let is_busy = !bell.fall_asleep(|| !queue.is_empty());
        if is_busy && !self.has_trouble {
            // No socket is full, so there is nothing to be told.
            return events.clear();
        }
        let timeout = match until {
            _ if is_busy => Some(Duration::ZERO),
            Some(until) => Some(until.saturating_duration_since(turn_end)),
            None => None,
        };
        poll::wait(poll, events, timeout);
        bell.wake_up();
    }

    fn write_where_possible(&mut self, events: &Events) {
        let pen = pen(&self.parts, self.now);
        for event in events {
            if let Some(remote) = self.remotes.get_mut(event.token().0) {
                remote.write_backlog(event.token(), &pen);
            }
        }
    }

    fn take_turns(&mut self) {
        while !self.batch.is_full() {
            match self.parts.queue.try_recv() {
                Ok(turn) => self.take_turn(turn),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.is_cut_off = true;
                    return;
                }
            }
        }
    }

    fn take_turn(&mut self, turn: Arc<Turn>) {
        self.batch.add_turn(turn.clone());
        for (index, item) in turn.items().iter().enumerate() {
            match item {
                Outbound::Broadcast(_, except) => self.take_broadcast(index, except),
                Outbound::Send(to, _) => self.take_own(*to, index),
                Outbound::Frame(to, frame) => self.write_frame(*to, frame),
                Outbound::Open(peer, socket, first) => self.open(*peer, socket, first),
                Outbound::Expect(peer) => self.expect(*peer),
                Outbound::Finish(peer, close) => self.finish(*peer, close),
                Outbound::Close(peer) => self.close(*peer),
                Outbound::Reload(config) => self.parts.config = config.clone(),
                Outbound::Probe(alive) => {
                    // There is room for all the answers; who asked may have given up.
                    let _answered = alive.try_send(());
                }
                Outbound::Drain(time) => self.start_drain(*time),
                Outbound::DrainLinks => {
                    self.drain.iter_mut().for_each(|drain| drain.turn_to_links(self.now))
                }
            }
        }
    }

    fn is_mine(&self, peer: PeerId) -> bool {
        peer.writer() == self.parts.index
    }

    fn slot(&self, peer: PeerId) -> Option<usize> {
        if !self.is_mine(peer) {
            return None;
        }
        self.slots.get(&peer).copied()
    }

    fn take_broadcast(&mut self, item: usize, except: &[PeerId]) {
        self.batch.add_broadcast(item);
        for peer in except {
            if let Some(slot) = self.slot(*peer) {
                self.batch.except(slot);
            }
        }
    }

    fn take_own(&mut self, to: PeerId, item: usize) {
        match self.slot(to) {
            Some(slot) if self.remotes[slot].is_open() => self.batch.add_own(slot, item),
            _ if self.is_mine(to) => self.parts.counters.count(Counter::DroppedLostAck),
            _ => {}
        }
    }

    fn write_frame(&mut self, to: PeerId, frame: &Bytes) {
        let Some(slot) = self.slot(to) else { return };
        let pen = pen(&self.parts, self.now);
        send_frame(&mut self.remotes[slot], frame.clone(), slot, &pen);
        self.has_trouble |= is_trouble(&self.remotes[slot]);
    }

    fn open(&mut self, peer: PeerId, socket: &Arc<Socket>, first: &Bytes) {
        if !self.is_mine(peer) {
            return;
        }
        let slot = match self.slot(peer) {
            Some(slot) => slot,
            // Only a link to a successor comes without having been expected.
            None => self.insert(Remote::new(peer, socket.bridge() == Some(Bridge::Successor))),
        };
        let pen = pen(&self.parts, self.now);
        let remote = &mut self.remotes[slot];
        remote.connect(socket.clone(), first.clone(), Token(slot), &pen);
        self.has_trouble |= is_trouble(remote);
        if remote.is_bridge() {
            // The other process may be busy for long, and its end shows by itself.
            return;
        }
        if !remote.is_link {
            self.timers.set(self.now, HEARTBEAT_INTERVAL, Due::Heartbeat(peer));
        }
        if let Some(interval) = self.parts.config.ping_interval {
            self.timers.set(self.now, interval, Due::Ping(peer, remote.connections));
        }
    }

    fn expect(&mut self, peer: PeerId) {
        if self.is_mine(peer) {
            self.insert(Remote::new(peer, true));
        }
    }

    fn insert(&mut self, remote: Remote) -> usize {
        let peer = remote.id;
        let slot = self.remotes.insert(remote);
        self.slots.insert(peer, slot);
        self.batch.join(slot);
        slot
    }

    /// The close frame leaves after the batch, which may hold something for the peer.
    fn finish(&mut self, peer: PeerId, close: &Bytes) {
        if let Some(slot) = self.slot(peer) {
            self.finishing.push((slot, close.clone()));
        }
    }

    fn close(&mut self, peer: PeerId) {
        let Some(slot) = self.slot(peer) else { return };
        self.finishing.retain(|(finishing, _)| *finishing != slot);
        let remote = &mut self.remotes[slot];
        match remote.may_return() {
            true => remote.disconnect(&pen(&self.parts, self.now)),
            false => self.forget(peer),
        }
    }

    fn forget(&mut self, peer: PeerId) {
        let Some(slot) = self.slot(peer) else { return };
        self.finishing.retain(|(finishing, _)| *finishing != slot);
        self.remotes[slot].give_up();
        self.slots.remove(&peer);
        self.gone.push(slot);
    }
}

/// Spreads [`PeerId`]s, which this process counts up itself: nobody can aim at a collision.
#[derive(Default)]
struct PeerHasher(u64);

impl Hasher for PeerHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only peers are hashed, and they write one u64");
    }
    fn write_u64(&mut self, value: u64) {
        // Times the golden ratio, the high half is well mixed; the map picks by the low one.
        self.0 = value.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// What peers need to write; a function of parts, so that peers can be borrowed beside it.
fn pen(parts: &Parts, now: Instant) -> Pen<'_> {
    Pen {
        registry: parts.poll.registry(),
        counters: &parts.counters,
        now,
        backlog_bytes_max: parts.config.backlog_bytes_max,
        bridge_bytes_max: parts.config.queue_bytes_max.max(parts.config.backlog_bytes_max),
        gauge: parts.keeper.gauge(),
        faults: &parts.faults,
    }
}

fn send_frame(remote: &mut Remote, bytes: Bytes, slot: usize, pen: &Pen<'_>) {
    if remote.is_open() && remote.socket().is_some() {
        pen.counters.count(match Opcode::of(bytes[0]) {
            Some(Opcode::Ping) => Counter::PingsOut,
            Some(Opcode::Pong) => Counter::PongsOut,
            _ => Counter::HeartbeatsOut,
        });
        pen.counters.add(Counter::ControlBytesOut, bytes.len() as u64);
        remote.send(&[Piece { bytes, ends_frame: true, is_alone: true }], Token(slot), pen);
    }
}

fn is_trouble(remote: &Remote) -> bool {
    remote.stuck_since().is_some() || remote.closing_since().is_some()
}

#[cfg(test)]
mod tests;
