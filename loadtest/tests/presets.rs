//! Every scenario that is shipped, shrunk to a second and a few peers, against a relay of its own: every copy
//! comes once, whole and in order.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use loadtest::outcome::Outcome;
use loadtest::scenario::PRESETS;

/// What makes a scenario small, and is left of it.
fn shrunk(name: &str) -> &'static [&'static str] {
    match name {
        "fanout" | "idle" => &["--receivers", "8"],
        "everyone" => &["--senders", "6", "--rate", "60"],
        "ask" | "acks" => &["--rate", "60"],
        "chat" => &["--senders", "8", "--rooms", "3", "--rate", "80"],
        "mesh" => &["--receivers", "6", "--rate", "60"],
        "churn" => &["--receivers", "4", "--rate", "60", "--churn", "20", "--stay", "0.2"],
        "reconnect" => &["--receivers", "20"],
        "stall" => &["--receivers", "3", "--rate", "60", "--stalled", "2"],
        "large" => &["--receivers", "2", "--rate", "5", "--size", "64K"],
        "hostile" => &["--rate", "60", "--hostile", "1"],
        _ => &["--rate", "60", "--hostile", "6", "--attack-rate", "50"],
    }
}

fn run(name: &str, out: &Path) -> Output {
    static RELAY: LazyLock<PathBuf> =
        LazyLock::new(|| loadtest::server::relay_binary(None).unwrap());
    let calm = if has_calm(name) {
        ["--calm", "1", "--duration", "2"]
    } else {
        ["--warmup", "0.1", "--duration", "1"]
    };
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg(name)
        .args(shrunk(name))
        .args(calm)
        .args(["--settle", "5", "--lag-max", "1000000", "--relay"])
        .arg(&*RELAY)
        // Several run at a time.
        .args(["--relay-arg=--admin=off", "--out"])
        .arg(out)
        .output()
        .unwrap()
}

fn has_calm(name: &str) -> bool {
    PRESETS.iter().any(|(preset, text)| *preset == name && text.contains("\ncalm = "))
}

fn outcome(name: &str) -> Outcome {
    let out = std::env::temp_dir().join(format!("loadtest-{name}-{}", std::process::id()));
    let mut output = run(name, &out);
    // A crowded machine makes a run invalid now and then, and not always.
    for _ in 0..5 {
        if output.status.code() != Some(4) {
            break;
        }
        output = run(name, &out);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{name}: {said}{complained}");
    let outcome = loadtest::files::read(&out.join(name).join("result.json")).unwrap();
    std::fs::remove_dir_all(&out).unwrap();
    let counts = outcome.counts;
    assert!(counts.sent > 0 && counts.received == counts.expected, "{name}: {counts:?}");
    assert!(counts.expected >= counts.sent && counts.is_clean(), "{name}: {counts:?}");
    outcome
}

#[test]
fn one_speaks_and_others_listen() {
    for name in ["fanout", "everyone", "large"] {
        outcome(name);
    }
    let idle = outcome("idle");
    assert_eq!((idle.counts.sent, idle.counts.received), (1, 8));
}

#[test]
fn somebody_answers() {
    for name in ["ask", "acks", "chat"] {
        assert!(outcome(name).latency.count > 0);
    }
}

#[test]
fn relays_are_linked_and_each_message_is_said_twice() {
    let mesh = outcome("mesh");
    assert_eq!(mesh.server.unwrap().bytes_per_connection_each.len(), 3);
    // All but its source got each once, whichever relay they are at.
    assert_eq!(mesh.counts.received, mesh.counts.sent * 9);
}

#[test]
fn peers_come_go_and_come_back() {
    let churn = outcome("churn");
    assert!(churn.connections.guests > 10, "{:?}", churn.connections);
    let reconnect = outcome("reconnect");
    assert!(reconnect.connections.back_seconds.is_some());
    assert_eq!(reconnect.connections.closed, 0);
}

#[test]
fn attacks_leave_a_well_behaved_pair_alone() {
    let attacks = PRESETS.iter().map(|(name, _)| *name).filter(|name| has_calm(name));
    for name in attacks {
        let attack = outcome(name).attack.unwrap();
        assert!(attack.quiet.count > 0 && attack.attacked.count > 0, "{name}: {attack:?}");
    }
}

#[test]
fn no_scenario_is_left_out() {
    let named = [
        "fanout",
        "everyone",
        "large",
        "idle",
        "ask",
        "acks",
        "chat",
        "mesh",
        "churn",
        "reconnect",
    ];
    for (name, _) in PRESETS {
        assert!(named.contains(name) != has_calm(name), "{name}");
    }
}
