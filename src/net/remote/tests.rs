//! Peers that read slowly or not at all, on real sockets with small buffers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use mio::{Events, Poll};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use socket2::{Domain, SockRef, Type};

use super::backlog::HELD_MAX;
use super::*;
use crate::metrics::Metrics;
use crate::net::socket::{Bridge, Received};
use crate::ws::reader::{Event, FrameReader, Role};

const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: Token = Token(7);
const BACKLOG_BYTES_MAX: usize = 64 * 1024;
const BRIDGE_BYTES_MAX: usize = 4 * BACKLOG_BYTES_MAX;

/// A writer's poll and counters, and a reactor's poll.
struct Rig {
    writes: Poll,
    reads: Poll,
    metrics: Metrics,
    counters: Arc<Counters>,
    now: Instant,
    gauge: Arc<Gauge>,
    faults: RefCell<FaultLog>,
}

impl Rig {
    fn new() -> Self {
        let metrics = Metrics::default();
        let counters = metrics.for_thread();
        let (writes, reads) = (Poll::new().unwrap(), Poll::new().unwrap());
        let (gauge, faults) = Default::default();
        Rig { writes, reads, metrics, counters, now: Instant::now(), gauge, faults }
    }

    fn pen(&self) -> Pen<'_> {
        Pen {
            registry: self.writes.registry(),
            counters: &self.counters,
            now: self.now,
            backlog_bytes_max: BACKLOG_BYTES_MAX,
            bridge_bytes_max: BRIDGE_BYTES_MAX,
            gauge: &self.gauge,
            faults: &self.faults,
        }
    }

    /// A connection with small buffers: the relay's end and the peer's.
    fn pair(&self) -> (Arc<Socket>, TcpStream) {
        self.pair_with(64 * 1024, Some(16 * 1024))
    }

    /// A connection whose peer has a receive buffer of so many bytes, and the relay a send buffer of so many, or one
    /// as the system gives it.
    fn pair_with(&self, receive: usize, send: Option<usize>) -> (Arc<Socket>, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        peer.set_recv_buffer_size(receive).unwrap();
        peer.connect(&listener.local_addr().unwrap().into()).unwrap();
        peer.set_nonblocking(true).unwrap();
        let (stream, address) = listener.accept().unwrap();
        if let Some(bytes) = send {
            SockRef::from(&stream).set_send_buffer_size(bytes).unwrap();
        }
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        (self.share(stream, address), peer.into())
    }

    /// A peer whose socket takes as much as the system allows.
    fn roomy(&self) -> (Remote, TcpStream) {
        let (socket, peer) = self.pair_with(32 * 1024, None);
        let mut remote = Remote::new(PeerId::new(1, 0), false);
        let first = Bytes::from(joined(&text_frame(b'H', 20, 99)));
        remote.connect(socket, first, TOKEN, &self.pen());
        (remote, peer)
    }

    fn share(&self, stream: TcpStream, address: SocketAddr) -> Arc<Socket> {
        let stream = mio::net::TcpStream::from_std(stream);
        Arc::new(Socket::watched(stream, address, self.reads.registry(), TOKEN).unwrap())
    }

    /// A peer that has got its first bytes.
    fn inbound(&mut self) -> (Remote, TcpStream) {
        let mut remote = Remote::new(PeerId::new(1, 0), false);
        let peer = self.connect(&mut remote);
        (remote, peer)
    }

    fn connect(&mut self, remote: &mut Remote) -> TcpStream {
        let (socket, mut peer) = self.pair();
        let first = joined(&text_frame(b'H', 20, 99));
        remote.connect(socket, first.clone().into(), TOKEN, &self.pen());
        check(remote);
        assert_eq!(self.read(remote, &mut peer, first.len()), first);
        peer
    }

    fn send(&self, remote: &mut Remote, pieces: &[Piece]) {
        remote.send(pieces, TOKEN, &self.pen());
        check(remote);
    }

    /// Lets the relay write and the peer read until the peer has `count` bytes, or the end.
    fn read(&mut self, remote: &mut Remote, peer: &mut TcpStream, count: usize) -> Vec<u8> {
        let (mut bytes, mut events) = (Vec::new(), Events::with_capacity(8));
        let deadline = Instant::now() + PATIENCE;
        while bytes.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} bytes came", bytes.len());
            let mut chunk = vec![0; (count - bytes.len()).min(64 * 1024)];
            let mut patience = Duration::ZERO;
            match peer.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => bytes.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    patience = Duration::from_millis(1);
                }
                Err(error) => panic!("{error}"),
            }
            self.writes.poll(&mut events, Some(patience)).unwrap();
            for _ in &events {
                remote.write_backlog(TOKEN, &self.pen());
                check(remote);
            }
        }
        bytes
    }

    fn read_to_end(&mut self, remote: &mut Remote, peer: &mut TcpStream) -> Vec<u8> {
        self.read(remote, peer, usize::MAX)
    }
}

/// What must hold after every call.
fn check(remote: &Remote) {
    let bytes: usize = remote.backlog.iter().map(|piece| piece.bytes.len()).sum();
    assert_eq!(remote.backlog_bytes(), bytes);
    assert!(remote.backlog.iter().all(|piece| !piece.bytes.is_empty()));
    let waits = remote.socket().is_some() && bytes > 0;
    assert_eq!(remote.stuck_since().is_some(), waits, "stuck if and only if something waits");
    assert!(!waits || remote.is_watched, "what waits is watched");
    assert!(bytes > 0 || !remote.is_mid_frame);
    if remote.is_open() {
        let room = if remote.is_bridge() { BRIDGE_BYTES_MAX } else { BACKLOG_BYTES_MAX };
        assert!(bytes - remote.front_frame_bytes() <= room);
    }
}

/// A server's text frame of `len` bytes, all of them `fill`, cut into pieces of up to `cut`.
fn text_frame(fill: u8, len: usize, cut: usize) -> Vec<Piece> {
    let mut bytes = frame::text_header(len).to_vec();
    bytes.resize(bytes.len() + len, fill);
    let bytes = Bytes::from(bytes);
    let starts = (0..bytes.len()).step_by(cut);
    starts
        .map(|start| {
            let end = bytes.len().min(start + cut);
            Piece { bytes: bytes.slice(start..end), ends_frame: end == bytes.len(), is_alone: true }
        })
        .collect()
}

fn joined(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
}

/// What frames say: a text as its first byte and length, a close as its code and reason.
fn said(mut bytes: Vec<u8>) -> Vec<(String, usize)> {
    let mut reader = FrameReader::new(Role::Client, 10 << 20);
    let (mut at, mut events) = (0, Vec::new());
    while let Some(event) = reader.next(&mut bytes, &mut at).unwrap() {
        events.push(match event {
            Event::Text(text) => (text.as_str()[..1].to_owned(), text.len()),
            Event::Close(code) => ("close".to_owned(), usize::from(code.unwrap())),
            other => panic!("{other:?}"),
        });
    }
    assert!(!reader.is_mid_frame());
    events
}

fn text(fill: u8, len: usize) -> (String, usize) {
    (char::from(fill).to_string(), len)
}

fn closed(code: u16) -> (String, usize) {
    ("close".to_owned(), usize::from(code))
}

#[test]
fn what_does_not_fit_leaves_later_whole_and_in_order() {
    for seed in 0..10 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut rig = Rig::new();
        let (mut remote, mut peer) = rig.inbound();
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for fill in b'a'..=b'z' {
            // Some frames are over the limit; nothing is behind them.
            let big = random.random_ratio(1, 5) && remote.backlog_bytes() == 0;
            let len = random.random_range(1..if big { 900_000 } else { 2_500 });
            let pieces = text_frame(fill, len, random.random_range(len.div_ceil(600)..=len + 10));
            rig.send(&mut remote, &pieces);
            sent.extend(joined(&pieces));
            let left = sent.len() - received.len();
            let count = if big { left } else { random.random_range(0..=left) };
            received.extend(rig.read(&mut remote, &mut peer, count));
        }
        let left = sent.len() - received.len();
        received.extend(rig.read(&mut remote, &mut peer, left));
        assert!(received == sent, "seed {seed}");
        assert!(remote.is_open() && remote.backlog_bytes() == 0);
        assert_eq!(rig.metrics.get(Counter::BytesOut), 22 + sent.len() as u64);
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
#[test]
fn the_kernel_takes_little_for_a_peer_that_reads_nothing() {
    let rig = Rig::new();
    let (mut remote, _peer) = rig.roomy();
    while remote.stuck_since().is_none() {
        rig.send(&mut remote, &text_frame(b'a', 4_000, 5_000));
    }
    let taken = rig.metrics.get(Counter::BytesOut) as usize;
    let in_flight_max = 64 * 1024;
    assert!((UNSENT_BYTES / 2..UNSENT_BYTES + in_flight_max).contains(&taken), "{taken}");
}

#[cfg(any(target_os = "android", target_os = "linux"))]
#[test]
fn a_long_message_makes_room_for_itself_until_the_next_heartbeat() {
    let mut rig = Rig::new();
    let (mut remote, mut peer) = rig.roomy();
    let room = |remote: &Remote| {
        SockRef::from(remote.socket().unwrap()).tcp_notsent_lowat().unwrap() as usize
    };
    rig.send(&mut remote, &text_frame(b'a', 100_000, 50_000));
    assert_eq!(room(&remote), UNSENT_BYTES);
    rig.send(&mut remote, &text_frame(b'b', 600_000, 50_000));
    assert_eq!(room(&remote), 2 << 20);
    let bytes = rig.read(&mut remote, &mut peer, 22 + 100_010 + 600_010);
    assert_eq!(said(bytes), [text(b'H', 20), text(b'a', 100_000), text(b'b', 600_000)]);
    remote.take_back_room();
    assert_eq!(room(&remote), UNSENT_BYTES);
}

#[test]
fn a_close_frame_follows_what_waits_and_a_slow_peers_what_was_begun() {
    for cut in [3_000, 100_000, 2 << 20] {
        let [mut rig, mut slow] = [Rig::new(), Rig::new()];
        let [(mut remote, mut peer), (mut slow_remote, mut slow_peer)] =
            [rig.inbound(), slow.inbound()];
        for (rig, remote) in [(&rig, &mut remote), (&slow, &mut slow_remote)] {
            rig.send(remote, &text_frame(b'a', 1_500_000, cut));
            rig.send(remote, &text_frame(b'b', 1_000, cut));
            assert!(remote.is_mid_frame);
        }
        let close = remote.close_frame(frame::CLOSE_RESTART, "the relay stops");
        remote.finish(close.clone(), TOKEN, &rig.pen());
        remote.finish(close, TOKEN, &rig.pen());
        slow_remote.close_slow(Ending::Slow, TOKEN, &slow.pen());
        assert!(remote.closing_since().is_some() && !remote.is_open());
        let bytes = rig.read_to_end(&mut remote, &mut peer);
        assert_eq!(said(bytes), [text(b'a', 1_500_000), text(b'b', 1_000), closed(1012)]);
        let bytes = slow.read_to_end(&mut slow_remote, &mut slow_peer);
        assert_eq!(said(bytes), [text(b'a', 1_500_000), closed(1013)]);
    }
}

#[test]
fn a_close_frame_that_nothing_precedes_leaves_at_once() {
    let mut rig = Rig::new();
    let (mut remote, mut peer) = rig.inbound();
    rig.send(&mut remote, &text_frame(b'a', 100, 10));
    let close = remote.close_frame(frame::CLOSE_NORMAL, "");
    remote.finish(close, TOKEN, &rig.pen());
    assert_eq!(remote.backlog_bytes(), 0);
    let bytes = rig.read_to_end(&mut remote, &mut peer);
    assert_eq!(said(bytes), [text(b'a', 100), closed(1000)]);
}

#[test]
fn the_limit_counts_only_what_is_behind_the_frame_being_written() {
    let mut rig = Rig::new();
    let (mut remote, mut peer) = rig.inbound();
    rig.send(&mut remote, &text_frame(b'a', 2_000_000, 30_000));
    for fill in b'b'..b'h' {
        rig.send(&mut remote, &text_frame(fill, 10_000, 3_000));
        assert!(remote.is_open(), "{} bytes wait", remote.backlog_bytes());
    }
    rig.send(&mut remote, &text_frame(b'x', 10_000, 3_000));
    assert!(!remote.is_open());
    assert_eq!(remote.socket().unwrap().ending(), Some(Ending::Slow));
    // The peer reads again, and is told.
    let bytes = rig.read_to_end(&mut remote, &mut peer);
    assert!(bytes.ends_with(b"\x03\xf5reading too slowly"));
    assert_eq!(said(bytes), [text(b'a', 2_000_000), closed(1013)]);
}

#[test]
fn who_goes_for_want_of_memory_is_told_unless_the_frame_being_written_is_too_long() {
    let ending = |remote: &Remote| remote.socket().unwrap().ending();
    for is_long in [false, true] {
        let mut rig = Rig::new();
        let (mut remote, mut peer) = rig.inbound();
        if is_long {
            rig.send(&mut remote, &text_frame(b'a', 2_000_000, 3_000));
        }
        let mut sent = 0;
        while remote.backlog_bytes() < BACKLOG_BYTES_MAX / 2 {
            rig.send(&mut remote, &text_frame(b'b', 9_000, 3_000));
            sent += 1;
        }
        let held = rig.gauge.held();
        assert!(held > remote.backlog_bytes());
        remote.evict(TOKEN, &rig.pen());
        assert_eq!(ending(&remote), Some(Ending::Memory));
        assert_eq!(remote.closing_since().is_some(), !is_long);
        if is_long {
            assert_eq!((remote.held_bytes(), rig.gauge.held()), (0, 0));
            continue;
        }
        assert!(remote.held_bytes() < held && rig.gauge.held() < held);
        let bytes = rig.read_to_end(&mut remote, &mut peer);
        let frames = said(bytes);
        assert_eq!(frames.last(), Some(&closed(1013)));
        assert!(frames.len() <= sent && frames.len() > 1, "the frames behind are given up");
        assert_eq!((remote.held_bytes(), rig.gauge.held()), (0, 0));
    }
}

#[test]
fn a_link_that_is_down_gives_up_what_waits_and_stays_and_who_is_closing_is_cut() {
    let mut rig = Rig::new();
    let mut link = Remote::new(PeerId::new(1, 0), true);
    rig.send(&mut link, &text_frame(b'a', 9_000, 3_000));
    assert!(rig.gauge.held() > 9_000);
    link.evict(TOKEN, &rig.pen());
    check(&link);
    assert!(link.is_open() && link.held_bytes() == 0 && rig.gauge.held() == 0);
    assert_eq!(rig.metrics.get(Counter::DroppedLinkDown), 1);
    let (mut remote, _peer) = rig.inbound();
    rig.send(&mut remote, &text_frame(b'a', 2_000_000, 3_000));
    let close = remote.close_frame(frame::CLOSE_RESTART, "");
    remote.finish(close, TOKEN, &rig.pen());
    remote.evict(TOKEN, &rig.pen());
    assert!(!remote.is_open() && remote.closing_since().is_none());
    assert_eq!((remote.held_bytes(), rig.gauge.held()), (0, 0));
}

#[test]
fn a_peer_is_stuck_since_it_last_took_something() {
    let mut rig = Rig::new();
    let (mut remote, mut peer) = rig.inbound();
    assert_eq!(remote.stuck_since(), None);
    let start = rig.now;
    rig.send(&mut remote, &text_frame(b'a', 1_000_000, 1_000_010));
    assert_eq!(remote.stuck_since(), Some(start));
    rig.now += Duration::from_secs(3);
    rig.send(&mut remote, &text_frame(b'b', 100, 300));
    remote.write_backlog(TOKEN, &rig.pen());
    assert_eq!(remote.stuck_since(), Some(start), "a try that achieves nothing is no progress");
    rig.read(&mut remote, &mut peer, 500_000);
    assert_eq!(remote.stuck_since(), Some(rig.now));
    rig.read(&mut remote, &mut peer, 500_000 + 10 + 102);
    assert_eq!(remote.stuck_since(), None);
}

#[test]
fn a_peer_that_is_gone_holds_nothing() {
    let mut rig = Rig::new();
    let (mut remote, peer) = rig.inbound();
    // Closed with bytes unread, which resets the connection.
    rig.send(&mut remote, &text_frame(b'a', 1_000_000, 1_000_010));
    drop(peer);
    let (mut events, deadline) = (Events::with_capacity(8), Instant::now() + PATIENCE);
    while remote.is_open() {
        assert!(Instant::now() < deadline);
        rig.writes.poll(&mut events, Some(Duration::from_millis(1))).unwrap();
        for _ in &events {
            remote.write_backlog(TOKEN, &rig.pen());
        }
    }
    check(&remote);
    assert_eq!(remote.backlog_bytes(), 0);
    assert_eq!(remote.socket().unwrap().ending(), Some(Ending::Peer));
    let close = remote.close_frame(frame::CLOSE_NORMAL, "");
    remote.finish(close, TOKEN, &rig.pen());
    assert_eq!(remote.closing_since(), None, "nothing more is tried");
    rig.now += Duration::from_secs(1);
}

#[test]
fn a_link_that_is_down_keeps_the_newest_frames_whole() {
    let mut rig = Rig::new();
    let mut link = Remote::new(PeerId::new(1, 0), true);
    for fill in b'a'..=b'j' {
        rig.send(&mut link, &text_frame(fill, 9_990, 700));
    }
    // Six frames of 9,994 bytes fit into 64 KiB.
    assert_eq!(rig.metrics.get(Counter::DroppedLinkDown), 4);
    let mut peer = rig.connect(&mut link);
    rig.send(&mut link, &text_frame(b'z', 50, 99));
    let bytes = rig.read(&mut link, &mut peer, 6 * 9_994 + 52);
    let kept = (b'e'..=b'j').map(|fill| text(fill, 9_990));
    let want: Vec<_> = kept.chain([text(b'z', 50)]).collect();
    assert_eq!(said(bytes), want);
}

#[test]
fn a_link_that_was_down_for_long_gets_only_what_relays_still_know() {
    let mut rig = Rig::new();
    let mut link = Remote::new(PeerId::new(1, 0), true);
    rig.send(&mut link, &text_frame(b'a', 100, 40));
    rig.now += HELD_MAX / 2;
    rig.send(&mut link, &text_frame(b'b', 100, 40));
    rig.now += HELD_MAX / 2 + Duration::from_millis(1);
    let mut peer = rig.connect(&mut link);
    rig.send(&mut link, &text_frame(b'c', 100, 40));
    let bytes = rig.read(&mut link, &mut peer, 2 * 102);
    assert_eq!(said(bytes), [text(b'b', 100), text(b'c', 100)]);
    assert_eq!(rig.metrics.get(Counter::DroppedLinkDown), 1);
}

#[test]
fn a_frame_too_big_for_a_link_that_is_down_is_given_up() {
    let rig = Rig::new();
    let mut link = Remote::new(PeerId::new(1, 0), true);
    rig.send(&mut link, &text_frame(b'a', 100, 99));
    rig.send(&mut link, &text_frame(b'b', 100_000, 30_000));
    assert_eq!((link.backlog_bytes(), rig.metrics.get(Counter::DroppedLinkDown)), (0, 2));
}

#[test]
fn a_link_cut_in_the_middle_of_a_frame_goes_on_with_the_next_one() {
    for cut in [1_000, 1_000_010] {
        let mut rig = Rig::new();
        let mut link = Remote::new(PeerId::new(1, 0), true);
        let mut peer = rig.connect(&mut link);
        rig.send(&mut link, &text_frame(b'a', 1_000_000, cut));
        rig.send(&mut link, &text_frame(b'b', 2_000, cut));
        rig.read(&mut link, &mut peer, 1_000);
        link.disconnect(&rig.pen());
        check(&link);
        assert_eq!(rig.metrics.get(Counter::DroppedLinkDown), 1, "the one that was begun");
        rig.send(&mut link, &text_frame(b'c', 3_000, cut));
        let mut peer = rig.connect(&mut link);
        let bytes = rig.read(&mut link, &mut peer, 2_004 + 3_004);
        assert_eq!(said(bytes), [text(b'b', 2_000), text(b'c', 3_000)]);
    }
}

#[test]
fn a_broken_connection_takes_along_of_a_link_the_frame_that_was_begun() {
    let mut rig = Rig::new();
    let mut link = Remote::new(PeerId::new(1, 0), true);
    let peer = rig.connect(&mut link);
    let socket = link.socket.clone().unwrap();
    rig.send(&mut link, &text_frame(b'a', 1_000_000, 1_000));
    rig.send(&mut link, &text_frame(b'b', 2_000, 1_000));
    // With bytes unread: the connection is reset.
    drop(peer);
    let deadline = Instant::now() + PATIENCE;
    while link.socket().is_some() {
        assert!(Instant::now() < deadline);
        link.write_backlog(TOKEN, &rig.pen());
        check(&link);
    }
    assert_eq!(socket.ending(), Some(Ending::Peer));
    assert_eq!(rig.metrics.get(Counter::DroppedLinkDown), 1, "the one that was begun");
    rig.send(&mut link, &text_frame(b'c', 3_000, 1_000));
    // The reactor has seen it as well.
    link.disconnect(&rig.pen());
    let mut peer = rig.connect(&mut link);
    let bytes = rig.read(&mut link, &mut peer, 2_004 + 3_004);
    assert_eq!(said(bytes), [text(b'b', 2_000), text(b'c', 3_000)]);
    assert_eq!(rig.metrics.get(Counter::DroppedLinkDown), 1);
}

#[test]
fn a_close_frame_that_did_not_get_out_does_not_close_the_next_connection() {
    let mut rig = Rig::new();
    let mut link = Remote::new(PeerId::new(1, 0), true);
    let mut peer = rig.connect(&mut link);
    rig.send(&mut link, &text_frame(b'a', 1_000_000, 1_000));
    let close = link.close_frame(frame::CLOSE_NORMAL, "");
    link.finish(close, TOKEN, &rig.pen());
    rig.read(&mut link, &mut peer, 1_000);
    link.disconnect(&rig.pen());
    check(&link);
    assert!(link.is_open());
    let mut peer = rig.connect(&mut link);
    rig.send(&mut link, &text_frame(b'z', 50, 99));
    let bytes = rig.read(&mut link, &mut peer, 52);
    assert_eq!(said(bytes), [text(b'z', 50)]);
}

#[test]
fn a_hang_up_is_seen_by_the_one_who_reads() {
    let mut rig = Rig::new();
    let (mut remote, mut peer) = rig.inbound();
    peer.write_all(b"x").unwrap();
    remote.hang_up(Ending::Stalled);
    let (mut events, deadline) = (Events::with_capacity(8), Instant::now() + PATIENCE);
    while !events.iter().any(|event| event.is_read_closed()) {
        assert!(Instant::now() < deadline);
        rig.reads.poll(&mut events, Some(Duration::from_millis(10))).unwrap();
    }
    let socket = remote.socket().unwrap();
    let mut buffer = [0; 8];
    while socket.read(&mut buffer).unwrap() != Received::End {}
    assert_eq!(socket.ending(), Some(Ending::Stalled));
}

#[test]
fn a_bridge_gives_up_what_is_too_much_and_stays_open() {
    for is_evicted in [false, true] {
        let mut rig = Rig::new();
        let (socket, mut other) = rig.pair();
        let mut socket = Arc::into_inner(socket).unwrap();
        socket.become_bridge(Bridge::Predecessor);
        let mut bridge = Remote::new(PeerId::new(1, 0), false);
        let first = joined(&text_frame(b'H', 20, 99));
        bridge.connect(Arc::new(socket), first.clone().into(), TOKEN, &rig.pen());
        assert_eq!(rig.read(&mut bridge, &mut other, first.len()), first);
        rig.send(&mut bridge, &text_frame(b'a', 1_000_000, 100_000));
        // More than an ordinary peer may leave waiting.
        for fill in b'b'..=b'd' {
            rig.send(&mut bridge, &text_frame(fill, 60_000, 40_000));
        }
        assert_eq!(rig.metrics.get(Counter::DroppedLinkDown), 0);
        match is_evicted {
            true => bridge.evict(TOKEN, &rig.pen()),
            false => (b'e'..=b'f').for_each(|fill| {
                rig.send(&mut bridge, &text_frame(fill, 60_000, 40_000));
            }),
        }
        assert_eq!(rig.metrics.get(Counter::DroppedLinkDown), if is_evicted { 3 } else { 5 });
        assert_eq!(bridge.held_bytes(), 0, "there is nothing more that it could give up");
        assert!(bridge.is_open());
        rig.send(&mut bridge, &text_frame(b'z', 50, 99));
        let bytes = rig.read(&mut bridge, &mut other, 1_000_010 + 52);
        assert_eq!(said(bytes), [text(b'a', 1_000_000), text(b'z', 50)]);
    }
}
