//! The records of TLS as they arrive, in either version (RFC 8446 section 5.1, RFC 5246 section 6.2).
//!
//! rustls does not tell what it keeps of what it was given. What that must be follows from where
//! records begin and end, which is in plain, and from how much plaintext came of them.
//!
//! Owns: that reckoning. Must not know: rustls, sockets.

/// What a record begins with: its type, a version, its length in two bytes.
const HEADER_BYTES: usize = 5;

/// A record is longer than its plaintext by less than this, in bytes, unless it is padded.
const OVERHEAD_BYTES: usize = 40;

/// rustls keeps no more, in bytes: a handshake message, and a record behind it.
const HELD_BYTES_MAX: usize = 64 * 1024 + super::RECORD_BYTES_MAX;

/// See the module's head.
#[derive(Debug, Default)]
pub struct Records {
    /// Bytes that came of the record that is arriving, its header included.
    came: usize,
    /// The length in its header.
    length: usize,
    /// Records that ended since plaintext was last asked for, and their bytes.
    ended: usize,
    ended_bytes: usize,
    /// Bytes of records that are whole and no plaintext came of: of a handshake message, perhaps.
    unread: usize,
}

impl Records {
    /// These bytes came.
    pub fn note(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.came < HEADER_BYTES {
                match self.came {
                    3 => self.length = usize::from(first) << 8,
                    4 => self.length |= usize::from(first),
                    _ => {}
                }
                self.came += 1;
                bytes = rest;
            } else {
                let count = bytes.len().min(HEADER_BYTES + self.length - self.came);
                self.came += count;
                bytes = &bytes[count..];
            }
            if self.came >= HEADER_BYTES && self.came == HEADER_BYTES + self.length {
                self.ended += 1;
                self.ended_bytes += self.came;
                self.came = 0;
            }
        }
    }

    /// So much plaintext came of what was noted since the last call. Where any does, no handshake
    /// message is arriving: they must not be mixed, and rustls ends a connection that does.
    pub fn take(&mut self, plaintext_bytes: usize) {
        let read = plaintext_bytes + self.ended * OVERHEAD_BYTES;
        let unread = self.ended_bytes.saturating_sub(read);
        self.unread = unread + if plaintext_bytes == 0 { self.unread } else { 0 };
        (self.ended, self.ended_bytes) = (0, 0);
    }

    /// The handshake is done: what was whole has been read.
    pub fn begin(&mut self) {
        (self.ended, self.ended_bytes, self.unread) = (0, 0, 0);
    }

    /// What is kept of them, in bytes.
    pub fn held_bytes(&self) -> usize {
        (self.came + self.unread).min(HELD_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(length: usize) -> Vec<u8> {
        [&[23, 3, 3][..], &(length as u16).to_be_bytes(), &vec![0; length]].concat()
    }

    #[test]
    fn what_came_of_a_record_is_held_until_it_is_whole() {
        let stream = [record(300), record(0), record(16_000)].concat();
        for step in [1, 2, 4, 5, 6, 299, 16_000, stream.len()] {
            let (mut records, mut at) = (Records::default(), 0);
            for part in stream.chunks(step) {
                records.note(part);
                // All but the overhead came out as plaintext.
                records.take(records.ended_bytes.saturating_sub(22 * records.ended));
                at += part.len();
                let begun = [0, 305, 310].into_iter().rev().find(|begin| *begin < at).unwrap();
                let held = if at == stream.len() { 0 } else { at - begun };
                assert!([held, 0].contains(&records.held_bytes()), "{step}: {at}: {records:?}");
                assert!(records.held_bytes() == held || [305, 310].contains(&at), "{step}: {at}");
            }
        }
    }

    #[test]
    fn records_of_which_nothing_comes_out_are_held() {
        let mut records = Records::default();
        for count in 1..10 {
            records.note(&record(1000));
            records.take(0);
            assert_eq!(records.held_bytes(), count * (1005 - OVERHEAD_BYTES));
        }
        records.note(&record(1000));
        records.take(980);
        assert_eq!(records.held_bytes(), 0);
        (0..200).for_each(|_| records.note(&record(1000)));
        records.take(0);
        assert_eq!(records.held_bytes(), HELD_BYTES_MAX, "rustls has ended it long before");
    }

    #[test]
    fn after_a_handshake_only_what_is_not_whole_is_held() {
        let mut records = Records::default();
        records.note(&[record(500), record(60), record(900)[..7].to_vec()].concat());
        records.begin();
        assert_eq!(records.held_bytes(), 7);
    }
}
