//! The stamp: what a message carries so that every copy of it can be counted and timed.
//!
//! Fifty characters of printable ASCII at a place that no relay changes: a marker, what kind of message
//! this is, its source, its number there, when it was meant to be sent, how late it was sent, and a
//! checksum with the secret of the run. Fixed width, so a sender patches it in place, and two letters
//! for each byte, so that a receiver decodes it without a table.
//!
//! Must not know: what is around it.

/// The first character of every stamp. It appears in no other part of what is sent.
pub const MARKER: u8 = b'^';
/// Length of a stamp in bytes, the marker included.
pub const STAMP_BYTES: usize = 2 + 6 * WORD_BYTES;

const WORD_BYTES: usize = 8;
/// What a unit of lag is, in nanoseconds: lags of up to four minutes fit.
const LAG_UNIT_NS: u64 = 64;

/// What a stamped message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// For everybody.
    Post = b'P',
    /// For everybody, and somebody answers.
    Question = b'Q',
    /// For the one that asked; the rest of the stamp is the question's.
    Answer = b'R',
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        [Kind::Post, Kind::Question, Kind::Answer].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What a stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// What the message is.
    pub kind: Kind,
    /// Who sent it: an index of the run.
    pub source: u32,
    /// Its number among those of its source, from 0.
    pub sequence: u32,
    /// When it was meant to be sent, in nanoseconds of the run's clock.
    pub meant_ns: u64,
    /// How much later it was sent, in nanoseconds.
    pub lag_ns: u64,
}

impl Stamp {
    /// Writes the stamp. The lag is rounded down to its unit.
    pub fn write(&self, secret: u64, to: &mut [u8; STAMP_BYTES]) {
        let words = self.words();
        to[0] = MARKER;
        to[1] = self.kind as u8;
        let places = to[2..].as_chunks_mut::<WORD_BYTES>().0;
        for (place, word) in places.iter_mut().zip(words) {
            *place = spread(word);
        }
        places[5] = spread(checksum(self.kind, &words, secret));
    }

    /// Reads a stamp; `None` when it is not one of this run, or not as it was sent.
    #[inline]
    pub fn read(from: &[u8; STAMP_BYTES], secret: u64) -> Option<Stamp> {
        let kind = Kind::of(from[1])?;
        let places = from[2..].as_chunks::<WORD_BYTES>().0;
        let mut words = [0; 6];
        for (word, place) in words.iter_mut().zip(places) {
            *word = gather(*place)?;
        }
        let [source, sequence, high, low, lag, sum] = words;
        if from[0] != MARKER || sum != checksum(kind, &[source, sequence, high, low, lag], secret) {
            return None;
        }
        Some(Stamp {
            kind,
            source,
            sequence,
            meant_ns: u64::from(high) << 32 | u64::from(low),
            lag_ns: u64::from(lag) * LAG_UNIT_NS,
        })
    }

    fn words(&self) -> [u32; 5] {
        let lag = u32::try_from(self.lag_ns / LAG_UNIT_NS).unwrap_or(u32::MAX);
        [self.source, self.sequence, (self.meant_ns >> 32) as u32, self.meant_ns as u32, lag]
    }
}

/// Eight letters for a word: `A` to `P`, a letter for each four bits, the highest first.
#[inline]
pub fn spread(word: u32) -> [u8; WORD_BYTES] {
    let mut wide = u64::from(word);
    wide = (wide | wide << 16) & 0x0000_ffff_0000_ffff;
    wide = (wide | wide << 8) & 0x00ff_00ff_00ff_00ff;
    wide = (wide | wide << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    (wide + 0x4141_4141_4141_4141).to_be_bytes()
}

/// The word of eight letters; `None` when they are not such letters.
#[inline]
pub fn gather(letters: [u8; WORD_BYTES]) -> Option<u32> {
    let wide = u64::from_be_bytes(letters).wrapping_sub(0x4141_4141_4141_4141);
    if wide & 0xf0f0_f0f0_f0f0_f0f0 != 0 {
        return None;
    }
    let wide = (wide | wide >> 4) & 0x00ff_00ff_00ff_00ff;
    let wide = (wide | wide >> 8) & 0x0000_ffff_0000_ffff;
    Some((wide | wide >> 16) as u32)
}

#[inline]
fn checksum(kind: Kind, words: &[u32; 5], secret: u64) -> u32 {
    let mut sum = secret ^ kind as u64;
    for word in words {
        sum = (sum ^ u64::from(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        sum ^= sum >> 29;
    }
    (sum >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        kind: Kind::Question,
        source: 99_999,
        sequence: u32::MAX,
        meant_ns: 0x0123_4567_89ab_cdef,
        lag_ns: 640,
    };

    fn written() -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        STAMP.write(7, &mut bytes);
        bytes
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        assert_eq!(Stamp::read(&written(), 7), Some(STAMP));
        assert!(written().is_ascii());
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        for at in 0..STAMP_BYTES {
            for flip in 1..=255 {
                let mut bytes = written();
                bytes[at] ^= flip;
                assert_eq!(Stamp::read(&bytes, 7), None, "byte {at} with {flip}");
            }
        }
    }

    #[test]
    fn the_stamp_of_another_run_is_none() {
        assert_eq!(Stamp::read(&written(), 8), None);
    }

    #[test]
    fn words_survive_as_letters() {
        for word in [0, 1, 0xf, 0x10, 0x1234_5678, u32::MAX] {
            assert_eq!(gather(spread(word)), Some(word));
        }
    }
}
