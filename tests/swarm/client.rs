//! Thousands of WebSocket clients on one thread.
//!
//! Owns: their sockets, their handshakes, what they have not sent yet. Must not know: what the
//! messages mean; a [`Crowd`] does.
//!
//! Edge-triggered: a client stays in the ready list until a read came back short.
#![allow(dead_code)] // Each test binary uses its part.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use gunmetal::ws::frame::{self, Opcode};
use gunmetal::ws::reader::{Event, FrameReader, Role};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, SockRef, Socket, Type};

use super::deadline::Deadline;

/// A complete request.
pub const UPGRADE: &[u8] = b"GET /gun HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// Connections that are under way at the same time: fewer than any kernel queues.
const OPENING_MAX: usize = 256;

const READ_BYTES: usize = 256 * 1024;
const MESSAGE_BYTES_MAX: usize = 100 << 20;

/// The receive buffer of a client that is to be slow, so that the kernel takes little for it.
const SLOW_BUFFER_BYTES: usize = 16 * 1024;

/// A client, by number.
pub type Id = usize;

/// What a client hears.
#[derive(Debug)]
pub enum Said<'a> {
    /// A text frame.
    Text(&'a str),
    /// The answer to a ping.
    Pong,
    /// A close frame.
    Close(Option<u16>),
    /// Bytes, of a connection that is no WebSocket here.
    Raw,
    /// The connection is gone.
    Gone(Option<io::ErrorKind>),
}

impl Said<'_> {
    /// Length of a text.
    pub fn text_bytes(&self) -> u64 {
        if let Said::Text(text) = self { text.len() as u64 } else { 0 }
    }
}

/// What a swarm is driven by: who hears and decides what is sent.
pub trait Crowd {
    /// A client heard something.
    fn hear(&mut self, client: Id, said: Said<'_>);
    /// Sends what is to be sent now.
    fn act(&mut self, swarm: &mut Swarm);
    /// Nobody is to send anything for now.
    fn is_quiet(&self) -> bool {
        false
    }
    /// All has happened that had to.
    fn is_done(&self) -> bool;
    /// How far things are.
    fn state(&self) -> String;
}

/// Nobody does or minds anything.
pub struct Idle;

impl Crowd for Idle {
    fn hear(&mut self, _: Id, _: Said<'_>) {}
    fn act(&mut self, _: &mut Swarm) {}
    fn is_done(&self) -> bool {
        true
    }
    fn state(&self) -> String {
        String::new()
    }
}

#[derive(Debug)]
enum Stage {
    /// The response to the upgrade is incomplete; this is what came.
    Head(Vec<u8>),
    /// The relay's greeting is awaited.
    Greeting(FrameReader),
    Open(FrameReader),
    /// No WebSocket on this side: bytes are bytes.
    Raw,
}

struct Client {
    stream: Option<TcpStream>,
    stage: Stage,
    unsent: Vec<u8>,
    is_paused: bool,
    is_ready: bool,
    is_dirty: bool,
}

/// See the module's head.
pub struct Swarm {
    address: SocketAddr,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    ready: VecDeque<Id>,
    dirty: Vec<Id>,
    buffer: Vec<u8>,
    /// Frames sent so far, for their masks.
    frames: u32,
}

impl Swarm {
    /// A swarm without clients, for the relay at `address`.
    pub fn new(address: SocketAddr) -> Swarm {
        let _refused = rlimit::increase_nofile_limit(u64::MAX);
        Swarm {
            address,
            poll: Poll::new().expect("a poll"),
            events: Events::with_capacity(1024),
            clients: Vec::new(),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            buffer: vec![0; READ_BYTES],
            frames: 0,
        }
    }

    /// Adds clients, and waits until each has the relay's greeting.
    pub fn join(&mut self, count: usize) -> Range<Id> {
        let first = self.clients.len();
        while self.clients.len() < first + count {
            let start = self.clients.len();
            let end = (start + OPENING_MAX).min(first + count);
            for _ in start..end {
                self.open();
            }
            self.drive("the relay's greetings", &mut Greeted::new(start..end));
        }
        first..first + count
    }

    /// Adds a client with a small receive buffer, as [`join`](Self::join) does.
    pub fn join_slow(&mut self) -> Id {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(SLOW_BUFFER_BYTES).unwrap();
        socket.connect(&self.address.into()).expect("the relay accepts connections");
        let client = self.add(socket.into());
        self.upgrade(client);
        self.drive("the relay's greeting", &mut Greeted::new(client..client + 1));
        client
    }

    /// Adds a client and sends its upgrade request.
    pub fn open(&mut self) -> Id {
        let client = self.connect();
        self.upgrade(client);
        client
    }

    /// Adds a client that has not said anything yet, and is no WebSocket on this side.
    pub fn connect(&mut self) -> Id {
        let stream = std::net::TcpStream::connect(self.address);
        self.add(stream.expect("the relay accepts connections"))
    }

    fn add(&mut self, stream: std::net::TcpStream) -> Id {
        let client = self.clients.len();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(client), interest).unwrap();
        self.clients.push(Client {
            stream: Some(stream),
            stage: Stage::Raw,
            unsent: Vec::new(),
            is_paused: false,
            is_ready: false,
            is_dirty: false,
        });
        client
    }

    fn upgrade(&mut self, client: Id) {
        self.expect_response(client);
        self.send_bytes(client, UPGRADE);
    }

    /// What the client hears from now on is the response to an upgrade request, then frames.
    pub fn expect_response(&mut self, client: Id) {
        self.clients[client].stage = Stage::Head(Vec::new());
    }

    /// What the client hears from now on is not taken apart.
    pub fn make_raw(&mut self, client: Id) {
        self.clients[client].stage = Stage::Raw;
    }

    /// The client has the relay's greeting.
    pub fn is_open(&self, client: Id) -> bool {
        matches!(self.clients[client].stage, Stage::Open(_))
    }

    /// Sends a text frame.
    pub fn send(&mut self, client: Id, text: &str) {
        self.send_frame(client, Opcode::Text, text.as_bytes());
    }

    /// Sends a frame.
    pub fn send_frame(&mut self, client: Id, opcode: Opcode, payload: &[u8]) {
        self.frames = self.frames.wrapping_add(0x9e37_79b9);
        let frame = frame::masked(opcode, &[payload], self.frames.to_le_bytes());
        self.send_bytes(client, &frame);
    }

    /// Sends bytes; they leave with the next turn.
    pub fn send_bytes(&mut self, client: Id, bytes: &[u8]) {
        let sender = &mut self.clients[client];
        sender.unsent.extend_from_slice(bytes);
        if !std::mem::replace(&mut sender.is_dirty, true) {
            self.dirty.push(client);
        }
    }

    /// Bytes of the client's that the kernel has not taken yet.
    pub fn unsent_bytes(&self, client: Id) -> usize {
        self.clients[client].unsent.len()
    }

    /// The client's socket is open on this side.
    pub fn is_connected(&self, client: Id) -> bool {
        self.clients[client].stream.is_some()
    }

    /// Bytes for the client that the kernel holds, on both ends of the connection.
    pub fn queued_bytes(&self, client: Id) -> u64 {
        let stream = self.clients[client].stream.as_ref().expect("a connected client");
        let port = |address: io::Result<SocketAddr>| format!(":{:04X}", address.unwrap().port());
        let (near, far) = (port(stream.local_addr()), port(stream.peer_addr()));
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's connections");
        let bytes_of = |row: &str| {
            // Number, own address, other address, state, bytes to send and received.
            let row: Vec<&str> = row.split_whitespace().collect();
            let (to_send, received) = row[4].split_once(':')?;
            let bytes = match (row[1], row[2]) {
                (own, other) if own.ends_with(&near) && other.ends_with(&far) => received,
                (own, other) if own.ends_with(&far) && other.ends_with(&near) => to_send,
                _ => return None,
            };
            u64::from_str_radix(bytes, 16).ok()
        };
        table.lines().skip(1).filter_map(bytes_of).sum()
    }

    /// The client stops reading.
    pub fn pause(&mut self, client: Id) {
        self.clients[client].is_paused = true;
    }

    /// The client reads on.
    pub fn resume(&mut self, client: Id) {
        self.clients[client].is_paused = false;
        self.make_ready(client);
    }

    /// Closes the socket.
    pub fn leave(&mut self, client: Id) {
        self.flush(client);
        self.clients[client].stream = None;
    }

    /// Closes the socket with a reset.
    pub fn reset(&mut self, client: Id) {
        if let Some(stream) = &self.clients[client].stream {
            SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        self.leave(client);
    }

    /// Turns until the crowd is done.
    pub fn drive(&mut self, awaited: &str, crowd: &mut impl Crowd) {
        let deadline = Deadline::new(awaited);
        loop {
            crowd.act(self);
            if crowd.is_done() {
                return;
            }
            self.turn(crowd);
            deadline.check(|| crowd.state());
        }
    }

    /// Sends what is to be sent, waits a moment for something to happen, and reads.
    pub fn turn(&mut self, crowd: &mut impl Crowd) {
        for client in std::mem::take(&mut self.dirty) {
            self.clients[client].is_dirty = false;
            self.flush(client);
        }
        let timeout = if self.ready.is_empty() { 20 } else { 0 };
        match self.poll.poll(&mut self.events, Some(Duration::from_millis(timeout))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => panic!("poll: {error}"),
            _ => {}
        }
        self.take_events();
        for _ in 0..self.ready.len() {
            let Some(client) = self.ready.pop_front() else { return };
            self.clients[client].is_ready = false;
            if !self.clients[client].is_paused && self.read(client, crowd) {
                self.make_ready(client);
            }
        }
    }

    fn take_events(&mut self) {
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(client) = event.token();
            if event.is_writable() {
                self.flush(client);
            }
            if event.is_readable() {
                self.make_ready(client);
            }
        }
        self.events = events;
    }

    fn make_ready(&mut self, client: Id) {
        if !std::mem::replace(&mut self.clients[client].is_ready, true) {
            self.ready.push_back(client);
        }
    }

    fn flush(&mut self, client: Id) {
        let Client { stream: Some(stream), unsent, .. } = &mut self.clients[client] else { return };
        let mut sent = 0;
        while sent < unsent.len() {
            match stream.write(&unsent[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The connection is gone; whoever cares learns it by reading.
                Err(_) => sent = unsent.len(),
            }
        }
        unsent.drain(..sent);
        if unsent.is_empty() {
            *unsent = Vec::new();
        }
    }

    /// Reads once. Says whether there may be more.
    fn read(&mut self, client: Id, crowd: &mut impl Crowd) -> bool {
        let Client { stream: Some(stream), stage, .. } = &mut self.clients[client] else {
            return false;
        };
        let gone = match stream.read(&mut self.buffer) {
            Ok(0) => None,
            Ok(count) => {
                if hear(client, stage, &mut self.buffer[..count], crowd) {
                    self.send_frame(client, Opcode::Pong, b"");
                }
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => Some(error.kind()),
        };
        self.clients[client].stream = None;
        crowd.hear(client, Said::Gone(gone));
        false
    }
}

/// Hears what came for a client, whatever stage it is in. Says whether it was pinged.
fn hear(client: Id, stage: &mut Stage, input: &mut [u8], crowd: &mut impl Crowd) -> bool {
    match stage {
        Stage::Raw => crowd.hear(client, Said::Raw),
        Stage::Greeting(_) | Stage::Open(_) => return hear_frames(client, stage, input, crowd),
        Stage::Head(head) => {
            head.extend_from_slice(input);
            let end = head.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let Some(end) = end else { return false };
            let mut early = head.split_off(end + 4);
            assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(head));
            *stage = Stage::Greeting(FrameReader::new(Role::Client, MESSAGE_BYTES_MAX));
            return hear_frames(client, stage, &mut early, crowd);
        }
    }
    false
}

fn hear_frames(client: Id, stage: &mut Stage, input: &mut [u8], crowd: &mut impl Crowd) -> bool {
    let (Stage::Greeting(reader) | Stage::Open(reader)) = stage else { return false };
    let (mut at, mut is_greeted, mut is_pinged) = (0, false, false);
    loop {
        let event = reader.next(input, &mut at);
        match event.unwrap_or_else(|error| panic!("client {client} got a broken frame: {error}")) {
            None => break,
            Some(Event::Text(text)) => {
                let text = std::str::from_utf8(&text).expect("a text is UTF-8");
                is_greeted |= text.starts_with(r#"{"dam":"?""#);
                crowd.hear(client, Said::Text(text));
            }
            Some(Event::Close(code)) => crowd.hear(client, Said::Close(code)),
            Some(Event::Pong(_)) => crowd.hear(client, Said::Pong),
            Some(Event::Ping(_)) => is_pinged = true,
            Some(Event::Binary(bytes) | Event::LongText(bytes)) => {
                panic!("{bytes} bytes that are no message from a Gun relay")
            }
        }
    }
    if is_greeted && let Stage::Greeting(reader) = std::mem::replace(stage, Stage::Raw) {
        *stage = Stage::Open(reader);
    }
    is_pinged
}

/// Waits for the relay's greeting of new clients, while nobody else hears anything that matters.
struct Greeted {
    clients: Range<Id>,
    open: usize,
}

impl Greeted {
    fn new(clients: Range<Id>) -> Greeted {
        Greeted { clients, open: 0 }
    }
}

impl Crowd for Greeted {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        match said {
            Said::Text(text) if text.starts_with(r#"{"dam":"?""#) => {}
            Said::Text("[]") | Said::Pong => {}
            said => panic!("client {client} is greeted with {said:?}"),
        }
    }

    fn act(&mut self, swarm: &mut Swarm) {
        self.open = self.clients.clone().filter(|client| swarm.is_open(*client)).count();
    }

    fn is_done(&self) -> bool {
        self.open == self.clients.len()
    }

    fn state(&self) -> String {
        format!("{} of {} were greeted", self.open, self.clients.len())
    }
}
