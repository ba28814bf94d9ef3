//! Attacks are made, and a run with one tells what the well-behaved peers noticed.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::hall::{self, Fault};
use common::outcome_of;
use gunmetal::ws::upgrade::client_request;
use loadtest::hostile::{self, Attack};
use loadtest::message::Protocol;
use loadtest::plan::{Plan, Target};
use loadtest::scenario::Scenario;

fn scenario(attack: Attack) -> Scenario {
    Scenario {
        senders: 1,
        receivers: 1,
        rate: 200.0,
        hostile: 3,
        attack,
        attack_rate: 200.0,
        calm: 1,
        duration: 2.0,
        warmup: 0.1,
        settle: 1.0,
        ..Scenario::default()
    }
}

#[test]
fn a_run_tells_the_calm_part_from_the_attack() {
    // The hall waits for who reads nothing, so a swarm of those is for a relay.
    for attack in [Attack::Slowloris, Attack::ConnFlood, Attack::MessageFlood] {
        let port = hall::start(Fault::None);
        let outcome = outcome_of(scenario(attack), &[port], Protocol::Dam, &[]);
        assert!(outcome.counts.is_clean(), "{attack:?}: {:?}", outcome.counts);
        let attacked = outcome.attack.unwrap();
        let (calm, hot) = (attacked.quiet.count, attacked.attacked.count);
        assert!(calm > 0 && hot > 0, "{attack:?}: {calm} and {hot}");
        // Those of the warm-up are timed in neither part, those that came after the end in none.
        assert!(calm + hot <= outcome.latency.count, "{attack:?}: {calm} and {hot}");
        assert!(attacked.p99_ratio > 0.0);
    }
}

#[test]
fn slow_requests_come_and_never_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let plan = Plan::new(scenario(Attack::Slowloris), vec![Target::local(port)], Protocol::Dam);
    let attackers = hostile::start(&plan, 0);
    let mut streams: Vec<_> = (0..3).map(|_| listener.accept().unwrap().0).collect();
    for stream in &mut streams {
        let mut first = [0; 3];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"GET");
    }
    drop(attackers);
}

#[test]
fn a_flood_of_messages_reaches_everybody() {
    let port = hall::start(Fault::None);
    let mut peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    peer.write_all(&client_request("localhost", "/gun", "dGhlIHNhbXBsZSBub25jZQ==")).unwrap();
    let plan = Plan::new(scenario(Attack::MessageFlood), vec![Target::local(port)], Protocol::Dam);
    let attackers = hostile::start(&plan, 0);
    let (mut heard, mut room) = (String::new(), [0; 4096]);
    while heard.matches("loadtest/flood").count() < 100 {
        let read = peer.read(&mut room).unwrap();
        assert!(read > 0, "the hall closed");
        heard.push_str(&String::from_utf8_lossy(&room[..read]));
    }
    drop(attackers);
}

#[test]
fn a_flood_of_connections_brings_more_than_it_holds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let plan = Plan::new(scenario(Attack::ConnFlood), vec![Target::local(port)], Protocol::Dam);
    let attackers = hostile::start(&plan, 0);
    for _ in 0..10 {
        let (mut stream, _) = listener.accept().unwrap();
        let mut room = [0; 1024];
        assert!(stream.read(&mut room).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
    }
    drop(attackers);
}

#[test]
fn a_swarm_that_reads_nothing_is_spoken_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let plan = Plan::new(scenario(Attack::StallSwarm), vec![Target::local(port)], Protocol::Dam);
    let attackers = hostile::start(&plan, 0);
    // One speaks, the two others say nothing once they are in.
    let (mut spoken, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut room = [0; 1024];
        assert!(stream.read(&mut room).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
        streams.push(stream);
    }
    let (mut room, start) = (vec![0; 16 << 10], Instant::now());
    while spoken.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "nobody speaks");
        for (number, stream) in streams.iter_mut().enumerate() {
            if stream.read(&mut room).is_ok_and(|read| read > 0) {
                spoken.push(number);
            }
        }
    }
    assert_eq!(spoken.len(), 1);
    drop(attackers);
}
