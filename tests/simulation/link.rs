//! Links and what travels on them.

use std::ops::Range;
use std::rc::Rc;

use super::rng::Rng;

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Relay(usize),
    Client(usize),
}

/// A WebSocket frame, and what the simulation knows of its contents.
#[derive(Debug)]
pub struct Frame {
    pub text: Vec<u8>,
    /// Its messages, in order, with anything else that is heard as one.
    pub parts: Vec<Part>,
}

/// A message in a frame.
#[derive(Clone, Debug)]
pub struct Part {
    /// Which of the shadow's messages it is; None for talk between neighbours.
    pub message: Option<u32>,
    pub at: Range<usize>,
}

impl Frame {
    /// A frame of one message.
    pub fn single(text: Vec<u8>, message: Option<u32>) -> Rc<Frame> {
        let parts = vec![Part { message, at: 0..text.len() }];
        Rc::new(Frame { text, parts })
    }

    /// Talk between neighbours.
    pub fn control(text: String) -> Rc<Frame> {
        Frame::single(text.into_bytes(), None)
    }

    /// A batch of what others hold.
    pub fn join(frames: &[Rc<Frame>]) -> Rc<Frame> {
        let (mut text, mut parts) = (vec![b'['], Vec::new());
        for part in frames.iter().flat_map(|frame| frame.messages()) {
            if text.len() > 1 {
                text.push(b',');
            }
            let start = text.len();
            text.extend_from_slice(part.1);
            parts.push(Part { message: part.0, at: start..text.len() });
        }
        text.push(b']');
        Rc::new(Frame { text, parts })
    }

    /// Which message and its text, one by one.
    pub fn messages(&self) -> impl Iterator<Item = (Option<u32>, &[u8])> {
        self.parts.iter().map(|part| (part.message, &self.text[part.at.clone()]))
    }
}

/// A link between two nodes: what a relay or client was told to dial. It has a connection, or
/// not, one after the other.
pub struct Link {
    /// Who dials, and who is dialled.
    pub ends: [Node; 2],
    /// How the dialling side names the other.
    pub url: Rc<str>,
    pub delay_ms: (u64, u64),
    /// Counts connections.
    pub life: u32,
    /// Which ends know of the connection.
    pub is_joined: [bool; 2],
    /// The connection is broken, though an end may not know yet.
    pub is_cut: bool,
    /// The link led to the dialling relay itself.
    pub is_given_up: bool,
    /// The way from each end to the other.
    pub ways: [Way; 2],
    /// Messages sent over it, ever, without the talk between neighbours.
    pub messages: u64,
}

/// One direction of a link.
#[derive(Default)]
pub struct Way {
    /// Nothing sent from now on arrives before this: order is kept.
    pub free_ms: u64,
    /// What leaves together, when the sender's turn ends.
    pub outbox: Vec<Rc<Frame>>,
}

impl Link {
    pub fn new(ends: [Node; 2], url: Rc<str>, delay_ms: (u64, u64)) -> Self {
        Link {
            ends,
            url,
            delay_ms,
            life: 0,
            is_joined: [false; 2],
            is_cut: false,
            is_given_up: false,
            ways: [Way::default(), Way::default()],
            messages: 0,
        }
    }

    /// Messages pass both ways, and both ends know.
    pub fn is_up(&self) -> bool {
        self.is_joined == [true; 2] && !self.is_cut
    }

    /// There is a connection, and `side` knows of it.
    pub fn carries_from(&self, side: usize, life: u32) -> bool {
        self.life == life && self.is_joined[side] && !self.is_cut
    }

    /// When something sent now by `side` arrives.
    pub fn arrival(&mut self, side: usize, now_ms: u64, rng: &mut Rng) -> u64 {
        let (from, to) = self.delay_ms;
        let way = &mut self.ways[side];
        way.free_ms = way.free_ms.max(now_ms + rng.ms(from, to));
        way.free_ms
    }

    /// A new connection: nothing is under way.
    pub fn open(&mut self) {
        self.life += 1;
        self.is_joined = [false, true];
        self.is_cut = false;
        self.ways = [Way::default(), Way::default()];
    }
}
