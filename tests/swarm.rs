//! The relay under load: thousands of clients, slow ones, hostile ones, leaving ones.
//!
//! What is checked is that everything arrives where it must and that memory stays bounded, not how
//! fast. Each test has a relay process of its own; the clients share one thread. Tests take turns,
//! because each of them keeps all cores busy.
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

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::{Crowd, Id, Idle, Said, Swarm};
use crowd::{Fence, Flood, Questions};
use deadline::Deadline;
use gunmetal::ws::frame::{self, Opcode};
use message::{Kind, Message, messages};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use relay::Relay;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Messages under way, of all sources together.
const WINDOW: usize = 256;

fn turn_of_tests() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

// Everything arrives

/// `sources` flood all clients, `senders + receivers` of them, with `count` messages each.
fn flood(threads: &[&str; 2], senders: usize, receivers: usize, count: usize) {
    let _turn = turn_of_tests();
    let relay = Relay::start(&["--reactors", threads[0], "--writers", threads[1]]);
    let mut swarm = Swarm::new(relay.address());
    let all = swarm.join(senders + receivers);
    let mut flood = Flood::new(0..senders, all.clone(), count, WINDOW / senders);
    swarm.drive("every put at every other client", &mut flood);
    swarm.drive("pongs, and nothing before them", &mut Fence::new(all));
    relay.stop();
}

#[test]
fn one_to_a_hundred_on_one_thread_each() {
    flood(&["1", "1"], 1, 100, 4_000);
}

#[test]
fn one_to_a_hundred_on_many_threads() {
    flood(&["4", "3"], 1, 100, 4_000);
}

#[test]
fn one_to_a_thousand() {
    flood(&["2", "2"], 1, 1_000, 1_000);
}

#[test]
fn a_hundred_to_each_other() {
    flood(&["2", "2"], 100, 0, 40);
}

#[test]
fn a_hundred_to_each_other_on_many_threads() {
    flood(&["4", "3"], 100, 0, 40);
}

#[test]
fn ten_to_a_hundred() {
    flood(&["2", "2"], 10, 100, 400);
}

fn questions(threads: &[&str; 2], pairs: usize, count: usize) {
    let _turn = turn_of_tests();
    let relay = Relay::start(&["--reactors", threads[0], "--writers", threads[1]]);
    let mut swarm = Swarm::new(relay.address());
    let (askers, answerers) = (swarm.join(pairs), swarm.join(pairs));
    let mut questions = Questions::new(askers, answerers, count, WINDOW / pairs);
    swarm.drive("every answer at its asker", &mut questions);
    swarm.drive("pongs, and nothing before them", &mut Fence::new(0..2 * pairs));
    relay.stop();
}

#[test]
fn answers_reach_their_askers_alone() {
    questions(&["1", "1"], 50, 50);
}

#[test]
fn answers_reach_their_askers_alone_on_many_threads() {
    questions(&["4", "3"], 50, 50);
}

/// A flood with something beside it that hears and acts first.
struct Beside<'a, C> {
    flood: &'a mut Flood,
    other: C,
}

impl<C: Crowd> Crowd for Beside<'_, C> {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        match said {
            Said::Text(text) => self.flood.hear(client, Said::Text(text)),
            _ if self.flood.listens(client) => panic!("client {client} heard {said:?}"),
            _ => {}
        }
        self.other.hear(client, said);
    }

    fn act(&mut self, swarm: &mut Swarm) {
        self.other.act(swarm);
        if !self.other.is_quiet() {
            self.flood.act(swarm);
        }
    }

    fn is_done(&self) -> bool {
        self.other.is_done()
    }

    fn state(&self) -> String {
        format!("{}; beside it {}", self.other.state(), self.flood.state())
    }
}

/// Two clients that send to each other until told to end.
fn endless_pair(pair: Range<Id>) -> Flood {
    Flood::new(pair.clone(), pair, usize::MAX, 16)
}

/// Turns until `is_so`, which the relay's process tells.
fn wait_until(swarm: &mut Swarm, awaited: &str, mut is_so: impl FnMut() -> Result<(), String>) {
    let deadline = Deadline::new(awaited);
    while let Err(found) = is_so() {
        deadline.check(|| found);
        swarm.turn(&mut Idle);
    }
}

fn wait_for_open_files(swarm: &mut Swarm, relay: &Relay, expected: usize) {
    wait_until(swarm, "the relay to close its files", || match relay.open_files() {
        open if open <= expected => Ok(()),
        open => Err(format!("{open} are open, {expected} were at the start")),
    });
}

// Many at once

/// Files of this process that are not connections.
const FILES_RESERVED: u64 = 200;

/// What a connection that says nothing may cost the relay.
const IDLE_BYTES_MAX: u64 = 6 * KIB;

/// What more may be in use when as many have come, got a message and gone once again, where the allocator gives nothing
/// back: what it keeps of the first ones serves the second ones.
const SECOND_ROUND_BYTES_MAX: u64 = 2 * MIB;

#[test]
fn ten_thousand_idle_connections_are_cheap() {
    let _turn = turn_of_tests();
    let relay = Relay::start(&["--reactors", "2", "--writers", "2"]);
    let files_before = relay.open_files();
    let mut swarm = Swarm::new(relay.address());
    let files_max = rlimit::Resource::NOFILE.get().expect("a limit on files").0;
    let count = (files_max - FILES_RESERVED).min(10_000) as usize;
    assert!(count >= 5_000, "this process may open {files_max} files only");
    // The first ones pay for what all share.
    let first = swarm.join(100);
    swarm.drive("a put at all", &mut Flood::new(0..1, first.clone(), 1, 1));
    first.for_each(|client| swarm.leave(client));
    wait_for_open_files(&mut swarm, &relay, files_before);

    let before = relay.private_bytes();
    let [(top, left), _] = [1, 2].map(|round| {
        let top = come_and_go(&mut swarm, &relay, count, round);
        wait_for_open_files(&mut swarm, &relay, files_before);
        (top, relay.private_bytes())
    });
    let left_max = match cfg!(target_env = "gnu") {
        true => before + (top - before) / 2,
        false => left + SECOND_ROUND_BYTES_MAX,
    };
    wait_until(&mut swarm, "memory to be given back", || match relay.private_bytes() {
        left if left <= left_max => Ok(()),
        left => Err(format!("{left} bytes of {top} are left, {before} were there before")),
    });
    relay.stop();
}

/// Clients come, get one message, and go. Returns the relay's private memory with all of them.
fn come_and_go(swarm: &mut Swarm, relay: &Relay, count: usize, round: usize) -> u64 {
    let (private, resident) = (relay.private_bytes(), relay.resident_bytes());
    let idle = swarm.join(count);
    let each = |before: u64, now: u64| now.saturating_sub(before) / count as u64;
    let top = relay.private_bytes();
    let private_each = each(private, top);
    let resident_each = each(resident, relay.resident_bytes());
    eprintln!("{count} connections: {private_each} bytes each private, {resident_each} resident");
    assert!(private_each.max(resident_each) <= IDLE_BYTES_MAX, "{private_each}, {resident_each}");
    let open_files = relay.open_files();
    assert!(open_files > count, "{open_files} files for {count} connections");

    let source = idle.start..idle.start + 1;
    let mut flood = Flood::new(source, idle.clone(), 1, 1).of(Kind::OtherPut).named_from(round);
    swarm.drive("a put at all", &mut flood);
    idle.for_each(|client| swarm.leave(client));
    top
}

#[test]
fn a_pair_is_not_disturbed_by_churn() {
    let _turn = turn_of_tests();
    let mut relay = Relay::start(&["--reactors", "2", "--writers", "2"]);
    let files_before = relay.open_files();
    let mut swarm = Swarm::new(relay.address());
    let pair = swarm.join(2);
    let mut flood = endless_pair(pair.clone());
    let mut churn = Beside { flood: &mut flood, other: Churn::new(2_000) };
    swarm.drive("visitors to come and go", &mut churn);
    flood.end();
    swarm.drive("the pair's last messages", &mut flood);
    assert!(flood.taken() > 100, "the pair hardly spoke: {}", flood.state());
    pair.for_each(|client| swarm.leave(client));
    wait_for_open_files(&mut swarm, &relay, files_before);
    relay.assert_runs();
    let fresh = swarm.join(2);
    let mut flood = Flood::new(fresh.clone(), fresh, 100, 10).of(Kind::OtherPut);
    swarm.drive("fresh clients' puts", &mut flood);
    relay.stop();
}

/// Visitors, each of which connects and leaves in its own way.
struct Churn {
    count: usize,
    came: usize,
    present: Vec<(Id, Leaving)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Leaving {
    /// Says goodbye, and waits for the relay to say it too.
    Politely,
    /// Closes the socket once it is greeted.
    Abruptly,
    /// Resets the connection once it is greeted.
    WithReset,
    /// Is half way through its request, then closes or resets.
    MidHandshake,
    /// Is half way through a frame, then closes or resets.
    MidFrame,
}

const WAYS: [Leaving; 5] = [
    Leaving::Politely,
    Leaving::Abruptly,
    Leaving::WithReset,
    Leaving::MidHandshake,
    Leaving::MidFrame,
];

impl Churn {
    const PRESENT_MAX: usize = 64;

    fn new(count: usize) -> Churn {
        Churn { count, came: 0, present: Vec::new() }
    }

    fn come(&mut self, swarm: &mut Swarm) {
        let way = WAYS[self.came % WAYS.len()];
        self.came += 1;
        if way != Leaving::MidHandshake {
            return self.present.push((swarm.open(), way));
        }
        let client = swarm.connect();
        swarm.send_bytes(client, &client::UPGRADE[..client::UPGRADE.len() / 2]);
        leave_somehow(swarm, client);
    }
}

/// Half of them close, the others reset.
fn leave_somehow(swarm: &mut Swarm, client: Id) {
    match client % 2 {
        0 => swarm.leave(client),
        _ => swarm.reset(client),
    }
}

/// The visitor leaves. Says whether it is still there.
fn leave(swarm: &mut Swarm, client: Id, way: Leaving) -> bool {
    match way {
        Leaving::Politely => {
            swarm.send_frame(client, Opcode::Close, &frame::close_payload(1000, ""));
            return true;
        }
        Leaving::WithReset => swarm.reset(client),
        Leaving::MidFrame => {
            let frame = frame::masked(Opcode::Text, &[b"{\"#\":\"never\"}"], [1, 2, 3, 4]);
            swarm.send_bytes(client, &frame[..frame.len() / 2]);
            leave_somehow(swarm, client);
        }
        _ => swarm.leave(client),
    }
    false
}

impl Crowd for Churn {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        if let Said::Gone(error) = said {
            assert_eq!(error, None, "client {client} was cut off");
            self.present.retain(|(other, _)| *other != client);
        }
    }

    fn act(&mut self, swarm: &mut Swarm) {
        while self.came < self.count && self.present.len() < Self::PRESENT_MAX {
            self.come(swarm);
        }
        self.present.retain_mut(|(client, way)| {
            // The last way of a polite one is to wait for the relay to hang up.
            if *way == Leaving::MidHandshake || !swarm.is_open(*client) {
                return true;
            }
            let leaving = std::mem::replace(way, Leaving::MidHandshake);
            leave(swarm, *client, leaving)
        });
    }

    fn is_done(&self) -> bool {
        self.came == self.count && self.present.is_empty()
    }

    fn state(&self) -> String {
        format!("{} of {} came, {} are there", self.came, self.count, self.present.len())
    }
}

// Slow readers

/// What waits for a reader that has stopped may take this much memory, whatever is sent: a backlog,
/// and batches that it shares with others.
const STALLED_BYTES_MAX: u64 = 64 * MIB;

/// One floods, twenty read, and one does not, until `resume_at` says so. It finds what was sent
/// until its end, and why.
fn stop_reading(flags: &[&str], resume_at: ResumeAt) {
    let _turn = turn_of_tests();
    let relay = Relay::start(&[&["--reactors", "2", "--writers", "2"], flags].concat());
    let mut swarm = Swarm::new(relay.address());
    let good = swarm.join(21);
    let stalled = swarm.join_slow();
    swarm.pause(stalled);
    let before = relay.resident_bytes();
    let mut flood = Flood::new(0..1, good.clone(), usize::MAX, WINDOW);
    let other = Stalled::new(stalled, resume_at);
    let mut crowd = Beside { flood: &mut flood, other };
    swarm.drive("the end of the slow reader", &mut crowd);
    let frames = crowd.other.next;
    let grown = relay.resident_bytes().saturating_sub(before);
    flood.end();
    swarm.drive("the last puts at the good readers", &mut flood);
    swarm.drive("pongs, and nothing before them", &mut Fence::new(good));
    eprintln!("{} messages, {frames} read late, {grown} bytes more in use", flood.taken());
    assert!(grown < STALLED_BYTES_MAX, "{grown} bytes");
    assert!(frames < flood.taken(), "nothing was held back");
    relay.stop();
}

/// When a stalled reader reads on.
enum ResumeAt {
    /// When so many bytes wait for it outside of the kernel.
    Backlog(u64),
    /// When something has waited for so long. Nothing more is sent meanwhile.
    Age(Duration),
}

/// A reader that stops and reads on when the relay has closed it.
struct Stalled {
    client: Id,
    resume_at: ResumeAt,
    is_reading: bool,
    stuck_since: Option<Instant>,
    /// Bytes sent to the good readers when the queues are looked at again.
    next_look: u64,
    sent: u64,
    next: usize,
    close: Option<u16>,
    is_gone: bool,
}

/// How often the kernel's queues are looked at, in bytes sent to each reader.
const LOOK_BYTES: u64 = 64 * KIB;

/// More than the relay has taken from its queues, but not put into the backlog yet.
const UNDER_WAY_BYTES: u64 = 512 * KIB;

impl Stalled {
    fn new(client: Id, resume_at: ResumeAt) -> Stalled {
        Stalled {
            client,
            resume_at,
            is_reading: false,
            stuck_since: None,
            next_look: LOOK_BYTES,
            sent: 0,
            next: 0,
            close: None,
            is_gone: false,
        }
    }

    fn is_over(&mut self, swarm: &Swarm) -> bool {
        if let (ResumeAt::Age(age), Some(since)) = (&self.resume_at, self.stuck_since) {
            return since.elapsed() >= *age;
        }
        if self.sent < self.next_look {
            return false;
        }
        self.next_look = self.sent + LOOK_BYTES;
        let waiting = self.sent.saturating_sub(swarm.queued_bytes(self.client));
        if let ResumeAt::Backlog(bytes) = self.resume_at {
            return waiting > bytes + UNDER_WAY_BYTES;
        }
        if waiting > UNDER_WAY_BYTES {
            self.stuck_since = Some(Instant::now());
        }
        false
    }
}

impl Crowd for Stalled {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        if client != self.client {
            return self.sent += said.text_bytes() / 20;
        }
        match said {
            Said::Text(text) => {
                for message in messages(text) {
                    assert_eq!(message.n, self.next, "the stalled reader missed some");
                    self.next += 1;
                }
            }
            Said::Close(code) => self.close = code,
            Said::Gone(None) => {
                assert_eq!(self.close, Some(frame::CLOSE_AGAIN), "after {} messages", self.next);
                self.is_gone = true;
            }
            said => panic!("the stalled reader heard {said:?} after {} messages", self.next),
        }
    }

    fn act(&mut self, swarm: &mut Swarm) {
        if !self.is_reading && self.is_over(swarm) {
            self.is_reading = true;
            swarm.resume(self.client);
        }
    }

    fn is_quiet(&self) -> bool {
        self.stuck_since.is_some()
    }

    fn is_done(&self) -> bool {
        self.is_gone
    }

    fn state(&self) -> String {
        format!("{} bytes sent, reads again: {}, {} read", self.sent, self.is_reading, self.next)
    }
}

#[test]
fn a_reader_with_too_much_backlog_is_closed_with_1013() {
    let flags = ["--backlog-bytes-max", "256K", "--stall-timeout", "600"];
    stop_reading(&flags, ResumeAt::Backlog(256 * KIB));
}

#[test]
fn a_reader_that_stalls_is_closed_with_1013() {
    // The relay closes it after one to two seconds, and waits five more for it to take that.
    let flags = ["--backlog-bytes-max", "64M", "--stall-timeout", "1"];
    stop_reading(&flags, ResumeAt::Age(Duration::from_millis(3_500)));
}

// Hostile clients

/// Far below what 500 times 90 MB would be; most of it is what the silent pingers may leave unread.
const HOSTILE_BYTES_MAX: u64 = 64 * MIB;

#[test]
fn a_pair_is_not_disturbed_by_hostile_clients() {
    let _turn = turn_of_tests();
    // A request that comes byte by byte may take long on a busy machine.
    let flags = ["--reactors", "2", "--writers", "2", "--handshake-timeout", "60"];
    let mut relay = Relay::start(&flags);
    let files_before = relay.open_files();
    let mut swarm = Swarm::new(relay.address());
    let pair = swarm.join(2);
    let before = relay.private_bytes();
    let mut flood = endless_pair(pair.clone());
    let mut crowd = Beside { flood: &mut flood, other: Hostile::new(&mut swarm, pair.clone()) };
    swarm.drive("hostile clients to be done with", &mut crowd);
    let clients = crowd.other.clients.clone();
    flood.end();
    swarm.drive("the pair's last messages", &mut flood);
    let grown = relay.private_bytes().saturating_sub(before);
    eprintln!("{} messages of the pair, {grown} bytes more in use", flood.taken());
    assert!(flood.taken() > 100, "the pair hardly spoke: {}", flood.state());
    assert!(grown < HOSTILE_BYTES_MAX, "{grown} bytes");
    relay.assert_runs();
    (pair.start..clients.end).for_each(|client| swarm.leave(client));
    wait_for_open_files(&mut swarm, &relay, files_before);
    relay.stop();
}

const TRICKLERS: usize = 200;
const GARBLERS: usize = 100;
const ANNOUNCERS: usize = 500;
const ANNOUNCED_BYTES: u64 = 90_000_000;
const PINGERS: usize = 10;
const PINGS: usize = 2_000;
const SILENT_PINGERS: usize = 4;

/// All sorts of bad clients.
struct Hostile {
    pair: Range<Id>,
    clients: Range<Id>,
    /// Send a request and a put, one byte a turn.
    tricklers: Range<Id>,
    trickled: usize,
    /// What the pair got of them: by member and trickler.
    trickles: HashSet<(Id, usize)>,
    /// Send random bytes instead of frames.
    garblers: Vec<Id>,
    /// Announce a large frame, of which nothing comes.
    announcers: Vec<Id>,
    /// Ping as fast as they can.
    pingers: Range<Id>,
    pongs: usize,
    random: SmallRng,
}

impl Hostile {
    fn new(swarm: &mut Swarm, pair: Range<Id>) -> Hostile {
        let random = SmallRng::seed_from_u64(7);
        let pingers = swarm.join(PINGERS);
        let silent = swarm.join(SILENT_PINGERS);
        let tricklers = add(TRICKLERS, || swarm.connect());
        let garblers = add(GARBLERS, || swarm.open());
        let announcers = add(ANNOUNCERS, || swarm.open());
        tricklers.clone().for_each(|client| swarm.expect_response(client));
        for client in pingers.clone() {
            ping_often(swarm, client, PINGS);
        }
        for client in silent {
            swarm.pause(client);
            ping_often(swarm, client, 10 * PINGS);
        }
        Hostile {
            pair,
            clients: pingers.start..announcers.end,
            tricklers,
            trickled: 0,
            trickles: HashSet::new(),
            garblers: garblers.collect(),
            announcers: announcers.collect(),
            pingers,
            pongs: 0,
            random,
        }
    }

    fn trickle(&mut self, swarm: &mut Swarm) {
        for (index, client) in self.tricklers.clone().enumerate() {
            let put = Message { kind: Kind::OtherPut, source: index, n: 0 }.text();
            let frame = frame::masked(Opcode::Text, &[put.as_bytes()], [9, 8, 7, 6]);
            let bytes = client::UPGRADE.iter().chain(&frame);
            bytes.skip(self.trickled).take(1).for_each(|byte| swarm.send_bytes(client, &[*byte]));
        }
        self.trickled += 1;
    }

    /// Those that pretended to be WebSockets until now.
    fn drop_masks(&mut self, swarm: &mut Swarm) {
        let Hostile { garblers, announcers, random, .. } = self;
        garblers.retain(|client| {
            let is_open = swarm.is_open(*client);
            if is_open {
                swarm.make_raw(*client);
                swarm.send_bytes(*client, &garbage(random));
            }
            !is_open
        });
        announcers.retain(|client| {
            let is_open = swarm.is_open(*client);
            if is_open {
                let length = ANNOUNCED_BYTES.to_be_bytes();
                swarm.send_bytes(*client, &[&[0x81, 0xff][..], &length, &[1, 2, 3, 4]].concat());
            }
            !is_open
        });
    }
}

fn add(count: usize, mut add: impl FnMut() -> Id) -> Range<Id> {
    let first = add();
    let last = (1..count).map(|_| add()).last();
    first..last.unwrap_or(first) + 1
}

fn garbage(random: &mut SmallRng) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(1..2_000)];
    random.fill(&mut bytes[..]);
    bytes
}

fn ping_often(swarm: &mut Swarm, client: Id, count: usize) {
    for _ in 0..count {
        swarm.send_frame(client, Opcode::Ping, &[b'x'; 125]);
    }
}

impl Crowd for Hostile {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        match said {
            Said::Text(text) if self.pair.contains(&client) => {
                let others = messages(text).filter(|message| message.kind == Kind::OtherPut);
                for message in others {
                    let is_first = self.trickles.insert((client, message.source));
                    assert!(is_first, "client {client} got {message:?} twice");
                }
            }
            Said::Pong if self.pingers.contains(&client) => self.pongs += 1,
            Said::Close(code) if self.pingers.contains(&client) => {
                panic!("an eager pinger was closed with {code:?}")
            }
            _ => {}
        }
    }

    fn act(&mut self, swarm: &mut Swarm) {
        self.trickle(swarm);
        self.drop_masks(swarm);
    }

    fn is_done(&self) -> bool {
        self.trickles.len() == TRICKLERS * self.pair.len()
            && self.pongs == PINGS * PINGERS
            && self.garblers.is_empty()
            && self.announcers.is_empty()
    }

    fn state(&self) -> String {
        format!(
            "{} trickled puts, {} pongs, {} and {} not started",
            self.trickles.len(),
            self.pongs,
            self.garblers.len(),
            self.announcers.len()
        )
    }
}

#[test]
fn who_makes_no_proper_request_is_hung_up_on() {
    let _turn = turn_of_tests();
    let flags = ["--reactors", "2", "--writers", "2", "--handshake-timeout", "1"];
    let mut relay = Relay::start(&flags);
    let files_before = relay.open_files();
    let mut swarm = Swarm::new(relay.address());
    let pair = swarm.join(2);
    let mut flood = endless_pair(pair.clone());
    let other = Unfinished::new(&mut swarm, 400);
    let mut crowd = Beside { flood: &mut flood, other };
    swarm.drive("the relay to hang up on all of them", &mut crowd);
    flood.end();
    swarm.drive("the pair's last messages", &mut flood);
    relay.assert_runs();
    wait_for_open_files(&mut swarm, &relay, files_before + pair.len());
    relay.stop();
}

/// Clients that send a part of a request, or anything but a request.
struct Unfinished {
    clients: Range<Id>,
    gone: HashSet<Id>,
}

impl Unfinished {
    fn new(swarm: &mut Swarm, count: usize) -> Unfinished {
        let mut random = SmallRng::seed_from_u64(8);
        let clients = add(count, || swarm.connect());
        for client in clients.clone() {
            match client % 2 {
                0 => swarm.send_bytes(client, &client::UPGRADE[..client % client::UPGRADE.len()]),
                _ => swarm.send_bytes(client, &garbage(&mut random)),
            }
        }
        Unfinished { clients, gone: HashSet::new() }
    }
}

impl Crowd for Unfinished {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        if let Said::Gone(_) = said {
            self.gone.insert(client);
        }
    }

    fn act(&mut self, _: &mut Swarm) {}

    fn is_done(&self) -> bool {
        self.gone.len() == self.clients.len()
    }

    fn state(&self) -> String {
        format!("{} of {} are gone", self.gone.len(), self.clients.len())
    }
}

// Large messages

const LARGE_BYTES: usize = 20_000_000;

/// What may stay in use after large messages.
const LARGE_LEFT_BYTES_MAX: u64 = 4 * MIB;

/// Makes the GNU allocator give large pieces of memory back at once, as it does with the first
/// ones only otherwise. So what stays in use is what the relay holds.
const GIVES_BACK: [(&str, &str); 1] = [("MALLOC_MMAP_THRESHOLD_", "1000000")];

#[test]
fn large_messages_arrive_whole_and_leave_no_memory_behind() {
    let _turn = turn_of_tests();
    let relay = Relay::start_with(&["--reactors", "2", "--writers", "2"], &GIVES_BACK);
    let mut swarm = Swarm::new(relay.address());
    let all = swarm.join(4);
    swarm.drive("puts before", &mut Flood::new(all.clone(), all.clone(), 10, 10));
    let before = relay.resident_bytes();
    for name in ["large1", "large2"] {
        swarm.drive("a large message everywhere", &mut Large::put(name, all.clone()));
        wait_for_memory(&mut swarm, &relay, before + LARGE_LEFT_BYTES_MAX);
    }
    let puts = &mut Flood::new(all.clone(), all, 10, 10).of(Kind::OtherPut);
    swarm.drive("puts after", puts);
    relay.stop();
}

#[test]
fn a_large_answer_leaves_no_memory_behind() {
    let _turn = turn_of_tests();
    let relay = Relay::start_with(&["--reactors", "2", "--writers", "2"], &GIVES_BACK);
    let mut swarm = Swarm::new(relay.address());
    let pair = swarm.join(2);
    let question = Message { kind: Kind::Get, source: 0, n: 0 };
    swarm.drive("a question and its answer", &mut Questions::new(1..2, 0..1, 1, 1));
    let before = relay.resident_bytes();
    swarm.drive("a large answer", &mut Large::answer("large3", &question, pair));
    wait_for_memory(&mut swarm, &relay, before + LARGE_LEFT_BYTES_MAX);
    relay.stop();
}

fn wait_for_memory(swarm: &mut Swarm, relay: &Relay, bytes_max: u64) {
    wait_until(swarm, "the relay to give memory back", || match relay.resident_bytes() {
        bytes if bytes <= bytes_max => Ok(()),
        bytes => Err(format!("{bytes} bytes, more than {bytes_max}")),
    });
}

/// The first of some clients sends the others one large message.
struct Large {
    clients: Range<Id>,
    text: String,
    is_sent: bool,
    arrived: Vec<Id>,
}

impl Large {
    /// An answer to a question that the second of `pair` has asked already.
    fn answer(name: &str, question: &Message, pair: Range<Id>) -> Large {
        let put = Large::put(name, pair);
        let ack = format!("{},\"put\"", question.ack());
        Large { text: put.text.replacen(",\"put\"", &ack, 1), ..put }
    }

    fn put(name: &str, clients: Range<Id>) -> Large {
        let text =
            format!("{{\"#\":\"{name}\",\"put\":\"{}\"}}", "0123456".repeat(LARGE_BYTES / 7));
        Large { clients, text, is_sent: false, arrived: Vec::new() }
    }
}

impl Crowd for Large {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        let Said::Text(text) = said else { panic!("client {client} heard {said:?}") };
        let rest = text.strip_prefix(&self.text[..self.text.len() - 1]);
        let is_named = |rest: &str| rest.starts_with(r#","><":""#) && rest.ends_with("\"}");
        let is_whole = rest.is_some_and(|rest| rest == "}" || is_named(rest));
        assert!(is_whole, "client {client}: {} bytes arrived damaged", text.len());
        assert!(!self.arrived.contains(&client) && client != self.clients.start);
        self.arrived.push(client);
    }

    fn act(&mut self, swarm: &mut Swarm) {
        if !std::mem::replace(&mut self.is_sent, true) {
            swarm.send(self.clients.start, &self.text);
        }
    }

    fn is_done(&self) -> bool {
        self.arrived.len() == self.clients.len() - 1
    }

    fn state(&self) -> String {
        format!("arrived at {:?} of {:?}", self.arrived, self.clients)
    }
}
