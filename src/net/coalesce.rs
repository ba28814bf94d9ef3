//! Many messages, few frames: what a writer has drained becomes one batch that all peers share.
//!
//! Owns: the batch, its encoding, and the slicing for peers that get less or more than all of it.
//! Must not know: sockets, peers' state, when to write.
//!
//! The broadcast messages of a writer turn are encoded once, `m` or `[m1,m2,…]` up to Gun's pack
//! size a frame; that is what an ordinary peer gets, as references. A peer that sent some of them,
//! joined between them or is answered in between has *marks*, and gets slices of the same bytes
//! under frame headers of its own.
//!
//! Invariant: what a peer gets is in the order in which it was added.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use self::framing::Framing;
use super::memory::{self, Gauge};
use super::queue::{Body, Outbound, Turn};
use super::remote::Piece;
use crate::ws::frame::{self, HEADER_BYTES_MAX};

mod framing;

/// A peer that gets less than one part in so many of the batch gets a copy: what waits for it would
/// hold all of the batch in memory, and count for little.
const SHARED_PART_MIN: usize = 8;

/// A slice of the batch that all peers share is at most this long, or one frame: what a slow peer
/// must still take before it can be closed.
const SHARED_PIECE_BYTES_MAX: usize = 64 * 1024;

/// A batch takes no more turns once it holds this much, in bytes. It is to fit into the kernel's
/// buffer of a peer that keeps up, and a busy queue cannot put off writing for ever.
const BATCH_BYTES_MAX: usize = 512 * 1024;

/// Likewise, in turns.
const BATCH_TURNS_MAX: usize = 64;

/// A message of the batch: which turn, which item.
#[derive(Clone, Copy, Debug)]
pub struct MessageRef {
    turn: u32,
    item: u32,
}

/// How a peer's share differs from the whole batch.
#[derive(Clone, Copy, Debug)]
pub enum Mark {
    /// It does not get the broadcast message with this index.
    Except(usize),
    /// It gets none before this index. Always a peer's first mark.
    From(usize),
    /// It gets a message of its own before the broadcast message with this index.
    Own(usize, MessageRef),
}

impl Mark {
    fn at(&self) -> usize {
        match self {
            Mark::Except(at) | Mark::From(at) | Mark::Own(at, _) => *at,
        }
    }
}

/// The marks of a batch, by peer.
#[derive(Debug, Default)]
pub struct Marks(Vec<(usize, Mark)>);

impl Marks {
    /// The slots that have marks, in ascending order, each with its own, in the order added.
    pub fn by_slot(&self) -> impl Iterator<Item = (usize, &[(usize, Mark)])> {
        self.0.chunk_by(|one, next| one.0 == next.0).map(|marks| (marks[0].0, marks))
    }
}

/// A broadcast message, encoded.
#[derive(Clone, Debug)]
struct Encoded {
    message: MessageRef,
    /// Where its text lies in `Coalescer::encoded`; empty for a large one.
    text: Range<usize>,
}

/// Broadcast messages that share a frame, or one large message.
#[derive(Clone, Debug)]
struct Group {
    messages: Range<usize>,
    /// Where the frame lies in `Coalescer::encoded`; of a large one, its header.
    frame: Range<usize>,
    is_large: bool,
}

/// See the module's head.
pub struct Coalescer {
    frame_bytes_max: usize,
    /// Memory of the turns.
    bytes: usize,
    turns: Vec<Arc<Turn>>,
    broadcasts: Vec<Encoded>,
    /// How many messages are for one peer alone.
    owns: usize,
    /// Marks by peer, in the order added.
    marks: Vec<(usize, Mark)>,
    groups: Vec<Group>,
    buffer: BytesMut,
    encoded: Bytes,
    shared: Vec<Piece>,
    own: BytesMut,
    pieces: Vec<Piece>,
    cut_frames: usize,
    /// Counts the memory of batches until no peer needs them any more.
    gauge: Arc<Gauge>,
}

impl Coalescer {
    /// An empty batch, whose frames hold up to `frame_bytes_max` bytes of messages, or one message.
    pub fn new(frame_bytes_max: usize, gauge: Arc<Gauge>) -> Self {
        Coalescer {
            gauge,
            frame_bytes_max,
            bytes: 0,
            turns: Vec::new(),
            broadcasts: Vec::new(),
            owns: 0,
            marks: Vec::new(),
            groups: Vec::new(),
            buffer: BytesMut::new(),
            encoded: Bytes::new(),
            shared: Vec::new(),
            own: BytesMut::new(),
            pieces: Vec::new(),
            cut_frames: 0,
        }
    }

    /// Nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.broadcasts.is_empty() && self.marks.is_empty()
    }

    /// How many broadcast messages the batch holds.
    pub fn broadcasts(&self) -> usize {
        self.broadcasts.len()
    }

    /// How many messages the batch holds, those for one peer alone included.
    pub fn messages(&self) -> usize {
        self.broadcasts.len() + self.owns
    }

    /// When the messages of the batch were read: turn by turn, with how many.
    pub fn reads(&self) -> impl Iterator<Item = (Instant, u64)> {
        self.turns.iter().map(|turn| (turn.read_at, u64::from(turn.messages)))
    }

    /// How many frames an ordinary peer gets.
    pub fn frames(&self) -> usize {
        self.groups.len()
    }

    /// Takes in a turn, whose messages are then added by index.
    pub fn add_turn(&mut self, turn: Arc<Turn>) {
        self.bytes += turn.bytes();
        self.turns.push(turn);
    }

    /// The batch is as large as it should become.
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES_MAX || self.turns.len() >= BATCH_TURNS_MAX
    }

    /// Adds item `item` of the newest turn for everybody.
    pub fn add_broadcast(&mut self, item: usize) {
        let message = self.newest(item);
        self.broadcasts.push(Encoded { message, text: 0..0 });
    }

    /// The peer in `slot` does not get the newest broadcast message.
    pub fn except(&mut self, slot: usize) {
        self.marks.push((slot, Mark::Except(self.broadcasts.len() - 1)));
    }

    /// The peer in `slot` gets what is added from now on.
    pub fn join(&mut self, slot: usize) {
        if !self.broadcasts.is_empty() {
            self.marks.push((slot, Mark::From(self.broadcasts.len())));
        }
    }

    /// Adds item `item` of the newest turn for the peer in `slot` alone.
    pub fn add_own(&mut self, slot: usize, item: usize) {
        self.owns += 1;
        let message = self.newest(item);
        self.marks.push((slot, Mark::Own(self.broadcasts.len(), message)));
    }

    fn newest(&self, item: usize) -> MessageRef {
        MessageRef { turn: (self.turns.len() - 1) as u32, item: item as u32 }
    }

    fn body(&self, message: MessageRef) -> (&Turn, &Body) {
        body(&self.turns, message)
    }

    fn len_of(&self, message: MessageRef) -> usize {
        match self.body(message).1 {
            Body::Small(range) => range.len(),
            Body::Large(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Encodes the batch. After this it can be handed out. Returns the peers' marks.
    pub fn encode(&mut self) -> Marks {
        self.marks.sort_by_key(|(slot, _)| *slot);
        self.buffer.reserve(self.encoded_bytes_max());
        let mut start = 0;
        while start < self.broadcasts.len() {
            start = self.encode_group(start);
        }
        // A batch has memory of its own: what the slowest peer needs of it holds no other.
        let buffer = std::mem::take(&mut self.buffer);
        let capacity = buffer.capacity();
        self.encoded = match capacity {
            0 => Bytes::new(),
            _ => memory::counted(buffer, capacity, &self.gauge),
        };
        let mut shared = std::mem::take(&mut self.shared);
        self.share_groups(&mut shared);
        self.shared = shared;
        Marks(std::mem::take(&mut self.marks))
    }

    /// What encoding needs at most: texts, and for each a comma and a header of its own.
    fn encoded_bytes_max(&self) -> usize {
        let texts: usize = self.turns.iter().map(|turn| turn.text_bytes()).sum();
        match self.broadcasts.len() {
            0 => 0,
            count => texts + (1 + HEADER_BYTES_MAX) * (count + 1),
        }
    }

    /// Encodes the frame that starts with broadcast message `start`. Returns where the next does.
    fn encode_group(&mut self, start: usize) -> usize {
        let first = self.broadcasts[start].message;
        let frame_start = self.buffer.len();
        if let (_, Body::Large(_)) = self.body(first) {
            self.buffer.extend_from_slice(&frame::text_header(self.len_of(first)));
            let frame = frame_start..self.buffer.len();
            self.groups.push(Group { messages: start..start + 1, frame, is_large: true });
            return start + 1;
        }
        let (end, bytes) = self.group_extent(start);
        let count = end - start;
        let framing = if count > 1 { count - 1 + 2 } else { 0 };
        self.buffer.extend_from_slice(&frame::text_header(bytes + framing));
        for index in start..end {
            if count > 1 {
                self.buffer.extend_from_slice(if index == start { b"[" } else { b"," });
            }
            let text_start = self.buffer.len();
            self.append_small(index);
            self.broadcasts[index].text = text_start..self.buffer.len();
        }
        if count > 1 {
            self.buffer.extend_from_slice(b"]");
        }
        let frame = frame_start..self.buffer.len();
        self.groups.push(Group { messages: start..end, frame, is_large: false });
        end
    }

    /// How many messages from `start` on share a frame, as the index after the last, and bytes.
    fn group_extent(&self, start: usize) -> (usize, usize) {
        let mut bytes = 0;
        for (index, broadcast) in self.broadcasts.iter().enumerate().skip(start) {
            let (_, Body::Small(range)) = self.body(broadcast.message) else {
                return (index, bytes);
            };
            if index > start && bytes + range.len() > self.frame_bytes_max {
                return (index, bytes);
            }
            bytes += range.len();
        }
        (self.broadcasts.len(), bytes)
    }

    fn append_small(&mut self, index: usize) {
        let message = self.broadcasts[index].message;
        let (turn, Body::Small(range)) = body(&self.turns, message) else {
            unreachable!("a group holds small messages");
        };
        self.buffer.extend_from_slice(turn.text(range));
    }

    /// Adds all groups to `pieces`, neighbours in one slice up to [`SHARED_PIECE_BYTES_MAX`].
    fn share_groups(&self, pieces: &mut Vec<Piece>) {
        let mut pending = 0..0;
        for group in &self.groups {
            let joined = pending.start..group.frame.end;
            if !pending.is_empty() && !group.is_large && joined.len() <= SHARED_PIECE_BYTES_MAX {
                pending = joined;
                continue;
            }
            self.push_encoded(std::mem::replace(&mut pending, group.frame.clone()), true, pieces);
            if group.is_large {
                self.push_encoded(std::mem::take(&mut pending), false, pieces);
                self.push_large(self.broadcasts[group.messages.start].message, pieces);
            }
        }
        self.push_encoded(pending, true, pieces);
    }

    fn push_encoded(&self, range: Range<usize>, ends_frame: bool, pieces: &mut Vec<Piece>) {
        if !range.is_empty() {
            let bytes = self.encoded.slice(range);
            pieces.push(Piece { bytes, ends_frame, is_alone: false });
        }
    }

    fn push_large(&self, message: MessageRef, pieces: &mut Vec<Piece>) {
        let (_, Body::Large(parts)) = self.body(message) else {
            unreachable!("the message is large");
        };
        let piece =
            |part: &Bytes| Piece { bytes: part.clone(), ends_frame: false, is_alone: false };
        pieces.extend(parts.iter().map(piece));
        if let Some(last) = pieces.last_mut() {
            last.ends_frame = true;
        }
    }

    /// What a peer without marks gets.
    pub fn shared(&self) -> &[Piece] {
        &self.shared
    }

    /// Cuts out what a peer with these marks gets, with each frame masked for a link. Returns how
    /// many messages; [`cut`](Self::cut) has the pieces.
    pub fn cut_for(&mut self, marks: &[(usize, Mark)], is_masked: bool) -> usize {
        let (own, pieces) = (std::mem::take(&mut self.own), std::mem::take(&mut self.pieces));
        let mut framing = Framing::new(self, is_masked, own, pieces);
        framing.frame_all(marks);
        let (own, pieces) = (framing.own, framing.pieces);
        let (copies, frames) = (framing.copies, framing.frames);
        (self.own, self.pieces, self.cut_frames) = (own, pieces, frames);
        self.let_go_of_batch();
        copies
    }

    fn let_go_of_batch(&mut self) {
        let bytes: usize = self.pieces.iter().map(|piece| piece.bytes.len()).sum();
        if bytes * SHARED_PART_MIN < self.encoded.len() && bytes > 0 {
            let mut copy = Vec::with_capacity(bytes);
            self.pieces.drain(..).for_each(|piece| copy.extend_from_slice(&piece.bytes));
            self.pieces.push(Piece { bytes: copy.into(), ends_frame: true, is_alone: true });
        }
    }

    /// The pieces of the last [`cut_for`](Self::cut_for).
    pub fn cut(&self) -> &[Piece] {
        &self.pieces
    }

    /// How many frames they are.
    pub fn cut_frames(&self) -> usize {
        self.cut_frames
    }

    /// Forgets the batch, and keeps its memory and that of its marks for the next.
    pub fn clear(&mut self, marks: Marks) {
        self.marks = marks.0;
        self.marks.clear();
        self.bytes = 0;
        self.owns = 0;
        self.turns.clear();
        self.broadcasts.clear();
        self.groups.clear();
        self.shared.clear();
        self.pieces.clear();
        self.encoded = Bytes::new();
    }
}

fn body(turns: &[Arc<Turn>], message: MessageRef) -> (&Turn, &Body) {
    let turn = &turns[message.turn as usize];
    match &turn.items()[message.item as usize] {
        Outbound::Broadcast(body, _) | Outbound::Send(_, body) => (turn, body),
        other => unreachable!("only messages are added, not {other:?}"),
    }
}

#[cfg(test)]
mod tests;
