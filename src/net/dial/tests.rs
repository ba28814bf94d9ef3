use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, unbounded};
use socket2::{Domain, Socket, Type};
use tungstenite::handshake::derive_accept_key;

use std::io::{Read, Write};

use super::redial::LINK_GOOD;
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_secs(3600);

/// The links handed over, each with its early bytes.
type Links = Receiver<(TcpStream, Vec<u8>)>;

/// The relay's side: collects links, and says what it is told about a twin.
#[derive(Clone)]
struct Relay {
    links: Sender<(TcpStream, Vec<u8>)>,
    twin: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl LinkSink for Relay {
    fn opened(&self, socket: TcpStream, session: Option<Box<Session>>, early: Vec<u8>) {
        assert!(session.is_none(), "the URL is plain");
        self.links.send((socket, early)).unwrap();
    }

    fn still_twin(&self) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.twin.load(Ordering::SeqCst)
    }
}

/// A dialler, and both ends of what it talks to.
struct Fixture {
    dialer: Dialer<Relay>,
    events: Sender<LinkEvent>,
    links: Links,
    relay: Relay,
}

fn fixture(address: SocketAddr) -> Fixture {
    let (links_in, links) = unbounded();
    let (events, events_out) = unbounded();
    let relay = Relay { links: links_in, twin: Arc::default(), asked: Arc::default() };
    let quick = Duration::from_millis(5);
    let timing =
        Timing { redial_first: quick, twin_poll: quick, twin_wait_max: NEVER, ..Timing::default() };
    let dialer = Dialer {
        url: PeerUrl::parse(&format!("ws://{address}/gun?a=b")).unwrap(),
        roots: None,
        events: events_out,
        sink: relay.clone(),
        limits: HeadLimits::default(),
        timing,
    };
    Fixture { dialer, events, links, relay }
}

impl Fixture {
    /// Starts the thread; its end is the return value of `join`.
    fn start(self) -> (JoinHandle<()>, Sender<LinkEvent>, Links) {
        (thread::spawn(move || run(self.dialer)), self.events, self.links)
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn closed(end: LinkEnd) -> LinkEvent {
    LinkEvent::Closed { end, reason: "a test".to_owned() }
}

fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Accepts one connection, agrees to the WebSocket and sends `early` in the same write.
fn accept(listener: &TcpListener, early: &str) -> (TcpStream, String) {
    let (mut socket, _) = listener.accept().unwrap();
    let head = read_head(&mut socket);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    });
    let accept = derive_accept_key(key.unwrap().as_bytes());
    let upgrade =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    write!(socket, "{upgrade}Sec-WebSocket-Accept: {accept}\r\n\r\n{early}").unwrap();
    (socket, head)
}

/// Dials once, while `peer` plays the other side of the connection.
fn dial_against(timing: Timing, peer: impl FnOnce(TcpStream) + Send + 'static) -> DialError {
    let (listener, address) = listener();
    let peer = thread::spawn(move || peer(listener.accept().unwrap().0));
    let fixture = fixture(address);
    let failure = Dialer { timing, ..fixture.dialer }.dial().unwrap_err();
    peer.join().unwrap();
    failure
}

#[test]
fn an_open_link_is_handed_over_with_the_bytes_after_the_head() {
    let (listener, address) = listener();
    let (thread, events, links) = fixture(address).start();
    let (mut peer, head) = accept(&listener, "early");
    assert!(head.starts_with("GET /gun?a=b HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains(&format!("host: {address}\r\n")), "{head}");

    let (mut link, early) = links.recv_timeout(PATIENCE).unwrap();
    let mut received = early;
    assert!(link.nodelay().unwrap());
    let deadline = Instant::now() + PATIENCE;
    while received != b"early" {
        let mut chunk = [0; 16];
        match link.read(&mut chunk) {
            Ok(count) => received.extend_from_slice(&chunk[..count]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        assert!(Instant::now() < deadline, "{received:?}");
    }
    assert_eq!(link.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    link.write_all(b"x").unwrap();
    peer.read_exact(&mut [0]).unwrap();

    events.send(LinkEvent::Stop).unwrap();
    thread.join().unwrap();
}

#[test]
fn each_way_a_dial_fails_has_its_own_reason() {
    let patient = Timing::default();
    let hung_up = dial_against(patient, |mut socket| drop(read_head(&mut socket)));
    assert!(matches!(hung_up, DialError::HungUp), "{hung_up:?}");

    let refused = dial_against(patient, |mut socket| {
        read_head(&mut socket);
        socket.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    assert!(matches!(refused, DialError::Refused(_)), "{refused:?}");

    let brief = Timing { handshake: Duration::from_millis(50), ..patient };
    let silent = dial_against(brief, |mut socket| {
        // Until the dialler hangs up.
        io::copy(&mut socket, &mut io::sink()).unwrap();
    });
    assert!(matches!(silent, DialError::TimedOut), "{silent:?}");
}

#[test]
fn a_peer_that_drips_its_answer_does_not_stretch_the_handshake() {
    let brief = Timing { handshake: Duration::from_millis(100), ..Timing::default() };
    let dripping = dial_against(brief, |mut socket| {
        socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").unwrap();
        while socket.write_all(b"x: y\r\n").is_ok() {
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let _ = socket.read(&mut [0; 1024]);
        }
    });
    assert!(matches!(dripping, DialError::TimedOut), "{dripping:?}");
}

#[test]
fn a_host_that_is_down_is_dialled_until_it_is_up() {
    // Bound but not listening: the port is ours, and connections are refused.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let fixture = fixture(socket.local_addr().unwrap().as_socket().unwrap());
    for _ in 0..2 {
        assert!(matches!(fixture.dialer.dial(), Err(DialError::Connect(_))));
    }
    let (thread, events, links) = fixture.start();
    socket.listen(8).unwrap();
    let _peer = accept(&TcpListener::from(socket), "");
    links.recv_timeout(PATIENCE).unwrap();
    drop(events);
    thread.join().unwrap();
}

#[test]
fn a_lost_link_is_dialled_again() {
    let (listener, address) = listener();
    let (thread, events, links) = fixture(address).start();
    for _ in 0..3 {
        let _peer = accept(&listener, "");
        links.recv_timeout(PATIENCE).unwrap();
        events.send(closed(LinkEnd::Lost)).unwrap();
    }
    events.send(LinkEvent::Stop).unwrap();
    drop(listener);
    thread.join().unwrap();
}

#[test]
fn a_link_to_ourselves_ends_the_thread() {
    let (listener, address) = listener();
    let (thread, events, _links) = fixture(address).start();
    let _peer = accept(&listener, "");
    events.send(closed(LinkEnd::Myself)).unwrap();
    thread.join().unwrap();
}

#[test]
fn a_twin_is_waited_for() {
    let (listener, address) = listener();
    let fixture = fixture(address);
    let relay = fixture.relay.clone();
    relay.twin.store(true, Ordering::SeqCst);
    let (thread, events, links) = fixture.start();
    let _peer = accept(&listener, "");
    links.recv_timeout(PATIENCE).unwrap();
    events.send(closed(LinkEnd::Twin)).unwrap();

    let deadline = Instant::now() + PATIENCE;
    while relay.asked.load(Ordering::SeqCst) < 5 {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    listener.set_nonblocking(true).unwrap();
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock,
        "dialled beside the twin"
    );

    listener.set_nonblocking(false).unwrap();
    relay.twin.store(false, Ordering::SeqCst);
    let _peer = accept(&listener, "");
    links.recv_timeout(PATIENCE).unwrap();
    events.send(LinkEvent::Stop).unwrap();
    thread.join().unwrap();
}

#[test]
fn a_twin_does_not_cut_a_link_for_ever() {
    let (listener, address) = listener();
    let mut fixture = fixture(address);
    fixture.dialer.timing.twin_wait_max = Duration::from_millis(20);
    fixture.relay.twin.store(true, Ordering::SeqCst);
    let (thread, events, links) = fixture.start();
    for _ in 0..2 {
        let _peer = accept(&listener, "");
        links.recv_timeout(PATIENCE).unwrap();
        events.send(closed(LinkEnd::Twin)).unwrap();
    }
    events.send(LinkEvent::Stop).unwrap();
    drop(listener);
    thread.join().unwrap();
}

#[test]
fn stop_cuts_every_wait_short() {
    let (listener, address) = listener();
    for end in [None, Some(LinkEnd::Lost), Some(LinkEnd::Twin)] {
        let mut fixture = fixture(address);
        fixture.relay.twin.store(true, Ordering::SeqCst);
        fixture.dialer.timing.redial_first = NEVER;
        fixture.dialer.timing.twin_poll = NEVER;
        let (thread, events, links) = fixture.start();
        let _peer = accept(&listener, "");
        links.recv_timeout(PATIENCE).unwrap();
        if let Some(end) = end {
            events.send(closed(end)).unwrap();
        }
        events.send(LinkEvent::Stop).unwrap();
        thread.join().unwrap();
    }
}

#[test]
fn pauses_double_and_a_good_link_resets_them() {
    let lost = |lived| Outcome::Closed { end: LinkEnd::Lost, lived };
    let mut redial = Redial::new(REDIAL_FIRST);
    let mut pauses_after = |outcome, times: usize| -> Vec<u128> {
        let millis = |step| match step {
            Step::Wait(pause) => pause.as_millis(),
            other => panic!("{other:?}"),
        };
        (0..times).map(|_| millis(redial.next(outcome, 0.0))).collect()
    };
    assert_eq!(pauses_after(Outcome::Failed, 6), [1998, 3996, 7992, 15_984, 30_000, 30_000]);
    assert_eq!(pauses_after(lost(LINK_GOOD), 1), [30_000], "a short link is no better than none");
    assert_eq!(pauses_after(lost(LINK_GOOD * 2), 2), [1998, 1998]);
    assert_eq!(pauses_after(lost(Duration::ZERO), 2), [3996, 7992]);
}

#[test]
fn pauses_are_spread_and_special_ends_have_special_steps() {
    let closed = |end| Outcome::Closed { end, lived: Duration::ZERO };
    let first = |roll| Redial::new(Duration::from_secs(1)).next(Outcome::Failed, roll);
    assert_eq!(first(1.0), Step::Wait(Duration::from_millis(1100)));
    assert_eq!(first(-1.0), Step::Wait(Duration::from_millis(900)));
    let mut redial = Redial::new(REDIAL_FIRST);
    assert_eq!(redial.next(closed(LinkEnd::Twin), 0.0), Step::StandBy);
    assert_eq!(redial.next(closed(LinkEnd::Myself), 0.0), Step::End);
}

#[test]
fn a_failing_peer_is_logged_once_a_minute() {
    let url = PeerUrl::parse("ws://a/gun").unwrap();
    let (mut log, start) = (Log::new(&url), Instant::now());
    let news = [0, 1, 59, 60, 61, 120]
        .map(|seconds| log.failure_is_news(start + Duration::from_secs(seconds)));
    assert_eq!(news, [true, false, false, true, false, true]);
}
