//! A shadow model: every peer's frames, read back, are the messages it should get, in order.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::value::RawValue;

use super::*;
use crate::dam::peer::PeerId;
use crate::ws::reader::{Event, FrameReader, Role};

/// A peer of the model.
struct Peer {
    slot: usize,
    is_link: bool,
    is_here: bool,
    /// What it should get.
    expected: Vec<String>,
}

struct Model {
    random: StdRng,
    batch_bytes_max: usize,
    batch: Coalescer,
    peers: Vec<Peer>,
    said: usize,
}

/// What happens in a turn; made up before the turn's text is complete.
enum Step {
    Broadcast(Vec<usize>),
    Own(usize),
    Join(usize),
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let batch_bytes_max = random.random_range(20..2_000);
        let peers = (0..random.random_range(1..7))
            .map(|at| Peer {
                // Slots have gaps where peers have gone.
                slot: at * 2 + random.random_range(0..2),
                is_link: random.random_ratio(1, 3),
                is_here: random.random_ratio(3, 4),
                expected: Vec::new(),
            })
            .collect();
        let batch = Coalescer::new(batch_bytes_max, Arc::default());
        Model { random, batch_bytes_max, batch, peers, said: 0 }
    }

    /// Some turns of reactors, taken into the batch and noted in the model.
    fn collect(&mut self) {
        for _ in 0..self.random.random_range(0..4) {
            let (mut text, mut items, mut steps) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..self.random.random_range(0..8) {
                let step = self.step(&mut text, &mut items);
                steps.push((step, items.len()));
            }
            self.batch.add_turn(Turn::of(text, items));
            for (step, end) in steps {
                self.take(step, end.wrapping_sub(1));
            }
        }
    }

    fn step(&mut self, text: &mut Vec<u8>, items: &mut Vec<Outbound>) -> Step {
        let at = self.random.random_range(0..self.peers.len());
        let kind = self.random.random_range(0..10);
        if kind == 0 && !self.peers[at].is_here {
            self.peers[at].is_here = true;
            return Step::Join(at);
        }
        let (message, body) = self.message(text);
        if kind < 4 && self.peers[at].is_here {
            self.peers[at].expected.push(message);
            items.push(Outbound::Send(PeerId::new(0, 0), body));
            return Step::Own(at);
        }
        let mut except = Vec::new();
        for (at, peer) in self.peers.iter_mut().enumerate().filter(|(_, peer)| peer.is_here) {
            match self.random.random_ratio(1, 4) {
                // A sender that is in its own skip list is named twice.
                true => (0..self.random.random_range(1..3)).for_each(|_| except.push(at)),
                false => peer.expected.push(message.clone()),
            }
        }
        items.push(Outbound::Broadcast(body, Default::default()));
        Step::Broadcast(except)
    }

    fn message(&mut self, text: &mut Vec<u8>) -> (String, Body) {
        self.said += 1;
        let pad = match self.random.random_range(0..8) {
            0 => self.random.random_range(0..2_500),
            1 => self.random.random_range(0..600),
            _ => self.random.random_range(0..30),
        };
        let message = format!(r#"{{"n":{},"x":"{}"}}"#, self.said, "é".repeat(pad / 2));
        if self.random.random_ratio(1, 6) {
            let whole = Bytes::from(message.clone().into_bytes());
            let cut = self.random.random_range(0..whole.len());
            let parts = [whole.slice(..cut), Bytes::new(), whole.slice(cut..)];
            return (message, Body::Large(parts.into()));
        }
        let start = text.len();
        text.extend_from_slice(message.as_bytes());
        (message, Body::Small(start..text.len()))
    }

    fn take(&mut self, step: Step, item: usize) {
        match step {
            Step::Broadcast(except) => {
                self.batch.add_broadcast(item);
                for at in except {
                    self.batch.except(self.peers[at].slot);
                }
            }
            Step::Own(at) => self.batch.add_own(self.peers[at].slot, item),
            Step::Join(at) => self.batch.join(self.peers[at].slot),
        }
    }

    /// Hands the batch out and compares.
    fn deliver(&mut self) {
        let expects = self.peers.iter().any(|peer| !peer.expected.is_empty());
        assert!(!expects || !self.batch.is_empty());
        let marks = self.batch.encode();
        let mut marked = marks.by_slot().peekable();
        for peer in self.peers.iter_mut().filter(|peer| peer.is_here) {
            let marks = marked.next_if(|(slot, _)| *slot == peer.slot).map(|(_, marks)| marks);
            let expected = std::mem::take(&mut peer.expected);
            let (pieces, copies, frame_count) = match marks {
                None if !peer.is_link => {
                    (self.batch.shared(), self.batch.broadcasts(), self.batch.frames())
                }
                marks => {
                    let copies = self.batch.cut_for(marks.unwrap_or_default(), peer.is_link);
                    (self.batch.cut(), copies, self.batch.cut_frames())
                }
            };
            assert_eq!(copies, expected.len());
            let frames = read(pieces, peer.is_link);
            assert_eq!(frames.len(), frame_count);
            check_flags(pieces);
            assert_eq!(open_frames(&frames, self.batch_bytes_max), expected);
            if peer.is_link && pieces.len() > 1 {
                assert_eq!(pieces.len(), frames.len(), "a masked frame is a piece of its own");
            }
        }
        assert!(marked.next().is_none(), "every mark is somebody's");
        drop(marked);
        self.batch.clear(marks);
        assert!(self.batch.is_empty());
    }
}

/// The texts of the frames in `pieces`.
fn read(pieces: &[Piece], is_masked: bool) -> Vec<String> {
    let role = if is_masked { Role::Server } else { Role::Client };
    let mut reader = FrameReader::new(role, 1 << 20);
    let mut input: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
    let (mut at, mut texts) = (0, Vec::new());
    while let Some(event) = reader.next(&mut input, &mut at).unwrap() {
        let Event::Text(text) = event else { panic!("{event:?}") };
        texts.push(text.as_str().to_owned());
    }
    assert!(!reader.is_mid_frame());
    texts
}

/// The messages in frames that are each one object, or an array within the limit.
fn open_frames(frames: &[String], batch_bytes_max: usize) -> Vec<String> {
    let mut messages = Vec::new();
    for frame in frames {
        if frame.starts_with('{') {
            messages.push(frame.clone());
            continue;
        }
        let elements: Vec<&RawValue> = serde_json::from_str(frame).unwrap();
        assert!(elements.len() > 1, "{frame}");
        let bytes: usize = elements.iter().map(|element| element.get().len()).sum();
        assert!(bytes <= batch_bytes_max, "{bytes} over {batch_bytes_max}");
        assert_eq!(frame.len(), bytes + elements.len() + 1, "nothing but brackets and commas");
        messages.extend(elements.iter().map(|element| element.get().to_owned()));
    }
    messages
}

/// A piece that is said to end a frame does, and the last one does. Of the others none ends one.
fn check_flags(pieces: &[Piece]) {
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
    let (mut ends, mut at) = (vec![], 0);
    while at < bytes.len() {
        let (len, header) = match bytes[at + 1] & 0x7f {
            126 => (usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])), 4),
            127 => panic!("no frame of this test is that long"),
            len => (usize::from(len), 2),
        };
        let key = if bytes[at + 1] & 0x80 != 0 { 4 } else { 0 };
        at += header + key + len;
        ends.push(at);
    }
    let mut end = 0;
    for piece in pieces {
        end += piece.bytes.len();
        assert_eq!(piece.ends_frame, ends.contains(&end), "at {end}, frames end at {ends:?}");
    }
}

#[test]
fn every_peer_gets_what_it_should_in_order() {
    for seed in 0..1_000 {
        let mut model = Model::new(seed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                model.collect();
                model.deliver();
            }
        }));
        assert!(result.is_ok(), "seed {seed}");
    }
}

/// Broadcasts of these lengths, in one turn.
fn batch_of(lens: &[usize], batch_bytes_max: usize) -> Coalescer {
    let (mut text, mut items) = (Vec::new(), Vec::new());
    for len in lens {
        let start = text.len();
        text.extend_from_slice(format!(r#"{{"x":"{}"}}"#, "x".repeat(len - 8)).as_bytes());
        items.push(Outbound::Broadcast(Body::Small(start..text.len()), Default::default()));
    }
    let mut batch = Coalescer::new(batch_bytes_max, Arc::default());
    batch.add_turn(Turn::of(text, items));
    batch
}

#[test]
fn a_batch_is_filled_to_its_limit_and_not_beyond() {
    let mut batch = batch_of(&[100, 200, 300, 301, 299, 900, 10], 600);
    (0..7).for_each(|item| batch.add_broadcast(item));
    batch.encode();
    let texts = read(batch.shared(), false);
    let lens: Vec<_> = texts.iter().map(String::len).collect();
    assert_eq!(lens, [600 + 4, 600 + 3, 900, 10]);
    assert_eq!((batch.frames(), batch.broadcasts()), (4, 7));
}

#[test]
fn a_peer_that_gets_little_of_a_batch_does_not_hold_all_of_it() {
    let mut batch = batch_of(&[600; 100], 100_000);
    for item in 0..100 {
        batch.add_broadcast(item);
        if item != 50 {
            batch.except(0);
        }
        if item == 50 {
            batch.except(1);
        }
    }
    let marks = batch.encode();
    let marked: Vec<_> = marks.by_slot().collect();
    let shares = |batch: &Coalescer| {
        let whole = batch.encoded.as_ptr_range();
        batch.cut().iter().any(|piece| whole.contains(&piece.bytes.as_ptr()))
    };
    assert_eq!(batch.cut_for(marked[0].1, false), 1);
    assert!(!shares(&batch), "600 bytes would hold 60,000");
    check_flags(batch.cut());
    assert_eq!(batch.cut_for(marked[1].1, false), 99);
    assert!(shares(&batch), "nearly all of it is not copied");
}

#[test]
fn a_batch_that_is_done_with_is_not_held() {
    let large = Bytes::from(format!(r#"{{"x":"{}"}}"#, "x".repeat(100_000)).into_bytes());
    let to = PeerId::new(0, 0);
    let items = vec![Outbound::Send(to, Body::Large([large.clone()].into()))];
    let mut batch = Coalescer::new(9_000, Arc::default());
    batch.add_turn(Turn::of(Vec::new(), items));
    batch.add_own(0, 0);
    let marks = batch.encode();
    assert_eq!(batch.cut_for(marks.by_slot().next().unwrap().1, false), 1);
    batch.clear(marks);
    assert!(large.is_unique(), "the answer was delivered, and is still held");
}

#[test]
fn shared_pieces_are_short_and_whole_frames() {
    let mut batch = batch_of(&[1_000; 400], 9_000);
    (0..400).for_each(|item| batch.add_broadcast(item));
    batch.encode();
    assert!(batch.shared().len() > 5);
    assert!(batch.shared().iter().all(|piece| piece.bytes.len() <= SHARED_PIECE_BYTES_MAX));
    assert_eq!(read(batch.shared(), false).len(), batch.frames());
    check_flags(batch.shared());
}
