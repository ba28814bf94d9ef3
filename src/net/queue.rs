//! Everything that crosses from reactors to writers: the one thread border.
//!
//! A reactor collects what its turn produced in an [`Outbox`] and pushes it, as one shared
//! [`Turn`], to each writer it concerns. Nothing goes the other way.
//!
//! Owns: the enum of what may cross, the bounded queues; `budget` beneath this file bounds their bytes.
//! Must not know: sockets' use, JSON.
//!
//! Invariants:
//! - What one reactor pushes, a writer gets in the same order.
//! - Nothing is dropped: a full queue blocks the reactor, and TCP then slows its senders down.
//! - Writers never wait for reactors, so that waiting always ends.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use mio::Waker;

use super::bell::Bell;
use super::memory::{self, Gauge, Held};
use super::placement::Placement;
use super::socket::Socket;
use crate::config::Config;
use crate::dam::mesh::Outgoing;
use crate::dam::message::Part;
use crate::dam::peer::{FewPeers, PeerId};
use crate::metrics::{Counter, Counters};
pub use budget::Budget;

mod budget;

/// From this length on a message is passed on as slices of what was received, in bytes. A shorter
/// one is copied: cheaper than counting references.
pub const LARGE_MESSAGE_BYTES: usize = 16 * 1024;

/// A large message is a slice of its frame if it makes up one part in so many of it, at least.
const SHARED_PART_MIN: usize = 4;

/// A turn is pushed early when it holds this many bytes of small messages, so that writers work
/// while the reactor still reads.
const TURN_BYTES_MAX: usize = 64 * 1024;

/// Likewise, in things to do.
const TURN_ITEMS_MAX: usize = 512;

/// Something for a writer to do.
#[derive(Debug)]
pub enum Outbound {
    /// A peer is connected. These bytes are the first it gets: the response to its upgrade and
    /// the greeting. They go through the writer so that a peer which sees them misses nothing
    /// that is said from then on.
    #[doc(alias = "hi")]
    Open(PeerId, Arc<Socket>, Bytes),
    /// A configured peer that is not connected yet: what follows is kept for it.
    Expect(PeerId),
    /// A message for every peer but these.
    Broadcast(Body, FewPeers),
    /// A message for one peer.
    Send(PeerId, Body),
    /// A whole frame for one peer, such as a pong, ready to be written.
    Frame(PeerId, Bytes),
    /// The last frame for a peer, its close frame.
    Finish(PeerId, Bytes),
    /// The peer's connection is gone.
    #[doc(alias = "bye")]
    Close(PeerId),
    /// What may change while the relay runs is from now on as here.
    Reload(Arc<Config>),
    /// Show that the loop turns.
    Probe(Sender<()>),
    /// Close all peers but the configured ones, spread over this time.
    Drain(Duration),
    /// All other peers have gone: close the configured ones.
    DrainLinks,
}

/// A message's text.
#[derive(Debug)]
pub enum Body {
    /// A range of the turn's text.
    Small(Range<usize>),
    /// Pieces that make up the text, most of them slices of what was received.
    Large(Box<[Bytes]>),
}

/// What one reactor turn has for the writers.
#[derive(Debug)]
pub struct Turn {
    text: Vec<u8>,
    items: Vec<Outbound>,
    bytes: usize,
    /// When the reactor's turn began.
    pub read_at: Instant,
    /// How many items are messages.
    pub messages: u32,
    budget: Arc<Budget>,
    /// Counts its memory but for large messages, which are counted on their own.
    _held: Held,
}

impl Turn {
    /// What is to be done, in order.
    pub fn items(&self) -> &[Outbound] {
        &self.items
    }

    /// The memory it takes, large messages included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How long the text of all small messages is.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// The text of small messages.
    pub fn text(&self, range: &Range<usize>) -> &[u8] {
        &self.text[range.clone()]
    }
}

#[cfg(test)]
impl Turn {
    /// A turn that no reactor made and no budget pays for.
    pub(super) fn of(text: Vec<u8>, items: Vec<Outbound>) -> Arc<Turn> {
        let (read_at, messages) = (Instant::now(), items.len() as u32);
        let (budget, _held) = (Budget::new(0), Held::new(&Arc::default(), 0));
        Arc::new(Turn { text, items, bytes: 0, read_at, messages, budget, _held })
    }
}

/// A received frame, whose text large messages are slices of.
pub struct Source<'a> {
    payload: &'a [u8],
    owned: Option<&'a Bytes>,
    shared: OnceCell<Bytes>,
}

impl<'a> Source<'a> {
    /// A frame that lies in a buffer of the reactor. It is copied if a large message needs it.
    pub fn borrowed(payload: &'a [u8]) -> Self {
        Source { payload, owned: None, shared: OnceCell::new() }
    }

    /// A frame with memory of its own.
    pub fn owned(payload: &'a Bytes) -> Self {
        Source { payload, owned: Some(payload), shared: OnceCell::new() }
    }

    /// A part of it, which counts for all of it once.
    fn slice(&self, range: Range<usize>, gauge: &Arc<Gauge>) -> Bytes {
        let share = || {
            let copy = || Bytes::copy_from_slice(self.payload);
            let bytes = self.owned.cloned().unwrap_or_else(copy);
            memory::counted(bytes, self.payload.len(), gauge)
        };
        self.shared.get_or_init(share).slice(range)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// The way to one writer.
#[derive(Clone, Debug)]
pub struct Lane {
    sender: Sender<Arc<Turn>>,
    bell: Arc<Bell<Waker>>,
}

impl Lane {
    /// What wakes the writer.
    pub fn bell(&self) -> Arc<Bell<Waker>> {
        self.bell.clone()
    }
}

/// A queue of at most `turns_max` turns: its two ends.
pub fn lane(turns_max: usize, waker: Waker) -> (Lane, Receiver<Arc<Turn>>, Arc<Bell<Waker>>) {
    let (sender, receiver) = crossbeam_channel::bounded(turns_max);
    let bell = Arc::new(Bell::new(waker));
    (Lane { sender, bell: bell.clone() }, receiver, bell)
}

/// Where a reactor puts what is to be written.
pub struct Outbox {
    lanes: Vec<Lane>,
    placement: Arc<Placement>,
    budget: Arc<Budget>,
    counters: Arc<Counters>,
    text: Vec<u8>,
    items: Vec<Outbound>,
    large_bytes: usize,
    /// When this turn began.
    read_at: Instant,
    /// Messages among `items`.
    messages: u32,
    /// The writers concerned, a bit each.
    writers: u64,
    /// So are all that have peers.
    is_broadcast: bool,
}

impl Outbox {
    /// An empty outbox for the writers behind `lanes` (64 at most), whose peers `placement` counts.
    pub fn new(
        lanes: Vec<Lane>,
        placement: Arc<Placement>,
        budget: Arc<Budget>,
        counters: Arc<Counters>,
    ) -> Self {
        assert!((1..=64).contains(&lanes.len()), "a writer is a bit of a u64");
        Outbox {
            lanes,
            placement,
            budget,
            counters,
            text: Vec::new(),
            items: Vec::new(),
            large_bytes: 0,
            read_at: Instant::now(),
            messages: 0,
            writers: 0,
            is_broadcast: false,
        }
    }

    /// A turn begins: what is collected from now on was read at `now`.
    pub fn begin_turn(&mut self, now: Instant) {
        self.read_at = now;
    }

    /// A message for all peers but `except`, out of the frame `source`.
    pub fn broadcast(&mut self, message: &Outgoing<'_>, source: &Source<'_>, except: &[PeerId]) {
        let body = self.body(message, source);
        self.items.push(Outbound::Broadcast(body, except.into()));
        self.is_broadcast = true;
        self.flush_if_full();
    }

    /// A message for one peer, out of the frame `source`.
    pub fn send(&mut self, to: PeerId, message: &Outgoing<'_>, source: &Source<'_>) {
        let body = self.body(message, source);
        self.push(to, Outbound::Send(to, body));
    }

    /// A text of the relay's own for one peer.
    pub fn say(&mut self, to: PeerId, text: &str) {
        self.messages += 1;
        let start = self.text.len();
        self.text.extend_from_slice(text.as_bytes());
        self.push(to, Outbound::Send(to, Body::Small(start..self.text.len())));
    }

    /// Something about one peer that is no message.
    pub fn push(&mut self, peer: PeerId, item: Outbound) {
        self.items.push(item);
        self.writers |= 1 << peer.writer();
        self.flush_if_full();
    }

    /// Something for all writers.
    pub fn push_to_all(&mut self, item: Outbound) {
        self.items.push(item);
        self.writers = u64::MAX;
    }

    fn body(&mut self, message: &Outgoing<'_>, source: &Source<'_>) -> Body {
        self.messages += 1;
        let bytes = message.source().len();
        if let Some(start) = message.source_start()
            && bytes >= LARGE_MESSAGE_BYTES
        {
            // A slice keeps all of its frame in memory, but counts for its own length only: a
            // message that is little of its frame gets memory of its own.
            let alone;
            let (source, start) = match bytes * SHARED_PART_MIN < source.payload.len() {
                true => {
                    alone = Source::borrowed(message.source());
                    (&alone, 0)
                }
                false => (source, start),
            };
            let mut pieces = Vec::with_capacity(4);
            message.parts(|part| {
                pieces.push(match part {
                    Part::Kept(range) => {
                        let range = start + range.start..start + range.end;
                        source.slice(range, &self.budget.gauge)
                    }
                    Part::New(text) => Bytes::copy_from_slice(text),
                });
            });
            self.large_bytes += pieces.iter().map(Bytes::len).sum::<usize>();
            return Body::Large(pieces.into());
        }
        let start = self.text.len();
        message.append_to(&mut self.text);
        Body::Small(start..self.text.len())
    }

    fn flush_if_full(&mut self) {
        let bytes = self.text.len() + self.large_bytes;
        if bytes >= TURN_BYTES_MAX || self.items.len() >= TURN_ITEMS_MAX {
            self.flush();
        }
    }

    /// Pushes what was collected. Waits while a queue is full.
    pub fn flush(&mut self) {
        if self.items.is_empty() {
            return;
        }
        // The next turn is likely to be like this one: room for it at once, instead of growing.
        let text = Vec::with_capacity(self.text.len());
        let items = Vec::with_capacity(self.items.len());
        let text = std::mem::replace(&mut self.text, text);
        let items = std::mem::replace(&mut self.items, items);
        let own_bytes = text.capacity() + items.capacity() * size_of::<Outbound>();
        let bytes = own_bytes + std::mem::take(&mut self.large_bytes);
        if self.budget.take(bytes) {
            self.counters.count(Counter::QueueWaits);
        }
        let messages = std::mem::take(&mut self.messages);
        let (budget, _held) = (self.budget.clone(), Held::new(&self.budget.gauge, own_bytes));
        let turn = Turn { text, items, bytes, read_at: self.read_at, messages, budget, _held };
        let turn = Arc::new(turn);
        let writers = self.take_writers();
        let concerned = |index: &usize| writers & 1 << index != 0;
        // All have it before the first one is woken, who may take this thread's core: a peer that
        // joins meanwhile, by another reactor, is not to hear what others heard long before.
        for index in (0..self.lanes.len()).filter(concerned) {
            self.push_turn(index, turn.clone(), writers);
        }
        (0..self.lanes.len()).filter(concerned).for_each(|index| self.lanes[index].bell.ring());
    }

    /// Whom the turn concerns. A writer without peers is not woken for what it would write to nobody.
    fn take_writers(&mut self) -> u64 {
        let writers = std::mem::take(&mut self.writers);
        if !std::mem::take(&mut self.is_broadcast) {
            return writers;
        }
        let taken = (0..self.lanes.len()).filter(|index| self.placement.is_taken(*index));
        taken.fold(writers, |writers, index| writers | 1 << index)
    }

    fn push_turn(&self, index: usize, turn: Arc<Turn>, writers: u64) {
        let lane = &self.lanes[index];
        match lane.sender.try_send(turn) {
            Ok(()) => {}
            Err(TrySendError::Full(turn)) => {
                self.counters.count(Counter::QueueWaits);
                // Those before it are not to wait as well.
                let before = (0..index).filter(|index| writers & 1 << index != 0);
                before.for_each(|index| self.lanes[index].bell.ring());
                // An error says that the writer has ended, as it does when the relay stops.
                let _ended = lane.sender.send(turn);
            }
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

impl Drop for Outbox {
    /// A writer ends when no outbox is left, and may be asleep then.
    fn drop(&mut self) {
        for Lane { sender, bell } in self.lanes.drain(..) {
            drop(sender);
            bell.ring();
        }
    }
}

#[cfg(test)]
mod tests;
