//! A new process takes over while many peers talk as fast as the slowest of them hears.
//!
//! Eight peers say one message after the other, up to [`WINDOW`] of them ahead of everybody who hears them; sixteen
//! hear all that is said. Who is closed with 1012 comes back at once. Each message says whose it is, on which of its
//! connections, and where it stands in order, so that every connection shows what it missed or heard twice.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::wait::{self, SOON};
use crate::upgrade::{Successor, newcomers};
use crate::{logged, start};

const PAIRS: usize = 8;
const WINDOW: u64 = 64;
/// What each peer says beyond the moment at which all are at the new process.
const LAST_WORDS: u64 = 100;

/// What the threads of the test tell each other.
#[derive(Default)]
struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Speaker {
    /// The how many-th of its connections.
    connection: u64,
    /// Messages so far, on all its connections.
    said: u64,
    /// It stops there.
    end: Option<u64>,
}

#[derive(Default)]
struct State {
    speakers: [Speaker; PAIRS],
    /// Which process serves a connection of a speaker.
    processes: HashMap<(usize, u64), String>,
    /// By peer that is connected, up to which message of each speaker it is: what it heard last, or what was said
    /// before it came.
    heard: HashMap<usize, [u64; PAIRS]>,
    /// Processes of speaker and hearer of messages that were heard.
    ways: BTreeSet<(String, String)>,
    /// Messages that were heard, by all.
    copies: u64,
}

impl State {
    /// A speaker may say its next message: all who hear it are near enough.
    fn has_room(&self, speaker: usize) -> bool {
        let others = self.heard.iter().filter(|(peer, _)| **peer != speaker);
        let slowest = others.map(|(_, heard)| heard[speaker]).min();
        slowest.is_none_or(|heard| self.speakers[speaker].said - heard < WINDOW)
    }

    /// A peer has heard all that is ever said.
    fn is_done(&self, peer: usize) -> bool {
        let heard = self.heard[&peer];
        let has_all = |(at, speaker): (usize, &Speaker)| {
            at == peer || speaker.end.is_some_and(|end| heard[at] >= end)
        };
        self.speakers.iter().enumerate().all(has_all)
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the board")
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits for something to be so.
    fn wait_until<T>(&self, what: &str, mut probe: impl FnMut(&mut State) -> Option<T>) -> T {
        let (mut state, end) = (self.lock(), Instant::now() + SOON);
        loop {
            if let Some(found) = probe(&mut state) {
                return found;
            }
            let left = end.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("waited {SOON:?} for {what}"));
            state = self.changed.wait_timeout(state, left).expect("the board").0;
        }
    }
}

/// The reading half of a peer's connection.
struct Ears {
    stream: TcpStream,
    input: Vec<u8>,
}

enum Frame {
    Text(String),
    Close(u16),
}

impl Ears {
    /// Connects; returns the pid of the process as well.
    fn connect(url: &str) -> (Ears, String) {
        let address = url.split('/').nth(2).expect("an address");
        let mut stream = TcpStream::connect(address).expect("no connection is refused");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let request = "GET /gun HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("no connection is refused");
        let mut ears = Ears { stream, input: Vec::new() };
        let head = loop {
            let end = ears.input.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                break String::from_utf8(ears.input.drain(..end + 4).collect()).expect("a head");
            }
            ears.read().expect("an answer");
        };
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let Ok(Frame::Text(greeting)) = ears.hear() else { panic!("no greeting") };
        let (_, pid) = greeting.split_once("\"pid\":\"").expect("a pid");
        let pid = pid.split('"').next().expect("a pid").to_owned();
        (ears, pid)
    }

    fn read(&mut self) -> io::Result<()> {
        let mut part = vec![0; 64 * 1024];
        match self.stream.read(&mut part)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.input.extend_from_slice(&part[..count]);
                Ok(())
            }
        }
    }

    /// The next frame (RFC 6455, section 5.2); a relay sends whole messages, and is not asked for more.
    fn hear(&mut self) -> io::Result<Frame> {
        loop {
            if let Some((opcode, payload)) = self.take_frame() {
                match opcode {
                    1 => return Ok(Frame::Text(String::from_utf8(payload).expect("UTF-8"))),
                    8 => return Ok(Frame::Close(u16::from_be_bytes([payload[0], payload[1]]))),
                    _ => continue,
                }
            }
            self.read()?;
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let input = &self.input;
        let (head, length) = match *input.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes(input.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(input.get(2..10)?.try_into().ok()?) as usize),
            short => (2, usize::from(short)),
        };
        let payload = input.get(head..head + length)?.to_vec();
        let opcode = input[0] & 0x0f;
        self.input.drain(..head + length);
        Some((opcode, payload))
    }
}

/// A frame of a client whose mask is zero.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// What a message says of itself.
struct Mark {
    speaker: usize,
    connection: u64,
    /// The number of the first message of that connection.
    first: u64,
    number: u64,
}

impl Mark {
    fn message(&self) -> String {
        let Mark { speaker, connection, first, number } = self;
        let pad = "x".repeat(1024 << (number % 5));
        format!(r##"{{"#":"load-{speaker}-{connection}-{first}-{number}","pad":"{pad}"}}"##)
    }

    fn all_in(text: &str) -> impl Iterator<Item = Mark> {
        let starts = text.match_indices("\"#\":\"load-");
        starts.map(|(at, start)| {
            let mark = text[at + start.len()..].split('"').next().expect("an id");
            let numbers: Vec<u64> =
                mark.split('-').map(|number| number.parse().expect("a number")).collect();
            let [speaker, connection, first, number] = numbers[..] else { panic!("{mark}") };
            Mark { speaker: speaker as usize, connection, first, number }
        })
    }
}

/// One of [`PAIRS`] speakers, who hear as well, or of those who only hear.
struct Peer {
    number: usize,
    url: String,
    board: Arc<Board>,
}

impl Peer {
    /// Hears until all is said, and comes back whenever it is closed.
    fn run(&self) {
        for connection in 1.. {
            let (ears, pid) = Ears::connect(&self.url);
            let known = self.board.change(|state| self.arrive(state, connection, &pid));
            let is_done = thread::scope(|scope| {
                if self.number < PAIRS {
                    let mouth = ears.stream.try_clone().expect("a clone");
                    scope.spawn(move || self.speak(mouth, connection));
                }
                self.hear(ears, &pid, known)
            });
            if is_done {
                return;
            }
        }
    }

    /// The peer is connected. Returns what had been said by then.
    fn arrive(&self, state: &mut State, connection: u64, pid: &str) -> [Speaker; PAIRS] {
        if self.number < PAIRS {
            state.processes.insert((self.number, connection), pid.to_owned());
            let speaker = &mut state.speakers[self.number];
            speaker.connection = connection;
            // What it said last, on its way out, is not waited for.
            let said = speaker.said;
            state.heard.values_mut().for_each(|heard| heard[self.number] = said);
        }
        state.heard.insert(self.number, state.speakers.map(|speaker| speaker.said));
        state.speakers
    }

    fn speak(&self, mut mouth: TcpStream, connection: u64) {
        mouth.set_write_timeout(Some(SOON)).expect("a timeout");
        let me = self.number;
        let first = self.board.lock().speakers[me].said + 1;
        loop {
            let number = self.board.wait_until("room to speak", |state| {
                let speaker = state.speakers[me];
                let is_over = !state.heard.contains_key(&me) || Some(speaker.said) == speaker.end;
                if is_over || !state.has_room(me) {
                    return is_over.then_some(None);
                }
                state.speakers[me].said += 1;
                Some(Some(speaker.said + 1))
            });
            let Some(number) = number else { return };
            let mark = Mark { speaker: me, connection, first, number };
            if mouth.write_all(&frame(&mark.message())).is_err() {
                // The ears hear why.
                return;
            }
        }
    }

    /// Hears one connection to its end. Says whether all is said; if not, it was told to come back.
    fn hear(&self, mut ears: Ears, pid: &str, known: [Speaker; PAIRS]) -> bool {
        let mut next = HashMap::new();
        loop {
            match ears.hear().unwrap_or_else(|e| panic!("peer {}: {e}", self.number)) {
                Frame::Text(text) => {
                    for mark in Mark::all_in(&text) {
                        check(&mark, &mut next, &known);
                        self.board.change(|state| self.note(state, &mark, pid));
                    }
                }
                Frame::Close(code) => {
                    assert_eq!(code, 1012, "peer {}", self.number);
                    self.board.change(|state| state.heard.remove(&self.number));
                    let _gone = ears.stream.shutdown(Shutdown::Both);
                    return false;
                }
            }
            if self.board.lock().is_done(self.number) {
                return true;
            }
        }
    }

    fn note(&self, state: &mut State, mark: &Mark, pid: &str) {
        let from = state.processes[&(mark.speaker, mark.connection)].clone();
        state.ways.insert((from, pid.to_owned()));
        state.copies += 1;
        let heard = &mut state.heard.get_mut(&self.number).expect("connected")[mark.speaker];
        *heard = mark.number.max(*heard);
    }
}

/// Each message of a connection follows the one before it; and the first that is heard of a connection is its first,
/// or one from before the hearer came (`known` is what had been said then), or the first after that.
fn check(mark: &Mark, next: &mut HashMap<(usize, u64), u64>, known: &[Speaker; PAIRS]) {
    let Mark { speaker, connection, first, number } = *mark;
    let which = format!("message {number} of connection {connection} of peer {speaker}");
    let before = next.insert((speaker, connection), number + 1);
    let Speaker { connection: last, said, .. } = known[speaker];
    match before {
        Some(expected) => assert_eq!(number, expected, "{which}"),
        None if connection > last => assert_eq!(number, first, "{which}"),
        None => assert!(number <= said + 1, "{which}, though only {said} had been said before"),
    }
}

#[test]
fn an_upgrade_under_load_loses_no_message_between_peers_that_stay() {
    let (mut relay, url) = start(&["--drain-time=5", "--ping-interval=0"], &[]);
    let board = Arc::<Board>::default();
    let peers = (0..2 * PAIRS).map(|number| {
        let peer = Peer { number, url: url.clone(), board: board.clone() };
        thread::spawn(move || peer.run())
    });
    let peers: Vec<_> = peers.collect();
    let all_said = |count: u64| {
        move |state: &mut State| {
            state.speakers.iter().all(|speaker| speaker.said >= count).then_some(())
        }
    };
    board.wait_until("everybody to speak", all_said(2 * WINDOW));
    let (done, newcomers) = newcomers(&url);

    relay.signal("USR2");
    let _successor = Successor::of(&mut relay);
    logged(&mut relay, "a new process serves", 1);
    assert_eq!(relay.exit_within(Duration::from_secs(30)).code(), Some(0));
    let log = relay.log();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");

    board.change(|state| {
        state.speakers.iter_mut().for_each(|it| it.end = Some(it.said + LAST_WORDS));
    });
    for peer in peers {
        wait::until("a peer to hear everything", || peer.is_finished().then_some(()));
        peer.join().expect("a peer that lost nothing");
    }
    done.store(true, Ordering::Relaxed);
    let connected = newcomers.join().expect("nobody is refused");
    let state = board.lock();
    let ways = state.ways.len();
    assert_eq!(ways, 4, "within the old process, within the new one, and both ways between them");
    let said: u64 = state.speakers.iter().map(|speaker| speaker.said).sum();
    eprintln!("{said} messages, {} copies, {connected} newcomers", state.copies);
}
