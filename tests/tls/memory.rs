//! What connections with TLS cost the relay, by the kernel's own account.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use gunmetal::net::memory::{CONNECTION_BYTES, HANDSHAKE_BYTES, SESSION_BYTES};
use serde_json::json;

use crate::certs::Authority;
use crate::support::http;
use crate::support::peer::{Peer, read_to_end};
use crate::support::relay::Relay;
use crate::support::wait::{self, SOON};
use crate::{connect, join};

const COUNT: usize = 300;

fn figure(admin: SocketAddr, name: &str) -> f64 {
    let text = http::get(TcpStream::connect(admin).expect("connect to the admin"), "/metrics").body;
    let figure = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    figure.expect(name).parse().expect("a number")
}

/// Memory that is resident, and what is counted.
fn memory(admin: SocketAddr) -> (f64, f64) {
    let resident = figure(admin, "process_resident_memory_bytes");
    (resident, figure(admin, "gunmetal_memory_held_bytes"))
}

/// The most memory that was ever resident, in bytes.
fn peak_bytes(relay: &Relay) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", relay.process.id()));
    let status = status.expect("the relay runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect(line) << 10
}

#[test]
fn a_peer_with_tls_costs_no_more_than_it_is_counted_for() {
    let authority = Authority::new();
    let mut relay = authority.relay(&["--admin", "127.0.0.1:0"]);
    let trust = authority.client();
    let admin = relay.admin();
    let join = |range: std::ops::Range<usize>| -> Vec<Peer> {
        range.map(|i| join(&relay, &trust, &format!("PEER{i:05}"))).collect()
    };
    // What the process needs for its first connections, whoever they are.
    let mut first = join(0..50);
    let before = memory(admin);
    let mut peers = join(50..50 + COUNT);
    let idle = memory(admin);
    // Each says something long, which was heard already but for the first one.
    let text = "x".repeat(14_000);
    for peer in &mut peers {
        peer.say(json!({"#": "said by all", "x": text}));
        peer.fence();
    }
    let idle_again = memory(admin);
    // Each begins a record that could be the longest, and does not end it.
    let begun = [&[0x17, 3, 3, 0x40, 0x11][..], &[7; 16_000]].concat();
    peers.iter_mut().for_each(|peer| peer.send_raw(&begun));
    // Whoever speaks after that is read after that.
    for peer in &mut first {
        peer.fence();
    }
    let after = memory(admin);
    let each = |more: f64| more / COUNT as f64;
    let (cost, counted) = (each(after.0 - before.0), each(after.1 - before.1));
    let (idle_cost, again) = (each(idle.0 - before.0), each(idle_again.0 - before.0));
    eprintln!(
        "an idle peer costs {idle_cost} bytes, after a long record {again}, with one begun {cost}, \
         counted are {counted}"
    );
    let flat = (CONNECTION_BYTES + SESSION_BYTES) as f64;
    let idle_counted = each(idle.1 - before.1);
    assert!(idle_counted >= flat && idle_cost < flat, "{idle_cost} of {idle_counted} bytes");
    // Of what may be held a third more is set aside for what the allocator cannot use.
    assert!(again < flat / 3.0 * 4.0, "{again} bytes");
    assert!(counted >= flat + begun.len() as f64 && cost < counted, "{cost} of {counted} bytes");
}

/// The first so many bytes of a hello that is as long as one may be, in records.
fn long_hello(bytes: usize) -> Vec<u8> {
    let mut hello = [&[1, 0, 0xff, 0xf0, 3, 3][..], &vec![0; bytes]].concat();
    hello.truncate(bytes);
    let records = hello.chunks(16 * 1024).map(|part| {
        let length = (part.len() as u16).to_be_bytes();
        [&[22, 3, 1][..], &length, part].concat()
    });
    records.collect::<Vec<_>>().concat()
}

#[test]
fn a_handshake_costs_no_more_than_it_is_counted_for() {
    let authority = Authority::new();
    let mut relay = authority.relay(&["--admin", "127.0.0.1:0", "--handshake-timeout=300"]);
    let admin = relay.admin();
    let hello = crate::hostile::client_hello(&authority);
    // It has the relay's answer, and says no more.
    let begin = || {
        let mut stream = relay.connect();
        stream.write_all(&hello).expect("a hello");
        stream.read_exact(&mut [0; 5]).expect("an answer");
        stream
    };
    let _first: Vec<_> = (0..50).map(|_| begin()).collect();
    let before = memory(admin);
    let begun: Vec<_> = (0..COUNT).map(|_| begin()).collect();
    let after = memory(admin);
    let each = |more: f64| more / COUNT as f64;
    let (cost, counted) = (each(after.0 - before.0), each(after.1 - before.1));
    assert_eq!(counted, HANDSHAKE_BYTES as f64);
    assert_eq!(figure(admin, "gunmetal_tls_handshakes_open"), 50.0 + COUNT as f64);
    let turns = "gunmetal_thread_turns_total{thread=\"tls-0\"}";
    assert!(figure(admin, turns) > 0.0, "the thread is watched");
    assert!(cost < counted, "{cost} bytes");
    drop(begun);
    wait::until("them to be gone", || (memory(admin).1 <= before.1).then_some(()));
    let before = memory(admin);
    let part = long_hello(60_000);
    let begun: Vec<_> = (0..COUNT)
        .map(|_| {
            let mut stream = relay.connect();
            stream.write_all(&part).expect("a part of a hello");
            stream
        })
        .collect();
    wait::until("what they said to be counted", || {
        (memory(admin).1 - before.1 >= (COUNT * 60_000) as f64).then_some(())
    });
    let long = memory(admin);
    let (long, counted_long) = (each(long.0 - before.0), each(long.1 - before.1));
    eprintln!(
        "a handshake costs {cost} bytes, counted are {counted}; one of 60000 bytes costs {long}, counted are {counted_long}"
    );
    assert!(long < counted_long, "{long} bytes");
    drop(begun);
}

#[test]
fn a_swarm_of_half_said_handshakes_does_not_break_the_promise_of_memory() {
    const MEMORY_MIB: u64 = 64;
    const SWARM: usize = 3000;
    let _as_far_as_permitted = rlimit::increase_nofile_limit(8192);
    let authority = Authority::new();
    let memory_max = format!("--memory-max={MEMORY_MIB}M");
    let flags = [
        &memory_max,
        "--admin=127.0.0.1:0",
        "--handshake-timeout=300",
        "--tls-threads=1",
        "--reactors=2",
        "--writers=2",
    ];
    let mut relay = authority.relay(&flags);
    let admin = relay.admin();
    let trust = authority.client();
    let [mut a, mut b] = ["A", "B"].map(|name| join(&relay, &trust, &name.repeat(9)));
    // All of them together would be three times the memory.
    let part = long_hello(64_000);
    let mut swarm = Vec::new();
    for number in 0..SWARM {
        let stream = relay.connect();
        stream.set_nonblocking(true).expect("a socket");
        swarm.push((stream, 0));
        if number % 10 == 0 {
            a.say(json!({"#": format!("{number}"), "x": 1}));
            assert_eq!(b.hear()["#"], format!("{number}"));
        }
    }
    // Each says as much as the relay takes, until that is all or it is turned away.
    wait::until("all to be said", || {
        for (stream, said) in &mut swarm {
            match stream.write(&part[*said..]) {
                Ok(count) => *said += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => *said = part.len(),
            }
        }
        swarm.iter().all(|(_, said)| *said == part.len()).then_some(())
    });
    let rest = Duration::from_millis(300);
    wait::until_at_rest(rest, SOON, "what is held", || memory(admin).1);
    assert_eq!((a.fence().len(), b.fence().len()), (0, 0));
    let peak = peak_bytes(&relay);
    eprintln!("peak {} MiB", peak >> 20);
    assert!(peak < MEMORY_MIB << 20, "{peak} bytes");
    // The last ones found no room.
    let (last, _) = swarm.last_mut().expect("one");
    last.set_nonblocking(false).expect("a socket");
    assert!(read_to_end(last, SOON).is_some(), "it was turned away");
    drop(swarm);
    wait::until("room for others", || Peer::try_connect_tls(&crate::url(relay.port), &trust).ok());
}

#[test]
fn five_thousand_busy_peers_with_tls_fit_into_256_mib() {
    const PEERS: usize = 5000;
    const MEMORY_MIB: u64 = 256;
    let _as_far_as_permitted = rlimit::increase_nofile_limit(u64::MAX);
    let authority = Authority::new();
    let memory_max = format!("--memory-max={MEMORY_MIB}M");
    let flags = [
        "--admin=127.0.0.1:0",
        &memory_max,
        "--reactors=2",
        "--writers=2",
        // Who connects early says nothing until all are there.
        "--ping-interval=0",
    ];
    let mut relay = authority.relay(&flags);
    let admin = relay.admin();
    let trust = authority.client();
    let mut speaker = join(&relay, &trust, "AAAAAAAAA");
    let mut crowd: Vec<_> = (0..PEERS).map(|_| connect(&relay, &trust)).collect();
    let text = "x".repeat(1000);
    for round in 0..5 {
        for number in 0..4 {
            speaker.say(json!({"#": format!("{round} {number}"), "x": text}));
        }
        for peer in &mut crowd {
            // What was heard already goes nowhere.
            peer.say(json!({"#": format!("{round} 0"), "x": text}));
            peer.heard_before(&format!("{round} 3"));
        }
    }
    assert_eq!(figure(admin, r#"gunmetal_peers{direction="inbound"}"#), (PEERS + 1) as f64);
    assert_eq!(figure(admin, r#"gunmetal_connections_rejected_total{reason="memory"}"#), 0.0);
    let peak = peak_bytes(&relay);
    eprintln!("peak {} MiB, counted {} MiB", peak >> 20, memory(admin).1 as u64 >> 20);
    assert!(peak < MEMORY_MIB << 20, "{peak} bytes");
}
