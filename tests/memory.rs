//! The promise of memory: under every attack the relay stays below `--memory-max`, and a
//! well-behaved pair loses nothing.
//!
//! The relay is a process of its own; its peak is what the kernel has seen (`VmHWM`), so nothing
//! between two looks is missed.
#![cfg(target_os = "linux")]

#[path = "swarm/client.rs"]
mod client;
#[path = "swarm/crowd.rs"]
mod crowd;
#[path = "swarm/deadline.rs"]
mod deadline;
#[path = "swarm/message.rs"]
mod message;
#[path = "swarm/relay.rs"]
mod relay;

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::{Crowd, Id, Said, Swarm};
use crowd::Flood;
use deadline::Deadline;
use gunmetal::ws::frame;
use message::{Kind, Message};
use relay::Relay;

/// What the relay may use, in MiB, where the build may be a slow one.
const SMALL_MIB: u64 = 96;
/// And with thousands of clients.
const LARGE_MIB: u64 = 256;

/// Messages of the pair that are under way.
const WINDOW: usize = 16;

fn turn_of_tests() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What happens beside the pair.
trait Attack {
    /// Something was heard by one of the attackers.
    fn hear(&mut self, client: Id, said: Said<'_>);
    /// Goes on. Says whether it is over.
    fn go_on(&mut self, swarm: &mut Swarm) -> bool;
    /// How far it is.
    fn state(&self) -> String;
}

/// Well-behaved peers that talk to each other without end, and an attack beside them.
struct Siege<'a, A> {
    flood: &'a mut Flood,
    attack: &'a mut A,
    is_over: bool,
}

impl<A: Attack> Crowd for Siege<'_, A> {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        match self.flood.listens(client) {
            true => self.flood.hear(client, said),
            false => self.attack.hear(client, said),
        }
    }

    fn act(&mut self, swarm: &mut Swarm) {
        self.is_over = self.attack.go_on(swarm);
        self.flood.act(swarm);
    }

    fn is_done(&self) -> bool {
        self.is_over
    }

    fn state(&self) -> String {
        format!("{}; beside it {}", self.attack.state(), self.flood.state())
    }
}

/// A relay of so much memory with `good` peers, of which the first two send to all, and an attack. Returns
/// the peak.
fn besiege<A: Attack>(
    memory_mib: u64,
    flags: &[&str],
    good: usize,
    begin: impl FnOnce(&mut Swarm, &Relay) -> A,
    end: impl FnOnce(A, &mut Swarm, &Relay),
) -> u64 {
    let _turn = turn_of_tests();
    let memory = format!("{memory_mib}M");
    let limits = ["--memory-max", &memory, "--reactors", "2", "--writers", "2"];
    let mut relay = Relay::start(&[&limits, flags].concat());
    let mut swarm = Swarm::new(relay.address());
    let good = swarm.join(good);
    let mut flood = Flood::new(0..2, good.clone(), usize::MAX, WINDOW);
    let mut attack = begin(&mut swarm, &relay);
    let mut siege = Siege { flood: &mut flood, attack: &mut attack, is_over: false };
    swarm.drive("the end of the attack", &mut siege);
    end(attack, &mut swarm, &relay);
    flood.end();
    let mut rest = Siege { flood: &mut flood, attack: &mut Over, is_over: false };
    drive_to_the_end(&mut swarm, &mut rest);
    let peak = relay.peak_bytes();
    eprintln!("peak {} MiB, {}", peak >> 20, flood.state());
    assert!(peak < memory_mib << 20, "{peak} bytes");
    assert!(flood.taken() > 100, "the pair hardly spoke: {}", flood.state());
    relay.assert_runs();
    relay.stop();
    peak
}

/// Until all the pair said has arrived; what attackers still hear does not matter.
fn drive_to_the_end(swarm: &mut Swarm, siege: &mut Siege<'_, Over>) {
    let deadline = Deadline::new("the pair's last messages");
    while !siege.flood.is_done() {
        siege.flood.act(swarm);
        swarm.turn(siege);
        deadline.check(|| siege.flood.state());
    }
}

/// No attack any more.
struct Over;

impl Attack for Over {
    fn hear(&mut self, _: Id, _: Said<'_>) {}
    fn go_on(&mut self, _: &mut Swarm) -> bool {
        true
    }
    fn state(&self) -> String {
        String::new()
    }
}

// Messages that never end

/// Up to so much is sent of each, in bytes: less than what ends a connection by itself.
const HOARD_BYTES: usize = 90 << 20;
const FRAGMENT_BYTES: usize = 60 * 1024;

/// Hoarders that may be left: so many, or a fifth. The last ones have the longest to send.
const LEFT_MAX: usize = 2;

/// Peers that each send one message in fragments, none of which is the last.
struct Hoarders {
    hoarders: Range<Id>,
    sent: Vec<usize>,
    closed: Vec<Option<u16>>,
    gone: usize,
}

impl Hoarders {
    fn new(hoarders: Range<Id>) -> Hoarders {
        let count = hoarders.len();
        Hoarders { hoarders, sent: vec![0; count], closed: vec![None; count], gone: 0 }
    }

    fn told_why(&self) -> usize {
        self.closed.iter().filter(|code| **code == Some(frame::CLOSE_AGAIN)).count()
    }
}

/// A text fragment that is not the last; masked with zeros.
fn fragment(is_first: bool) -> Vec<u8> {
    let mut frame = vec![if is_first { 0x01 } else { 0x00 }, 0x80 | 126];
    frame.extend((FRAGMENT_BYTES as u16).to_be_bytes());
    frame.extend([0; 4]);
    frame.resize(frame.len() + FRAGMENT_BYTES, b' ');
    frame
}

impl Attack for Hoarders {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        let place = client - self.hoarders.start;
        match said {
            Said::Close(code) => self.closed[place] = code,
            Said::Gone(_) => self.gone += 1,
            _ => {}
        }
    }

    fn go_on(&mut self, swarm: &mut Swarm) -> bool {
        // Of those that are left each could hold what it sends, and all of them together.
        let left_max = LEFT_MAX.max(self.hoarders.len() / 5);
        if self.told_why() + left_max >= self.hoarders.len() {
            return true;
        }
        for (place, client) in self.hoarders.clone().enumerate() {
            let sent = &mut self.sent[place];
            let is_open = swarm.is_connected(client) && self.closed[place].is_none();
            if !is_open || *sent >= HOARD_BYTES {
                continue;
            }
            if swarm.unsent_bytes(client) < FRAGMENT_BYTES {
                swarm.send_bytes(client, &fragment(*sent == 0));
                *sent += FRAGMENT_BYTES;
            }
        }
        false
    }

    fn state(&self) -> String {
        let sent: usize = self.sent.iter().sum();
        format!("{} MiB hoarded, {} told why, {} gone", sent >> 20, self.told_why(), self.gone)
    }
}

fn hoarders(good: usize, count: usize) {
    besiege(
        SMALL_MIB,
        &[],
        good,
        |swarm, _| Hoarders::new(swarm.join(count)),
        |hoarders, _, _| eprintln!("{}", hoarders.state()),
    );
}

#[test]
fn messages_that_never_end_cost_those_who_send_them_their_connection() {
    hoarders(50, 12);
}

// Requests that never end

/// Connections that are half way through a large request head.
struct Loris {
    count: usize,
    came: usize,
    present: Vec<Id>,
}

impl Loris {
    const PRESENT_MAX: usize = 500;
}

impl Attack for Loris {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        if let Said::Gone(_) = said {
            self.present.retain(|present| *present != client);
        }
    }

    fn go_on(&mut self, swarm: &mut Swarm) -> bool {
        while self.came < self.count && self.present.len() < Self::PRESENT_MAX {
            let client = swarm.connect();
            let head = [b"GET /gun HTTP/1.1\r\nX-Slow: ".to_vec(), vec![b'x'; 12 * 1024]].concat();
            swarm.send_bytes(client, &head);
            self.present.push(client);
            self.came += 1;
        }
        self.came == self.count && self.present.is_empty()
    }

    fn state(&self) -> String {
        format!("{} of {} came, {} are there", self.came, self.count, self.present.len())
    }
}

#[test]
fn a_slow_loris_swarm() {
    let loris = Loris { count: 1500, came: 0, present: Vec::new() };
    besiege(SMALL_MIB, &["--handshake-timeout", "1"], 20, |_, _| loris, |_, _, _| {});
}

// Connections, far too many

struct ConnectionFlood {
    count: usize,
    came: usize,
}

impl Attack for ConnectionFlood {
    fn hear(&mut self, _: Id, _: Said<'_>) {}

    fn go_on(&mut self, swarm: &mut Swarm) -> bool {
        for _ in 0..50 {
            let client = swarm.connect();
            match self.came % 3 {
                0 => swarm.reset(client),
                1 => swarm.leave(client),
                // It stays; the relay has to end it.
                _ => {}
            }
            self.came += 1;
        }
        self.came >= self.count
    }

    fn state(&self) -> String {
        format!("{} of {} came", self.came, self.count)
    }
}

#[test]
fn a_connection_flood() {
    let flood = ConnectionFlood { count: 6000, came: 0 };
    let flags = ["--handshake-timeout", "1", "--connections-max", "1000"];
    besiege(SMALL_MIB, &flags, 20, |_, _| flood, |_, _, _| {});
}

// Messages, far too many

/// Peers that say as much as the kernel takes, and read what comes.
struct MessageFlood {
    sources: Range<Id>,
    sent: Vec<usize>,
}

/// Messages of each source: more than a burst of a thousand a second and what the kernel holds.
const FLOOD_MESSAGES: usize = 20_000;

impl Attack for MessageFlood {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        if let Said::Close(_) | Said::Gone(_) = said {
            panic!("source {client} is slowed down, and not closed: {said:?}");
        }
    }

    fn go_on(&mut self, swarm: &mut Swarm) -> bool {
        let mut is_over = true;
        for (source, client) in self.sources.clone().enumerate() {
            let sent = &mut self.sent[source];
            while *sent < FLOOD_MESSAGES && swarm.unsent_bytes(client) < 64 * 1024 {
                let message = Message { kind: Kind::OtherPut, source, n: *sent };
                swarm.send(client, &message.text());
                *sent += 1;
            }
            is_over &= *sent == FLOOD_MESSAGES && swarm.unsent_bytes(client) == 0;
        }
        is_over
    }

    fn state(&self) -> String {
        format!("{:?} of {FLOOD_MESSAGES} sent", self.sent)
    }
}

#[test]
fn a_message_flood() {
    let begin =
        |swarm: &mut Swarm, _: &Relay| MessageFlood { sources: swarm.join(3), sent: vec![0; 3] };
    besiege(SMALL_MIB, &["--peer-messages-per-second", "1000"], 6, begin, |_, _, _| {});
}

// Readers that do not read

struct StalledReaders {
    open_files: Box<dyn Fn() -> usize>,
    files_left: usize,
    next_look: Instant,
    found: usize,
}

impl StalledReaders {
    /// The last peers stop reading.
    fn new(swarm: &mut Swarm, relay: &Relay, count: usize) -> StalledReaders {
        let files_left = relay.open_files();
        for _ in 0..count {
            let client = swarm.join_slow();
            swarm.pause(client);
        }
        let path = format!("/proc/{}/fd", relay.pid());
        let open_files = Box::new(move || std::fs::read_dir(&path).expect("it runs").count());
        StalledReaders { open_files, files_left, next_look: Instant::now(), found: usize::MAX }
    }
}

impl Attack for StalledReaders {
    fn hear(&mut self, _: Id, _: Said<'_>) {}

    fn go_on(&mut self, _: &mut Swarm) -> bool {
        if Instant::now() >= self.next_look {
            self.next_look = Instant::now() + Duration::from_millis(100);
            self.found = (self.open_files)();
        }
        self.found <= self.files_left
    }

    fn state(&self) -> String {
        format!("{} files are open, to become {}", self.found, self.files_left)
    }
}

#[test]
fn a_stalled_reader_swarm() {
    let begin = |swarm: &mut Swarm, relay: &Relay| StalledReaders::new(swarm, relay, 200);
    let flags = ["--stall-timeout", "5", "--backlog-bytes-max", "1M"];
    besiege(SMALL_MIB, &flags, 20, begin, |_, _, _| {});
}

// All at once

/// Hoarders, and readers that stop.
struct Both {
    hoarders: Hoarders,
    stalled: StalledReaders,
}

impl Attack for Both {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        if self.hoarders.hoarders.contains(&client) {
            self.hoarders.hear(client, said);
        }
    }

    fn go_on(&mut self, swarm: &mut Swarm) -> bool {
        // The stalled ones go when their time comes, or earlier for what they hold.
        self.stalled.go_on(swarm);
        self.hoarders.go_on(swarm)
    }

    fn state(&self) -> String {
        format!("{}; {}", self.hoarders.state(), self.stalled.state())
    }
}

/// `count` clients: most are well-behaved and busy, a few are not.
fn all_at_once(memory_mib: u64, count: usize) {
    let (hoarders, stalled) = (count / 50, count / 20);
    let begin = |swarm: &mut Swarm, relay: &Relay| {
        let stalled = StalledReaders::new(swarm, relay, stalled);
        Both { hoarders: Hoarders::new(swarm.join(hoarders)), stalled }
    };
    let end = |both: Both, _: &mut Swarm, _: &Relay| eprintln!("{}", both.state());
    besiege(memory_mib, &["--stall-timeout", "60"], count - hoarders - stalled, begin, end);
}

#[test]
fn hundreds_of_clients_among_them_hoarders_and_stalled_readers() {
    all_at_once(SMALL_MIB, 300);
}

#[test]
fn five_thousand_clients_among_them_hoarders_and_stalled_readers() {
    all_at_once(LARGE_MIB, 5000);
}
