//! A connection's socket, shared by the reactor that reads it and the writer that writes it.
//!
//! Owns: the stream, plain or with a TLS session, and the few facts both sides need. Must not know:
//! frames, messages.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::session::Session;
use crate::metrics::{Counter, Tally};

/// Why a connection ended. The first reason given stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// The peer hung up or said goodbye.
    Peer,
    /// It broke the WebSocket protocol.
    Protocol,
    /// It read too slowly: its backlog went over the limit.
    Slow,
    /// It stopped reading.
    Stalled,
    /// It answered no ping.
    Silent,
    /// The memory was full and it held the most.
    Memory,
    /// It did not finish its request in time.
    Handshake,
    /// It was a plain HTTP request, answered or refused.
    Http,
    /// It was a link of this relay to itself.
    Itself,
    /// The relay stops.
    Stopping,
    /// The operating system reported an error.
    Broken,
}

impl Ending {
    /// The counter of connections that ended so.
    pub fn counter(self) -> Counter {
        match self {
            Ending::Peer => Counter::ClosedByPeer,
            Ending::Protocol => Counter::ClosedProtocol,
            Ending::Slow => Counter::ClosedSlow,
            Ending::Stalled => Counter::ClosedStalled,
            Ending::Silent => Counter::ClosedSilent,
            Ending::Memory => Counter::ClosedMemory,
            Ending::Handshake => Counter::HandshakeTimeouts,
            Ending::Http => Counter::ClosedHttp,
            Ending::Itself => Counter::ClosedItself,
            Ending::Stopping => Counter::ClosedStopping,
            Ending::Broken => Counter::ClosedBroken,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Ending::Peer => "the peer hung up",
            Ending::Protocol => "the peer broke the WebSocket protocol",
            Ending::Slow => "the peer reads too slowly",
            Ending::Stalled => "the peer stopped reading",
            Ending::Silent => "the peer answers no ping",
            Ending::Memory => "the memory was full and the peer held the most",
            Ending::Handshake => "the request took too long",
            Ending::Http => "the request was answered",
            Ending::Itself => "the link leads to this relay itself",
            Ending::Stopping => "the relay stops",
            Ending::Broken => "the operating system failed",
        })
    }
}

const ENDINGS: [Ending; 11] = [
    Ending::Peer,
    Ending::Protocol,
    Ending::Slow,
    Ending::Stalled,
    Ending::Silent,
    Ending::Memory,
    Ending::Handshake,
    Ending::Http,
    Ending::Itself,
    Ending::Stopping,
    Ending::Broken,
];

const NOT_ENDED: u8 = u8::MAX;

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The other end says nothing any more.
    End,
    /// So many bytes: under TLS of plaintext, and perhaps none.
    Bytes {
        /// How many.
        count: usize,
        /// More may be there already, without a new event.
        has_more: bool,
    },
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes that are written as far as the caller is concerned.
    pub taken: usize,
    /// Bytes that the kernel took. Neither taken nor sent: it was full.
    pub sent: usize,
    /// Some of what was taken waits for the kernel, as ciphertext: write again, be it nothing, when
    /// there is room.
    pub is_held: bool,
}

/// What is known of one connection's traffic. Each figure has one thread that changes it.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes read; the reactor's.
    pub bytes_in: Tally,
    /// Messages heard, dropped ones included; the reactor's.
    pub messages_in: Tally,
    /// Bytes written; the writer's.
    pub bytes_out: Tally,
    /// Message copies handed to its queue; the writer's.
    pub messages_out: Tally,
    /// Bytes that wait to be written; the writer's.
    pub pending_bytes: Tally,
}

/// The connection between a process and the one that takes over from it, by what is at its other end. There is one at
/// a time, nobody can make another, and messages of all peers on the other side go through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bridge {
    /// The process that takes over.
    Successor,
    /// The process that is taken over from.
    Predecessor,
}

/// See the module's head.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// It joins two processes.
    bridge: Option<Bridge>,
    /// None: plain.
    session: Option<Box<Session>>,
    /// For those who watch.
    pub traffic: Traffic,
    /// Who the other end is: the client, as far as a trusted proxy has named it.
    pub address: SocketAddr,
    /// Where the other end is: the client's address, or that of a proxy in between.
    pub sender: SocketAddr,
    /// Its reactor does not read it for now, so that it cannot be heard to live.
    is_paused: AtomicBool,
    /// Something proved that the peer lives, since this was last set to false.
    is_alive: AtomicBool,
    ending: AtomicU8,
}

impl Socket {
    fn new(stream: TcpStream, address: SocketAddr) -> Self {
        Socket {
            stream,
            bridge: None,
            session: None,
            traffic: Traffic::default(),
            address,
            sender: address,
            is_paused: AtomicBool::new(false),
            is_alive: AtomicBool::new(true),
            ending: AtomicU8::new(NOT_ENDED),
        }
    }

    /// Shares a stream whose arrivals `registry` is to tell under `token`.
    pub fn watched(
        mut stream: TcpStream,
        address: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        stream.register(registry, token, Interest::READABLE)?;
        Ok(Socket::new(stream, address))
    }

    /// `registry` tells nothing of it any more.
    pub fn unwatch(&mut self, registry: &Registry) -> io::Result<()> {
        self.stream.deregister(registry)
    }

    /// What is said from now on is encrypted.
    pub fn with_session(self, session: Option<Box<Session>>) -> Self {
        Socket { session, ..self }
    }

    /// It joins two processes from now on.
    pub fn become_bridge(&mut self, bridge: Bridge) {
        self.bridge = Some(bridge);
    }

    /// Which process it leads to, if it joins two.
    pub fn bridge(&self) -> Option<Bridge> {
        self.bridge
    }

    /// What is said is encrypted.
    pub fn is_secure(&self) -> bool {
        self.session.is_some()
    }

    /// Bytes its session holds of what came, until the rest of it comes.
    pub fn half_read_bytes(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.half_read_bytes())
    }

    /// The peer gave a sign of life.
    pub fn mark_alive(&self) {
        self.is_alive.store(true, Ordering::Relaxed);
    }

    /// Whether it gave one since the last call, or could not because it is not read.
    pub fn take_alive(&self) -> bool {
        self.is_alive.swap(false, Ordering::Relaxed) || self.is_paused.load(Ordering::Relaxed)
    }

    /// For the reactor: it is not read until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.is_paused.store(true, Ordering::Relaxed);
    }

    /// It is read again. What it said to prove that it lives may come late.
    pub fn resume(&self) {
        self.mark_alive();
        self.is_paused.store(false, Ordering::Relaxed);
    }

    /// Notes why the connection ends, unless that is known.
    pub fn end(&self, ending: Ending) {
        let _known = self.ending.compare_exchange(
            NOT_ENDED,
            ending as u8,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// Why it ended.
    pub fn ending(&self) -> Option<Ending> {
        ENDINGS.get(usize::from(self.ending.load(Ordering::Relaxed))).copied()
    }

    /// Reads what is there.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Received> {
        if let Some(session) = &self.session {
            return session.read(&self.stream, buffer);
        }
        match (&self.stream).read(buffer)? {
            0 => Ok(Received::End),
            count => Ok(Received::Bytes { count, has_more: count == buffer.len() }),
        }
    }

    /// Writes what the kernel takes.
    pub fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<Written> {
        if let Some(session) = &self.session {
            return session.write(&self.stream, pieces);
        }
        let taken = match pieces {
            [piece] => (&self.stream).write(piece),
            _ => (&self.stream).write_vectored(pieces),
        }?;
        Ok(Written { taken, sent: taken, is_held: false })
    }

    /// The kernel is to take no more once it has so many bytes that it could not send yet (`TCP_NOTSENT_LOWAT`,
    /// tcp(7)). What it has sent and the other end has not confirmed comes on top.
    pub fn limit_unsent(&self, bytes: usize) {
        // Where there is no such limit the kernel takes as much as its buffers hold.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        let _unlimited = socket2::SockRef::from(&self.stream)
            .set_tcp_notsent_lowat(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Says that nothing more will be written. The other end sees it after all that was.
    pub fn finish(&self) {
        if let Some(session) = &self.session {
            session.finish(&self.stream);
        }
        self.shutdown(Shutdown::Write);
    }

    /// Ends both directions, waiting for nothing. The reactor sees the hang-up and cleans up.
    pub fn hang_up(&self) {
        self.shutdown(Shutdown::Both);
    }

    fn shutdown(&self, how: Shutdown) {
        // An error says that the connection is gone, which is what was wanted.
        let _gone = self.stream.shutdown(how);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}
