//! Messages of any size, and those who read slowly or not at all.

use std::thread;

use serde_json::json;
use socket2::SockRef;

use crate::certs::Authority;
use crate::join;
use crate::support::peer::{Peer, without_skip};

const LARGE: usize = (3 << 20) / 2;
const COUNT: usize = 12;

/// A message of [`LARGE`] bytes and its own content.
fn large(source: &str, number: usize) -> serde_json::Value {
    message(source, number, LARGE)
}

fn message(source: &str, number: usize, bytes: usize) -> serde_json::Value {
    let unit = format!("{source}{number:07}");
    json!({"#": format!("{source} {number}"), "x": unit.repeat(bytes / unit.len())})
}

#[test]
fn large_messages_pass_both_ways_to_slow_readers() {
    let authority = Authority::new();
    let relay =
        authority.relay(&["--backlog-bytes-max=64M", "--stall-timeout=300", "--ping-interval=0"]);
    let trust = authority.client();
    let mut peers = ["A", "B"].map(|name| join(&relay, &trust, &name.repeat(9)));
    // Both say all of it before they hear anything: it waits in the relay, and in what the kernel and TLS hold.
    for (peer, name) in peers.iter_mut().zip(["A", "B"]) {
        for number in 0..COUNT {
            peer.say(large(name, number));
        }
    }
    let [mut a, mut b] = peers;
    let hear_all = |peer: &mut Peer, source: &str| {
        for number in 0..COUNT {
            let heard = without_skip(peer.hear());
            assert!(heard == large(source, number), "message {number} of {source} came whole");
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| hear_all(&mut a, "B"));
        scope.spawn(|| hear_all(&mut b, "A"));
    });
}

#[test]
fn many_small_messages_keep_their_order() {
    let authority = Authority::new();
    let relay = authority.relay(&[]);
    let trust = authority.client();
    let [mut a, mut b] = ["A", "B"].map(|name| join(&relay, &trust, &name.repeat(9)));
    let count = 5000;
    let said = thread::spawn(move || {
        for number in 0..count {
            a.say(json!({"#": format!("{number}"), "x": "y".repeat(number % 300)}));
        }
        a
    });
    for number in 0..count {
        assert_eq!(b.hear()["#"], format!("{number}"));
    }
    said.join().expect("all is said");
}

#[test]
fn a_reader_that_stalls_is_closed_and_disturbs_nobody() {
    let authority = Authority::new();
    let flags = ["--backlog-bytes-max=1G", "--stall-timeout=1", "--ping-interval=0", "--log=debug"];
    let mut relay = authority.relay(&flags);
    let trust = authority.client();
    let [mut a, mut b, stalled] = ["A", "B", "C"].map(|name| join(&relay, &trust, &name.repeat(9)));
    // More than the kernel and TLS hold.
    for number in 0..COUNT {
        a.say(large("A", number));
        assert_eq!(b.hear()["#"], format!("A {number}"));
    }
    relay.process.logged("why it was closed", |line| {
        line.contains("closed: the peer stopped reading").then_some(())
    });
    a.say(json!({"#": "afterwards", "x": 1}));
    assert_eq!(b.hear()["#"], "afterwards");
    drop(stalled);
}

#[test]
fn a_reader_with_too_much_backlog_learns_why_it_is_closed() {
    let authority = Authority::new();
    let flags = ["--backlog-bytes-max=64K", "--stall-timeout=300", "--ping-interval=0"];
    let relay = authority.relay(&flags);
    let trust = authority.client();
    let [mut a, mut b, mut slow] =
        ["A", "B", "C"].map(|name| join(&relay, &trust, &name.repeat(9)));
    SockRef::from(&*slow.tcp()).set_recv_buffer_size(16 * 1024).expect("a small buffer");
    // Little is said after the kernel is full: the close frame is waited with for seconds only.
    for number in 0..12 {
        a.say(message("A", number, 512 * 1024));
        assert_eq!(b.hear()["#"], format!("A {number}"));
    }
    // It reads on: what was on its way comes whole, then the reason.
    assert_eq!(slow.close_code(), Some(1013));
    assert_eq!((a.fence().len(), b.fence().len()), (0, 0));
}
