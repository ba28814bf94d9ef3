//! A writer driven by hand: its turns, its timers, its links that come and go.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use mio::Waker;

use super::drain::DRAIN_SLICE;
use super::*;
use crate::dam::peer::FewPeers;
use crate::metrics::Metrics;
use crate::net::memory::Memory;
use crate::net::queue::{self, Body};
use crate::net::socket::Ending;

struct Rig {
    writer: Writer,
    /// What a reactor holds of the queue.
    reactor: Option<queue::Lane>,
    reads: Poll,
    metrics: Metrics,
    peers: Vec<TcpStream>,
}

impl Rig {
    fn new(config: Config) -> Self {
        let metrics = Metrics::default();
        let poll = Poll::new().unwrap();
        let (lane, queue, bell) = queue::lane(9, Waker::new(poll.registry(), BELL).unwrap());
        let (config, counters) = (Arc::new(config), metrics.for_thread());
        let (figures, batches) = (metrics.for_loop("writer-0".into()), metrics.for_batches());
        let memory = Arc::new(Memory::new(&config));
        let keeper = Keeper::new(memory.clone(), memory.of_writer(0, config.reactors));
        let parts = Parts {
            index: 0,
            poll,
            queue,
            bell,
            config,
            counters,
            figures,
            batches,
            keeper,
            faults: RefCell::default(),
        };
        let writer = Writer::new(parts);
        let reads = Poll::new().unwrap();
        Rig { writer, reactor: Some(lane), reads, metrics, peers: Vec::new() }
    }

    fn turn(&mut self, items: Vec<Outbound>) {
        self.writer.take_turn(Turn::of(b"{}".to_vec(), items));
    }

    /// A new connection for a peer, whose other end stays open.
    fn open(&mut self, peer: PeerId) -> Arc<Socket> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        self.peers.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let (stream, address) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = mio::net::TcpStream::from_std(stream);
        let socket = Socket::watched(stream, address, self.reads.registry(), Token(0)).unwrap();
        let socket = Arc::new(socket);
        self.turn(vec![Outbound::Open(peer, socket.clone(), Bytes::from_static(b"hi"))]);
        socket
    }

    fn pass(&mut self, seconds: u64) {
        self.writer.now += Duration::from_secs(seconds);
        self.writer.run_timers();
        self.writer.deliver_if_due();
    }
}

fn peer(sequence: u64) -> PeerId {
    PeerId::new(sequence, 0)
}

fn to_all() -> Outbound {
    Outbound::Broadcast(Body::Small(0..2), FewPeers::new())
}

#[test]
fn a_link_that_came_back_is_pinged_once_an_interval() {
    let interval = Duration::from_secs(30);
    let config = Config {
        ping_interval: Some(interval),
        pong_timeout: interval,
        stall_timeout: Duration::from_secs(3600),
        ..Config::for_tests()
    };
    let mut rig = Rig::new(config);
    let link = peer(1);
    rig.turn(vec![Outbound::Expect(link)]);
    let mut socket = rig.open(link);
    for _ in 0..5 {
        rig.pass(7);
        rig.turn(vec![Outbound::Close(link)]);
        socket = rig.open(link);
    }
    let (before, mut pings) = (rig.metrics.get(Counter::Writes), 0);
    for _ in 0..600 {
        rig.pass(1);
        // The other end answers each ping within the second.
        let pings_now = rig.metrics.get(Counter::Writes) - before;
        if pings_now > pings {
            pings = pings_now;
            socket.mark_alive();
        }
        assert_eq!(socket.ending(), None, "hung up though it answers");
    }
    assert_eq!(pings, 600 / 60, "one chain of pings and checks");
}

#[test]
fn a_peer_that_answers_no_ping_is_hung_up_on() {
    let interval = Duration::from_secs(30);
    let config =
        Config { ping_interval: Some(interval), pong_timeout: interval, ..Config::for_tests() };
    let mut rig = Rig::new(config);
    let (silent, loud) = (rig.open(peer(1)), rig.open(peer(2)));
    for _ in 0..62 {
        rig.pass(1);
        loud.mark_alive();
    }
    assert_eq!((silent.ending(), loud.ending()), (Some(Ending::Silent), None));
}

#[test]
fn inbound_peers_get_a_heartbeat_and_links_do_not() {
    let mut rig = Rig::new(Config { ping_interval: None, ..Config::for_tests() });
    rig.turn(vec![Outbound::Expect(peer(1))]);
    rig.open(peer(1));
    rig.open(peer(2));
    let before = rig.metrics.get(Counter::HeartbeatsOut);
    (0..100).for_each(|_| rig.pass(1));
    assert_eq!(rig.metrics.get(Counter::HeartbeatsOut) - before, 5);
    rig.turn(vec![Outbound::Close(peer(2))]);
    (0..100).for_each(|_| rig.pass(1));
    assert_eq!(rig.metrics.get(Counter::HeartbeatsOut) - before, 5);
    assert_eq!(rig.writer.timers.next_due(), None, "nothing is left of it");
}

#[test]
fn a_link_to_this_relay_itself_is_forgotten() {
    let mut rig = Rig::new(Config::for_tests());
    rig.turn(vec![Outbound::Expect(peer(1)), Outbound::Expect(peer(2))]);
    let (itself, other) = (rig.open(peer(1)), rig.open(peer(2)));
    itself.end(Ending::Itself);
    other.end(Ending::Peer);
    rig.turn(vec![Outbound::Close(peer(1)), Outbound::Close(peer(2)), to_all()]);
    rig.pass(0);
    let left: Vec<_> = rig.writer.remotes.iter().map(|(_, remote)| remote.id).collect();
    assert_eq!(left, [peer(2)], "what is said is kept for the one that may return");
    assert!(rig.writer.slot(peer(1)).is_none());
}

#[test]
fn a_turn_without_messages_is_let_go_however_long_the_gap() {
    let mut rig = Rig::new(Config { batch_gap: Duration::from_secs(1), ..Config::for_tests() });
    let socket = rig.open(peer(1));
    rig.turn(vec![to_all()]);
    rig.pass(0);
    assert_eq!(rig.metrics.get(Counter::CopiesOut), 1);
    // Within the gap: an answer to a peer that is gone, and a peer that goes.
    let turn = Turn::of(
        b"{}".to_vec(),
        vec![Outbound::Send(peer(9), Body::Small(0..2)), Outbound::Close(peer(1))],
    );
    rig.writer.take_turn(turn.clone());
    rig.pass(0);
    assert_eq!(Arc::strong_count(&turn), 1, "its bytes count until it is dropped");
    assert_eq!(Arc::strong_count(&socket), 1, "the connection ends");
    assert_eq!(rig.metrics.get(Counter::DroppedLostAck), 1);
}

#[test]
fn messages_wait_for_the_gap() {
    let mut rig = Rig::new(Config { batch_gap: Duration::from_secs(1), ..Config::for_tests() });
    rig.open(peer(1));
    for (passed, copies) in [(0, 1), (0, 1), (1, 3), (1, 4)] {
        rig.turn(vec![to_all()]);
        rig.pass(passed);
        assert_eq!(rig.metrics.get(Counter::CopiesOut), copies);
    }
}

#[test]
fn a_slot_used_anew_in_the_same_batch_gets_nothing_said_before() {
    let mut rig = Rig::new(Config::for_tests());
    rig.open(peer(1));
    rig.turn(vec![to_all(), Outbound::Send(peer(1), Body::Small(0..2)), Outbound::Close(peer(1))]);
    rig.open(peer(2));
    rig.turn(vec![to_all()]);
    rig.pass(0);
    assert_eq!(rig.metrics.get(Counter::CopiesOut), 1);
    assert_eq!(rig.writer.remotes.len(), 1);
}

#[test]
fn a_drain_closes_everybody_and_ends() {
    let mut rig = Rig::new(Config::for_tests());
    let sockets: Vec<_> = (0..10).map(|sequence| rig.open(peer(sequence))).collect();
    rig.turn(vec![Outbound::Drain(Duration::from_secs(2))]);
    for _ in 0..3 {
        rig.pass(1);
    }
    for _ in 0..20 {
        rig.writer.now += DRAIN_SLICE;
        rig.writer.run_timers();
    }
    assert!(sockets.iter().all(|socket| socket.ending() == Some(Ending::Stopping)));
    rig.turn((0..10).map(|sequence| Outbound::Close(peer(sequence))).collect());
    rig.pass(0);
    assert!(!rig.writer.is_done(), "a reactor may still have something to say");
    rig.reactor.take();
    rig.writer.take_turns();
    assert!(rig.writer.is_done());
}

#[test]
fn peers_that_come_and_go_leave_no_timers_behind() {
    let ping_interval = Some(Duration::from_secs(3600));
    let mut rig = Rig::new(Config { ping_interval, ..Config::for_tests() });
    let (stays, link) = (peer(1), peer(2));
    let socket = rig.open(stays);
    rig.turn(vec![
        Outbound::Expect(link),
        Outbound::Open(link, socket.clone(), Bytes::from_static(b"hi")),
    ]);
    for sequence in 3..10_000 {
        let open = Outbound::Open(peer(sequence), socket.clone(), Bytes::from_static(b"hi"));
        rig.turn(vec![open, Outbound::Close(peer(sequence))]);
        if sequence % 1000 == 0 {
            rig.pass(1);
            assert!(rig.writer.timers.count() < 2000, "{}", rig.writer.timers.count());
        }
    }
    let pings = |rig: &Rig| rig.metrics.get(Counter::PingsOut);
    rig.pass(3600);
    assert_eq!(pings(&rig), 2, "who is here is still pinged");
}
