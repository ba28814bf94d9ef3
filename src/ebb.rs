//! When a table that was filled by many gives back the room that they left.
//!
//! Tables grow by themselves and shrink only if they are told to. That costs a pass over what is left, so it is done
//! when three quarters have gone, and then not again before three quarters of the rest have.
//!
//! Owns: the decision. Must not know: what the table holds.

/// A table that never held more is left as it is.
const FEW: usize = 1024;

/// How many a table held.
#[derive(Debug, Default)]
pub struct Ebb {
    /// At most, since it was last shrunk.
    most: usize,
    /// At most, since it was last empty.
    most_in_all: usize,
}

impl Ebb {
    /// One has gone and `left` are in the table: says whether it is to be shrunk now.
    pub fn is_low(&mut self, left: usize) -> bool {
        self.most = self.most.max(left + 1);
        self.most_in_all = self.most_in_all.max(self.most);
        // A table whose places have numbers shrinks up to the last one taken: none is when it is empty.
        let is_empty = left == 0 && self.most_in_all > FEW;
        let is_low = is_empty || self.most > FEW && left < self.most / 4;
        if is_low {
            self.most = left;
        }
        if is_empty {
            self.most_in_all = 0;
        }
        is_low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_shrunk_when_three_quarters_have_gone_and_seldom() {
        let mut ebb = Ebb::default();
        let shrinks: Vec<_> = (0..10_000).rev().filter(|left| ebb.is_low(*left)).collect();
        assert_eq!(shrinks, [2_499, 623, 0]);
        assert!((0..1_000).rev().all(|left| !ebb.is_low(left)), "it was never large");
        assert!((5_000..10_000).rev().all(|left| !ebb.is_low(left)), "half are still there");
    }
}
