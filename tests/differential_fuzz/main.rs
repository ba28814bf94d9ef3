//! Gun's mesh and gunmetal's router, side by side, on made-up cases.
//!
//! A case is a sequence: peers come and go, time passes, and they say frames that are valid, odd or broken. The router
//! ([`gunmetal::dam`]) plays it here; Gun's own mesh plays it under node (`tests/node/oracle.js`) and compares who was
//! sent what. What differs on purpose is listed in `docs/differences.md` and taken out of Gun's mesh by the oracle.
//!
//! `FUZZ_CASES` is how many cases are played, `FUZZ_SEED` the first seed. A failure names the seed that replays it.

#[path = "../support/mod.rs"]
mod support;

mod generate;
mod play;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::ChildStdout;

use serde_json::json;

use generate::Case;
use support::node::{self, Scratch};
use support::process::Process;

const CASES: u64 = 4_000;
const CASES_AT_ONCE: u64 = 200;

/// Cases that say nothing, because Gun itself went wrong in a way that is documented, are to stay few.
const EXCUSED_PER_MILLE_MAX: u64 = 30;

#[test]
fn the_router_does_what_guns_mesh_does() {
    let Some(mut oracle) = Oracle::start() else { return };
    let first = number("FUZZ_SEED", 1);
    let end = first + number("FUZZ_CASES", CASES);
    let mut tally = HashMap::<String, u64>::new();
    for chunk in (first..end).step_by(CASES_AT_ONCE as usize) {
        let seeds = chunk..end.min(chunk + CASES_AT_ONCE);
        let cases: Vec<_> = seeds.clone().map(generate::case).collect();
        for (seed, verdict) in seeds.zip(oracle.judge(&cases)) {
            if verdict != "ok" && !verdict.starts_with("excused") {
                fail(&mut oracle, seed);
            }
            *tally.entry(verdict).or_default() += 1;
        }
    }
    eprintln!("{} cases from seed {first}: {tally:?}", end - first);
    let excused: u64 = tally.iter().filter(|(verdict, _)| *verdict != "ok").map(|(_, n)| n).sum();
    assert!(excused * 1000 <= EXCUSED_PER_MILLE_MAX * (end - first).max(1000), "{tally:?}");
}

/// A difference, with as few steps as show it.
fn fail(oracle: &mut Oracle, seed: u64) -> ! {
    let mut case = generate::case(seed);
    let mut verdict = oracle.judge_one(&case);
    let mut at = case.steps.len();
    while at > 0 {
        at -= 1;
        let mut fewer = case.clone();
        if play::remove_step(&mut fewer, at) {
            let shown = oracle.judge_one(&fewer);
            if shown.starts_with('{') {
                (case, verdict) = (fewer, shown);
            }
        }
    }
    let steps: String = case.steps.iter().map(|step| format!("  {step:?}\n")).collect();
    panic!(
        "FUZZ_SEED={seed} FUZZ_CASES=1 replays this; at most {} units:\n{steps}{verdict}",
        case.message_units_max
    );
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")),
        Err(_) => default,
    }
}

/// Gun's mesh in a node process.
struct Oracle {
    process: Process,
    verdicts: BufReader<ChildStdout>,
    _scratch: Scratch,
}

impl Oracle {
    fn start() -> Option<Oracle> {
        let (mut process, scratch) = node::ensure()?.run("Gun's mesh", "oracle.js", &json!({}));
        let verdicts = BufReader::new(process.stdout());
        Some(Oracle { process, verdicts, _scratch: scratch })
    }

    fn judge(&mut self, cases: &[Case]) -> Vec<String> {
        let lines: String = cases.iter().map(|case| format!("{}\n", play::record(case))).collect();
        self.process.stdin().write_all(lines.as_bytes()).expect("the oracle takes cases");
        cases.iter().map(|_| self.verdict()).collect()
    }

    fn judge_one(&mut self, case: &Case) -> String {
        self.judge(std::slice::from_ref(case)).remove(0)
    }

    fn verdict(&mut self) -> String {
        let mut line = String::new();
        let read = self.verdicts.read_line(&mut line).expect("the oracle answers");
        assert!(read > 0, "the oracle ended");
        line.trim_end().to_owned()
    }
}
