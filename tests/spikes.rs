//! What a spike takes is used by the next one, or given back: spikes one after the other are no higher than the first.
//!
//! The relay is a process of its own, and its memory is what the kernel says. Where the allocator can be told to give
//! freed memory back, three quarters of a spike have to go within seconds.
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

use client::{Crowd, Id, Idle, Said, Swarm};
use deadline::Deadline;
use relay::Relay;

/// Spikes that follow each other.
const ROUNDS: usize = 3;

/// What a later spike may have more than the first, in bytes: buffers that threads keep, and holes between allocations.
const LEFT_BYTES_MAX: u64 = 16 << 20;

/// A spike is at least so high, in bytes; a lower one would tell little.
const SPIKE_BYTES_MIN: u64 = 2 * LEFT_BYTES_MAX;

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

/// Spikes of one relay: its memory before them, and at the top of each, in bytes.
struct Spikes<'a> {
    relay: &'a Relay,
    name: &'a str,
    before: u64,
    tops: Vec<u64>,
}

impl<'a> Spikes<'a> {
    fn new(name: &'a str, relay: &'a Relay) -> Spikes<'a> {
        Spikes { relay, name, before: relay.anonymous_bytes(), tops: Vec::new() }
    }

    fn begin(&mut self) {
        self.tops.push(0);
    }

    /// How much more than before the first one is in use at the top of this one.
    fn look(&mut self) -> u64 {
        let top = self.tops.last_mut().expect("one has begun");
        *top = self.relay.anonymous_bytes().max(*top);
        top.saturating_sub(self.before)
    }

    fn assert_no_higher_than_the_first(&self) {
        let Spikes { name, before, tops, .. } = self;
        eprintln!("{name}: {before} bytes, then {tops:?}");
        assert!(tops[0] >= before + SPIKE_BYTES_MIN, "{name}: {before}, then {tops:?}: no spike");
        let is_no_higher = |top: &u64| *top <= tops[0] + LEFT_BYTES_MAX;
        assert!(tops.iter().all(is_no_higher), "{name}: {before}, then {tops:?}");
    }

    /// The spike is over: most of it goes back to the system, unless the allocator does not know how.
    fn assert_given_back(&self) {
        if !cfg!(target_env = "gnu") {
            return;
        }
        let top = *self.tops.last().expect("one is over");
        let left_max = self.before + (top - self.before) / 4;
        let deadline = Deadline::new("memory given back");
        while self.relay.anonymous_bytes() > left_max {
            let name = self.name;
            deadline.check(|| {
                format!("{name}: {} bytes are left of {top}", self.relay.anonymous_bytes())
            });
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// One peer says so many messages, which others hear.
struct Burst<'a> {
    source: Id,
    /// Of the messages, in turn, without what is around the text.
    text_bytes: &'a [usize],
    /// The number of the first one.
    first: usize,
    count: usize,
    /// So many are under way at most, as far as those know that are awaited.
    window: usize,
    /// Those that have to hear all of it for it to be over.
    awaited: Range<Id>,
    sent: usize,
    /// By client: messages heard.
    heard: Vec<usize>,
}

/// In front of a message's number, which has eight digits.
const NUMBER: &str = r##"{"#":"spike"##;

impl Burst<'_> {
    /// A burst of `count` messages, numbered from `first` on, from the first of `clients` to all others, not begun.
    fn new(
        clients: Range<Id>,
        text_bytes: &[usize],
        first: usize,
        count: usize,
        window: usize,
    ) -> Burst<'_> {
        let (heard, awaited) = (vec![0; clients.end], clients.start + 1..clients.end);
        Burst { source: clients.start, text_bytes, first, count, window, awaited, sent: 0, heard }
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
            assert_eq!(message[..8].parse(), Ok(self.first + *heard), "client {client}");
            *heard += 1;
        }
    }

    fn act(&mut self, swarm: &mut Swarm) {
        let heard = self.heard().iter().max().copied().unwrap_or(0);
        while self.sent < self.count && self.sent - heard < self.window {
            let text = "x".repeat(self.text_bytes[self.sent % self.text_bytes.len()]);
            let message =
                format!(r#"{NUMBER}{:08}","put":{{"x":"{text}"}}}}"#, self.first + self.sent);
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

/// Three times all but a pair stop reading, one of the pair says so much, and they read again.
fn stop_and_read(name: &str, slow: usize, text_bytes: &[usize], count: usize, window: usize) {
    let _turn = turn_of_tests();
    let relay = start(&["--backlog-bytes-max", "1G"]);
    let mut swarm = Swarm::new(relay.address());
    let pair = swarm.join(2);
    let slow: Vec<Id> = (0..slow).map(|_| swarm.join_slow()).collect();
    let all = pair.start..pair.end + slow.len();
    let mut spikes = Spikes::new(name, &relay);
    for round in 0..ROUNDS {
        spikes.begin();
        slow.iter().for_each(|client| swarm.pause(*client));
        let mut burst = Burst::new(all.clone(), text_bytes, round * count, count, window);
        burst.awaited = pair.start + 1..pair.end;
        swarm.drive("the one who reads", &mut burst);
        spikes.look();
        slow.iter().for_each(|client| swarm.resume(*client));
        burst.awaited = all.start + 1..all.end;
        swarm.drive("those who read again", &mut burst);
    }
    spikes.assert_no_higher_than_the_first();
    spikes.assert_given_back();
}

#[test]
fn backlogs_of_peers_that_read_again() {
    // One by one: each is a batch, and a place in each backlog. What the kernel takes is a small part of it.
    stop_and_read("backlogs", 40, &[10_000], 4000, 1);
}

#[test]
fn large_messages() {
    // Of many sizes, so that few fit into what another left.
    let text_bytes = [17_000, 5_000_000, 70_000, 1_000_000, 300_000];
    stop_and_read("large messages", 20, &text_bytes, 50, 10);
}

#[test]
fn half_requests_of_connections_that_go() {
    const HEAD_BYTES: usize = 12 * 1024;
    const CONNECTIONS: usize = 3000;
    let _turn = turn_of_tests();
    let relay = start(&["--handshake-timeout", "600"]);
    let mut swarm = Swarm::new(relay.address());
    let mut spikes = Spikes::new("connections", &relay);
    for _ in 0..ROUNDS {
        spikes.begin();
        let clients: Vec<Id> = (0..CONNECTIONS).map(|_| swarm.connect()).collect();
        for client in &clients {
            // Half of a request, then nothing.
            let head = [b"GET /gun HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; HEAD_BYTES]].concat();
            swarm.send_bytes(*client, &head);
        }
        let deadline = Deadline::new("memory of requests");
        while spikes.look() < (CONNECTIONS * HEAD_BYTES) as u64 {
            swarm.turn(&mut Idle);
            deadline.check(|| format!("{:?} bytes", spikes.tops));
        }
        clients.iter().for_each(|client| swarm.reset(*client));
        let deadline = Deadline::new("the end of the connections");
        while relay.open_files() > CONNECTIONS / 10 {
            deadline.check(|| format!("{} files are open", relay.open_files()));
            thread::sleep(Duration::from_millis(20));
        }
    }
    spikes.assert_no_higher_than_the_first();
    spikes.assert_given_back();
}
