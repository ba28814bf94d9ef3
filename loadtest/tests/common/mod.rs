//! What the tests share: a small relay with faults, and a run of a scenario.

// Each test binary uses a part of it.
#![allow(dead_code)]

pub mod hall;

use std::sync::Arc;

use loadtest::message::Protocol;
use loadtest::outcome::Outcome;
use loadtest::plan::{Plan, Target};
use loadtest::run::{self, Found, Stage, Watch};
use loadtest::scenario::Scenario;
use loadtest::source::Source;

/// Runs a scenario against servers of this machine.
pub fn outcome_of(scenario: Scenario, ports: &[u16], protocol: Protocol, pids: &[u32]) -> Outcome {
    found_of(scenario, ports, protocol, pids, &mut |_| {}).outcome
}

/// The same with the histograms; `tell` hears how far it is.
pub fn found_of(
    scenario: Scenario,
    ports: &[u16],
    protocol: Protocol,
    pids: &[u32],
    tell: &mut dyn FnMut(Stage),
) -> Found {
    let targets = ports.iter().map(|port| Target::local(*port)).collect();
    let plan = Arc::new(Plan::new(scenario, targets, protocol));
    let sources = pids.iter().copied().map(Source::Process).collect();
    let watch = Watch { sources, target: String::new(), thresholds: Vec::new(), tell };
    run::run(&plan, watch).unwrap()
}
