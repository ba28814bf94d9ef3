//! The program as it is used: its files can be read back, its exit codes tell what happened.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine;
use common::hall::{self, Fault};
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use loadtest::outcome::Outcome;
use loadtest::server::{self, Server, free_ports};
use serde_json::Value;

/// A directory of this test, which is removed at the end.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Room {
        let path = std::env::temp_dir().join(format!("loadtest-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Room(path)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up.
        let _kept = std::fs::remove_dir_all(&self.0);
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Few messages to three receivers of a server, and these arguments.
fn fanout(url: &str, out: &Path, more: &[&str]) -> Output {
    let out = out.to_string_lossy();
    let mut arguments = vec!["fanout", "--receivers", "3", "--warmup", "0.1", "--settle", "2"];
    for (flag, usual) in [("--rate", "50"), ("--duration", "1")] {
        if !more.contains(&flag) {
            arguments.extend([flag, usual]);
        }
    }
    arguments.extend(["--url", url, "--out", &out]);
    run(&[&arguments[..], more].concat())
}

/// A run that a crowded machine may spoil, several times at most.
fn until_valid(run: impl Fn() -> Output) -> Output {
    let mut output = run();
    for _ in 0..5 {
        if output.status.code() != Some(4) {
            break;
        }
        output = run();
    }
    output
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

struct Relay {
    server: Server,
    admin: String,
}

impl Relay {
    fn start(logs: &Path) -> Relay {
        let binary = server::relay_binary(None).unwrap();
        let admin = format!("127.0.0.1:{}", free_ports(1).unwrap()[0]);
        let arguments = ["--admin".to_owned(), admin.clone()];
        let mut servers = server::start_relays(&binary, 1, &arguments, &[], logs).unwrap();
        Relay { server: servers.pop().unwrap(), admin }
    }

    fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/gun", self.server.port)
    }
}

#[test]
fn a_run_leaves_files_that_can_be_read_back() {
    let room = Room::new("files");
    let relay = Relay::start(&room.0);
    // Late is what a crowded machine makes it: not what is tested here.
    let more = ["--admin", &relay.admin, "--lag-max", "1000000", "--duration", "2"];
    let output = until_valid(|| fanout(&relay.url(), &room.0, &more));
    assert_eq!(code(&output), 0, "{}", said(&output));
    let printed = String::from_utf8_lossy(&output.stdout);
    for part in ["OK: every copy came once", "per CPU second", "report.html", "voluntary"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let directory = room.0.join("fanout");
    check_result(&directory);
    check_histograms(&directory);
    check_page(&directory);
    check_comparison(&directory);
}

fn outcome_in(directory: &Path) -> Outcome {
    loadtest::files::read(&directory.join("result.json")).unwrap()
}

fn check_result(directory: &Path) {
    let text = std::fs::read_to_string(directory.join("result.json")).unwrap();
    let result: Value = serde_json::from_str(&text).unwrap();
    let fields = [
        "scenario",
        "target",
        "commit",
        "measured_unix_s",
        "ended_unix_s",
        "machine",
        "counts",
        "rates",
        "latency",
        "raw",
        "connections",
        "server",
        "generator",
        "seconds",
        "verdict",
    ];
    for field in fields {
        assert!(result.get(field).is_some(), "there is no {field}");
    }
    let outcome = outcome_in(directory);
    assert_eq!((outcome.counts.sent, outcome.counts.expected), (105, 315));
    assert_eq!(outcome.counts.received, outcome.counts.expected);
    assert_eq!(
        (outcome.seconds.len(), outcome.generator.loads.len()),
        (2, outcome.generator.threads)
    );
    assert_eq!((outcome.connections.count, outcome.scenario.rate), (4, 50.0));
    assert!(outcome.latency.count > 0 && !outcome.latency.curve.is_empty());
    assert!(outcome.machine.cores > 0 && outcome.verdict.exit_code() == 0);
    // What the relay says of itself.
    let server = outcome.server.unwrap();
    assert!(server.measured.memory_bytes > 0 && server.measured.threads > 0, "{server:?}");
    assert!(server.measured.switches_voluntary > 0, "{server:?}");
    assert_eq!((server.cores_allowed, server.unread), (None, 0));
}

/// Both formats of HdrHistogram have what result.json has.
fn check_histograms(directory: &Path) {
    let outcome = outcome_in(directory);
    let log = std::fs::read(directory.join("latency.hlog")).unwrap();
    let (mut began, mut counts) = (0.0, Vec::new());
    for entry in IntervalLogIterator::new(&log) {
        match entry.unwrap() {
            LogEntry::StartTime(time) => began = time.as_secs_f64(),
            LogEntry::Interval(interval) => {
                let engine = base64::engine::general_purpose::STANDARD;
                let bytes = engine.decode(interval.encoded_histogram()).unwrap();
                let histogram = Deserializer::new().deserialize::<u64, _>(&mut &bytes[..]).unwrap();
                counts.push(histogram.len());
            }
            LogEntry::BaseTime(_) => {}
        }
    }
    assert_eq!(counts.len(), 2);
    let count = outcome.latency.count;
    assert!((1..=count).contains(&counts.iter().sum()), "{counts:?} of {count}");
    assert!((began - outcome.measured_unix_s).abs() < 0.01, "{began}");

    let text = std::fs::read_to_string(directory.join("latency.hgrm")).unwrap();
    let rows = text.lines().skip(2).filter(|line| !line.starts_with('#'));
    let numbers = |line: &str| -> Vec<f64> {
        line.split_whitespace().map(|word| word.parse().unwrap()).collect()
    };
    let rows: Vec<_> = rows.map(numbers).collect();
    assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]), "{text}");
    let last = rows.last().unwrap();
    assert_eq!((last[1], last[2]), (1.0, count as f64));
    assert!(text.contains("#[Max     =") && text.contains("#[Mean    ="));
}

/// A page that needs nothing else.
fn check_page(directory: &Path) {
    let page = std::fs::read_to_string(directory.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("Latency by percentile"));
    // The name of a format is not a place.
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

fn check_comparison(directory: &Path) {
    let result = directory.join("result.json").to_string_lossy().into_owned();
    let output = run(&["compare", &result, &result]);
    let printed = said(&output);
    assert_eq!(code(&output), 0, "{printed}");
    assert!(printed.contains("| latency p99 |") && printed.contains("+0.0 %"), "{printed}");
    for word in ["better", "worse", "Caution", "-0"] {
        assert!(!printed.contains(word), "{word}: {printed}");
    }
}

#[test]
fn the_exit_code_says_what_happened() {
    let room = Room::new("codes");
    let url = |fault| format!("ws://127.0.0.1:{}/gun", hall::start(fault));
    let whole = url(Fault::None);
    let patient = ["--lag-max", "1000000"];
    let healthy = until_valid(|| fanout(&whole, &room.0, &patient));
    assert_eq!(code(&healthy), 0, "{}", said(&healthy));

    // One copy in a thousand.
    let many = ["--rate", "1500", "--quiet"];
    let lossy = fanout(&url(Fault::Drop), &room.0, &many);
    assert_eq!(code(&lossy), 2, "{}", said(&lossy));
    assert!(said(&lossy).contains("WRONG: ") && said(&lossy).contains(" lost"));

    let never = [&patient[..], &["--fail-if", "delivered>0,lost>0"]].concat();
    let crossed = fanout(&whole, &room.0, &never);
    assert_eq!(code(&crossed), 3, "{}", said(&crossed));
    assert!(said(&crossed).contains("CROSSED: delivered>0"), "{}", said(&crossed));
    let kept = [&patient[..], &["--fail-if", "delivered<1,lost>0,max>300s"]].concat();
    let kept = until_valid(|| fanout(&whole, &room.0, &kept));
    assert_eq!(code(&kept), 0, "{}", said(&kept));

    // Nobody sends to the nanosecond.
    let late = fanout(&whole, &room.0, &["--lag-max", "0"]);
    assert_eq!(code(&late), 4, "{}", said(&late));
    assert!(said(&late).contains("INVALID: the generator ran late"));
}

#[test]
fn what_cannot_be_done_is_explained() {
    let room = Room::new("errors");
    let nobody = format!("ws://127.0.0.1:{}/gun", free_ports(1).unwrap()[0]);
    let whole = format!("ws://127.0.0.1:{}/gun", hall::start(Fault::None));
    let missing = room.0.join("none.json").to_string_lossy().into_owned();
    let cases: &[(&[&str], &str)] = &[
        (&["nothing-like-that"], "is no scenario"),
        (&["--rate", "fast"], "--rate fast is not a number"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--fail-if", "lost>5ms"], "lost is compared with a count"),
        (&["--admin", "127.0.0.1:1"], "--url"),
        (&["--url", &whole, "--admin", &nobody[5..nobody.len() - 4]], "/metrics: "),
        (&["--url", &whole, "--pid", "2147483647"], "process 2147483647 cannot be read"),
        (&["compare", &missing, &missing], "none.json"),
    ];
    for (arguments, reason) in cases {
        let output = run(arguments);
        assert_eq!(code(&output), 1, "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(reason), "{arguments:?}: {}", said(&output));
    }
    assert_eq!(code(&run(&["--help"])), 0);
}
