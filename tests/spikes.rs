//! What a spike takes is given back: the relay's memory after it is near what it was before.
//!
//! The relay is a process of its own, and its memory is what the kernel says. Each test waits for the memory to
//! come back; how long that takes is not its matter.
#![cfg(target_os = "linux")]

#[path = "swarm/client.rs"]
mod client;
#[path = "swarm/deadline.rs"]
mod deadline;
#[path = "swarm/relay.rs"]
mod relay;

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use client::{Crowd, Id, Said, Swarm};
use deadline::Deadline;
use relay::Relay;

/// What may be left of a spike, in bytes: buffers that threads keep for the next one, and what the allocator keeps to be
/// quick.
const LEFT_BYTES_MAX: u64 = 16 << 20;

/// A spike is at least so high, in bytes; a lower one would tell little.
const SPIKE_BYTES_MIN: u64 = 3 * LEFT_BYTES_MAX;

/// Debug builds have fewer peers, whose backlogs are longer.
const PEERS: usize = if cfg!(debug_assertions) { 500 } else { 2000 };

/// One test at a time: they share the memory of a machine.
fn turn_of_tests() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(flags: &[&str]) -> Relay {
    let shared =
        ["--reactors", "2", "--writers", "2", "--memory-max", "4G", "--stall-timeout", "600"];
    Relay::start(&[&shared, flags].concat())
}

/// A relay's memory before a spike and at its top.
struct Spike<'a> {
    relay: &'a Relay,
    name: &'a str,
    before: u64,
    top: u64,
}

impl<'a> Spike<'a> {
    fn new(name: &'a str, relay: &'a Relay) -> Spike<'a> {
        let before = relay.private_bytes();
        Spike { relay, name, before, top: before }
    }

    fn look(&mut self) {
        self.top = self.top.max(self.relay.private_bytes());
    }

    /// Waits until what the spike took is given back.
    fn assert_given_back(self) {
        let Spike { relay, name, before, top } = self;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        eprintln!("{name}: {:.1} MiB, at the top {:.1}", mib(before), mib(top));
        assert!(top >= before + SPIKE_BYTES_MIN, "{name}: no spike");
        let deadline = Deadline::new(format!("the memory of {name}"));
        loop {
            let after = relay.private_bytes();
            if after <= before + LEFT_BYTES_MAX {
                return eprintln!("{name}: {:.1} MiB after it", mib(after));
            }
            let state = || format!("{:.1} MiB, before it {:.1}", mib(after), mib(before));
            deadline.check(state);
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// One peer says so many messages, which others hear.
struct Burst<'a> {
    source: Id,
    /// Of the messages, in turn, without what is around the text.
    text_bytes: &'a [usize],
    count: usize,
    /// Those that have to hear all of it for it to be over.
    awaited: Range<Id>,
    sent: usize,
    /// By client: messages heard.
    heard: Vec<usize>,
}

/// In front of a message's number, which has eight digits.
const NUMBER: &str = r##"{"#":"spike"##;

/// Messages of a burst that are under way.
const WINDOW: usize = 256;

impl Burst<'_> {
    /// A burst of `count` messages from the first of `clients` to all others, not begun.
    fn new<'a>(clients: &Range<Id>, text_bytes: &'a [usize], count: usize) -> Burst<'a> {
        let (heard, awaited) = (vec![0; clients.end], clients.start + 1..clients.end);
        Burst { source: clients.start, text_bytes, count, awaited, sent: 0, heard }
    }

    fn heard(&self) -> &[usize] {
        &self.heard[self.awaited.clone()]
    }
}

impl Crowd for Burst<'_> {
    fn hear(&mut self, client: Id, said: Said<'_>) {
        let Said::Text(frame) = said else { panic!("client {client} heard {said:?}") };
        for message in frame.split(NUMBER).skip(1) {
            let heard = &mut self.heard[client];
            assert_eq!(message[..8].parse(), Ok(*heard), "client {client}");
            *heard += 1;
        }
    }

    fn act(&mut self, swarm: &mut Swarm) {
        let heard = self.heard().iter().max().copied().unwrap_or(0);
        while self.sent < self.count && self.sent - heard < WINDOW {
            let text = "x".repeat(self.text_bytes[self.sent % self.text_bytes.len()]);
            let message = format!(r#"{NUMBER}{:08}","put":{{"x":"{text}"}}}}"#, self.sent);
            swarm.send(self.source, &message);
            self.sent += 1;
        }
    }

    fn is_done(&self) -> bool {
        self.heard().iter().all(|heard| *heard == self.count)
    }

    fn state(&self) -> String {
        let (least, most) = (self.heard().iter().min(), self.heard().iter().max());
        format!("{} of {} sent, {least:?} to {most:?} heard", self.sent, self.count)
    }
}

/// All but a pair stop reading, one of the pair says so much, and they read again.
fn stop_and_read(name: &str, slow: usize, text_bytes: &[usize], count: usize) {
    let _turn = turn_of_tests();
    let relay = start(&["--backlog-bytes-max", "1G"]);
    let mut swarm = Swarm::new(relay.address());
    let pair = swarm.join(2);
    let slow: Vec<Id> = (0..slow).map(|_| swarm.join_slow()).collect();
    let all = pair.start..pair.end + slow.len();
    let mut spike = Spike::new(name, &relay);
    slow.iter().for_each(|client| swarm.pause(*client));
    let mut burst = Burst::new(&all, text_bytes, count);
    burst.awaited = pair.start + 1..pair.end;
    swarm.drive("the one who reads", &mut burst);
    spike.look();
    slow.iter().for_each(|client| swarm.resume(*client));
    burst.awaited = all.start + 1..all.end;
    swarm.drive("those who read again", &mut burst);
    spike.assert_given_back();
}

#[test]
fn backlogs_of_peers_that_read_again() {
    // What the kernel takes for each of them is a part of it.
    stop_and_read("backlogs", PEERS, &[150], 3_000_000 / PEERS);
}

#[test]
fn large_messages() {
    // Of many sizes, so that few fit into what another left.
    let text_bytes = [17_000, 5_000_000, 70_000, 1_000_000, 300_000];
    stop_and_read("large messages", 20, &text_bytes, 100);
}

/// Waits until as many bytes more are in use.
fn await_rise(spike: &mut Spike<'_>, swarm: &mut Swarm, bytes: u64) {
    let deadline = Deadline::new(format!("a rise of {}", spike.name));
    while spike.top < spike.before + bytes {
        swarm.turn(&mut Nobody);
        spike.look();
        deadline.check(|| format!("{} bytes, then {}", spike.before, spike.top));
    }
}

/// It does not matter what is heard.
struct Nobody;

impl Crowd for Nobody {
    fn hear(&mut self, _: Id, _: Said<'_>) {}
    fn act(&mut self, _: &mut Swarm) {}
    fn is_done(&self) -> bool {
        true
    }
    fn state(&self) -> String {
        String::new()
    }
}

#[test]
fn connections_that_come_and_go() {
    const HEAD_BYTES: usize = 12 * 1024;
    const CONNECTIONS: usize = 5000;
    let _turn = turn_of_tests();
    let relay = start(&["--handshake-timeout", "600"]);
    let mut swarm = Swarm::new(relay.address());
    let mut spike = Spike::new("connections", &relay);
    // Half of a request, then nothing; and the same once more.
    for _ in 0..2 {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let client = swarm.connect();
            let head = [b"GET /gun HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; HEAD_BYTES]].concat();
            swarm.send_bytes(client, &head);
            swarm.turn(&mut Nobody);
            clients.push(client);
        }
        await_rise(&mut spike, &mut swarm, (CONNECTIONS * HEAD_BYTES) as u64);
        clients.iter().for_each(|client| swarm.reset(*client));
    }
    spike.assert_given_back();
}

#[test]
fn ids_that_are_forgotten() {
    const BATCHES: usize = 1500;
    const IDS_OF_BATCH: usize = 1000;
    let _turn = turn_of_tests();
    let relay = start(&[]);
    let mut swarm = Swarm::new(relay.address());
    // Nobody else is there: ids are remembered all the same.
    let source = swarm.join(1).start;
    let mut spike = Spike::new("ids", &relay);
    for batch in 0..BATCHES {
        let message = |n| format!(r##"{{"#":"{batch}-{n}","get":1}}"##);
        let messages: Vec<_> = (0..IDS_OF_BATCH).map(message).collect();
        swarm.send(source, &format!("[{}]", messages.join(",")));
        swarm.turn(&mut Nobody);
    }
    await_rise(&mut spike, &mut swarm, SPIKE_BYTES_MIN);
    spike.assert_given_back();
}
