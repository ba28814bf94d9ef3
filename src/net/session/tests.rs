//! Sessions on real sockets with small buffers, and a rustls client at the other end.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream as StdTcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Poll, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use socket2::{Domain, SockRef, Type};

use super::*;
use crate::dam::peer::PeerId;
use crate::metrics::Metrics;
use crate::net::memory::Gauge;
use crate::net::remote::{Pen, Piece, Remote};
use crate::net::socket::Socket;

const PATIENCE: Duration = Duration::from_secs(20);
const BUFFER: usize = 64 * 1024;

/// The relay's end of a connection, and the peer's, which does not block.
struct Ends {
    socket: Arc<Socket>,
    peer: StdTcpStream,
    client: ClientConnection,
    _poll: Poll,
}

/// A relay's and a client's configuration that fit each other.
fn configs() -> (ServerConfig, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let chain = vec![made.cert.der().clone()];
    let mut roots = RootCertStore::empty();
    roots.add(chain[0].clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server.unwrap(), client)
}

/// Two states that have shaken hands in memory.
fn shaken() -> (ServerConnection, ClientConnection) {
    let (server, client) = configs();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    while client.wants_write() || server.wants_write() {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut up).unwrap();
        }
        let mut up = &up[..];
        while !up.is_empty() {
            server.read_tls(&mut up).unwrap();
            server.process_new_packets().unwrap();
        }
        while server.wants_write() {
            server.write_tls(&mut down).unwrap();
        }
        let mut down = &down[..];
        while !down.is_empty() {
            client.read_tls(&mut down).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    (server, client)
}

fn ends() -> Ends {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let peer = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    peer.set_recv_buffer_size(16 * 1024).unwrap();
    peer.connect(&listener.local_addr().unwrap().into()).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (stream, address): (_, SocketAddr) = listener.accept().unwrap();
    SockRef::from(&stream).set_send_buffer_size(8 * 1024).unwrap();
    stream.set_nonblocking(true).unwrap();
    let poll = Poll::new().unwrap();
    let (server, client) = shaken();
    let stream = TcpStream::from_std(stream);
    let socket = Socket::watched(stream, address, poll.registry(), Token(0)).unwrap();
    let socket = Arc::new(socket.with_session(Some(Session::new(server, Records::default()))));
    Ends { socket, peer: peer.into(), client, _poll: poll }
}

impl Ends {
    /// What the peer has received and not read yet.
    fn peer_reads(&mut self) -> Vec<u8> {
        let mut plaintext = Vec::new();
        loop {
            match self.client.read_tls(&mut self.peer) {
                Ok(0) => return plaintext,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return plaintext,
                Err(error) => panic!("{error}"),
            }
            self.client.process_new_packets().unwrap();
            let _none_for_now = self.client.reader().read_to_end(&mut plaintext);
        }
    }

    /// The peer says `texts`, a record each.
    fn peer_says<'a>(&mut self, texts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut sealed = Vec::new();
        for text in texts {
            self.client.writer().write_all(text).unwrap();
            while self.client.wants_write() {
                self.client.write_tls(&mut sealed).unwrap();
            }
        }
        sealed
    }

    /// Puts `sealed` on the wire as fast as the relay reads it, until that says `End` or all was read.
    fn relay_reads(&mut self, mut sealed: &[u8], count: usize) -> (Vec<u8>, bool) {
        let (mut heard, mut buffer) = (Vec::new(), vec![0; BUFFER]);
        let deadline = Instant::now() + PATIENCE;
        while heard.len() < count || !sealed.is_empty() {
            assert!(Instant::now() < deadline, "{} of {count} bytes came", heard.len());
            if !sealed.is_empty()
                && let Ok(written) = self.peer.write(sealed)
            {
                sealed = &sealed[written..];
            }
            match self.socket.read(&mut buffer) {
                Ok(Received::End) => return (heard, true),
                Ok(Received::Bytes { count, .. }) => heard.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        (heard, false)
    }
}

/// Bytes that are unlike their neighbours.
fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn what_the_kernel_does_not_take_waits_here_and_is_bounded() {
    let mut ends = ends();
    let whole = text(4 << 20);
    let mut taken = 0;
    let (mut is_held, mut blocked) = (false, 0);
    let mut heard = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while taken < whole.len() || is_held {
        assert!(Instant::now() < deadline);
        let written = ends.socket.write(&[IoSlice::new(&whole[taken..])]).unwrap();
        assert!(written.taken <= SEALED_BYTES_MAX);
        assert!(is_held || written.taken > 0 || taken == whole.len(), "an idle session takes");
        taken += written.taken;
        is_held = written.is_held;
        if (written.taken, written.sent) == (0, 0) {
            blocked += 1;
            assert!(is_held, "only a full kernel makes it wait");
            // However often it is asked, a full session takes nothing more.
            let again = ends.socket.write(&[IoSlice::new(b"more")]).unwrap();
            assert_eq!(again.taken, 0);
            heard.extend(ends.peer_reads());
        }
    }
    assert!(blocked > 10, "the buffers are small");
    while heard.len() < whole.len() {
        assert!(Instant::now() < deadline);
        heard.extend(ends.peer_reads());
    }
    assert!(heard == whole, "all came, once and in order");
}

#[test]
fn what_waits_here_is_counted_while_it_does() {
    let mut ends = ends();
    let (writes, metrics, gauge) = (Poll::new().unwrap(), Metrics::default(), Arc::default());
    let held = |gauge: &Arc<Gauge>| gauge.held();
    let pen = Pen {
        registry: writes.registry(),
        counters: &metrics.for_thread(),
        now: Instant::now(),
        backlog_bytes_max: 1 << 20,
        bridge_bytes_max: 1 << 20,
        gauge: &gauge,
        faults: &Default::default(),
    };
    let mut remote = Remote::new(PeerId::new(1, 0), false);
    remote.connect(ends.socket.clone(), Bytes::from_static(b"hello"), Token(7), &pen);
    assert_eq!(held(&gauge), 0);
    let frame = Piece { bytes: text(1000).into(), ends_frame: true, is_alone: false };
    let fill = |remote: &mut Remote| {
        while remote.stuck_since().is_none() {
            remote.send(std::slice::from_ref(&frame), Token(7), &pen);
        }
    };
    fill(&mut remote);
    assert_eq!(remote.backlog_bytes(), 0, "the session took the last frame whole");
    assert_eq!((held(&gauge), remote.held_bytes()), (SEALED_BYTES_MAX, SEALED_BYTES_MAX));

    let deadline = Instant::now() + PATIENCE;
    while remote.stuck_since().is_some() {
        assert!(Instant::now() < deadline);
        ends.peer_reads();
        remote.write_backlog(Token(7), &pen);
    }
    assert_eq!((held(&gauge), remote.held_bytes()), (0, 0));
    fill(&mut remote);
    assert_eq!(held(&gauge), SEALED_BYTES_MAX);
    remote.give_up();
    assert_eq!(held(&gauge), 0);
}

#[test]
fn records_of_every_size_are_read_whole() {
    let mut ends = ends();
    let whole = text(600_000);
    let mut rest = &whole[..];
    let mut records = Vec::new();
    for size in [1, 16_384, 2, 5000, 16_383, 100, 1, 1, 9000].into_iter().cycle() {
        let (record, after) = rest.split_at(rest.len().min(size));
        records.push(record);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let sealed = ends.peer_says(records);
    let (heard, is_over) = ends.relay_reads(&sealed, whole.len());
    assert!(heard == whole && !is_over);
    assert_eq!(ends.socket.half_read_bytes(), 0);
}

#[test]
fn a_record_that_arrives_in_pieces_is_no_end() {
    let mut ends = ends();
    let sealed = ends.peer_says([&b"hello"[..]]);
    let mut buffer = vec![0; BUFFER];
    let (mut heard, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    for (at, byte) in sealed.iter().enumerate() {
        assert_eq!(ends.socket.half_read_bytes(), at);
        ends.peer.write_all(&[*byte]).unwrap();
        loop {
            assert!(Instant::now() < deadline);
            match ends.socket.read(&mut buffer) {
                Ok(Received::Bytes { count, .. }) => {
                    heard.extend_from_slice(&buffer[..count]);
                    break;
                }
                Ok(Received::End) => panic!("it goes on"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
    assert_eq!(heard, b"hello");
    assert_eq!(ends.socket.half_read_bytes(), 0);
}

#[test]
fn what_was_said_before_the_end_is_heard_however_it_ends() {
    for ending in ["close_notify", "cut", "garbage"] {
        let mut ends = ends();
        let mut sealed = ends.peer_says([&b"last words"[..]]);
        match ending {
            "close_notify" => {
                ends.client.send_close_notify();
                ends.client.write_tls(&mut sealed).unwrap();
            }
            "garbage" => sealed.extend([23, 3, 3, 0, 32].iter().chain(&[7; 32])),
            _ => {}
        }
        ends.peer.write_all(&sealed).unwrap();
        if ending == "cut" {
            ends.peer.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let (heard, is_over) = ends.relay_reads(&[], usize::MAX);
        assert_eq!((heard, is_over), (b"last words".to_vec(), true), "{ending}");
        let mut buffer = vec![0; BUFFER];
        assert_eq!(ends.socket.read(&mut buffer).unwrap(), Received::End, "{ending}: it stays");
    }
}

#[test]
fn the_last_thing_that_is_said_is_a_close_notify() {
    let mut ends = ends();
    ends.socket.write(&[IoSlice::new(b"bye")]).unwrap();
    ends.socket.finish();
    ends.peer.set_nonblocking(false).unwrap();
    let mut heard = Vec::new();
    let mut stream = rustls::Stream::new(&mut ends.client, &mut ends.peer);
    // A connection that is just cut is an error to rustls.
    stream.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"bye");
}
