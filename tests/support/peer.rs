//! A raw DAM peer: a blocking WebSocket that says and hears JSON, one message at a time.
//!
//! Messages are kept as text, because some that Gun sends (half an emoji) are not what a Rust string can hold.
//!
//! Absence is shown by order, never by time: a relay keeps the order from one source to one receiver, so whatever
//! should not have come would have come before a marker said afterwards ([`Peer::heard_before`]), and whatever a peer
//! causes for itself comes before the answer to its next question ([`Peer::fence`]).

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::relay::Relay;
use super::wait::SOON;

/// What a peer's WebSocket runs over.
enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

pub struct Peer {
    pub name: String,
    socket: WebSocket<Wire>,
    inbox: VecDeque<String>,
}

/// One thing that came from the relay.
#[derive(Debug)]
pub enum Incoming {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// The close code, if the close frame has one.
    Close(Option<u16>),
    /// The TCP connection ended, with or without a close before.
    Ended,
}

impl Peer {
    /// Connects and nothing more: the relay's greeting is the next message.
    pub fn connect(relay: &Relay) -> Peer {
        Peer::connect_to(&relay.url())
    }

    pub fn connect_to(url: &str) -> Peer {
        Peer::upgrade(url).unwrap_or_else(|e| panic!("connect to {url}: {e}"))
    }

    /// `None` if the relay will not have it.
    pub fn try_connect(url: &str) -> Option<Peer> {
        Peer::upgrade(url).ok()
    }

    /// Connects by `wss://`, trusting what `trust` does.
    pub fn try_connect_tls(url: &str, trust: &Arc<ClientConfig>) -> Result<Peer, Error> {
        let (address, stream) = dial(url)?;
        let host = address.rsplit_once(':').expect("a port").0.to_owned();
        let name = ServerName::try_from(host).expect("a name that certificates can have");
        let tls = ClientConnection::new(Arc::clone(trust), name).expect("a TLS client");
        Peer::upgrade_on(Wire::Tls(Box::new(StreamOwned::new(tls, stream))), url)
    }

    /// The certificate that the relay showed, where the peer came by `wss://`.
    pub fn certificate(&self) -> Vec<u8> {
        self.tls().peer_certificates().expect("certificates")[0].to_vec()
    }

    /// The TLS of a peer that came by `wss://`.
    pub fn tls(&self) -> &ClientConnection {
        let Wire::Tls(stream) = self.socket.get_ref() else { panic!("a plain connection") };
        &stream.conn
    }

    fn upgrade(url: &str) -> Result<Peer, Error> {
        let (_, stream) = dial(url)?;
        Peer::upgrade_on(Wire::Plain(stream), url)
    }

    fn upgrade_on(wire: Wire, url: &str) -> Result<Peer, Error> {
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        match tungstenite::client::client_with_config(url, wire, Some(config)) {
            Ok((socket, _)) => Ok(Peer { name: String::new(), socket, inbox: VecDeque::new() }),
            Err(HandshakeError::Failure(e)) => Err(e),
            Err(HandshakeError::Interrupted(_)) => panic!("waited {SOON:?} for {url} to upgrade"),
        }
    }

    /// Connects as the peer `name`, and is known to the relay by that name when this returns.
    pub fn join(relay: &Relay, name: &str) -> Peer {
        Peer::join_at(&relay.url(), name)
    }

    pub fn join_at(url: &str, name: &str) -> Peer {
        Peer::connect_to(url).named(name)
    }

    /// Introduces a peer that connected just now as `name`.
    pub fn named(self, name: &str) -> Peer {
        let mut peer = self;
        peer.name = name.to_owned();
        let greeting = peer.hear();
        assert_eq!(greeting["dam"], "?", "a relay greets first: {greeting}");
        peer.say(json!({"dam": "?", "pid": name, "@": greeting["#"], "#": unique("hello")}));
        peer.fence();
        peer
    }

    /// Says one message, or a batch.
    pub fn say(&mut self, message: Value) {
        self.say_text(message.to_string());
    }

    pub fn say_text(&mut self, text: impl Into<String>) {
        self.send(Message::text(text.into()));
    }

    pub fn send(&mut self, message: Message) {
        self.socket.send(message).unwrap_or_else(|e| panic!("{} says something: {e}", self.name));
    }

    /// Puts bytes on the wire as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.tcp().write_all(bytes).expect("write raw bytes");
    }

    pub fn tcp(&mut self) -> &mut TcpStream {
        self.socket.get_mut().tcp()
    }

    /// The next message.
    pub fn hear(&mut self) -> Value {
        let text = self.hear_text();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{} hears {text}: {e}", self.name))
    }

    /// The next message as its text.
    pub fn hear_text(&mut self) -> String {
        self.hear_text_within(SOON)
    }

    pub fn hear_text_within(&mut self, limit: Duration) -> String {
        let end = Instant::now() + limit;
        loop {
            if let Some(text) = self.inbox.pop_front() {
                return text;
            }
            match self.receive_until(end) {
                Some(Incoming::Text(frame)) => self.inbox.extend(messages(&frame)),
                // Answered by the library. Whoever waits for long is asked whether it is still there.
                Some(Incoming::Ping(_)) => {}
                None => panic!("{} waited {limit:?} for a message", self.name),
                other => panic!("{} waits for a message and gets {other:?}", self.name),
            }
        }
    }

    /// The messages before the one whose id is `marker`, which some other peer says last.
    pub fn heard_before(&mut self, marker: &str) -> Vec<Value> {
        let mut heard = Vec::new();
        loop {
            let message = self.hear();
            if message["#"] == marker {
                return heard;
            }
            heard.push(message);
        }
    }

    /// Asks the relay who it is and returns what came before its answer: the relay has then dealt with everything this
    /// peer said so far.
    pub fn fence(&mut self) -> Vec<Value> {
        let question = unique("fence");
        self.say(json!({"dam": "?", "#": question}));
        let mut heard = Vec::new();
        loop {
            let message = self.hear();
            if message["dam"] == "?" && message["@"] == question.as_str() {
                return heard;
            }
            heard.push(message);
        }
    }

    /// Whatever comes next, frame by frame.
    pub fn receive(&mut self) -> Incoming {
        self.receive_within(SOON)
            .unwrap_or_else(|| panic!("{} waited {SOON:?} for a frame", self.name))
    }

    /// `None` if nothing comes in time.
    pub fn receive_within(&mut self, limit: Duration) -> Option<Incoming> {
        self.receive_until(Instant::now() + limit)
    }

    /// Reads on until the relay closes, and returns its close code; `None` where the connection just ended.
    pub fn close_code(&mut self) -> Option<u16> {
        self.close_code_within(SOON)
    }

    pub fn close_code_within(&mut self, limit: Duration) -> Option<u16> {
        let end = Instant::now() + limit;
        loop {
            match self.receive_until(end) {
                Some(Incoming::Close(code)) => return code,
                Some(Incoming::Ended) => return None,
                Some(_) => {}
                None => panic!("{} waited {limit:?} to be closed", self.name),
            }
        }
    }

    pub fn close(&mut self, code: u16) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        self.socket.close(Some(frame)).expect("say goodbye");
        self.socket.flush().expect("say goodbye");
    }

    /// Ends the TCP connection without a word.
    pub fn vanish(mut self) {
        let _ = self.tcp().shutdown(Shutdown::Both);
    }

    fn receive_until(&mut self, end: Instant) -> Option<Incoming> {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.tcp().set_read_timeout(Some(left)).expect("a read timeout");
        match self.socket.read() {
            Ok(message) => Some(incoming(message)),
            Err(Error::Io(e))
                if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                None
            }
            Err(
                Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_) | Error::Io(_),
            ) => Some(Incoming::Ended),
            Err(e) => panic!("{} receives: {e}", self.name),
        }
    }
}

fn dial(url: &str) -> io::Result<(&str, TcpStream)> {
    let (_, rest) = url.split_once("://").expect("a URL");
    let address = rest.split('/').next().expect("an address");
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SOON))?;
    Ok((address, stream))
}

/// An id that no other message of this test process has.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{prefix}{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The same message without the skip list, which every relay on its way rewrites.
pub fn without_skip(mut message: Value) -> Value {
    message.as_object_mut().expect("a message is an object").remove("><");
    message
}

/// The messages of a frame: its elements if it is a batch, itself if it is not. The heartbeat `[]` has none.
pub fn messages(frame: &str) -> Vec<String> {
    match frame.as_bytes().first() {
        Some(b'{') => vec![frame.to_owned()],
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(frame)
            .unwrap_or_else(|e| panic!("a batch that is not JSON ({e}): {frame:.500}"))
            .into_iter()
            .map(|message| message.get().to_owned())
            .collect(),
        _ => panic!("a text frame of DAM is one object or one array: {frame:.500}"),
    }
}

/// Reads until the other side ends the connection or the deadline passes.
pub fn read_to_end(stream: &mut TcpStream, limit: Duration) -> Option<Vec<u8>> {
    let end = Instant::now() + limit;
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        stream.set_read_timeout(Some(left)).expect("a read timeout");
        match stream.read(&mut part) {
            Ok(0) => return Some(all),
            Ok(count) => all.extend_from_slice(&part[..count]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return None;
            }
            Err(_) => return Some(all),
        }
    }
}

fn incoming(message: Message) -> Incoming {
    match message {
        Message::Text(text) => Incoming::Text(text.to_string()),
        Message::Binary(bytes) => Incoming::Binary(bytes.to_vec()),
        Message::Ping(bytes) => Incoming::Ping(bytes.to_vec()),
        Message::Pong(bytes) => Incoming::Pong(bytes.to_vec()),
        Message::Close(frame) => Incoming::Close(frame.map(|frame| frame.code.into())),
        Message::Frame(_) => unreachable!("tungstenite hands out no raw frames"),
    }
}
