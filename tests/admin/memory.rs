//! Memory runs short: what load balancers and operators are told, and who has to go.

use std::net::SocketAddr;

use serde_json::json;

use crate::prometheus::value;
use crate::support::peer::Peer;
use crate::support::wait;
use crate::{get, watched};

/// Room for some thirty MiB of peers.
const LIMITS: [&str; 10] = [
    "--memory-max",
    "64M",
    "--dedup-entries-max",
    "1000",
    "--reactors",
    "2",
    "--writers",
    "2",
    "--ping-interval",
    "0",
];

/// What of each endless message arrives, in bytes.
const HOARDED_BYTES: usize = 1 << 20;

fn figure(admin: SocketAddr, series: &str) -> f64 {
    value(&get(admin, "/metrics").body, series)
}

/// A peer in the middle of a message that never ends.
fn hoarder(relay: &crate::Relay, name: &str) -> Peer {
    let mut peer = Peer::join(relay, name);
    let announced = (2 * HOARDED_BYTES as u64).to_be_bytes();
    let key = [0; 4];
    peer.send_raw(&[&[0x81, 0x80 | 127][..], &announced, &key, &[b' '; HOARDED_BYTES]].concat());
    peer
}

#[test]
fn from_nine_tenths_on_a_relay_is_not_ready() {
    let (relay, admin) = watched(&LIMITS);
    let max = figure(admin, "gunmetal_memory_max_bytes");
    assert!(max > (20 << 20) as f64, "{max}");
    let mut hoarders = Vec::new();
    while figure(admin, "gunmetal_memory_held_bytes") < 0.9 * max {
        assert_eq!(get(admin, "/readyz").status, 200, "with {} hoarders", hoarders.len());
        let held = figure(admin, "gunmetal_memory_held_bytes");
        hoarders.push(hoarder(&relay, &format!("HOARDER{:02}", hoarders.len())));
        wait::until("what a hoarder said to be counted", || {
            let more = figure(admin, "gunmetal_memory_held_bytes") - held;
            (more >= HOARDED_BYTES as f64).then_some(())
        });
    }
    let answer = get(admin, "/readyz");
    assert_eq!(answer.status, 503);
    assert!(answer.body.starts_with("memory: peers hold "), "{}", answer.body);
    assert_eq!(figure(admin, "gunmetal_ready"), 0.0);
    assert_eq!(get(admin, "/livez").status, 200);
    let stats = crate::json(admin, "/stats.json");
    assert_eq!(stats["memory_max_bytes"].as_f64(), Some(max));
    assert!(stats["memory_held_bytes"].as_f64() >= Some(0.9 * max), "{stats}");
    assert!(Peer::try_connect(&relay.url()).is_none(), "nobody new comes in");
    assert_eq!(figure(admin, "gunmetal_connections_rejected_total{reason=\"memory\"}"), 1.0);
    hoarders.truncate(1);
    wait::until("memory for new peers", || (get(admin, "/readyz").status == 200).then_some(()));
    Peer::join(&relay, "NEWCOMER1");
    assert_eq!(figure(admin, "gunmetal_connections_closed_total{reason=\"memory\"}"), 0.0);
}

#[test]
fn when_the_memory_is_full_a_stalled_reader_goes_and_nobody_else() {
    // Neither its backlog nor its time ends it.
    let flags = ["--backlog-bytes-max", "1G", "--stall-timeout", "300"];
    let (mut relay, admin) = watched(&[&LIMITS[..], &flags].concat());
    let [mut a, mut b, mut stalled] =
        ["AAAAAAAAA", "BBBBBBBBB", "SSSSSSSSS"].map(|name| Peer::join(&relay, name));
    // Each is a frame that is short enough to be finished before the close.
    let filler = "x".repeat(20_000);
    let closed = "gunmetal_connections_closed_total{reason=\"memory\"}";
    let max = figure(admin, "gunmetal_memory_max_bytes");
    let (mut said, mut held, mut most_held) = (0, 0.0, 0.0);
    // When it goes, what waited for it does: it is to read its close frame then.
    while most_held < max / 2.0 || held >= most_held / 2.0 {
        for _ in 0..50 {
            assert!(said < 10_000, "far more than the memory was said");
            a.say(json!({"#": format!("m{said}"), "x": filler}));
            assert_eq!(b.hear()["#"], format!("m{said}"));
            said += 1;
        }
        held = figure(admin, "gunmetal_memory_held_bytes");
        most_held = f64::max(most_held, held);
    }
    assert_eq!(stalled.close_code(), Some(1013));
    drop(stalled);
    wait::until("the stalled reader to be counted", || {
        (figure(admin, closed) == 1.0).then_some(())
    });
    for reason in ["slow", "stalled", "silent", "broken"] {
        let others = format!("gunmetal_connections_closed_total{{reason=\"{reason}\"}}");
        assert_eq!(figure(admin, &others), 0.0, "{reason}");
    }
    relay.process.logged("who had to go", |line| {
        line.contains("memory is full (--memory-max): closed 1 peers").then_some(())
    });
    assert!(most_held > 0.9 * max, "it went when {most_held} of {max} bytes were held");
    b.say(json!({"#": "after"}));
    assert_eq!(a.hear()["#"], "after");
}
