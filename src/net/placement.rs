//! Which writer a new peer gets.
//!
//! A turn is pushed to every writer that has peers, each of which wakes up and encodes it. For a few
//! peers one writer does that once; a second one would only double it. So a writer takes its share
//! before the next one gets any, and from then on the one with the fewest peers gets the next.
//!
//! Owns: how many peers each writer has. Must not know: who they are.

use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module's head.
#[derive(Debug)]
pub struct Placement {
    /// Peers of each writer.
    counts: Box<[AtomicUsize]>,
    peers_per_writer: usize,
}

impl Placement {
    /// Nobody is placed yet.
    pub fn new(writers: usize, peers_per_writer: usize) -> Self {
        let counts = (0..writers).map(|_| AtomicUsize::new(0)).collect();
        Placement { counts, peers_per_writer }
    }

    /// The writer of one more peer. Two that come at the same moment may get the same.
    pub fn enter(&self) -> usize {
        let counts = || self.counts.iter().map(|count| count.load(Ordering::Relaxed)).enumerate();
        let unfilled = counts().find(|(_, count)| *count < self.peers_per_writer);
        let emptiest = || counts().min_by_key(|(_, count)| *count);
        let (writer, _) = unfilled.or_else(emptiest).expect("a relay has a writer");
        self.counts[writer].fetch_add(1, Ordering::AcqRel);
        writer
    }

    /// Whether the writer has peers. It has one from before anybody can know of that peer until after it is gone.
    pub fn is_taken(&self, writer: usize) -> bool {
        self.counts[writer].load(Ordering::Acquire) > 0
    }

    /// A peer of this writer is gone.
    pub fn leave(&self, writer: usize) {
        self.counts[writer].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(placement: &Placement, count: usize) -> Vec<usize> {
        (0..count).map(|_| placement.enter()).collect()
    }

    #[test]
    fn a_writer_gets_its_share_before_the_next_one_gets_any() {
        let placement = Placement::new(3, 2);
        assert_eq!(enter(&placement, 9), [0, 0, 1, 1, 2, 2, 0, 1, 2]);
    }

    #[test]
    fn a_writer_is_taken_while_it_has_peers() {
        let placement = Placement::new(2, 2);
        let taken = || [0, 1].map(|writer| placement.is_taken(writer));
        assert_eq!(taken(), [false, false]);
        enter(&placement, 2);
        assert_eq!(taken(), [true, false]);
        enter(&placement, 1);
        (0..2).for_each(|_| placement.leave(0));
        assert_eq!(taken(), [false, true]);
    }

    #[test]
    fn who_leaves_makes_room() {
        let placement = Placement::new(2, 2);
        assert_eq!(enter(&placement, 6), [0, 0, 1, 1, 0, 1]);
        (0..2).for_each(|_| placement.leave(0));
        assert_eq!(
            enter(&placement, 3),
            [0, 0, 0],
            "the first is below its share, then the emptier"
        );
    }
}
