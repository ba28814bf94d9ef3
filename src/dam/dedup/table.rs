//! A part of the memory of ids: a hash table whose entries grow old by themselves.
//!
//! Owns: where an entry lies, which generation it is of, how large the table is.
//! Must not know: locks, limits, when a generation ends.
//!
//! A look at an id that is not known, which is what nearly all are, has to cost one wait for memory:
//! a bucket is two neighbouring cache lines, what is compared in the first, and both generations are in
//! it. An entry has the number of the generation it was last touched in, so that a new generation is one
//! addition, and what is two generations old is free room wherever it lies.
//!
//! An entry that finds its bucket full goes to the next one that has room, and each bucket passed on the
//! way notes the generation: whoever looks for it later goes on as long as a note is not older than
//! an entry can be. So notes grow old like entries, and nothing is ever swept.
//!
//! Invariants:
//! - A key is there once at most.
//! - An entry of generation g lies in its home bucket, or all from there to its own have a note of
//!   g or later.
//! - At most three quarters of the room are taken.

use super::super::peer::PeerId;
use super::{Entry, Key, Question};

/// Entries of a bucket.
const WIDTH: usize = 4;

/// Of them, those that are taken on average when the table grows.
const FILL_MAX: usize = 3;

/// Buckets of the smallest table there is, but none.
const BUCKETS_KEPT: usize = 4;

/// The generation of a table that was just made; what was never written to is older than the one before.
const FIRST_GENERATION: u32 = 2;

/// 128 bytes. The first half is all that is needed to know that an id is not there.
#[derive(Clone, Default)]
#[repr(C, align(128))]
struct Bucket {
    /// The first half of each key.
    heads: [u64; WIDTH],
    /// When each was last touched, as a generation.
    touched: [u32; WIDTH],
    /// 16 bits of the other half. With the 8 that say which table it is, 88 tell ids apart.
    tags: [u16; WIDTH],
    /// The generation of the latest entry that passed by for want of room.
    passed: u32,
    vias: [Option<PeerId>; WIDTH],
    questions: [Question; WIDTH],
}

/// Where an entry lies.
#[derive(Clone, Copy)]
pub(super) struct Place {
    bucket: usize,
    slot: usize,
}

/// See the module's head.
pub(super) struct Table {
    buckets: Box<[Bucket]>,
    /// The current generation.
    now: u32,
    /// Entries of it.
    current: usize,
    /// Entries of the one before.
    older: usize,
}

impl Default for Table {
    fn default() -> Self {
        Table { buckets: Box::default(), now: FIRST_GENERATION, current: 0, older: 0 }
    }
}

impl Bucket {
    /// The slot of a key, if it is here and alive.
    #[inline]
    fn find(&self, key: Key, now: u32) -> Option<usize> {
        let is_it = |slot: &usize| {
            self.heads[*slot] == key.head()
                && self.tags[*slot] == key.tag()
                && is_alive(self.touched[*slot], now)
        };
        (0..WIDTH).find(is_it)
    }

    #[inline]
    fn free(&self, now: u32) -> Option<usize> {
        self.touched.iter().position(|touched| !is_alive(*touched, now))
    }
}

/// Whether something of generation `touched` is one of the two youngest.
#[inline]
fn is_alive(touched: u32, now: u32) -> bool {
    now - touched < 2
}

impl Table {
    /// Where the entry of `key` is.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<Place> {
        let mut bucket = self.home(key.head());
        // All may have notes, though never so in practice.
        for _ in 0..self.buckets.len() {
            let here = &self.buckets[bucket];
            if let Some(slot) = here.find(key, self.now) {
                return Some(Place { bucket, slot });
            }
            if !is_alive(here.passed, self.now) {
                return None;
            }
            bucket = self.next(bucket);
        }
        None
    }

    /// Loads what [`find`](Self::find) and [`insert`](Self::insert) need first, both lines of a bucket. What it
    /// returns means nothing.
    #[inline]
    pub(super) fn load(&self, key: Key) -> u64 {
        let Some(bucket) = self.buckets.get(self.home(key.head())) else { return 0 };
        bucket.heads[0] ^ bucket.questions[0].0
    }

    /// The entry there.
    pub(super) fn entry(&self, place: Place) -> Entry {
        let bucket = &self.buckets[place.bucket];
        Entry { via: bucket.vias[place.slot], question: bucket.questions[place.slot] }
    }

    /// It was touched in the current generation.
    pub(super) fn is_current(&self, place: Place) -> bool {
        self.buckets[place.bucket].touched[place.slot] == self.now
    }

    /// Changes the entry there, and not its age.
    pub(super) fn set(&mut self, place: Place, entry: Entry) {
        let bucket = &mut self.buckets[place.bucket];
        bucket.vias[place.slot] = entry.via;
        bucket.questions[place.slot] = entry.question;
    }

    /// The entry of `key`, which is there, is of the current generation from now on.
    #[inline]
    pub(super) fn touch(&mut self, key: Key, place: Place) {
        let now = self.now;
        let touched = &mut self.buckets[place.bucket].touched[place.slot];
        if *touched == now {
            return;
        }
        *touched = now;
        self.older -= 1;
        self.current += 1;
        let mut bucket = self.home(key.head());
        while bucket != place.bucket {
            self.buckets[bucket].passed = now;
            bucket = self.next(bucket);
        }
    }

    /// Adds an entry to the current generation. The key is not there.
    #[inline]
    pub(super) fn insert(&mut self, key: Key, entry: Entry) {
        if self.len() >= FILL_MAX * self.buckets.len() {
            self.resize((2 * self.buckets.len()).max(BUCKETS_KEPT));
        }
        self.place(key.head(), key.tag(), entry, self.now);
        self.current += 1;
    }

    /// Puts an entry of generation `touched` where there is room, of which there is some.
    #[inline]
    fn place(&mut self, head: u64, tag: u16, entry: Entry, touched: u32) {
        let mut bucket = self.home(head);
        loop {
            let here = &mut self.buckets[bucket];
            if let Some(slot) = here.free(self.now) {
                here.heads[slot] = head;
                here.tags[slot] = tag;
                here.touched[slot] = touched;
                return self.set(Place { bucket, slot }, entry);
            }
            here.passed = here.passed.max(touched);
            bucket = self.next(bucket);
        }
    }

    /// Forgets the entry there.
    pub(super) fn remove(&mut self, place: Place) {
        let touched = &mut self.buckets[place.bucket].touched[place.slot];
        match *touched == self.now {
            true => self.current -= 1,
            false => self.older -= 1,
        }
        *touched = 0;
    }

    /// Begins a generation, and forgets the one before the last. Returns how many entries it had.
    pub(super) fn rotate(&mut self) -> usize {
        let forgotten = self.older;
        self.older = std::mem::take(&mut self.current);
        self.now += 1;
        // A table in steady use is a fifth full now, or more. What a spike left is given back.
        let is_spacious = self.buckets.len() > BUCKETS_KEPT.max(2 * self.older);
        if is_spacious || self.now == u32::MAX {
            self.resize((2 * self.older).div_ceil(FILL_MAX));
        }
        forgotten
    }

    /// Makes the table anew, of so many buckets, which are enough.
    #[cold]
    fn resize(&mut self, buckets: usize) {
        let new = vec![Bucket::default(); buckets].into_boxed_slice();
        let old = std::mem::replace(&mut self.buckets, new);
        let before = std::mem::replace(&mut self.now, FIRST_GENERATION);
        for (bucket, slot) in
            old.iter().flat_map(|bucket| (0..WIDTH).map(move |slot| (bucket, slot)))
        {
            let touched = bucket.touched[slot];
            if is_alive(touched, before) {
                let entry = Entry { via: bucket.vias[slot], question: bucket.questions[slot] };
                let touched = FIRST_GENERATION - (before - touched);
                self.place(bucket.heads[slot], bucket.tags[slot], entry, touched);
            }
        }
    }

    /// The bucket where a key with this first half belongs.
    #[inline]
    fn home(&self, head: u64) -> usize {
        (((head >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }

    /// Entries held, of both generations.
    pub(super) fn len(&self) -> usize {
        self.current + self.older
    }

    /// Entries of the current generation.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// How many entries there is memory for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        WIDTH * self.buckets.len()
    }
}

#[cfg(test)]
mod tests;
