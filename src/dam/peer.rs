//! Peers as the mesh knows them: their ids, their names, their order.
//!
//! Owns: [`PeerId`], the list of connected peers (Gun: `opt.peers`), and which peers a name in a
//! `><` list means. Must not know: sockets, threads, messages.
//!
//! A peer has up to three names: its URL when this relay dialled it, the pid it told, and an
//! internal random id. Any of them in a message's `><` says that the peer has the message.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::dedup::{Key, KeyMap, Keys, key_map};
use crate::ebb::Ebb;

/// How many peers a relay names in `><` (Gun: `mesh.raw` stops after the seventh).
pub const NAMED_PEERS_MAX: usize = 7;

/// The longest pid that is remembered, in bytes. Gun's own have 9; a longer one is not a name.
pub const PID_BYTES_MAX: usize = 128;

/// A connected peer, unique for the life of the process.
///
/// It holds the index of the writer that serves the peer, so that an answer finds its queue
/// without a table, and an id of a peer that is gone leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(NonZeroU64);

const WRITER_BITS: u32 = 8;

impl PeerId {
    /// The `sequence`th peer of this process, served by writer `writer`.
    pub fn new(sequence: u64, writer: u8) -> Self {
        let id = (sequence + 1) << WRITER_BITS | u64::from(writer);
        PeerId(NonZeroU64::new(id).expect("no process sees 2^56 peers"))
    }

    /// The same as a number, for people.
    pub fn number(self) -> u64 {
        self.0.get()
    }

    /// The writer that serves it.
    pub fn writer(self) -> usize {
        (self.0.get() & ((1 << WRITER_BITS) - 1)) as usize
    }
}

/// A few peers: those a message must not go to.
pub type FewPeers = SmallVec<[PeerId; 4]>;

/// Where a peer stands in the list, oldest first. To be given back to [`Peers::leave`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat(u64);

/// The first name of a peer.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// The URL it was dialled by, as configured.
    Url(&'a str),
    /// A random id, for one that dialled us.
    Id(&'a str),
}

/// The connected peers. Shared by all reactors; changed when one comes, goes or tells its pid.
pub struct Peers {
    keys: Keys,
    list: Mutex<List>,
    named: KeyMap<SmallVec<[PeerId; 1]>>,
    /// How many are listed (Gun: `mesh.near`).
    near: AtomicUsize,
    /// Counts changes of `List::heads`, so that readers look at the list only after one.
    heads_version: AtomicU64,
}

#[derive(Default)]
struct List {
    next_seat: u64,
    seats: BTreeMap<Seat, Listed>,
    ebb: Ebb,
    heads: Heads,
}

struct Listed {
    peer: PeerId,
    /// A peer that was dialled is named by its URL, also when its pid is known.
    has_url: bool,
    /// Its first name: the URL or the internal id.
    name: Box<str>,
    pid: Option<Box<str>>,
}

impl Listed {
    /// The name this relay calls it by in `><`: URL, else pid, else internal id (Gun: `mesh.raw`).
    fn shown_name(&self) -> &str {
        match &self.pid {
            Some(pid) if !self.has_url => pid,
            _ => &self.name,
        }
    }
}

/// JSON text of a string.
fn quote(text: &str) -> Arc<[u8]> {
    serde_json::Value::from(text).to_string().into_bytes().into()
}

/// The names that go into `><`, ready to be written.
#[derive(Clone, Default)]
pub struct Heads {
    version: u64,
    text: Option<Arc<[u8]>>,
}

impl Heads {
    /// The value for `><` as JSON text, quotes included. None while there are fewer than two
    /// peers: then Gun leaves `><` as it came.
    pub fn text(&self) -> Option<&[u8]> {
        self.text.as_deref()
    }
}

impl Peers {
    /// An empty list, whose names are hashed with `keys`.
    pub fn new(keys: Keys) -> Self {
        Peers {
            keys,
            list: Mutex::default(),
            named: key_map(64),
            near: AtomicUsize::new(0),
            heads_version: AtomicU64::new(0),
        }
    }

    /// Lists a peer that is connected now.
    #[doc(alias = "hi")]
    pub fn join(&self, peer: PeerId, name: Name<'_>) -> Seat {
        self.near.fetch_add(1, Ordering::Relaxed);
        let (name, has_url) = match name {
            Name::Id(id) => (id, false),
            Name::Url(url) => (url, true),
        };
        let mut list = self.lock();
        let seat = Seat(list.next_seat);
        list.next_seat += 1;
        list.seats.insert(seat, Listed { peer, has_url, name: name.into(), pid: None });
        self.named.entry(self.keys.of(name.as_bytes())).or_default().push(peer);
        self.renew_heads(&mut list, seat);
        seat
    }

    /// The peer is gone: it is no longer listed, named or near.
    #[doc(alias = "bye")]
    pub fn leave(&self, seat: Seat) {
        let mut list = self.lock();
        let Some(gone) = list.seats.remove(&seat) else {
            return;
        };
        self.near.fetch_sub(1, Ordering::Relaxed);
        self.unname(gone.name.as_bytes(), gone.peer);
        if let Some(pid) = &gone.pid {
            self.unname(pid.as_bytes(), gone.peer);
        }
        let near = list.seats.len();
        if list.ebb.is_low(near) {
            self.named.shrink_to_fit();
        }
        self.renew_heads(&mut list, seat);
    }

    /// Remembers the pid a peer told. Says false for one that cannot serve as a name.
    pub fn learn_pid(&self, seat: Seat, pid: &[u8]) -> bool {
        let text = std::str::from_utf8(pid).ok().filter(|text| text.len() <= PID_BYTES_MAX);
        let Some(text) = text else { return false };
        let mut list = self.lock();
        let Some(listed) = list.seats.get_mut(&seat) else {
            return false;
        };
        if listed.pid.is_none() {
            listed.pid = Some(text.into());
            let peer = listed.peer;
            self.named.entry(self.keys.of(pid)).or_default().push(peer);
            self.renew_heads(&mut list, seat);
        }
        true
    }

    /// Adds the peers with this name to `peers`.
    pub fn find(&self, name: &[u8], peers: &mut FewPeers) {
        if let Some(found) = self.named.get(&self.keys.of(name)) {
            for peer in found.iter() {
                if !peers.contains(peer) {
                    peers.push(*peer);
                }
            }
        }
    }

    /// A connected peer has told this pid.
    pub fn is_connected(&self, pid: &[u8]) -> bool {
        self.named.contains_key(&self.keys.of(pid))
    }

    /// How many peers are connected (Gun: `mesh.near`).
    pub fn near(&self) -> usize {
        self.near.load(Ordering::Relaxed)
    }

    /// Brings a reader's copy of the heads up to date; one atomic load while nothing changed.
    pub fn refresh(&self, heads: &mut Heads) {
        if self.heads_version.load(Ordering::Acquire) != heads.version {
            heads.clone_from(&self.lock().heads);
        }
    }

    fn unname(&self, name: &[u8], peer: PeerId) {
        let key: Key = self.keys.of(name);
        if let dashmap::Entry::Occupied(mut peers) = self.named.entry(key) {
            peers.get_mut().retain(|named| *named != peer);
            if peers.get().is_empty() {
                peers.remove();
            }
        }
    }

    /// Writes the heads anew if the change at `seat` is among the oldest peers.
    fn renew_heads(&self, list: &mut List, seat: Seat) {
        let oldest = || list.seats.iter().take(NAMED_PEERS_MAX);
        let last = oldest().map(|(seat, _)| *seat).max();
        if list.seats.len() > NAMED_PEERS_MAX && last < Some(seat) {
            return;
        }
        let names: Vec<_> = oldest().map(|(_, listed)| listed.shown_name()).collect();
        let text = (names.len() > 1).then(|| quote(&names.join(",")));
        list.heads = Heads { version: list.heads.version + 1, text };
        self.heads_version.store(list.heads.version, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
