//! Who got what: expected against received copies, for one receiver and one source.
//!
//! Owns: the counts of what went wrong, and the memory they need. Must not know sockets or times.
//!
//! Invariant: at the end of a run, `unique + lost = sent` for every pair of receiver and source. A
//! number that jumps leaves holes; one that comes later and fills a hole is reordered, and one that
//! fills none is a duplicate. Holes are remembered exactly for the last 64 numbers, and as a count
//! beyond.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What was counted. Everything from `lost` on has to be zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages sent.
    pub sent: u64,
    /// Copies that had to arrive.
    pub expected: u64,
    /// Copies that arrived, good or bad.
    pub received: u64,
    /// Copies that never came.
    pub lost: u64,
    /// Copies that came more than once.
    pub duplicated: u64,
    /// Copies that came after a later one of the same source.
    pub reordered: u64,
    /// Copies that came back to who sent them, and answers that came to who did not ask.
    pub echoed: u64,
    /// Copies that were not as they were sent.
    pub corrupted: u64,
}

impl Counts {
    /// The names and counts that have to be zero.
    pub fn faults(&self) -> [(&'static str, u64); 5] {
        [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("echoed", self.echoed),
            ("corrupted", self.corrupted),
        ]
    }

    /// Whether every copy came once, whole and in order.
    pub fn is_clean(&self) -> bool {
        self.faults().iter().all(|(_, count)| *count == 0)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.sent += more.sent;
        self.expected += more.expected;
        self.received += more.received;
        self.lost += more.lost;
        self.duplicated += more.duplicated;
        self.reordered += more.reordered;
        self.echoed += more.echoed;
        self.corrupted += more.corrupted;
    }
}

/// What one receiver got of one source.
#[derive(Clone, Copy, Debug, Default)]
pub struct Track {
    /// Bit n: the number `next - 1 - n` came.
    window: u64,
    /// One more than the highest number so far.
    next: u32,
    /// Different numbers so far.
    unique: u32,
    /// Numbers that left the window without having come.
    holes: u32,
}

impl Track {
    /// A copy came.
    #[inline]
    pub fn note(&mut self, sequence: u32, counts: &mut Counts) {
        if sequence == self.next {
            self.advance(0);
        } else if sequence > self.next {
            self.advance(sequence - self.next);
        } else {
            self.note_late(self.next - 1 - sequence, counts);
        }
    }

    /// Copies came whose numbers follow each other, so many from this one on: each is a
    /// [`note`](Self::note).
    #[inline]
    pub fn note_run(&mut self, first: u32, count: u32, counts: &mut Counts) {
        let is_gapless = self.unique == self.next;
        if first == self.next && is_gapless {
            self.next += count;
            self.unique += count;
            self.window = if count < 64 { !(!self.window << count) } else { u64::MAX };
        } else {
            (first..first + count).for_each(|sequence| self.note(sequence, counts));
        }
    }

    /// What never came of `sent` messages.
    pub fn lost(&self, sent: u32) -> u32 {
        sent.saturating_sub(self.unique)
    }

    #[inline]
    fn advance(&mut self, skipped: u32) {
        let by = skipped + 1;
        let leaving = if by >= 64 { self.window } else { self.window >> (64 - by) };
        let known = self.next.min(64);
        // Of those that leave, the ones that were sent and did not come.
        let places = by.min(64).saturating_sub(64 - known);
        self.holes += places - leaving.count_ones() + by.saturating_sub(64);
        self.window = if by >= 64 { 1 } else { self.window << by | 1 };
        self.next += by;
        self.unique += 1;
    }

    fn note_late(&mut self, age: u32, counts: &mut Counts) {
        let is_new = if age < 64 {
            let bit = 1 << age;
            let is_hole = self.window & bit == 0;
            self.window |= bit;
            is_hole
        } else {
            let is_hole = self.holes > 0;
            self.holes -= u32::from(is_hole);
            is_hole
        };
        if is_new {
            self.unique += 1;
            counts.reordered += 1;
        } else {
            counts.duplicated += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: impl IntoIterator<Item = u32>, sent: u32) -> (u64, u64, u64) {
        let (mut track, mut counts) = (Track::default(), Counts::default());
        numbers.into_iter().for_each(|number| track.note(number, &mut counts));
        (u64::from(track.lost(sent)), counts.duplicated, counts.reordered)
    }

    #[test]
    fn all_in_order_is_clean() {
        assert_eq!(after(0..1000, 1000), (0, 0, 0));
    }

    #[test]
    fn a_gap_is_a_loss() {
        assert_eq!(after((0..1000).filter(|n| n % 100 != 7), 1000), (10, 0, 0));
        assert_eq!(after((0..1000).filter(|n| !(200..500).contains(n)), 1000), (300, 0, 0));
    }

    #[test]
    fn what_never_came_at_the_end_is_lost() {
        assert_eq!(after(0..990, 1000), (10, 0, 0));
        assert_eq!(after([], 1000), (1000, 0, 0));
    }

    #[test]
    fn a_repeat_is_a_duplicate_however_late() {
        assert_eq!(after((0..1000).chain([999, 0, 500, 937]), 1000), (0, 4, 0));
        assert_eq!(after([0, 0, 1, 1, 2], 3), (0, 2, 0));
    }

    #[test]
    fn a_late_one_is_reordered_and_not_lost() {
        assert_eq!(after([0, 2, 1, 3], 4), (0, 0, 1));
        assert_eq!(after((1..1000).chain([0]), 1000), (0, 0, 1));
        assert_eq!(after((0..300).chain(400..1000).chain(300..400), 1000), (0, 0, 100));
    }

    #[test]
    fn a_run_is_as_many_single_ones() {
        // Runs of many lengths, of which some begin before the end of the one before, and some behind it.
        let mut random = 1u64;
        for _ in 0..2_000 {
            let mut alone = (Track::default(), Counts::default());
            let mut runs = alone;
            let mut at = 0;
            for _ in 0..6 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let count = (random >> 33) as u32 % 150;
                at = (at + (random >> 60) as u32 % 4).saturating_sub((random >> 56) as u32 % 5);
                runs.0.note_run(at, count, &mut runs.1);
                (at..at + count).for_each(|number| alone.0.note(number, &mut alone.1));
                at += count;
                assert_eq!((runs.0.lost(at), runs.1), (alone.0.lost(at), alone.1));
                assert_eq!((runs.0.window, runs.0.holes), (alone.0.window, alone.0.holes));
            }
        }
    }

    #[test]
    fn losses_repeats_and_late_ones_are_told_apart() {
        // 5 is lost, 7 comes twice, 9 after 10.
        assert_eq!(after([0, 1, 2, 3, 4, 6, 7, 7, 8, 10, 9], 11), (1, 1, 1));
    }
}
