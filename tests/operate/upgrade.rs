//! A new process takes over while peers talk and others connect.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::certs::{self, Authority};
use crate::support::node::Scratch;
use crate::support::peer::{Peer, unique};
use crate::support::process::Process;
use crate::support::relay::Port;
use crate::support::wait;
use crate::{logged, start, start_with};

/// A process that another one started; ended with the test.
pub struct Successor(u32);

impl Successor {
    pub fn of(relay: &mut Process) -> Successor {
        Successor(relay.logged("its successor", |line| {
            let (_, rest) = line.split_once("upgrade: process ")?;
            rest.split(' ').next()?.parse().ok()
        }))
    }
}

impl Successor {
    fn signal(&self, signal: &str) {
        let script = format!("kill -s {signal} {}", self.0);
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.is_ok_and(|status| status.success()), "send {signal} to {}", self.0);
    }

    /// Neither running nor waiting to be collected.
    fn is_gone(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0));
        stat.map_or(true, |stat| stat.contains(") Z "))
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let mut kill = Command::new("kill");
        // It may have ended by itself.
        let _ended = kill.args(["-KILL", &self.0.to_string()]).stderr(Stdio::null()).status();
    }
}

fn last_successor(relay: &Process) -> u32 {
    let log = relay.log();
    let mut starts = log.lines().filter_map(|line| line.split_once("upgrade: process "));
    let last = starts.next_back().and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    last.expect("a successor")
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
pub fn newcomers(url: &str) -> (Arc<AtomicBool>, JoinHandle<usize>) {
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
    // What was said just before may still be on its way between the two.
    c.heard_before(&talk(&mut a, &mut b));
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
    let _successor = Successor(last_successor(&relay));
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

#[test]
fn a_new_process_that_cannot_listen_for_its_operator_leaves_the_old_one_as_it_was() {
    let scratch = Scratch::new();
    let path = scratch.0.join("gunmetal.toml");
    let admin = |address: &str| fs::write(&path, format!("admin = '{address}'\n")).unwrap();
    admin("127.0.0.1:0");
    let args = ["--config", path.to_str().expect("UTF-8")];
    let (mut relay, url) = start(&args, &[("GUNMETAL_ADMIN", "")]);
    let (mut a, old_pid) = join(&url, "AAAAAAAAA");
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("bind any port");
    let taken = other.local_addr().expect("an address").to_string();
    // The first is an address that no machine has (RFC 5737).
    for (attempt, address) in ["192.0.2.1:9765", &taken].into_iter().enumerate() {
        admin(address);
        relay.signal("USR2");
        logged(&mut relay, "the new process does not serve, this one goes on", attempt + 1);
        assert!(relay.log().contains(&format!("cannot listen on {address}")), "it says why");
    }
    for _ in 0..10 {
        let (mut b, pid) = join(&url, "BBBBBBBBB");
        assert_eq!(pid, old_pid);
        let id = say(&mut a, 1);
        hears(&mut b, &id);
        b.vanish();
    }
    // It still reloads, and is not told that it hands over.
    relay.signal("HUP");
    logged(&mut relay, "reload: done", 1);
    assert!(!relay.ended() && !relay.log().contains("a new process serves"));
}

#[test]
fn a_relay_that_is_told_to_stop_ends_the_new_process_as_well() {
    let scratch = Scratch::new();
    let path = scratch.0.join("gunmetal.toml");
    let file = path.to_str().expect("UTF-8");
    fs::write(&path, "gap = 0\n").unwrap();
    let (mut relay, _) = start(&["--config", file], &[]);
    // Whoever reads this file waits until somebody writes it.
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(file).status().is_ok_and(|status| status.success()));
    relay.signal("USR2");
    let successor = Successor::of(&mut relay);
    relay.signal("TERM");
    assert_eq!(relay.exit_within(wait::SOON).code(), Some(0));
    wait::until("the new process to end", || successor.is_gone().then_some(()));
    assert!(relay.log().contains("the upgrade that is under way is called off"));
}

#[test]
fn a_new_process_that_is_busy_for_long_misses_nothing() {
    // By its backlog, or for its stall, another peer would be closed long before.
    let limits = ["--backlog-bytes-max=1M", "--stall-timeout=1", "--ping-interval=1"];
    let (mut relay, url) = start(
        &[&limits[..], &["--pong-timeout=1", "--drain-time=3600", "--writers=1"]].concat(),
        &[],
    );
    // The one that is closed at once, when the drain begins.
    let (mut first, _) = join(&url, "FIRST0000");
    let (mut a, old_pid) = join(&url, "AAAAAAAAA");
    let (mut b, _) = join(&url, "BBBBBBBBB");
    relay.signal("USR2");
    let successor = Successor::of(&mut relay);
    let mut c = wait::until("a peer of the new process", || {
        let (c, pid) = join(&url, "CCCCCCCCC");
        (pid != old_pid).then_some(c)
    });
    assert_eq!(first.close_code(), Some(1012));
    successor.signal("STOP");
    let pad = "x".repeat(1 << 20);
    let mut said = Vec::new();
    // There and back, so that both read, and answer pings.
    let mut talk = |pad: &str| {
        let (there, back) = (unique("there"), unique("back"));
        a.say(json!({"#": there, "pad": pad}));
        hears(&mut b, &there);
        b.say(json!({"#": back}));
        hears(&mut a, &back);
        said.extend([there, back]);
    };
    (0..24).for_each(|_| talk(&pad));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        talk("");
    }
    successor.signal("CONT");
    for id in said {
        hears(&mut c, &id);
    }
    assert!(!relay.log().contains("LOST"), "{}", relay.log());
}

#[test]
fn an_upgrade_listens_where_the_file_says_now() {
    let authority = Authority::new();
    authority.install(&authority.issue());
    let [plain, tls] = [Port::reserve(), Port::reserve()];
    let (at, tls_at) = (format!("127.0.0.1:{}", plain.number), format!("127.0.0.1:{}", tls.number));
    let path = authority.root().with_file_name("gunmetal.toml");
    let pair = format!(
        "tls-cert = '{}'\ntls-key = '{}'\n",
        authority.cert_file().display(),
        authority.key_file().display()
    );
    fs::write(&path, "drain-time = 0\n").unwrap();
    let args = ["--config", path.to_str().expect("UTF-8"), "--listen", &at];
    let (mut relay, url) = start_with(&args, &[]);
    let (mut peer, pid) = join(&url, "AAAAAAAAA");

    // Somebody else is where it is to listen: nothing changes.
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("bind any port");
    let taken = other.local_addr().expect("an address");
    fs::write(&path, format!("drain-time = 0\n{pair}tls-listen = '{taken}'\n")).unwrap();
    relay.signal("HUP");
    logged(&mut relay, &format!("tls-listen: not set -> {taken} needs a new process"), 1);
    relay.signal("USR2");
    logged(&mut relay, "the new process does not serve, this one goes on", 1);
    assert!(relay.log().contains(&format!("cannot listen on {taken}")));
    assert_eq!(join(&url, "BBBBBBBBB").1, pid);

    fs::write(&path, format!("drain-time = 0\n{pair}tls-listen = '{tls_at}'\n")).unwrap();
    relay.signal("USR2");
    assert_eq!(peer.close_code(), Some(1012));
    let _successor = Successor(last_successor(&relay));
    assert_eq!(relay.exit_within(wait::SOON).code(), Some(0));
    let mut over_tls =
        Peer::try_connect_tls(&certs::url(tls.number), &authority.client()).expect("TLS");
    assert_ne!(over_tls.hear()["pid"], pid.as_str());
    assert_ne!(join(&url, "CCCCCCCCC").1, pid, "the old port is plain as before");
}

#[test]
fn an_old_process_says_so_when_the_new_one_is_gone() {
    let (mut relay, url) = start(&["--drain-time=3600", "--writers=1"], &[]);
    let (mut first, _) = join(&url, "FIRST0000");
    let (mut a, _) = join(&url, "AAAAAAAAA");
    let (mut b, _) = join(&url, "BBBBBBBBB");
    relay.signal("USR2");
    let successor = Successor::of(&mut relay);
    assert_eq!(first.close_code(), Some(1012));
    successor.signal("KILL");
    logged(&mut relay, "THE NEW PROCESS IS GONE", 1);
    // Those who are still there notice nothing.
    let id = say(&mut a, 1);
    hears(&mut b, &id);
}

#[test]
fn nobody_is_left_when_a_stop_follows_an_upgrade_at_once() {
    for _ in 0..3 {
        let (mut relay, url) = start(&[], &[]);
        let peer = join(&url, "AAAAAAAAA");
        relay.signal("USR2");
        relay.signal("TERM");
        drop(peer);
        let code = relay.exit_within(wait::SOON).code();
        // Told after the new process served, it has handed over, and ends at once.
        let has_handed_over = relay.log().contains("a new process serves");
        match has_handed_over {
            true => {
                let _successor = Successor(last_successor(&relay));
                join(&url, "BBBBBBBBB");
            }
            false => {
                assert_eq!(code, Some(0));
                wait::until("nobody to listen", || Peer::try_connect(&url).is_none().then_some(()));
            }
        }
    }
}
