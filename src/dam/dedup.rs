//! The memory of ids: who sent a message first, and what it asked.
//!
//! Owns: the table from the key of an id (or of an answer's `@` + `##`) to an [`Entry`].
//! Must not know: clocks, peers beyond their id, messages.
//!
//! Gun keeps an id for 9 s after it was last seen and sweeps every 9 s, so an id lives 9 to 18 s
//! after its last touch (Gun: `dup.track`, `dup.check`, `dup.drop`). Two generations give the same
//! life without a sweep: a touch puts the entry into the current generation, and every
//! [`GENERATION_MS`] the older one is forgotten and a new one begins. When that happened early
//! for want of room, the next time is skipped, so that no id but the forgotten ones lives shorter.
//!
//! Invariants:
//! - A key is in one generation at most, and exactly one caller of [`Dedup::first`] is told `true`
//!   until the key is forgotten. Both hold because a shard has both generations under one lock.
//! - The `via` of an entry is the one it was made with; a duplicate never changes it.
//! - The table holds `entries_max` entries plus a small overshoot: at half of it the older
//!   generation is given up early, and counted.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use foldhash::fast::FixedState;
use smallvec::SmallVec;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_secret};

use self::table::{Place, Table};
use super::peer::PeerId;
use super::recall::Fingerprint;

mod table;

/// How long a generation is current, in milliseconds (Gun: `dup`'s `age`, 9 s).
pub const GENERATION_MS: u64 = 9_000;

/// Parts of the table, each under a lock of its own. Far more than threads, so that two threads
/// rarely meet at one. A key's top byte says which.
const SHARDS: usize = 256;

/// The size is looked at once in at most so many inserts: counting takes every lock.
const SAMPLE_MAX: usize = 4096;

/// How many keys are well fetched at once: a processor waits for about so many loads together.
pub const FETCH_MAX: usize = 16;

/// A byte that no id can hold, as it occurs in no UTF-8 text: keeps `"ab" + "c"` and `"a" + "bc"`
/// apart, and both apart from any plain id.
const SEPARATOR: u8 = 0xff;

/// The random secret that keys are made with, so that no peer can aim at a shard or a collision.
pub type Secret = [u8; 192];

/// 128 bits that stand for an id: at 64 bits collisions of honest ids would be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u64; 2]);

impl Key {
    /// What places and compares it in a table.
    fn head(self) -> u64 {
        self.0[0]
    }

    /// A bit more of it, to compare.
    fn tag(self) -> u16 {
        self.0[1] as u16
    }

    fn shard(self) -> usize {
        (self.0[1] >> (u64::BITS - SHARDS.ilog2())) as usize
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// Passes a [`Key`] through: it is a hash already.
#[derive(Clone, Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only keys are hashed, and they write one u64");
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

pub(super) type KeyMap<V> = DashMap<Key, V, BuildHasherDefault<KeyHasher>>;

pub(super) fn key_map<V>(shards: usize) -> KeyMap<V> {
    DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), shards)
}

/// Makes keys out of texts.
#[derive(Clone)]
pub struct Keys {
    secret: Box<Secret>,
    state: FixedState,
}

impl Keys {
    /// `secret` should be random for each process.
    pub fn new(secret: Secret) -> Self {
        let seed = secret.first_chunk().map_or(0, |seed| u64::from_le_bytes(*seed));
        Keys { secret: Box::new(secret), state: FixedState::with_seed(seed) }
    }

    /// The key of an id or a name.
    pub fn of(&self, text: &[u8]) -> Key {
        let hash = xxh3_128_with_secret(text, &self.secret[..]);
        Key([hash as u64, (hash >> 64) as u64])
    }

    /// A hash of any text, which is not its key.
    pub fn hash(&self, text: &[u8]) -> u64 {
        self.state.hash_one(text)
    }

    /// The key of an answer's content: the asked id together with the hash (Gun: `tmp+hash`).
    pub fn of_pair(&self, asked: &[u8], hash: &[u8]) -> Key {
        let mut text = SmallVec::<[u8; 64]>::from_slice(asked);
        text.push(SEPARATOR);
        text.extend_from_slice(hash);
        self.of(&text)
    }
}

/// Whether a remembered message was a question, and the hash its asker is known to have; or, until there is such
/// a hash, how its text is known again.
///
/// Two bits say which, the others hold the hash or the fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Question(u64);

const IS_ASKED: u64 = 1 << 63;
const HAS_HASH: u64 = 1 << 62;

impl Question {
    /// Not a question.
    pub const NONE: Question = Question(0);
    /// A question of an asker that has nothing yet.
    pub const OPEN: Question = Question(IS_ASKED);

    /// A question whose asker has content of this `##`: its text form, and a number for its type,
    /// as `5` is not `"5"` here.
    pub fn with_hash(hash: &[u8], kind: u64) -> Question {
        Question(xxh3_64_with_seed(hash, kind) | IS_ASKED | HAS_HASH)
    }

    /// The same of a message whose text has this fingerprint. A hash leaves no room for one.
    pub fn of_text(self, fingerprint: Fingerprint) -> Question {
        match self.has_hash() {
            true => self,
            false => Question(self.0 & IS_ASKED | fingerprint.to_bits()),
        }
    }

    /// How the message's text is known again.
    fn fingerprint(self) -> Option<Fingerprint> {
        let bits = self.0 & !IS_ASKED;
        (!self.has_hash()).then(|| Fingerprint::from_bits(bits))?
    }

    /// The message was a question.
    pub fn is_asked(self) -> bool {
        self.0 & IS_ASKED != 0
    }

    /// It was a question, and its asker has hashed content.
    pub fn has_hash(self) -> bool {
        self.0 & HAS_HASH != 0
    }
}

const _: () = assert!(Fingerprint::SPARE_BITS == 2, "they are taken here");

/// What is remembered of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The peer it came from, where answers go. None for what cannot be answered.
    pub via: Option<PeerId>,
    /// What it asked.
    pub question: Question,
}

impl Entry {
    /// Remembered as seen, and nothing more.
    pub const SEEN: Entry = Entry { via: None, question: Question::NONE };
}

/// What becomes of an entry after a look at it.
pub enum After {
    /// Its age stays as it is.
    Keep,
    /// It was used: it lives on for 9 s or more from now.
    Refresh,
}

/// What was found out about each of some keys.
pub type Fetched = SmallVec<[Option<Fingerprint>; FETCH_MAX]>;

/// The table. Shared by all reactors; see the module's head for how it works.
pub struct Dedup {
    shards: Box<[Shard]>,
    /// Held while a generation begins.
    rotation: Mutex<Rotation>,
    generation_max: usize,
    /// The size is looked at once in `sample_mask + 1` inserts.
    sample_mask: u64,
    evicted_early: AtomicU64,
}

/// A part of the table, on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Shard(Mutex<Table>);

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Rotation {
    /// When the last one was due by time, in milliseconds.
    timed_ms: u64,
    /// There was one since then, because the current generation was full.
    was_early: bool,
}

impl Dedup {
    /// A table that holds about `entries_max` entries, both generations together.
    pub fn new(entries_max: usize) -> Self {
        let generation_max = (entries_max / 2).max(1);
        let sample = (generation_max / 64).next_power_of_two().clamp(1, SAMPLE_MAX);
        Dedup {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            rotation: Mutex::default(),
            generation_max,
            sample_mask: sample as u64 - 1,
            evicted_early: AtomicU64::new(0),
        }
    }

    /// Remembers `key` and says true; or, if it is known already, refreshes it and says false.
    #[doc(alias = "check")]
    #[doc(alias = "track")]
    pub fn first(&self, key: Key, entry: Entry) -> bool {
        let is_known = self.in_table(key, |table, known| {
            match known {
                Some(place) => table.touch(key, place),
                None => table.insert(key, entry),
            }
            known.is_some()
        });
        if !is_known && key.0[1] & self.sample_mask == 0 {
            self.enforce_max();
        }
        !is_known
    }

    /// If `key` is known, refreshes it and says true (Gun: `dup.check`).
    pub fn seen(&self, key: Key) -> bool {
        self.in_table(key, |table, known| known.map(|place| table.touch(key, place)).is_some())
    }

    /// How the text of the message is known again, if its id is of the current generation, so that it need
    /// not be refreshed. Changes nothing.
    pub fn fingerprint(&self, key: Key) -> Option<Fingerprint> {
        self.in_table(key, |table, known| fingerprint_in(table, known))
    }

    /// Takes back a [`first`](Self::first).
    pub fn forget(&self, key: Key) {
        self.in_table(key, |table, known| {
            if let Some(place) = known {
                table.remove(place);
            }
        });
    }

    /// Shows the entry of `key` to `look`, which may change it. None: it is not known.
    ///
    /// `look` runs under the entry's lock and must not use the table.
    pub fn with<R>(&self, key: Key, look: impl FnOnce(&mut Entry) -> (After, R)) -> Option<R> {
        self.in_table(key, |table, known| {
            let place = known?;
            let mut entry = table.entry(place);
            let (after, answer) = look(&mut entry);
            table.set(place, entry);
            if let After::Refresh = after {
                table.touch(key, place);
            }
            Some(answer)
        })
    }

    /// Has the memory that looks at `keys` will need brought near. Each would wait for its own; so the
    /// waiting for all is done at once. Changes nothing. If `looks`, it says of each what
    /// [`fingerprint`](Self::fingerprint) would, or nothing if another thread had its part of the table.
    pub fn fetch(&self, keys: &[Option<Key>], looks: bool) -> Fetched {
        // Taking and giving back a lock waits for all loads before it. So all are taken first, but those
        // that others hold, or that are taken already: nobody waits for two.
        let try_lock = |key: &Option<Key>| {
            let key = (*key)?;
            Some((key, self.shards[key.shard()].0.try_lock().ok()?))
        };
        let tables: SmallVec<[_; FETCH_MAX]> = keys.iter().map(try_lock).collect();
        let loaded = tables.iter().flatten().fold(0, |all, (key, table)| all ^ table.load(*key));
        black_box(loaded);
        if !looks {
            return Fetched::new();
        }
        let found = tables.iter().map(|table| {
            let (key, table) = table.as_ref()?;
            fingerprint_in(table, table.find(*key))
        });
        found.collect()
    }

    /// Every access: looks `key` up and shows `step` its table and where in it the key is.
    #[inline]
    fn in_table<R>(&self, key: Key, step: impl FnOnce(&mut Table, Option<Place>) -> R) -> R {
        let mut table = self.shards[key.shard()].lock();
        let known = table.find(key);
        step(&mut table, known)
    }

    /// Starts a new generation when the current one is [`GENERATION_MS`] old. To be called at least
    /// that often, from any thread, with a clock that never goes back.
    #[doc(alias = "drop")]
    pub fn expire(&self, now_ms: u64) {
        let Ok(mut rotation) = self.rotation.try_lock() else { return };
        if now_ms.saturating_sub(rotation.timed_ms) < GENERATION_MS {
            return;
        }
        rotation.timed_ms = now_ms;
        // The older generation is not yet old if it was the current one until it was full.
        if std::mem::take(&mut rotation.was_early) {
            return;
        }
        // Once, however late the call: an id may have come in just before it, after a time in
        // which there was nothing to remember and nobody called.
        self.rotate();
    }

    fn enforce_max(&self) {
        let Ok(mut rotation) = self.rotation.try_lock() else { return };
        if self.sum(Table::current) > self.generation_max {
            let evicted = self.rotate();
            rotation.was_early = true;
            self.evicted_early.fetch_add(evicted as u64, Ordering::Relaxed);
        }
    }

    /// Begins a generation in one shard after the other: an id knows only its own. The caller holds
    /// `rotation`. Returns how many entries were forgotten.
    fn rotate(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().rotate()).sum()
    }

    fn sum(&self, count: impl Fn(&Table) -> usize) -> usize {
        self.shards.iter().map(|shard| count(&shard.lock())).sum()
    }

    /// Entries held now.
    pub fn len(&self) -> usize {
        self.sum(Table::len)
    }

    /// Nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries given up before their time because the table was full, ever.
    pub fn evicted_early(&self) -> u64 {
        self.evicted_early.load(Ordering::Relaxed)
    }
}

fn fingerprint_in(table: &Table, known: Option<Place>) -> Option<Fingerprint> {
    let place = known.filter(|place| table.is_current(*place))?;
    table.entry(place).question.fingerprint()
}

#[cfg(test)]
mod tests;
