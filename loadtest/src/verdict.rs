//! How a result is to be taken: faults, thresholds, and whether the generator was the limit.
//!
//! Owns: the rules. Must not know how anything was measured.

use crate::outcome::{Load, Outcome, Verdict};
use crate::threshold::Threshold;

/// In open loop a thread of the generator that computes, or waits for a core, more than this part of the
/// time is no judge.
const BUSY_MAX_OPEN: f64 = 0.9;
/// In closed loop it may be busy, but not while the server has time left.
const BUSY_MAX_CLOSED: f64 = 0.97;
/// A thread that waits for a core more than this part of the time shares this machine with too much.
const WAITED_MAX: f64 = 0.25;
/// The part of the cores that the server may use below which it had time left.
const SERVER_BUSY_MIN: f64 = 0.9;

/// Judges a result.
pub fn judge(outcome: &Outcome, thresholds: &[Threshold]) -> Verdict {
    Verdict {
        invalid: invalid(outcome),
        faults: faults(outcome),
        crossed: thresholds.iter().filter_map(|threshold| threshold.crossed(outcome)).collect(),
    }
}

fn faults(outcome: &Outcome) -> Vec<String> {
    let more = [("closed", outcome.connections.closed), ("not taken", outcome.generator.untaken)];
    let counts = outcome.counts.faults().into_iter().chain(more);
    let counts =
        counts.filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}"));
    let unread = outcome.server.as_ref().map_or(0, |server| server.unread);
    let gone = (unread > 0).then(|| {
        format!("the server ended, or did not say what it uses, in {unread} measured seconds")
    });
    counts.chain(gone).collect()
}

fn invalid(outcome: &Outcome) -> Vec<String> {
    let mut reasons = Vec::new();
    if is_open_loop(outcome) {
        reasons.extend(late(outcome));
        reasons.extend(unsent(outcome));
    }
    reasons.extend(busy(outcome));
    if outcome.scenario.is_sending() && outcome.latency.count == 0 {
        reasons.push("nothing was delivered in the measured time".to_owned());
    }
    reasons
}

fn is_open_loop(outcome: &Outcome) -> bool {
    outcome.scenario.window == 0 && outcome.scenario.rush == 0
}

fn late(outcome: &Outcome) -> Option<String> {
    let (lag, max) = (outcome.generator.lag.p99, outcome.scenario.lag_max);
    (lag > max).then(|| format!("the generator ran late: p99 {lag:.1} ms, allowed are {max} ms"))
}

fn unsent(outcome: &Outcome) -> Option<String> {
    let unsent = outcome.generator.unsent;
    (unsent > 0).then(|| format!("{unsent} messages were never sent"))
}

/// The worst of the threads that had no time left while the server had, or that shared their core.
fn busy(outcome: &Outcome) -> Option<String> {
    let is_open = is_open_loop(outcome);
    let busy_max = if is_open { BUSY_MAX_OPEN } else { BUSY_MAX_CLOSED };
    let is_excused = !is_open && is_server_busy(outcome);
    let is_limit = |load: &&Load| {
        load.waited > WAITED_MAX || (load.busy + load.waited > busy_max && !is_excused)
    };
    let limits = outcome.generator.loads.iter().filter(is_limit);
    let worst = limits.max_by(|a, b| (a.busy + a.waited).total_cmp(&(b.busy + b.waited)))?;
    let who = match outcome.generator.threads {
        0 | 1 => "the generator",
        _ => "a thread of the generator",
    };
    let (share, waited) = (worst.busy * 100.0, worst.waited * 100.0);
    Some(format!(
        "{who} computed {share:.0} % of the time, and waited {waited:.0} % for a core{}",
        if is_open { String::new() } else { server_part(outcome) }
    ))
}

/// Whether the server used all it may. Of a server whose cores are not known it cannot be said.
fn is_server_busy(outcome: &Outcome) -> bool {
    let Some(server) = &outcome.server else { return false };
    server.cores_allowed.is_some_and(|allowed| server.cores >= SERVER_BUSY_MIN * allowed as f64)
}

fn server_part(outcome: &Outcome) -> String {
    let Some(server) = &outcome.server else { return String::new() };
    let used = server.cores;
    match server.cores_allowed {
        Some(1) => format!(", while the server used {used:.2} of its core"),
        Some(allowed) => format!(", while the server used {used:.2} of its {allowed} cores"),
        None => format!(", while the server used {used:.2} cores; how many it has is not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{ServerUse, Times};
    use crate::scenario::Scenario;

    /// A run in which nothing went wrong.
    fn healthy() -> Outcome {
        let mut outcome = Outcome {
            latency: Times { count: 1000, p99: 2.0, ..Times::default() },
            ..Outcome::default()
        };
        outcome.generator.threads = 1;
        outcome.generator.lag = Times { count: 1000, p99: 1.0, ..Times::default() };
        outcome.generator.loads = vec![Load { busy: 0.5, waited: 0.1 }];
        outcome
    }

    fn with(change: impl Fn(&mut Outcome)) -> Outcome {
        let mut outcome = healthy();
        change(&mut outcome);
        outcome
    }

    fn closed(loads: &[(f64, f64)], cores: f64, cores_allowed: Option<usize>) -> Outcome {
        with(|outcome| {
            outcome.scenario = Scenario { window: 64, ..Scenario::default() };
            outcome.generator.threads = loads.len();
            let load = |&(busy, waited): &(f64, f64)| Load { busy, waited };
            outcome.generator.loads = loads.iter().map(load).collect();
            outcome.server = Some(ServerUse { cores, cores_allowed, ..ServerUse::default() });
        })
    }

    fn open(loads: &[(f64, f64)]) -> Outcome {
        Outcome { scenario: Scenario::default(), ..closed(loads, 1.0, Some(1)) }
    }

    #[test]
    fn a_generator_that_was_the_limit_is_no_judge() {
        let full = [(0.98, 0.0)];
        let cases: &[(&str, Outcome, &str)] = &[
            ("lag", with(|o| o.generator.lag.p99 = 5.1), "ran late: p99 5.1 ms, allowed are 5 ms"),
            ("unsent", with(|o| o.generator.unsent = 3), "3 messages were never sent"),
            ("busy, open", open(&[(0.85, 0.06)]), "computed 85 % of the time, and waited 6 %"),
            ("waited", open(&[(0.1, 0.26)]), "waited 26 % for a core"),
            ("busy, server idle", closed(&full, 0.5, Some(1)), "the server used 0.50 of its core"),
            ("busy, one core of two", closed(&full, 1.0, Some(2)), "used 1.00 of its 2 cores"),
            ("busy, cores unknown", closed(&full, 1.0, None), "is not known"),
            (
                "busy, no server",
                with(|o| {
                    o.scenario.window = 1;
                    o.generator.loads[0].busy = 0.98;
                }),
                "computed 98 %",
            ),
            (
                "one thread of four",
                closed(&[(0.1, 0.0), (0.99, 0.0), (0.1, 0.0), (0.1, 0.0)], 0.3, Some(2)),
                "a thread of the generator computed 99 %",
            ),
            ("waited in closed loop", closed(&[(0.6, 0.3)], 1.0, Some(1)), "waited 30 %"),
            ("silence", with(|o| o.latency.count = 0), "nothing was delivered"),
        ];
        for (name, outcome, reason) in cases {
            let verdict = judge(outcome, &[]);
            assert_eq!(verdict.invalid.len(), 1, "{name}: {verdict:?}");
            assert!(verdict.invalid[0].contains(reason), "{name}: {verdict:?}");
            assert_eq!(verdict.exit_code(), 4, "{name}");
        }
    }

    #[test]
    fn a_generator_that_was_not_the_limit_is_believed() {
        let cases: &[(&str, Outcome)] = &[
            ("healthy", healthy()),
            ("late as allowed", with(|o| o.generator.lag.p99 = 5.0)),
            ("closed, server full", closed(&[(0.98, 0.0)], 0.95, Some(1))),
            ("closed, two cores full", closed(&[(0.98, 0.0), (0.1, 0.0)], 1.85, Some(2))),
            ("closed, busy with time left", closed(&[(0.95, 0.0)], 0.3, Some(2))),
            ("closed, late and unsent mean nothing", {
                let mut outcome = closed(&[(0.5, 0.0)], 0.5, Some(1));
                (outcome.generator.lag.p99, outcome.generator.unsent) = (50.0, 5);
                outcome
            }),
            (
                "nothing to send",
                with(|o| {
                    o.scenario.rate = 0.0;
                    o.latency.count = 0;
                }),
            ),
        ];
        for (name, outcome) in cases {
            assert_eq!(judge(outcome, &[]), Verdict::default(), "{name}");
        }
    }

    #[test]
    fn counts_come_before_thresholds_and_those_before_the_generator() {
        let thresholds = Threshold::parse_all("p99>1ms").unwrap();
        assert_eq!(judge(&healthy(), &[]).exit_code(), 0);
        let late = with(|outcome| outcome.generator.unsent = 1);
        assert_eq!(judge(&late, &[]).exit_code(), 4);
        assert_eq!(judge(&late, &thresholds).exit_code(), 3);
        let lossy = with(|outcome| {
            outcome.generator.unsent = 1;
            outcome.counts.lost = 2;
        });
        let verdict = judge(&lossy, &thresholds);
        assert_eq!((verdict.exit_code(), &*verdict.faults[0]), (2, "2 lost"));
        assert_eq!(verdict.crossed, ["p99>1ms: it is 2.000"]);
    }

    #[test]
    fn each_kind_of_fault_has_its_name() {
        let outcome = with(|outcome| {
            outcome.counts.duplicated = 1;
            outcome.connections.closed = 2;
            outcome.generator.untaken = 3;
            outcome.server = Some(ServerUse { unread: 4, ..ServerUse::default() });
        });
        let faults = judge(&outcome, &[]).faults;
        assert_eq!(faults[..3], ["1 duplicated", "2 closed", "3 not taken"]);
        assert!(faults[3].contains("the server ended") && faults[3].contains('4'), "{faults:?}");
    }
}
