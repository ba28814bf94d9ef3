//! The floors do the work they stand for, and lose nothing of it.

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::outcome_of;
use loadtest::floor::{self, Orders, Others};
use loadtest::message::{Exchange, Protocol, Style};
use loadtest::outcome::Outcome;
use loadtest::scenario::Scenario;
use loadtest::server::free_ports;

fn outcome(scenario: Scenario, others: fn(&Style) -> Others, coalesce: bool) -> Outcome {
    outcome_grown(scenario, others, coalesce, 0)
}

fn outcome_grown(
    scenario: Scenario,
    others: fn(&Style) -> Others,
    coalesce: bool,
    grown_by: usize,
) -> Outcome {
    let port = free_ports(1).unwrap()[0];
    let (exchange, size) = (scenario.exchange, scenario.size);
    let style = Style { protocol: Protocol::Raw, exchange, size, secret: 0 };
    let (message_bytes, others) = (style.message(0, 0).len(), others(&style));
    let orders = Orders { message_bytes, coalesce, others, grown_by };
    thread::spawn(move || floor::serve(port, orders));
    await_listener(port);
    outcome_of(scenario, &[port], Protocol::Raw, &[])
}

fn await_listener(port: u16) {
    let start = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(30), "nobody listens");
        thread::yield_now();
    }
}

fn scenario() -> Scenario {
    Scenario {
        senders: 1,
        receivers: 3,
        rate: 500.0,
        duration: 1.0,
        warmup: 0.1,
        settle: 1.0,
        ..Scenario::default()
    }
}

#[test]
fn everybody_else_gets_every_message() {
    for coalesce in [false, true] {
        let outcome = outcome(scenario(), |_| Others::PassOn, coalesce);
        assert!(outcome.counts.is_clean(), "{:?}", outcome.counts);
        assert_eq!(outcome.counts.received, outcome.counts.sent * 3);
    }
}

#[test]
fn messages_that_grow_are_heard_as_those_that_do_not() {
    for coalesce in [false, true] {
        let outcome = outcome_grown(scenario(), |_| Others::PassOn, coalesce, 77);
        assert!(outcome.counts.is_clean(), "{:?}", outcome.counts);
        assert_eq!(outcome.counts.received, outcome.counts.sent * 3);
        // All that came in the measured time was 277 bytes long.
        let (bytes, copies) = (outcome.rates.bytes_in, outcome.rates.delivered);
        assert!(bytes > 250.0 * copies, "{bytes} bytes of {copies} copies");
    }
}

#[test]
fn answers_go_to_who_asked() {
    for coalesce in [false, true] {
        let scenario = Scenario { exchange: Exchange::Ask, receivers: 2, ..scenario() };
        let answers = |style: &Style| Others::Answer(style.answer(0).len());
        let outcome = outcome(scenario, answers, coalesce);
        assert!(outcome.counts.is_clean(), "{:?}", outcome.counts);
        // Two hear the question, and one is answered.
        assert_eq!(outcome.counts.received, outcome.counts.sent * 3);
        assert!(outcome.latency.count > 0);
    }
}

#[test]
fn what_is_said_four_times_is_passed_on_once() {
    for coalesce in [false, true] {
        let scenario = Scenario { repeat: 4, ..scenario() };
        let outcome = outcome(scenario, |_| Others::Drop, coalesce);
        assert!(outcome.counts.is_clean(), "{:?}", outcome.counts);
        assert_eq!(outcome.counts.received, outcome.counts.sent * 3);
    }
}

#[test]
fn connections_are_let_in_without_end() {
    let port = free_ports(1).unwrap()[0];
    thread::spawn(move || floor::accept::serve(port));
    await_listener(port);
    let scenario = Scenario {
        senders: 0,
        receivers: 0,
        rate: 0.0,
        rush: 8,
        duration: 1.0,
        warmup: 0.1,
        ..Scenario::default()
    };
    let outcome = outcome_of(scenario, &[port], Protocol::Dam, &[]);
    assert_eq!(outcome.connections.failed, 0, "{:?}", outcome.connections.failure);
    // Eight places, each used again and again.
    assert!(outcome.connections.guests > 16, "{}", outcome.connections.guests);
    assert!(outcome.rates.opened > 0.0);
}
