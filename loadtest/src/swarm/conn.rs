//! One connection of the swarm: dialling, the opening handshake, reading, writing.
//!
//! Owns: a socket and how far its stream is. Must not know schedules, counts or other connections.
//! Invariant: a closed connection holds no socket and no buffer, so 100,000 of them are small.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use gunmetal::ws::upgrade::{HeadLimits, client_request, verify_response};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol as Transport, Socket, Type};

use crate::memo::Cursor;
use crate::message::{Protocol, Template, nats_inbox};
use crate::plan::{Role, Target};
use crate::scan::Scanner;
use crate::track::Track;
use crate::wire::Walker;

/// Connections that share a source address: far below the ports one address has.
const CONNECTIONS_PER_ADDRESS: u32 = 8_000;
/// Bytes that may wait for a server that does not read; a sender waits beyond it.
const OUT_BYTES_MAX: usize = 1 << 20;
/// The key of every handshake: its only use is against caches.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not connected.
    Closed,
    /// The kernel connects.
    Connecting,
    /// The request is on its way.
    Handshake,
    /// Open.
    Open,
}

/// See the module's head.
#[derive(Debug)]
pub struct Conn {
    /// Its number in the plan.
    pub index: u32,
    /// What it does.
    pub role: Role,
    /// How far it is.
    pub state: State,
    /// When it was dialled.
    pub dialled_ns: u64,
    /// What it got of each source; at its own place, the answers it got.
    pub tracks: Box<[Track]>,
    /// What it answers with.
    pub answer: Option<Box<Template>>,
    /// Answers given.
    pub answers: u32,
    /// Where its frames are.
    pub walker: Walker,
    /// Where its stamps are.
    pub scanner: Scanner,
    /// What it probably gets next.
    pub cursor: Cursor,
    stream: Option<TcpStream>,
    /// The answer to the handshake so far; then, what is to be written.
    buffer: Vec<u8>,
    written: usize,
}

/// What became of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing that matters to others.
    None,
    /// It is open now.
    Opened,
    /// It ended, and why.
    Ended(String),
}

impl Conn {
    /// A connection that is not dialled yet.
    pub fn new(index: u32, role: Role, sources: usize) -> Self {
        Conn {
            index,
            role,
            state: State::Closed,
            dialled_ns: 0,
            tracks: vec![Track::default(); sources].into(),
            answer: None,
            answers: 0,
            walker: Walker::default(),
            scanner: Scanner::default(),
            cursor: Cursor::default(),
            stream: None,
            buffer: Vec::new(),
            written: 0,
        }
    }

    /// Begins to connect. Dials with near `serial` numbers share a source address. The kernel's buffers of
    /// the socket have `buffer` bytes, or with 0 what the system gives.
    ///
    /// # Errors
    /// The system has no more sockets or ports.
    pub fn dial(
        &mut self,
        to: &Target,
        serial: u32,
        buffer: usize,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        let mut stream = connect(to.address, serial, buffer)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.stream = Some(stream);
        self.state = State::Connecting;
        Ok(())
    }

    /// Goes on with opening, as far as it is possible now.
    pub fn advance(&mut self, to: &Target, protocol: Protocol, room: &mut [u8]) -> Progress {
        match self.try_advance(to, protocol, room) {
            Ok(true) => Progress::Opened,
            Ok(false) => Progress::None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Progress::None,
            Err(error) => {
                self.close();
                Progress::Ended(error.to_string())
            }
        }
    }

    fn try_advance(
        &mut self,
        to: &Target,
        protocol: Protocol,
        room: &mut [u8],
    ) -> io::Result<bool> {
        let Some(stream) = &mut self.stream else { return Ok(false) };
        if self.state == State::Connecting {
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            if stream.peer_addr().is_err() {
                return Ok(false);
            }
            let request = match protocol {
                Protocol::Dam => client_request(&to.host, &to.path, KEY),
                Protocol::Nats => nats_request(self.index),
                // The server speaks first: one byte, when it has accepted.
                Protocol::Raw => Vec::new(),
            };
            stream.write_all(&request)?;
            self.state = State::Handshake;
        }
        let read = stream.read(room)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend_from_slice(&room[..read]);
        let Some(head_bytes) = head_bytes(&self.buffer, protocol)? else { return Ok(false) };
        self.state = State::Open;
        self.buffer.drain(..head_bytes);
        Ok(true)
    }

    /// What came behind the answer to the handshake.
    pub fn take_early(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Reads once. `Ok(0)`: the server hung up.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; otherwise the connection is broken.
    #[inline]
    pub fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Some(stream) => stream.read(room),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Adds to what is to be written.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether so much waits that a sender has to wait as well.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.buffer.len() - self.written > OUT_BYTES_MAX
    }

    /// Writes what the kernel takes. Returns why the connection ended, if it did.
    pub fn flush(&mut self) -> Progress {
        let Some(stream) = &mut self.stream else {
            self.buffer.clear();
            return Progress::None;
        };
        while self.written < self.buffer.len() {
            match stream.write(&self.buffer[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.forget_written();
                    return Progress::None;
                }
                Err(error) => {
                    self.close();
                    return Progress::Ended(error.to_string());
                }
            }
        }
        self.buffer.clear();
        self.written = 0;
        Progress::None
    }

    /// Keeps what is written from piling up in front of what is not.
    fn forget_written(&mut self) {
        if self.written > OUT_BYTES_MAX {
            self.buffer.drain(..self.written);
            self.written = 0;
        }
    }

    /// Ends the connection with a reset, which leaves no port behind that has to wait.
    pub fn reset(&mut self) {
        if let Some(stream) = &self.stream {
            // An error says that it has ended by itself.
            let _ended = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.close();
    }

    /// Ends the connection and forgets its stream.
    pub fn close(&mut self) {
        self.stream = None;
        self.state = State::Closed;
        self.buffer = Vec::new();
        self.written = 0;
        self.walker = Walker::default();
        self.scanner = Scanner::default();
    }
}

/// Connects without waiting. Towards this machine itself, from one of many source addresses.
fn connect(to: SocketAddr, serial: u32, buffer: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Transport::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if buffer > 0 {
        // Before it connects: the window that is offered then follows from it.
        socket.set_recv_buffer_size(buffer)?;
        socket.set_send_buffer_size(buffer)?;
    }
    if to.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) && cfg!(target_os = "linux") {
        // 127.1.0.1, 127.1.1.1 and so on: whole addresses of the loopback network.
        let number = (serial / CONNECTIONS_PER_ADDRESS) as u16;
        let [high, low] = number.to_be_bytes();
        let source = Ipv4Addr::new(127, 1 + high, low, 1);
        choose_port_late(&socket)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// The port is chosen when the socket connects: it need not differ from those of connections to other
/// ports, nor from those that ended there.
#[cfg(target_os = "linux")]
fn choose_port_late(socket: &Socket) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};

    setsockopt(socket, IpBindAddressNoPort, &true).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn choose_port_late(_: &Socket) -> io::Result<()> {
    Ok(())
}

fn nats_request(index: u32) -> Vec<u8> {
    let inbox = nats_inbox(index);
    format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"echo\":false}}\r\n\
         SUB lt 1\r\nSUB {inbox} 2\r\nPING\r\n"
    )
    .into_bytes()
}

/// Length of the answer to the handshake, once all of it is there.
fn head_bytes(input: &[u8], protocol: Protocol) -> io::Result<Option<usize>> {
    match protocol {
        Protocol::Nats => return Ok(memchr::memmem::find(input, b"PONG\r\n").map(|at| at + 6)),
        Protocol::Raw => return Ok((!input.is_empty()).then_some(1)),
        Protocol::Dam => {}
    }
    verify_response(input, KEY, &HeadLimits::default())
        .map_err(|fault| io::Error::other(fault.to_string()))
}
