//! The peers of one reactor, for those who watch: who is connected, and who was until lately.
//!
//! The reactor comes here when a peer joins, tells its name and leaves, and never in between: the
//! figures of a peer are in its [`Socket`].
//!
//! Owns: the list, what its figures were when somebody last looked, the last peers that left.
//! Must not know: how peers are shown.
//!
//! Invariant: a watcher holds the lock for a bounded time, whatever the number of peers.

use std::collections::VecDeque;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::conn::Link;
use super::socket::{Ending, Socket};
use crate::dam::peer::PeerId;
use crate::ebb::Ebb;

/// Peers that left and are remembered, for each reactor.
pub const LEFT_MAX: usize = 64;

/// Peers a watcher looks at before it lets the reactor in.
const LOOKS_MAX: usize = 256;

/// Rates are told over this time at least.
const RATE_TIME: Duration = Duration::from_secs(1);

/// See the module's head.
#[derive(Debug, Default)]
pub struct Roster {
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// By the index of the connection.
    here: Vec<Option<Box<Member>>>,
    here_ebb: Ebb,
    left: VecDeque<Left>,
}

/// A connected peer.
#[derive(Debug)]
pub struct Member {
    /// Who it is.
    pub id: PeerId,
    /// Its address and its figures.
    pub socket: Arc<Socket>,
    /// It was dialled for this configured peer.
    pub link: Option<Arc<Link>>,
    /// When it was accepted or dialled.
    pub since: Instant,
    /// The pid it told.
    pub pid: Option<Box<str>>,
    sampled: Sample,
    rates: Rates,
}

/// A peer's figures at some time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    counts: [u64; 4],
}

/// What goes through a peer, per second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Bytes read.
    pub bytes_in: f32,
    /// Messages heard.
    pub messages_in: f32,
    /// Bytes written.
    pub bytes_out: f32,
    /// Messages handed to it.
    pub messages_out: f32,
}

/// A peer that left. It holds no socket.
#[derive(Clone, Debug)]
pub struct Left {
    /// Who it was.
    pub id: PeerId,
    /// Where it was.
    pub address: SocketAddr,
    /// It was dialled for this configured peer.
    pub link: Option<Arc<Link>>,
    /// The pid it told.
    pub pid: Option<Box<str>>,
    /// When it came.
    pub since: Instant,
    /// When it left.
    pub at: Instant,
    /// Why.
    pub ending: Ending,
    /// Bytes and messages in, bytes and messages out.
    pub counts: [u64; 4],
}

impl Member {
    /// A peer that has said nothing yet.
    pub fn new(id: PeerId, socket: Arc<Socket>, link: Option<Arc<Link>>, since: Instant) -> Self {
        let sampled = Sample { at: since, counts: [0; 4] };
        Member { id, socket, link, since, pid: None, sampled, rates: Rates::default() }
    }

    /// What went through it per second, since somebody looked last.
    pub fn rates(&self) -> Rates {
        self.rates
    }

    /// Bytes and messages in, bytes and messages out.
    pub fn counts(&self) -> [u64; 4] {
        let traffic = &self.socket.traffic;
        [&traffic.bytes_in, &traffic.messages_in, &traffic.bytes_out, &traffic.messages_out]
            .map(|figure| figure.get())
    }

    fn leave(self, at: Instant, ending: Ending) -> Left {
        let (address, counts) = (self.socket.address, self.counts());
        let Member { id, link, since, pid, .. } = self;
        Left { id, address, link, pid, since, at, ending, counts }
    }

    fn sample(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.sampled.at);
        if time < RATE_TIME {
            return;
        }
        let new = Sample { at: now, counts: self.counts() };
        let old = mem::replace(&mut self.sampled, new).counts;
        let rate = |index: usize| {
            (new.counts[index].saturating_sub(old[index]) as f64 / time.as_secs_f64()) as f32
        };
        let [bytes_in, messages_in, bytes_out, messages_out] = [0, 1, 2, 3].map(rate);
        self.rates = Rates { bytes_in, messages_in, bytes_out, messages_out };
    }
}

impl Roster {
    /// The connection at `index` became a peer.
    pub fn join(&self, index: usize, member: Member) {
        let here = &mut self.lock().here;
        if here.len() <= index {
            here.resize_with(index + 1, || None);
        }
        here[index] = Some(Box::new(member));
    }

    /// The peer at `index` told its pid.
    pub fn learn_pid(&self, index: usize, pid: &[u8]) {
        if let Some(Some(member)) = self.lock().here.get_mut(index) {
            member.pid = Some(String::from_utf8_lossy(pid).into());
        }
    }

    /// The connection at `index` is gone; it may have been a peer or not.
    pub fn leave(&self, index: usize, at: Instant, ending: Ending) {
        let mut lists = self.lock();
        let Some(member) = lists.here.get_mut(index).and_then(Option::take) else { return };
        if lists.left.len() == LEFT_MAX {
            lists.left.pop_front();
        }
        lists.left.push_back(member.leave(at, ending));
        let Lists { here, here_ebb, .. } = &mut *lists;
        here.truncate(here.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        if here_ebb.is_low(here.len()) {
            here.shrink_to_fit();
        }
    }

    /// Shows every connected peer to `visit`.
    pub fn visit(&self, now: Instant, visit: &mut dyn FnMut(&Member)) {
        let mut next = 0;
        loop {
            let mut lists = self.lock();
            let end = lists.here.len().min(next + LOOKS_MAX);
            let Some(part) = lists.here.get_mut(next..end).filter(|part| !part.is_empty()) else {
                return;
            };
            for member in part.iter_mut().flatten() {
                member.sample(now);
                visit(member);
            }
            next = end;
        }
    }

    /// The last peers that left, the oldest first.
    pub fn left(&self) -> Vec<Left> {
        self.lock().left.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
