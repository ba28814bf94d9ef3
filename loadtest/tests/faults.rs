//! Planted faults are found, each under its own name; and a generator that cannot keep up says so.

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use common::hall::{self, Fault};
use common::{found_of, outcome_of};
use hdrhistogram::Histogram;
use loadtest::message::{Exchange, Protocol};
use loadtest::outcome::Outcome;
use loadtest::run::Stage;
use loadtest::scenario::Scenario;
use loadtest::server;

/// Enough copies for a fault in a thousand to happen several times.
fn scenario() -> Scenario {
    Scenario {
        senders: 2,
        receivers: 4,
        rate: 1500.0,
        duration: 1.0,
        warmup: 0.2,
        settle: 1.0,
        ..Scenario::default()
    }
}

fn outcome(fault: Fault) -> Outcome {
    outcome_of(scenario(), &[hall::start(fault)], Protocol::Dam, &[])
}

/// The names of the faults that were found.
fn faults(outcome: &Outcome) -> Vec<&'static str> {
    let faults = outcome.counts.faults().into_iter();
    faults.filter(|(_, count)| *count > 0).map(|(name, _)| name).collect()
}

#[test]
fn a_relay_without_fault_is_found_clean() {
    let outcome = outcome(Fault::None);
    assert!(outcome.counts.is_clean(), "{:?}", outcome.counts);
    assert!(outcome.counts.sent > 1500);
    assert_eq!(outcome.counts.received, outcome.counts.expected);
    assert_eq!(outcome.counts.expected, outcome.counts.sent * 5);
}

#[test]
fn a_healthy_run_is_valid() {
    let is_valid = || {
        // Little enough that a crowded machine is no limit; five times, as it may be that for a second.
        let scenario = Scenario { senders: 1, rate: 20.0, lag_max: 1e6, ..scenario() };
        let outcome = outcome_of(scenario, &[hall::start(Fault::None)], Protocol::Dam, &[]);
        assert!(outcome.verdict.faults.is_empty(), "{:?}", outcome.verdict);
        outcome.verdict.invalid.is_empty() && outcome.verdict.exit_code() == 0
    };
    assert!((0..5).any(|_| is_valid()));
}

#[test]
fn a_relay_that_drops_is_caught() {
    let outcome = outcome(Fault::Drop);
    assert_eq!(faults(&outcome), ["lost"]);
    assert_eq!(outcome.verdict.exit_code(), 2);
    assert_eq!(outcome.counts.received + outcome.counts.lost, outcome.counts.expected);
}

#[test]
fn a_relay_that_repeats_is_caught() {
    let outcome = outcome(Fault::Repeat);
    assert_eq!(faults(&outcome), ["duplicated"]);
    assert_eq!(outcome.verdict.exit_code(), 2);
    assert_eq!(outcome.counts.received, outcome.counts.expected + outcome.counts.duplicated);
}

#[test]
fn a_relay_that_reorders_is_caught() {
    // Of two senders in turns, the copy in between would be the other's.
    let scenario = Scenario { senders: 1, receivers: 5, ..scenario() };
    let outcome = outcome_of(scenario, &[hall::start(Fault::Reorder)], Protocol::Dam, &[]);
    assert!(faults(&outcome).contains(&"reordered"), "{:?}", outcome.counts);
    assert_eq!(outcome.verdict.exit_code(), 2);
    assert_eq!(outcome.counts.duplicated + outcome.counts.echoed + outcome.counts.corrupted, 0);
}

#[test]
fn a_relay_that_echoes_is_caught() {
    let outcome = outcome(Fault::Echo);
    assert_eq!(faults(&outcome), ["echoed"]);
    assert_eq!(outcome.verdict.exit_code(), 2);
}

#[test]
fn a_relay_that_corrupts_is_caught() {
    let outcome = outcome(Fault::Corrupt);
    assert_eq!(faults(&outcome), ["corrupted"]);
    assert_eq!(outcome.verdict.exit_code(), 2);
}

#[test]
fn a_roll_call_finds_who_was_forgotten() {
    let call = |fault| {
        let scenario =
            Scenario { senders: 1, receivers: 20, rate: 0.0, roll_call: 50, ..scenario() };
        outcome_of(scenario, &[hall::start(fault)], Protocol::Dam, &[])
    };
    let whole = call(Fault::None);
    assert_eq!((whole.counts.expected, whole.counts.received), (1000, 1000));
    assert!(whole.counts.is_clean());
    let with_a_gap = call(Fault::Drop);
    assert_eq!((with_a_gap.counts.received, with_a_gap.counts.lost), (999, 1));
    assert_eq!(with_a_gap.verdict.exit_code(), 2);
}

#[test]
fn questions_and_acknowledgements_are_counted_too() {
    for exchange in [Exchange::Ask, Exchange::Ack] {
        // This relay floods answers as well: those that did not ask notice.
        let scenario = Scenario { exchange, senders: 1, receivers: 2, ..scenario() };
        let outcome = outcome_of(scenario, &[hall::start(Fault::None)], Protocol::Dam, &[]);
        assert_eq!(faults(&outcome), ["echoed"], "{:?}", outcome.counts);
        assert_eq!(outcome.counts.echoed, outcome.counts.sent);
        assert!(outcome.latency.count > 0);
    }
}

#[test]
fn the_closed_loop_is_counted_too() {
    let scenario = Scenario { window: 64, threads: 2, ..scenario() };
    let outcome = outcome_of(scenario, &[hall::start(Fault::None)], Protocol::Dam, &[]);
    assert!(outcome.counts.is_clean(), "{:?}", outcome.counts);
    assert_eq!(outcome.counts.received, outcome.counts.expected);
}

#[test]
fn what_waits_for_a_relay_that_stopped_reading_is_late_from_when_it_was_meant_to_be_sent() {
    // Little is on its way at a time, so that most of what is due meanwhile waits unsent.
    let scenario = Scenario {
        senders: 1,
        receivers: 1,
        rate: 500.0,
        size: 16 << 10,
        buffer: 16 << 10,
        duration: 3.0,
        warmup: 0.0,
        settle: 20.0,
        ..Scenario::default()
    };
    let (port, gate) = hall::start_gated(20);
    let mut go_on = |stage| {
        if matches!(stage, Stage::Second(_, 2, _)) {
            gate.open();
        }
    };
    let found = found_of(scenario, &[port], Protocol::Dam, &[], &mut go_on);
    let counts = found.outcome.counts;
    assert!(counts.is_clean() && found.outcome.generator.untaken == 0, "{:?}", found.outcome);
    assert_eq!((counts.sent, counts.received), (1500, 1500));
    // Of two seconds without a reader, what was due in the first one is a second late and more. Of what was
    // sent in that time, only what was on its way is.
    let slow = |times: &Histogram<u64>| times.count_between(1_000_000_000, u64::MAX);
    let (meant, sent) = (slow(&found.latency), slow(&found.raw));
    assert!(
        meant >= 400 && meant >= sent + 200,
        "{meant} from when it was meant, {sent} from when it was sent"
    );
}

#[test]
fn a_relay_that_ends_in_the_middle_is_a_fault_and_gives_no_time_back() {
    let logs = std::env::temp_dir().join(format!("loadtest-ends-{}", std::process::id()));
    std::fs::create_dir_all(&logs).unwrap();
    let binary = server::relay_binary(None).unwrap();
    let admin = ["--admin=off".to_owned()];
    let mut relays = server::start_relays(&binary, 1, &admin, &[], &logs).unwrap();
    let (port, pid) = (relays[0].port, relays[0].pid());
    let mut end = |stage| {
        if matches!(stage, Stage::Second(_, 1, _)) {
            relays.clear();
        }
    };
    let scenario = Scenario { rate: 100.0, duration: 3.0, ..scenario() };
    let outcome = found_of(scenario, &[port], Protocol::Dam, &[pid], &mut end).outcome;
    std::fs::remove_dir_all(&logs).unwrap();
    let server = outcome.server.unwrap();
    assert!(server.unread > 0 && server.measured.cpu_s() >= 0.0, "{server:?}");
    assert!(outcome.seconds.iter().all(|second| second.cpu_s.unwrap() >= 0.0));
    assert_eq!(outcome.connections.closed, 6);
    let faults = &outcome.verdict.faults;
    assert!(faults.iter().any(|fault| fault.contains("the server ended")), "{faults:?}");
    assert_eq!(outcome.verdict.exit_code(), 2);
}

#[test]
fn a_generator_that_cannot_keep_up_is_invalid() {
    // Far more than can be sent, over so many connections that the sink is not what holds it up.
    let scenario =
        Scenario { senders: 1, receivers: 0, rate: 1e9, repeat: 64, settle: 0.1, ..scenario() };
    let outcome = outcome_of(scenario, &[start_sink()], Protocol::Raw, &[]);
    let invalid = &outcome.verdict.invalid;
    let is_overload = |why: &String| why.contains("ran late") || why.contains("never sent");
    assert!(invalid.iter().any(is_overload), "{invalid:?}, {:?}", outcome.generator);
}

/// A server that reads, and says no more than that it does.
fn start_sink() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut room = vec![0; 1 << 20];
                let is_in = stream.write_all(b"+").is_ok();
                while is_in && stream.read(&mut room).is_ok_and(|read| read > 0) {}
            });
        }
    });
    port
}
