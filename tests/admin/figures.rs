//! `/stats.json` and `/peers.json`: what was done is what is told.

use serde_json::{Value, json};

use crate::support::peer::Peer;
use crate::support::relay::{Kind, Setup};
use crate::support::wait;
use crate::{get, json, watched};

fn peer<'a>(answer: &'a Value, pid: &str) -> &'a Value {
    let peers = answer["peers"].as_array().expect("a list");
    peers.iter().find(|peer| peer["pid"] == pid).unwrap_or_else(|| panic!("{pid} in {answer}"))
}

#[test]
fn messages_and_bytes_are_told_for_all_and_for_each_peer() {
    let (relay, admin) = watched(&[]);
    let [mut a, mut b, mut c] =
        ["AAAAAAAAA", "BBBBBBBBB", "CCCCCCCCC"].map(|name| Peer::join(&relay, name));
    let before = json(admin, "/stats.json");
    let count = |stats: &Value, name: &str| {
        stats["counters"][name].as_u64().unwrap_or_else(|| panic!("{name} in {stats}"))
    };
    for turn in 0..100 {
        a.say(json!({"#": format!("m{turn}"), "x": "x".repeat(100)}));
        a.say(json!({"#": format!("m{turn}"), "y": 1}));
    }
    for receiver in [&mut b, &mut c] {
        for turn in 0..100 {
            assert_eq!(receiver.hear()["#"], format!("m{turn}"));
        }
    }
    a.fence();
    let after = json(admin, "/stats.json");
    for (name, more) in [
        ("messages_in", 200), // the fence is a question to the relay itself
        ("broadcast", 100),
        ("dropped_duplicate_id", 100),
        ("frames_in", 201),
    ] {
        assert_eq!(count(&after, name) - count(&before, name), more, "{name}");
    }
    // The writers count after they wrote, so that a peer may have heard before it is counted.
    let told = wait::until("the copies to be counted", || {
        let told = json(admin, "/peers.json?sort=messages_in");
        (peer(&told, "CCCCCCCCC")["messages_out"].as_u64() >= Some(100)
            && peer(&told, "BBBBBBBBB")["messages_out"].as_u64() >= Some(100))
        .then_some(told)
    });
    assert_eq!(told["total"], 3);
    let first = &told["peers"][0];
    assert_eq!(first["pid"], "AAAAAAAAA", "it said most: {told}");
    // Its answer to the greeting, and what it said.
    assert_eq!(first["messages_in"], 201, "{first}");
    assert!(first["bytes_in"].as_u64() > Some(100 * 100), "{first}");
    let b = peer(&told, "BBBBBBBBB");
    assert!(b["bytes_out"].as_u64() > Some(100 * 100), "{b}");
    assert_eq!((&b["pending_bytes"], &b["link"]), (&json!(0), &Value::Null), "{b}");
    assert!(b["address"].as_str().is_some_and(|at| at.starts_with("127.0.0.1:")), "{b}");
    assert!(count(&json(admin, "/stats.json"), "copies_out") >= 200);
}

#[test]
fn the_delay_and_the_batches_are_measured() {
    let (relay, admin) = watched(&["--writers", "1"]);
    let (mut a, mut b) = (Peer::join(&relay, "AAAAAAAAA"), Peer::join(&relay, "BBBBBBBBB"));
    a.say(json!({"#": "m1"}));
    assert_eq!(b.hear()["#"], "m1");
    // Two greetings' answers and this.
    let stats = wait::until("the delay to be recorded", || {
        let stats = json(admin, "/stats.json");
        (stats["delays"]["count"].as_u64() >= Some(3)).then_some(stats)
    });
    let delays = &stats["delays"];
    let (median, worst) = (delays["p50_seconds"].as_f64(), delays["max_seconds"].as_f64());
    assert!(median > Some(0.0) && median <= worst && worst < Some(60.0), "{delays}");
    assert_eq!(stats["batch_messages"], delays["count"], "{stats}");
    let is_busy = |thread: &Value| thread["busy_seconds"].as_f64() > Some(0.0);
    let threads = stats["threads"].as_array().expect("a list");
    assert!(threads.iter().any(is_busy), "{stats}");
    assert!(threads.iter().any(|thread| thread["name"] == "writer-0"), "{stats}");
}

#[test]
fn a_slow_reader_leads_the_list_and_is_told_about_when_it_is_closed() {
    let (relay, admin) = watched(&["--backlog-bytes-max", "4M", "--writers", "1"]);
    let (mut a, mut c) = (Peer::join(&relay, "AAAAAAAAA"), Peer::join(&relay, "CCCCCCCCC"));
    let _slow = Peer::join(&relay, "SLOWSLOW1");
    let mut say = |turn: u32| {
        a.say(json!({"#": format!("m{turn}"), "x": "x".repeat(1_000_000)}));
        assert_eq!(c.hear()["#"], format!("m{turn}"));
    };
    let mut turn = 0;
    let waiting = wait::until("something to wait for the slow peer", || {
        say(turn);
        turn += 1;
        let told = json(admin, "/peers.json?limit=1");
        assert_eq!(told["total"], 3);
        let pending = told["peers"][0]["pending_bytes"].as_u64()?;
        (pending > 0 && told["peers"][0]["pid"] == "SLOWSLOW1").then_some(pending)
    });
    assert!(waiting > 0);
    let left = wait::until("the slow peer to be closed", || {
        say(turn);
        turn += 1;
        let told = json(admin, "/peers.json");
        told["left"].get(0).cloned()
    });
    assert_eq!(left["pid"], "SLOWSLOW1", "{left}");
    assert_eq!(left["reason"], "the peer reads too slowly", "{left}");
    assert!(left["bytes_out"].as_u64() > Some(0), "{left}");
    assert_eq!(json(admin, "/stats.json")["counters"]["closed_slow"], 1);
}

#[test]
fn what_is_kept_of_those_that_left_is_bounded() {
    let (relay, admin) = watched(&["--reactors", "1"]);
    for turn in 0..80 {
        Peer::join(&relay, &format!("PEER{turn:05}")).vanish();
        wait::until("it to leave", || {
            (json(admin, "/peers.json")["left"][0]["pid"] == format!("PEER{turn:05}")).then_some(())
        });
    }
    let told = json(admin, "/peers.json");
    assert_eq!((&told["total"], told["left"].as_array().map(Vec::len)), (&json!(0), Some(64)));
    assert_eq!(told["left"][63]["pid"], "PEER00016");
}

#[test]
fn the_list_is_as_long_as_asked_and_in_order() {
    let (relay, admin) = watched(&["--reactors", "2"]);
    let names = ["AAAAAAAAA", "BBBBBBBBB", "CCCCCCCCC", "DDDDDDDDD", "EEEEEEEEE"];
    let _peers = names.map(|name| Peer::join(&relay, name));
    let pids = |path: &str| -> Vec<Value> {
        let told = json(admin, path);
        assert_eq!(told["total"], 5, "{path}");
        told["peers"].as_array().expect("a list").iter().map(|peer| peer["pid"].clone()).collect()
    };
    assert_eq!(pids("/peers.json?sort=age"), names);
    assert_eq!(pids("/peers.json?sort=age&limit=2"), names[..2]);
    assert_eq!(pids("/peers.json?limit=0"), [] as [Value; 0]);
    for wrong in ["?limit=100000", "?sort=nothing", "?x=1"] {
        assert_eq!(get(admin, &format!("/peers.json{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn links_are_told_with_their_state() {
    let (other, _) = watched(&[]);
    let mut relay =
        Setup::new(Kind::Gunmetal).peer(other.url()).flags(&["--admin", "127.0.0.1:0"]).start();
    let admin = relay.admin();
    let link = |is_up: bool| {
        wait::until("the link", || {
            let link = json(admin, "/stats.json")["links"][0].clone();
            (link["is_up"] == is_up).then_some(link)
        })
    };
    assert_eq!(link(true), json!({"url": other.url(), "is_up": true, "opened": 1}));
    let peers = json(admin, "/peers.json");
    assert_eq!(peers["peers"][0]["link"], other.url(), "{peers}");
    drop(other);
    assert_eq!(link(false)["opened"], 1);
}
