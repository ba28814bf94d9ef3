//! `/metrics`, as Prometheus itself reads it.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::http;
use crate::support::node;
use crate::support::peer::{Incoming, Peer};
use crate::support::wait;
use crate::{get, watched};

/// Runs promtool with `input`; false where there is none, which is an error in CI.
fn promtool(arguments: &[&str], input: &str) -> bool {
    let spawned = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut process) = spawned else {
        node::missing("promtool");
        return false;
    };
    let mut stdin = process.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("write to promtool");
    drop(stdin);
    let output = process.wait_with_output().expect("wait for promtool");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    true
}

/// The value of a series.
pub fn value(text: &str, series: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{series} in {text}")).parse().expect("a number")
}

#[test]
fn promtool_has_nothing_to_say() {
    let (relay, admin) = watched(&[]);
    let (mut a, mut b) = (Peer::join(&relay, "AAAAAAAAA"), Peer::join(&relay, "BBBBBBBBB"));
    a.say(json!({"#": "m1"}));
    assert_eq!(b.hear()["#"], "m1");
    let answer = get(admin, "/metrics");
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    promtool(&["check", "metrics"], &answer.body);
}

#[test]
fn what_was_done_is_in_the_series() {
    let (relay, admin) = watched(&["--writers", "1"]);
    let (mut a, mut b) = (Peer::join(&relay, "AAAAAAAAA"), Peer::join(&relay, "BBBBBBBBB"));
    for _ in 0..3 {
        a.say(json!({"#": "m1", "x": 1}));
    }
    a.say(json!({"#": "p1", "put": {"x": {}}}));
    a.say(json!({"#": "g1", "get": {"#": "x"}}));
    a.say(json!({"#": "g2", "get": {"#": "x"}}));
    a.say(json!({"#": "lost", "@": "never asked"}));
    a.say_text("{no JSON");
    a.send(tungstenite::Message::Binary(vec![1, 2, 3].into()));
    a.send(tungstenite::Message::Ping(vec![4].into()));
    while !matches!(a.receive(), Incoming::Pong(_)) {}
    for id in ["m1", "p1", "g1", "g2"] {
        assert_eq!(b.hear()["#"], id);
    }
    assert_eq!(get(admin, "/stats.json").status, 200);
    http::get(relay.connect(), "/healthz");
    b.close(1000);
    let text = wait::until("a peer to leave", || {
        let text = get(admin, "/metrics").body;
        let closed = "gunmetal_connections_closed_total{reason=\"peer\"}";
        (value(&text, closed) == 1.0).then_some(text)
    });
    for (series, expected) in [
        ("gunmetal_peers_joined_total{direction=\"inbound\"}", 2.0),
        ("gunmetal_peers{direction=\"outbound\"}", 0.0),
        ("gunmetal_connections_accepted_total", 3.0),
        ("gunmetal_messages_routed_total{route=\"broadcast\"}", 4.0),
        ("gunmetal_messages_dropped_total{reason=\"duplicate_id\"}", 2.0),
        ("gunmetal_messages_dropped_total{reason=\"lost_ack\"}", 1.0),
        ("gunmetal_frames_refused_total{reason=\"broken\"}", 1.0),
        ("gunmetal_received_frames_total{kind=\"binary\"}", 1.0),
        ("gunmetal_received_frames_total{kind=\"ping\"}", 1.0),
        ("gunmetal_received_frames_total{kind=\"close\"}", 1.0),
        ("gunmetal_sent_frames_total{kind=\"pong\"}", 1.0),
        ("gunmetal_sent_frames_total{kind=\"close\"}", 1.0),
        ("gunmetal_messages_broadcast_total{kind=\"put\"}", 1.0),
        ("gunmetal_messages_broadcast_total{kind=\"get\"}", 2.0),
        ("gunmetal_messages_broadcast_total{kind=\"other\"}", 1.0),
        ("gunmetal_queue_turns{thread=\"writer-0\"}", 0.0),
        ("gunmetal_dedup_evicted_early_total", 0.0),
        ("gunmetal_backlog_bytes", 0.0),
        ("gunmetal_backlog_max_bytes", 4194304.0),
        ("gunmetal_stuck_threads", 0.0),
        ("gunmetal_ready", 1.0),
        (&format!("gunmetal_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series} in {text}");
    }
    let stats = crate::json(admin, "/stats.json");
    for direction in ["received", "sent"] {
        let bytes = ["http", "websocket"].map(|kind| {
            value(&text, &format!("gunmetal_{direction}_bytes_total{{kind=\"{kind}\"}}"))
        });
        // Requests of two peers and one for /healthz, or the answer to that.
        assert!(bytes[0] > 50.0 && bytes[1] > 300.0, "{direction}: {bytes:?}");
        let name = if direction == "sent" { "bytes_out" } else { "bytes_in" };
        assert_eq!(Some(bytes[0] + bytes[1]), stats["counters"][name].as_f64(), "{name}");
    }
    let texts = value(&text, "gunmetal_received_text_bytes_total");
    assert!(
        texts > 200.0 && texts < value(&text, "gunmetal_received_bytes_total{kind=\"websocket\"}")
    );
    let [messages, control] = ["messages", "control"]
        .map(|kind| value(&text, &format!("gunmetal_sent_frame_bytes_total{{kind=\"{kind}\"}}")));
    // A pong of one byte and a close frame with its code.
    assert!(messages > 200.0 && control == 3.0 + 4.0, "{messages} and {control}");
    assert!(value(&text, "gunmetal_dedup_entries") >= 2.0);
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "process_context_switches_total{kind=\"voluntary\"}") > 0.0);
    let (batches, delays) = ("gunmetal_batch_messages", "gunmetal_relay_delay_seconds");
    assert!(value(&text, &format!("{batches}_count")) >= 3.0);
    let all = value(&text, &format!("{delays}_count"));
    assert!(all >= 3.0);
    assert_eq!(value(&text, &format!("{delays}_bucket{{le=\"+Inf\"}}")), all);
    // Each turn's messages are one writer's here.
    assert_eq!(value(&text, &format!("{batches}_sum")), all);
}

#[test]
fn every_counter_is_shown_and_labels_do_not_grow_with_peers() {
    let (relay, admin) = watched(&[]);
    let before = get(admin, "/metrics").body;
    let series = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect()
    };
    let _peers: Vec<_> = (0..20).map(|i| Peer::join(&relay, &format!("PEER{i:05}"))).collect();
    assert_eq!(series(&before), series(&get(admin, "/metrics").body));
    let stats = crate::json(admin, "/stats.json");
    let counters = stats["counters"].as_object().expect("an object").len();
    let totals = series(&before).iter().filter(|name| name.contains("_total")).count();
    assert!(totals >= counters, "{totals} series of {counters} counters");
}

/// Names of series in an expression.
fn series_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("gunmetal_") || word.starts_with("process_"))
}

/// Reasons that an expression asks for: `reason="memory"`, `reason=~"slow|stalled"`.
fn reasons_in(text: &str) -> impl Iterator<Item = &str> {
    let asked = text.split("reason=").skip(1);
    let quoted =
        asked.filter_map(|rest| rest.trim_start_matches('~').strip_prefix('"')?.split('"').next());
    quoted.flat_map(|reasons| reasons.split('|'))
}

#[test]
fn the_rules_the_board_and_the_pages_name_series_that_exist() {
    let (other, _) = watched(&[]);
    let mut relay = crate::Setup::new(crate::Kind::Gunmetal)
        .peer(other.url())
        .flags(&["--admin", "127.0.0.1:0"])
        .start();
    let text = get(relay.admin(), "/metrics").body;
    let rules = include_str!("../../deploy/alerts.yml");
    promtool(&["check", "rules", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/alerts.yml")], "");
    let board: serde_json::Value =
        serde_json::from_str(include_str!("../../deploy/grafana.json")).expect("JSON");
    let panels = board["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let exprs: Vec<_> = targets.map(|target| target["expr"].as_str().expect("an expr")).collect();
    let rule_exprs = rules.lines().filter(|line| line.trim_start().starts_with("expr:"));
    let mut count = 0;
    let pages = [
        include_str!("../../README.md"),
        include_str!("../../docs/operate.md"),
        include_str!("../../deploy/alerts.yml"),
    ];
    let exprs: Vec<_> = exprs.into_iter().chain(rule_exprs).collect();
    for reason in exprs.iter().chain(&pages).flat_map(|text| reasons_in(text)) {
        assert!(text.contains(&format!("reason=\"{reason}\"")), "there is no reason {reason}");
    }
    // Pages name a histogram as a whole.
    let named = pages.into_iter().flat_map(series_in);
    for name in named.filter(|name| name.starts_with("gunmetal_")) {
        let is_kind = |line: &str| line.starts_with(&format!("# TYPE {name} "));
        let is_part = |line: &str| line.starts_with(&format!("{name}{{"));
        assert!(text.lines().any(|line| is_kind(line) || is_part(line)), "there is no {name}");
    }
    for name in exprs.into_iter().flat_map(series_in) {
        let is_series =
            |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        assert!(text.lines().any(is_series), "there is no series {name}");
        count += 1;
    }
    assert!(count > 30, "{count} names were looked at");
}
