//! A new process takes over while peers talk and others connect.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::node::Scratch;
use crate::support::peer::{Peer, unique};
use crate::support::process::Process;
use crate::support::wait;
use crate::{logged, start};

/// A process that some other one started; ended with the test.
struct Successor(u32);

impl Successor {
    fn of(relay: &mut Process) -> Successor {
        Successor(relay.logged("its successor", |line| {
            let (_, rest) = line.split_once("upgrade: process ")?;
            rest.split(' ').next()?.parse().ok()
        }))
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ended = Command::new("kill").args(["-KILL", &self.0.to_string()]).status();
    }
}

/// Connects as `name`; returns the pid the relay told as well.
fn join(url: &str, name: &str) -> (Peer, String) {
    let mut peer = Peer::connect_to(url);
    peer.name = name.to_owned();
    let greeting = peer.hear();
    peer.say(json!({"dam": "?", "pid": name, "@": greeting["#"], "#": unique("hello")}));
    peer.fence();
    (peer, greeting["pid"].as_str().expect("a pid").to_owned())
}

/// Connects again and again until told to stop; counts, and panics at the first connection that is refused.
fn newcomers(url: &str) -> (Arc<AtomicBool>, JoinHandle<usize>) {
    let (done, url) = (Arc::new(AtomicBool::new(false)), url.to_owned());
    let stop = done.clone();
    let thread = thread::spawn(move || {
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            Peer::connect_to(&url).vanish();
            count += 1;
        }
        count
    });
    (done, thread)
}

fn say(peer: &mut Peer, number: usize) -> String {
    let id = unique("m");
    peer.say(json!({"#": id, "number": number}));
    id
}

fn hears(peer: &mut Peer, id: &str) -> Value {
    let message = peer.hear();
    assert_eq!(message["#"], id, "{} hears {message}", peer.name);
    message
}

#[test]
fn an_upgrade_refuses_nobody_and_loses_nothing() {
    let (mut relay, url) = start(&["--drain-time=8"], &[]);
    // Peers are closed in the order in which they came: these first.
    let early: Vec<_> = (0..12).map(|at| join(&url, &format!("EARLY{at:04}"))).collect();
    let (mut a, old_pid) = join(&url, "AAAAAAAAA");
    let (mut b, _) = join(&url, "BBBBBBBBB");
    let (done, newcomers) = newcomers(&url);
    let mut number = 0;
    let mut talk = |a: &mut Peer, b: &mut Peer| {
        number += 1;
        let id = say(a, number);
        hears(b, &id);
        id
    };
    for _ in 0..100 {
        talk(&mut a, &mut b);
    }

    relay.signal("USR2");
    let _successor = Successor::of(&mut relay);
    // A and B talk all the while, until somebody is served by the new process.
    let (mut c, new_pid) = loop {
        talk(&mut a, &mut b);
        let (c, pid) = join(&url, "CCCCCCCCC");
        if pid != old_pid {
            break (c, pid);
        }
    };
    // From then on everybody hears everybody, in both processes, and in order.
    for _ in 0..200 {
        let id = talk(&mut a, &mut b);
        hears(&mut c, &id);
        let id = say(&mut c, 0);
        hears(&mut a, &id);
        hears(&mut b, &id);
    }
    // An answer finds its way back through both.
    let question = unique("q");
    a.say(json!({"#": question, "get": {"#": "soul"}}));
    hears(&mut b, &question);
    hears(&mut c, &question);
    c.say(json!({"#": unique("answer"), "@": question, "put": null, "err": null, "ok": 1}));
    assert_eq!(a.hear()["@"], question.as_str());

    for (mut peer, _) in early {
        assert_eq!(peer.close_code(), Some(1012));
    }
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.close_code(), Some(1012));
    }
    assert_eq!(relay.exit_within(Duration::from_secs(20)).code(), Some(0));
    // The new process serves alone; who was closed comes back to it.
    let (mut a, pid) = join(&url, "AAAAAAAAA");
    assert_eq!(pid, new_pid);
    let id = say(&mut a, 0);
    hears(&mut c, &id);
    done.store(true, Ordering::Relaxed);
    assert!(newcomers.join().expect("nobody is refused") > 0);
}

#[test]
fn a_new_process_that_does_not_serve_leaves_the_old_one_as_it_was() {
    let scratch = Scratch::new();
    let path = scratch.0.join("gunmetal.toml");
    fs::write(&path, "gap = 0\n").unwrap();
    let (mut relay, url) = start(&["--config", path.to_str().expect("UTF-8")], &[]);
    let (mut a, old_pid) = join(&url, "AAAAAAAAA");
    fs::write(&path, "gap = 'wrong'\n").unwrap();
    relay.signal("USR2");
    logged(&mut relay, "the new process does not serve, this one goes on", 1);
    assert!(relay.log().contains("gunmetal.toml, line 1: invalid value 'wrong' for '--gap <MS>'"));
    let (mut b, pid) = join(&url, "BBBBBBBBB");
    assert_eq!(pid, old_pid);
    let id = say(&mut a, 1);
    hears(&mut b, &id);

    // The next attempt is not the worse for it.
    fs::write(&path, "gap = 0\n").unwrap();
    relay.signal("USR2");
    logged(&mut relay, "a new process serves; this one closes its peers", 1);
    let pids = relay.log();
    let mut pids = pids.lines().filter_map(|line| line.split_once("upgrade: process "));
    let last = pids.next_back().and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    let _successor = Successor(last.expect("a successor"));
    assert_eq!(a.close_code(), Some(1012));
    assert_eq!(b.close_code(), Some(1012));
    wait::until("a peer of the new process", || {
        (join(&url, "AAAAAAAAA").1 != old_pid).then_some(())
    });
    assert_eq!(relay.exit_within(Duration::from_secs(20)).code(), Some(0));
}

#[test]
fn the_operator_finds_the_new_process_where_the_old_one_was() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bind any port");
    let admin = free.local_addr().expect("an address");
    drop(free);
    let (mut relay, url) = start(&["--drain-time=0", &format!("--admin={admin}")], &[]);
    let pid = |limit: Duration| {
        wait::until_within(limit, "the operator's figures", || {
            let stream = std::net::TcpStream::connect(admin).ok()?;
            let answer = crate::support::http::get(stream, "/stats.json");
            let stats: Value = serde_json::from_str(&answer.body).ok()?;
            stats["pid"].as_str().map(str::to_owned)
        })
    };
    let (_peer, old) = join(&url, "AAAAAAAAA");
    assert_eq!(pid(wait::SOON), old);
    relay.signal("USR2");
    let _successor = Successor::of(&mut relay);
    relay.exit_within(wait::SOON);
    let (_other, new) = join(&url, "BBBBBBBBB");
    assert_ne!(new, old);
    assert_eq!(pid(wait::SOON), new);
}
