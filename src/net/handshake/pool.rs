//! The way to the threads that shake hands.
//!
//! Owns: how many connections come in, and what they are counted with. Must not know: TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use mio::net::TcpStream;
use mio::{Poll, Token, Waker};

use crate::net::admission::crowd::Pass;
use crate::net::memory::{HANDSHAKE_BYTES, Held, Memory};

/// The token of the waker.
pub const WAKE: Token = Token(usize::MAX);

/// A connection that is to shake hands.
pub struct Newcomer {
    /// The connection, known to no poll.
    pub stream: TcpStream,
    /// Where the other end is.
    pub sender: SocketAddr,
    /// It begins with a PROXY header, before TLS.
    pub expects_header: bool,
    /// Its place among the connections of its address.
    pub pass: Option<Pass>,
    /// What is dropped when it is gone.
    pub stay: Box<dyn Send>,
    /// The reactor that accepted it.
    pub reactor: usize,
    /// From accept to a finished handshake.
    pub timeout: Duration,
}

/// See the module's head.
pub struct HandshakePool {
    lanes: Vec<(Sender<(Newcomer, Permit)>, Waker)>,
    next: AtomicUsize,
    inside: Arc<AtomicUsize>,
    inside_max: usize,
    memory: Arc<Memory>,
    is_closed: AtomicBool,
}

/// A place in the pool.
pub struct Permit {
    _inside: Inside,
    /// What it is counted with.
    pub held: Held,
    memory: Arc<Memory>,
}

impl Permit {
    /// It holds more. Says whether there is room for that.
    pub fn grow(&mut self, bytes: usize) -> bool {
        self.held.grow(bytes);
        self.memory.has_room_for_handshakes()
    }
}

/// One of those inside.
struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A thread's end of the pool.
pub struct Lane {
    /// Watches the waker, and connections.
    pub(super) poll: Poll,
    pub(super) newcomers: Receiver<(Newcomer, Permit)>,
}

impl HandshakePool {
    /// A pool for `inside_max` connections, if `memory` has room for them, and the ends of its
    /// `threads`. How many there are is told in `inside`.
    ///
    /// # Errors
    /// The process may not open the files it needs.
    pub fn build(
        threads: usize,
        inside_max: usize,
        inside: Arc<AtomicUsize>,
        memory: Arc<Memory>,
    ) -> io::Result<(Arc<HandshakePool>, Vec<Lane>)> {
        let (mut lanes, mut ends) = (Vec::new(), Vec::new());
        // A channel has memory for all its places from the start.
        let places = inside_max.min(memory.handshakes_max());
        for _ in 0..threads {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            // Whoever has a permit finds room.
            let (sender, newcomers) = crossbeam_channel::bounded(places);
            lanes.push((sender, waker));
            ends.push(Lane { poll, newcomers });
        }
        let (next, is_closed) = Default::default();
        Ok((Arc::new(HandshakePool { lanes, next, inside, inside_max, memory, is_closed }), ends))
    }

    /// Takes a connection in, unless there are too many: then it is gone. Says whether it did.
    pub fn admit(&self, newcomer: Newcomer) -> bool {
        let is_one_too_many = self.inside.fetch_add(1, Ordering::Relaxed) >= self.inside_max;
        let permit = Permit {
            _inside: Inside(self.inside.clone()),
            held: Held::new(self.memory.of_handshakes(), HANDSHAKE_BYTES),
            memory: self.memory.clone(),
        };
        if is_one_too_many || !self.memory.has_room_for_handshakes() {
            return false;
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, waker) = &self.lanes[next % self.lanes.len()];
        // An error says that the thread has ended, as it does when the relay stops.
        let is_in = sender.try_send((newcomer, permit)).is_ok();
        let _ended = waker.wake();
        is_in
    }

    /// The threads are to end.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Ends the threads. Who is still shaking hands is gone.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for (_, waker) in &self.lanes {
            let _ended = waker.wake();
        }
    }
}
