//! The frames a server sends (RFC 6455), walked rather than assembled: payloads come out in the pieces
//! they were read in.
//!
//! Owns the few bytes of a header or control frame that a read cut. Must not know what payloads mean.
//! It is written apart from the relay's own reader, so that a fault in that is not made here as well.

/// Longest header of an unmasked frame.
const HEADER_BYTES_MAX: usize = 10;

/// A part of what was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// More of a text message; `true` when it begins here.
    Text(&'a [u8], bool),
    /// A ping with its payload, to be answered.
    Ping(&'a [u8]),
    /// The server says goodbye, with this code.
    Close(Option<u16>),
    /// Bytes that no server may send.
    Fault,
}

/// How far the frames of a connection are walked.
#[derive(Debug, Default)]
pub struct Walker {
    /// A header that a read cut.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    opcode: u8,
    /// The next piece of payload is the first of its message.
    begins: bool,
    is_broken: bool,
    /// Bytes missing of the current payload.
    missing: u64,
    /// A control payload that a read cut.
    control: Vec<u8>,
}

impl Walker {
    /// Takes more of the stream.
    #[inline]
    pub fn walk(&mut self, mut bytes: &[u8], part: &mut impl FnMut(Part<'_>)) {
        while !bytes.is_empty() && !self.is_broken {
            if self.missing == 0 {
                bytes = self.take_header(bytes, part);
            } else {
                let piece_bytes = (bytes.len() as u64).min(self.missing) as usize;
                let (piece, rest) = bytes.split_at(piece_bytes);
                self.missing -= piece_bytes as u64;
                self.present(piece, part);
                bytes = rest;
            }
        }
    }

    #[inline]
    fn present(&mut self, piece: &[u8], part: &mut impl FnMut(Part<'_>)) {
        match self.opcode {
            0 | 1 => {
                part(Part::Text(piece, self.begins));
                self.begins = false;
            }
            8..=10 => self.present_control(piece, part),
            _ => {}
        }
    }

    fn present_control(&mut self, piece: &[u8], part: &mut impl FnMut(Part<'_>)) {
        self.control.extend_from_slice(piece);
        if self.missing > 0 {
            return;
        }
        match self.opcode {
            8 => {
                part(Part::Close(self.control.first_chunk().map(|code| u16::from_be_bytes(*code))))
            }
            9 => part(Part::Ping(&self.control)),
            _ => {}
        }
        self.control = Vec::new();
    }

    #[inline]
    fn take_header<'a>(&mut self, bytes: &'a [u8], part: &mut impl FnMut(Part<'_>)) -> &'a [u8] {
        let before = usize::from(self.header_bytes);
        let added = bytes.len().min(HEADER_BYTES_MAX - before);
        self.header[before..before + added].copy_from_slice(&bytes[..added]);
        let Some((header_bytes, payload_bytes)) = lengths(&self.header[..before + added]) else {
            self.header_bytes += added as u8;
            return &[];
        };
        self.header_bytes = 0;
        self.begin(payload_bytes, part);
        &bytes[header_bytes - before..]
    }

    #[inline]
    fn begin(&mut self, payload_bytes: u64, part: &mut impl FnMut(Part<'_>)) {
        let [first, second] = [self.header[0], self.header[1]];
        self.opcode = first & 0x0f;
        self.begins = self.opcode == 1;
        self.missing = payload_bytes;
        let is_control = self.opcode >= 8;
        let is_known = matches!(self.opcode, 0..=2 | 8..=10);
        let is_long_control = is_control && (payload_bytes > 125 || first & 0x80 == 0);
        if !is_known || is_long_control || first & 0x70 != 0 || second & 0x80 != 0 {
            self.is_broken = true;
            part(Part::Fault);
        } else if is_control && payload_bytes == 0 {
            self.present_control(&[], part);
        }
    }
}

/// Lengths of a header and of its payload, once enough of it is there.
#[inline]
fn lengths(header: &[u8]) -> Option<(usize, u64)> {
    match (header.get(1)? & 0x7f, header) {
        (126, [_, _, a, b, ..]) => Some((4, u64::from(u16::from_be_bytes([*a, *b])))),
        (127, [_, _, length @ ..]) => Some((10, u64::from_be_bytes(*length.first_chunk()?))),
        (126, _) => None,
        (short, _) => Some((2, u64::from(short))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gunmetal::ws::frame::{self, Opcode};

    fn walk(chunks: &[&[u8]]) -> (Vec<u8>, Vec<Vec<u8>>, usize, Option<u16>) {
        let mut walker = Walker::default();
        let (mut text, mut pings, mut begins, mut code) = (Vec::new(), Vec::new(), 0, None);
        for chunk in chunks {
            walker.walk(chunk, &mut |part| match part {
                Part::Text(piece, is_first) => {
                    text.extend_from_slice(piece);
                    begins += usize::from(is_first);
                }
                Part::Ping(payload) => pings.push(payload.to_vec()),
                Part::Close(given) => code = given,
                Part::Fault => panic!("a fault"),
            });
        }
        (text, pings, begins, code)
    }

    #[test]
    fn frames_of_every_length_are_walked_wherever_they_are_cut() {
        let mut stream = Vec::new();
        for len in [1, 125, 126, 127, 65_535, 65_536] {
            stream.extend_from_slice(&frame::text_header(len));
            stream.extend(std::iter::repeat_n(b'x', len));
            stream.extend_from_slice(&frame::control(Opcode::Ping, b"hello", None));
        }
        stream.extend_from_slice(&frame::control(
            Opcode::Close,
            &frame::close_payload(1013, "slow"),
            None,
        ));
        let whole = walk(&[&stream]);
        assert_eq!(whole.0.len(), 1 + 125 + 126 + 127 + 65_535 + 65_536);
        assert_eq!((whole.1.len(), whole.2, whole.3), (6, 6, Some(1013)));
        assert_eq!(whole.1[0], b"hello");
        let cuts = (0..600).chain(65_900..66_200);
        for cut in cuts {
            assert_eq!(walk(&[&stream[..cut], &stream[cut..]]), whole, "cut at {cut}");
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(walk(&bytes), whole);
    }

    #[test]
    fn a_masked_frame_from_a_server_is_a_fault() {
        let frame = frame::masked(Opcode::Text, &[b"{}"], [1, 2, 3, 4]);
        let mut faults = 0;
        Walker::default().walk(&frame, &mut |part| faults += usize::from(part == Part::Fault));
        assert_eq!(faults, 1);
    }
}
