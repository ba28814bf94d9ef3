//! What other connections of this thread were given already: a relay sends the same bytes to many, and
//! the same bytes hold the same messages.
//!
//! Owns: units of a stream, each from one message's end to the next one's, that were scanned and found
//! whole, and their stamps. Bytes that another connection gets are compared with them, and scanned when
//! they differ in anything: so every byte of every connection is looked at, and most of them only once
//! by [`Scanner`]. Must not know frames, connections or what is counted.
//!
//! Invariant: a unit begins and ends where the scanner is between messages. What it finds in a unit
//! then depends on the unit's bytes alone.

use crate::scan::{Expected, Found, Scanner};
use crate::stamp::Stamp;

/// Bytes that are remembered before all is forgotten: they and their copies are to fit into a cache.
const BYTES_MAX: usize = 1 << 20;
/// Longer units are not remembered: their text is in a cache, and a memory of them would not be.
const UNIT_BYTES_MAX: usize = 4 << 10;
/// A unit is found again by its first bytes, which have the id of its message.
const HEAD_BYTES: usize = 48;
/// Places of the table of heads: twice the units of 250 bytes that are remembered.
const PLACES: usize = 1 << 13;

/// See the module's head.
#[derive(Debug)]
pub struct Memo {
    bytes: Vec<u8>,
    stamps: Vec<Stamp>,
    units: Vec<Unit>,
    /// One more than the unit whose head belongs there; 0: none.
    places: Box<[u32]>,
    /// How often all was forgotten.
    age: u32,
}

/// Where a unit ends among the bytes and the stamps; it begins where the one before it ends.
#[derive(Clone, Copy, Debug, Default)]
struct Unit {
    bytes_end: usize,
    stamps_end: usize,
}

/// The unit that a connection probably gets next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    age: u32,
    unit: u32,
}

/// What a stream had.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Messages that came whole, in their order.
    Whole(&'a [Stamp]),
    /// Something else.
    Other(Found),
}

impl Default for Memo {
    fn default() -> Self {
        Memo {
            bytes: Vec::new(),
            stamps: Vec::new(),
            units: Vec::new(),
            places: vec![0; PLACES].into(),
            age: 0,
        }
    }
}

impl Memo {
    /// Takes more of a connection's stream: the same as [`Scanner::scan`] finds in it.
    #[inline]
    pub fn scan(
        &mut self,
        scanner: &mut Scanner,
        cursor: &mut Cursor,
        mut bytes: &[u8],
        expected: &Expected,
        heard: &mut impl FnMut(Heard<'_>),
    ) {
        while !bytes.is_empty() {
            let was_between = scanner.is_between();
            if was_between && let Some(units) = self.recall(*cursor, bytes) {
                let (begin, end) = (self.begin(units.0), self.begin(units.1));
                *cursor = Cursor { age: self.age, unit: units.1 as u32 };
                heard(Heard::Whole(&self.stamps[begin.stamps_end..end.stamps_end]));
                bytes = &bytes[end.bytes_end - begin.bytes_end..];
                continue;
            }
            let (found, rest) = scanner.next(bytes, expected);
            if was_between && scanner.is_between() {
                self.learn(&bytes[..bytes.len() - rest.len()], found, cursor);
            }
            bytes = rest;
            match found {
                Some(Found::Message(stamp, true)) => heard(Heard::Whole(&[stamp])),
                Some(found) => heard(Heard::Other(found)),
                None => {}
            }
        }
    }

    /// The units, from one up to another, that these bytes begin with.
    #[inline]
    fn recall(&self, cursor: Cursor, bytes: &[u8]) -> Option<(usize, usize)> {
        let next = cursor.unit as usize;
        if cursor.age == self.age
            && let Some(end) = self.same(next, bytes)
        {
            return Some((next, end));
        }
        let known = self.places[place(bytes)?].checked_sub(1)? as usize;
        Some((known, self.same(known, bytes)?))
    }

    /// Up to which unit the units from this one on are what the bytes begin with; `None`: none is.
    #[inline]
    fn same(&self, first: usize, bytes: &[u8]) -> Option<usize> {
        let begin = self.begin(first).bytes_end;
        let fits = |unit: &Unit| unit.bytes_end - begin <= bytes.len();
        let all = first + self.units.get(first..)?.partition_point(fits);
        let is_same = |from: usize, to: usize| {
            let (from, to) = (self.begin(from).bytes_end, self.begin(to).bytes_end);
            self.bytes[from..to] == bytes[from - begin..to - begin]
        };
        if all > first && is_same(first, all) {
            return Some(all);
        }
        let same = (first..all).take_while(|unit| is_same(*unit, unit + 1)).count();
        (same > 0).then_some(first + same)
    }

    /// The end of the unit before this one.
    #[inline]
    fn begin(&self, unit: usize) -> Unit {
        unit.checked_sub(1).map_or(Unit::default(), |before| self.units[before])
    }

    fn learn(&mut self, unit: &[u8], found: Option<Found>, cursor: &mut Cursor) {
        let stamp = match found {
            Some(Found::Message(stamp, true)) => Some(stamp),
            None => None,
            Some(_) => return,
        };
        if unit.len() > UNIT_BYTES_MAX {
            return;
        }
        if self.bytes.len() + unit.len() > BYTES_MAX {
            self.forget();
        }
        self.bytes.extend_from_slice(unit);
        self.stamps.extend(stamp);
        self.units.push(Unit { bytes_end: self.bytes.len(), stamps_end: self.stamps.len() });
        let count = self.units.len() as u32;
        if let Some(place) = place(unit) {
            self.places[place] = count;
        }
        *cursor = Cursor { age: self.age, unit: count };
    }

    fn forget(&mut self) {
        self.bytes.clear();
        self.stamps.clear();
        self.units.clear();
        self.places.fill(0);
        self.age = self.age.wrapping_add(1);
    }
}

/// Where a unit that begins like this is in the table of heads; `None` when it is too short.
#[inline]
fn place(bytes: &[u8]) -> Option<usize> {
    let head = bytes.first_chunk::<HEAD_BYTES>()?;
    let mix = |sum: u64, word: &[u8; 8]| {
        (sum ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
    };
    let sum = head.as_chunks::<8>().0.iter().fold(0, mix);
    Some((sum >> 32) as usize % PLACES)
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::scan::{Fillers, filler};
    use crate::stamp::{Kind, STAMP_BYTES};

    fn expected(text: usize) -> Expected {
        let fillers = Fillers { post: filler(text), question: filler(0), answer: filler(7) };
        Expected { secret: 3, fillers }
    }

    /// A message as it is among others of a batch.
    fn message(source: u32, sequence: u32, expected: &Expected) -> Vec<u8> {
        let stamp = Stamp { kind: Kind::Post, source, sequence, meant_ns: 5, lag_ns: 0 };
        let mut bytes = [0; STAMP_BYTES];
        stamp.write(3, &mut bytes);
        let head = format!("{{\"#\":\"{source:04}{sequence:012}\",\"put\":{{\"x\":\"");
        [head.as_bytes(), &bytes, &expected.fillers.post, b"}},"].concat()
    }

    /// What is found in streams that come in turns, in pieces of any length, with and without a memory.
    fn compare(streams: &[Vec<u8>], expected: &Expected, seed: u64) {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut memo = Memo::default();
        let mut states: Vec<_> = streams.iter().map(|_| Default::default()).collect();
        let mut with = vec![Vec::new(); streams.len()];
        let mut at = vec![0; streams.len()];
        while let Some(least) = (0..streams.len()).filter(|n| at[*n] < streams[*n].len()).min() {
            let turn = random.random_range(least..streams.len());
            let to = (at[turn] + random.random_range(1..9_000)).min(streams[turn].len());
            let (scanner, cursor): &mut (Scanner, Cursor) = &mut states[turn];
            memo.scan(scanner, cursor, &streams[turn][at[turn]..to], expected, &mut |heard| {
                match heard {
                    Heard::Whole(stamps) => {
                        with[turn].extend(stamps.iter().map(|stamp| Found::Message(*stamp, true)));
                    }
                    Heard::Other(found) => with[turn].push(found),
                }
            });
            at[turn] = to;
        }
        for (stream, with) in streams.iter().zip(with) {
            let mut without = Vec::new();
            Scanner::default().scan(stream, expected, &mut |found| without.push(found));
            assert!(with == without, "seed {seed}");
        }
    }

    #[test]
    fn equal_streams_are_heard_as_each_alone() {
        for (seed, text) in [100, 0, 5_000, 100].into_iter().enumerate() {
            let expected = expected(text);
            let stream: Vec<_> = (0..6_000).flat_map(|n| message(0, n, &expected)).collect();
            assert!(stream.len() > BYTES_MAX / 2);
            compare(&vec![stream; 4], &expected, seed as u64);
        }
    }

    #[test]
    fn streams_that_lack_their_own_messages_are_heard_as_each_alone() {
        let expected = expected(100);
        let all: Vec<_> = (0..8_000).map(|n| (n % 5, n / 5)).collect();
        let stream = |own: u32| -> Vec<u8> {
            let others = all.iter().filter(|(source, _)| *source != own);
            others.flat_map(|(source, n)| message(*source, *n, &expected)).collect()
        };
        (0..4).for_each(|seed| compare(&[0, 1, 2, 3, 4].map(stream), &expected, seed));
    }

    #[test]
    fn a_fault_in_one_stream_is_found_there_and_nowhere_else() {
        let expected = expected(100);
        let whole: Vec<_> = (0..500).flat_map(|n| message(0, n, &expected)).collect();
        let length = message(0, 0, &expected).len();
        for seed in 0..300 {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut streams = vec![whole.clone(); 3];
            let at = random.random_range(0..whole.len());
            match seed % 3 {
                0 => streams[1][at] ^= 1 << random.random_range(0..7),
                1 => drop(streams[1].drain(at..at + random.random_range(1..2 * length))),
                _ => {
                    let again = whole[..at.min(2 * length)].to_vec();
                    streams[1].splice(at..at, again);
                }
            }
            compare(&streams, &expected, seed);
        }
    }

    #[test]
    fn what_was_heard_before_is_not_scanned_again() {
        let expected = expected(100);
        let stream: Vec<_> = (0..100).flat_map(|n| message(0, n, &expected)).collect();
        let (mut memo, mut lengths) = (Memo::default(), Vec::new());
        for _ in 0..2 {
            let (mut scanner, mut cursor) = Default::default();
            memo.scan(&mut scanner, &mut cursor, &stream, &expected, &mut |heard| match heard {
                Heard::Whole(stamps) => lengths.push(stamps.len()),
                Heard::Other(found) => panic!("{found:?}"),
            });
        }
        assert_eq!(lengths, [vec![1; 100], vec![100]].concat());
    }
}
