//! What a peer says: from received bytes to routes in the outbox.
//!
//! Owns: which event of a WebSocket means what for the mesh, the writers and the connection. Must
//! not know: polls, other connections, when to read.

use bytes::Bytes;
use smallvec::SmallVec;

use super::conn::Hearing;
use super::queue::{Outbound, Outbox, Source};
use super::socket::{Ending, Socket};
use crate::dam::batch::{Ignored, Refusal};
use crate::dam::dedup::FETCH_MAX;
use crate::dam::mesh::{Dropped, Outgoing, Peer, Route, Router};
use crate::dam::recall::Foreseen;
use crate::metrics::{Counter, Counters};
use crate::ws::frame::{self, Opcode};
use crate::ws::reader::{Event, FrameReader, Payload, ReadError};

/// What becomes of a connection after a read.
pub enum Fate {
    /// It goes on.
    Open,
    /// Nothing more is to be heard from it; the writer sends this last frame.
    Finish(Bytes, Ending),
}

/// What was foreseen of the next texts.
type Texts = smallvec::IntoIter<[Foreseen; FETCH_MAX]>;

/// What hearing a peer needs, apart from the peer.
pub struct Hearer<'a> {
    /// The reactor's way through the mesh.
    pub router: &'a mut Router,
    /// The reactor's way to the writers.
    pub outbox: &'a mut Outbox,
    /// The reactor's counters.
    pub counters: &'a Counters,
    /// The peer's.
    pub socket: &'a Socket,
    /// Messages and control frames heard so far.
    pub heard: u64,
}

impl Hearer<'_> {
    /// Hears the frames in `input`.
    pub fn hear(mut self, hearing: &mut Hearing, input: &mut [u8]) -> Fate {
        let Hearing { reader, peer, messages_in, .. } = hearing;
        let (mut at, mut seen_end, mut foreseen) = (0, 0, SmallVec::new().into_iter());
        loop {
            if at >= seen_end {
                (seen_end, foreseen) = self.foresee(reader, input, at);
            }
            let fate = match reader.next(input, &mut at) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    self.hear_event(event, foreseen.next().unwrap_or_default(), peer)
                }
                Err(fault) => broken(fault, peer),
            };
            if let Fate::Finish(..) = fate {
                return fate;
            }
        }
        *messages_in += self.heard;
        // A pong cannot overtake a long frame, so what arrives of one is a sign of life too.
        if reader.is_mid_frame() {
            self.socket.mark_alive();
        }
        Fate::Open
    }

    /// Has the memory of what comes next brought near, if there is more than one message to come. Returns up
    /// to where, and what it says of each text up to there.
    fn foresee(&mut self, reader: &FrameReader, input: &[u8], at: usize) -> (usize, Texts) {
        let texts: SmallVec<[_; FETCH_MAX]> = reader.peek(input, at).take(FETCH_MAX).collect();
        match texts.last() {
            Some((_, end)) if texts.len() > 1 => {
                let foreseen = self.router.foresee(texts.iter().map(|(start, _)| &start[..]));
                (*end, foreseen.into_iter())
            }
            _ => (at + 1, SmallVec::new().into_iter()),
        }
    }

    fn hear_event(&mut self, event: Event<'_>, foreseen: Foreseen, peer: &mut Peer) -> Fate {
        if !matches!(event, Event::Text(_)) {
            self.heard += 1;
        }
        match event {
            Event::Text(payload) => return self.hear_text(&payload, foreseen, peer),
            Event::Binary(_) => self.counters.count(Counter::BinaryIn),
            Event::LongText(_) => {
                self.counters.count(Counter::FramesIn);
                self.counters.count(Counter::Replied);
                count_dropped(Dropped::Refused(Refusal::TooBig), self.counters);
                let answer = self.router.error(Refusal::TooBig);
                self.outbox.say(peer.id, &answer);
            }
            Event::Pong(_) => {
                self.counters.count(Counter::PongsIn);
                self.socket.mark_alive();
            }
            Event::Ping(payload) => {
                self.counters.count(Counter::PingsIn);
                let key = peer.is_dialled.then(rand::random);
                let pong = frame::control(Opcode::Pong, payload, key);
                self.outbox.push(peer.id, Outbound::Frame(peer.id, pong));
            }
            Event::Close(code) => {
                self.counters.count(Counter::ClosesIn);
                return Fate::Finish(last_frame(code, "", peer), Ending::Peer);
            }
        }
        Fate::Open
    }

    fn hear_text(&mut self, payload: &Payload<'_>, foreseen: Foreseen, peer: &mut Peer) -> Fate {
        self.counters.count(Counter::FramesIn);
        self.counters.add(Counter::TextBytesIn, payload.len() as u64);
        let source = match payload {
            Payload::Borrowed(text) => Source::borrowed(text),
            Payload::Owned(text) => Source::owned(text),
        };
        let (outbox, counters, from) = (&mut *self.outbox, self.counters, peer.id);
        let (mut is_itself, heard) = (false, &mut self.heard);
        self.router.receive_foreseen(payload, foreseen, peer, &mut |route| {
            *heard += 1;
            match route {
                Route::Broadcast(message, except) => {
                    counters.count(Counter::MessagesIn);
                    counters.count(Counter::Broadcast);
                    counters.count(kind_of(&message));
                    outbox.broadcast(&message, &source, except);
                }
                Route::Peer(to, message) => {
                    counters.count(Counter::MessagesIn);
                    counters.count(Counter::Routed);
                    outbox.send(to, &message, &source);
                }
                Route::Reply(text) => {
                    counters.count(Counter::Replied);
                    outbox.say(from, &text);
                }
                Route::Drop(dropped) => count_dropped(dropped, counters),
                Route::Itself => is_itself = true,
            }
        });
        match is_itself {
            true => Fate::Finish(last_frame(Some(frame::CLOSE_NORMAL), "", peer), Ending::Itself),
            false => Fate::Open,
        }
    }
}

/// What a message that is passed on to everybody else is counted as besides.
fn kind_of(message: &Outgoing<'_>) -> Counter {
    match (message.has_put(), message.has_get()) {
        (true, _) => Counter::BroadcastPuts,
        (false, true) => Counter::BroadcastGets,
        (false, false) => Counter::BroadcastOthers,
    }
}

fn broken(fault: ReadError, peer: &Peer) -> Fate {
    let last = last_frame(Some(fault.close_code()), &fault.to_string(), peer);
    Fate::Finish(last, Ending::Protocol)
}

/// A close frame with this code, or without any.
pub fn last_frame(code: Option<u16>, reason: &str, peer: &Peer) -> Bytes {
    let payload = code.map(|code| frame::close_payload(code, reason)).unwrap_or_default();
    frame::control(Opcode::Close, &payload, peer.is_dialled.then(rand::random))
}

fn count_dropped(dropped: Dropped, counters: &Counters) {
    if !matches!(dropped, Dropped::Refused(_) | Dropped::Ignored(_)) {
        counters.count(Counter::MessagesIn);
    }
    counters.count(match dropped {
        Dropped::DuplicateId => Counter::DroppedDuplicateId,
        Dropped::DuplicateHash => Counter::DroppedDuplicateHash,
        Dropped::LostAck => Counter::DroppedLostAck,
        Dropped::NotFound => Counter::DroppedNotFound,
        Dropped::SameHash => Counter::DroppedSameHash,
        Dropped::Echo => Counter::DroppedEcho,
        Dropped::Skipped => Counter::DroppedSkipped,
        Dropped::Control => Counter::ControlIn,
        Dropped::ErrorReport => Counter::ErrorReportsIn,
        Dropped::UnknownVerb => Counter::UnknownVerbs,
        Dropped::Refused(Refusal::TooBig) => Counter::RefusedTooBig,
        Dropped::Refused(Refusal::Broken) => Counter::RefusedBroken,
        Dropped::Refused(Refusal::TooDeep) => Counter::RefusedTooDeep,
        Dropped::Ignored(
            Ignored::Empty | Ignored::Heartbeat | Ignored::NotJson | Ignored::Element,
        ) => Counter::Ignored,
    });
}
