//! The kernel's limit for the same work: one epoll thread that receives, and writes what it received
//! to the sockets it is for. No frames, no parsing, no memory of what was said.
//!
//! Owns: that server, and `loadtest floor`, which drives it as it would a relay. One write per message
//! is what a relay without batching comes to at best; one write per wake-up is the limit of batching. A
//! relay of Gun has to add the names of peers to each message, so there is a floor that adds as many bytes.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::args::SideArgs;
use crate::scenario::Scenario;
use crate::versus::{self, System};

pub mod accept;

const LISTENER: Token = Token(usize::MAX);
/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;
/// Slices of one write: what the kernel takes.
const SLICES_MAX: usize = 1024;

/// Measures the floor and prints it.
///
/// # Errors
/// It could not be measured.
pub fn measure(args: &SideArgs) -> Result<(), String> {
    versus::measure_systems(args, "floor", &System::FLOORS)
}

/// What a floor does. Who speaks first is told from the others; what these say is handled apart, where the
/// work is more than to pass everything on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// It goes to all others as well.
    PassOn,
    /// They are answers, so many bytes long each, for who spoke first.
    Answer(usize),
    /// It is a repetition of what was said first, and read for nothing.
    Drop,
}

/// What a floor is told.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// Length of a message.
    pub message_bytes: usize,
    /// Write once for all that a wake-up brought.
    pub coalesce: bool,
    /// What becomes of what others say than who spoke first.
    pub others: Others,
    /// Bytes that are written behind each message, as a relay has to say more than it was told.
    pub grown_by: usize,
}

/// The bytes that a relay adds to each message of a scenario: `,"><":"` and a quote around the names of up to
/// seven peers, of nine letters each and with commas between. Gun adds none when there is one other peer.
pub fn names_bytes(scenario: &Scenario) -> usize {
    let peers = scenario.senders * scenario.repeat + scenario.receivers;
    match peers.min(7) as usize {
        0 | 1 => 0,
        names => 8 + 10 * names - 1,
    }
}

/// Serves for ever.
///
/// # Errors
/// The port cannot be listened on, or the system lacks files.
pub fn serve(port: u16, orders: Orders) -> io::Result<()> {
    let (poll, listener) = listen(port)?;
    let mut floor = Floor {
        poll,
        listener,
        peers: Peers::default(),
        inbox: Inbox::default(),
        room: vec![0; READ_BYTES],
        orders: Orders { message_bytes: orders.message_bytes.max(1), ..orders },
        first: None,
    };
    let mut events = Events::with_capacity(1024);
    loop {
        wait(&mut floor.poll, &mut events)?;
        for event in &events {
            match event.token() {
                LISTENER => floor.accept()?,
                Token(place) => {
                    if event.is_writable() {
                        floor.peers.flush(place);
                    }
                    if event.is_readable() {
                        floor.receive(place);
                    }
                }
            }
        }
        if orders.coalesce {
            floor.write_all()
        } else {
            floor.write_each()
        }
        floor.inbox.clear();
    }
}

/// A listener, and the poll that watches it.
fn listen(port: u16) -> io::Result<(Poll, TcpListener)> {
    let poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    Ok((poll, listener))
}

/// Waits for events. A signal ends it without any.
fn wait(poll: &mut Poll, events: &mut Events) -> io::Result<()> {
    match poll.poll(events, None) {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        result => result,
    }
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    peers: Peers,
    inbox: Inbox,
    room: Vec<u8>,
    orders: Orders,
    /// Who spoke first.
    first: Option<usize>,
}

/// Whole messages of this wake-up, and who sent which.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    from: Vec<Said>,
}

/// What a peer said in a wake-up.
struct Said {
    by: usize,
    /// Where it is in the inbox.
    range: Range<usize>,
    message_bytes: usize,
}

impl Inbox {
    /// What one said is there from `start` on; behind each message come so many more bytes, which are no
    /// stamp and so are read over.
    fn add(&mut self, by: usize, start: usize, mut message_bytes: usize, grown_by: usize) {
        if grown_by > 0 {
            let messages = self.bytes.split_off(start);
            for message in messages.chunks(message_bytes) {
                self.bytes.extend_from_slice(message);
                self.bytes.resize(self.bytes.len() + grown_by, b'n');
            }
            message_bytes += grown_by;
        }
        self.from.push(Said { by, range: start..self.bytes.len(), message_bytes });
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.from.clear();
    }
}

#[derive(Default)]
struct Peers {
    all: Vec<Option<Peer>>,
    /// Places of peers that are gone.
    free: Vec<usize>,
}

struct Peer {
    stream: TcpStream,
    /// The beginning of a message.
    partial: Vec<u8>,
    /// What the kernel did not take yet.
    backlog: Vec<u8>,
}

impl Floor {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let place = self.peers.free_place();
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(place), interest)?;
            // Tells the other end that it is in: a new socket has room for a byte, unless it is gone.
            let _gone = stream.write(b"+");
            self.peers.all[place] = Some(Peer { stream, partial: Vec::new(), backlog: Vec::new() });
        }
    }

    fn receive(&mut self, place: usize) {
        let start = self.inbox.bytes.len();
        let Some(peer) = self.peers.all.get_mut(place).and_then(Option::as_mut) else { return };
        self.inbox.bytes.append(&mut peer.partial);
        let is_over = loop {
            match peer.stream.read(&mut self.room) {
                Ok(0) => break true,
                Ok(read) => self.inbox.bytes.extend_from_slice(&self.room[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        if self.first.is_none() && self.inbox.bytes.len() > start {
            self.first = Some(place);
        }
        let message_bytes = match self.orders.others {
            Others::Answer(answer_bytes) if self.first != Some(place) => answer_bytes.max(1),
            _ => self.orders.message_bytes,
        };
        let rest = (self.inbox.bytes.len() - start) % message_bytes;
        let end = self.inbox.bytes.len() - rest;
        peer.partial = self.inbox.bytes.split_off(end);
        if end > start {
            self.inbox.add(place, start, message_bytes, self.orders.grown_by);
        }
        if is_over {
            self.peers.remove(place);
        }
    }

    /// Whether what one said is for another.
    fn is_for(&self, from: usize, to: usize) -> bool {
        let (is_first, to_first) = (self.first == Some(from), self.first == Some(to));
        from != to
            && match self.orders.others {
                Others::PassOn => true,
                Others::Answer(_) => is_first || to_first,
                Others::Drop => is_first,
            }
    }

    /// One write per message and receiver.
    fn write_each(&mut self) {
        let inbox = std::mem::take(&mut self.inbox);
        for said in &inbox.from {
            for message in inbox.bytes[said.range.clone()].chunks(said.message_bytes) {
                for to in 0..self.peers.all.len() {
                    if self.is_for(said.by, to) {
                        self.peers.write(to, &[IoSlice::new(message)]);
                    }
                }
            }
        }
        self.inbox = inbox;
    }

    /// One write per receiver.
    fn write_all(&mut self) {
        let inbox = std::mem::take(&mut self.inbox);
        let mut slices = Vec::new();
        for to in 0..self.peers.all.len() {
            let is_for = |said: &&Said| self.is_for(said.by, to);
            let is_for_all = inbox.from.iter().all(|said| is_for(&said));
            slices.clear();
            if is_for_all && !inbox.from.is_empty() {
                slices.push(IoSlice::new(&inbox.bytes));
            } else {
                let mine = inbox.from.iter().filter(is_for);
                slices.extend(mine.map(|said| IoSlice::new(&inbox.bytes[said.range.clone()])));
            }
            for slices in slices.chunks(SLICES_MAX) {
                self.peers.write(to, slices);
            }
        }
        self.inbox = inbox;
    }
}

impl Peers {
    fn free_place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        })
    }

    fn remove(&mut self, place: usize) {
        self.all[place] = None;
        self.free.push(place);
    }

    fn write(&mut self, to: usize, slices: &[IoSlice<'_>]) {
        let Some(peer) = &mut self.all[to] else { return };
        let mut written = 0;
        if peer.backlog.is_empty() {
            // An error other than a full socket shows itself at the next read.
            written = peer.stream.write_vectored(slices).unwrap_or(0);
        }
        for slice in slices {
            let taken = written.min(slice.len());
            written -= taken;
            peer.backlog.extend_from_slice(&slice[taken..]);
        }
    }

    fn flush(&mut self, place: usize) {
        let Some(peer) = self.all.get_mut(place).and_then(Option::as_mut) else { return };
        let mut written = 0;
        while written < peer.backlog.len() {
            match peer.stream.write(&peer.backlog[written..]) {
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        peer.backlog.drain(..written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_adds_the_names_of_seven_peers() {
        let bytes = |senders, receivers| {
            names_bytes(&Scenario { senders, receivers, ..Scenario::default() })
        };
        assert_eq!(
            bytes(1, 100),
            r#","><":"123456789,123456789,123456789,123456789,123456789,123456789,123456789""#
                .len()
        );
        assert_eq!(bytes(1, 1), r#","><":"123456789,123456789""#.len());
        assert_eq!(bytes(1, 0), 0);
    }
}
