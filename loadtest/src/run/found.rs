//! What a run found, put together.
//!
//! Owns: which figure of a result comes from where. Must not know: the order of a run.

use std::sync::atomic::Ordering;

use hdrhistogram::Histogram;

use super::{Opened, Run};
use crate::clock;
use crate::outcome::{
    Attacked, Connections, Generator, Outcome, Rates, Second, ServerUse, Times as Spread, Verdict,
    ms,
};
use crate::process::{self, Machine};
use crate::swarm::tally::{Part, Totals, histogram};
use crate::verdict;

/// What a run found, with the histograms.
#[derive(Debug)]
pub struct Found {
    /// What is written to `result.json`.
    pub outcome: Outcome,
    /// Latencies, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Those from when a message was sent.
    pub raw: Histogram<u64>,
    /// Those of each second.
    pub seconds: Vec<Histogram<u64>>,
}

impl Run<'_> {
    /// What was found in all.
    pub(super) fn found(self, totals: Totals, opened: Opened) -> Found {
        let seconds: Vec<_> = (1..self.parts.len()).map(|number| self.second(number)).collect();
        let server = self.meter.found(seconds.len());
        let generator = self.generator(&totals);
        let attack = self.attacked(&seconds);
        let Totals { counts, latency, raw, opening, closed, stalled_closed, .. } = totals;
        let mut outcome = Outcome {
            scenario: self.plan.scenario.clone(),
            target: self.watch.target,
            commit: process::commit(),
            measured_unix_s: self.measured_unix_s,
            ended_unix_s: clock::unix_s(),
            machine: Machine::this(),
            counts,
            rates: rates(&self.parts, server.as_ref()),
            latency: Spread::of(&latency),
            raw: Spread::of(&raw),
            connections: Connections {
                count: self.plan.residents().into(),
                seconds: opened.seconds,
                opening: Spread::of(&opening),
                failed: totals.failed,
                failure: totals.failure,
                closed,
                stalled_closed,
                guests: totals.guests,
                guests_skipped: totals.guests_skipped,
                back_seconds: opened.back_seconds,
            },
            server,
            generator,
            seconds,
            attack,
            verdict: Verdict::default(),
        };
        outcome.verdict = verdict::judge(&outcome, &self.watch.thresholds);
        self.swarm.join();
        let seconds = self.parts.into_iter().skip(1).map(|part| part.latency).collect();
        Found { outcome, latency, raw, seconds }
    }

    /// The seconds before an attack, and those of it.
    fn attacked(&self, seconds: &[Second]) -> Option<Attacked> {
        let quiet = self.plan.scenario.calm as usize;
        if quiet == 0 || seconds.len() <= quiet {
            return None;
        }
        let (before, during) = self.parts[1..].split_at(quiet);
        let sum = |parts: &[Part]| {
            let mut sum = histogram();
            for part in parts {
                // Same bounds: adding cannot fail.
                let _same_bounds = sum.add(&part.latency);
            }
            sum
        };
        let most =
            |seconds: &[Second]| seconds.iter().filter_map(|second| second.memory_bytes).max();
        let memory = [most(&seconds[..quiet]), most(&seconds[quiet..])];
        Some(Attacked::of([&sum(before), &sum(during)], memory))
    }

    fn generator(&self, totals: &Totals) -> Generator {
        let seconds = self.parts.len().max(2) - 1;
        Generator {
            threads: self.plan.threads,
            file_tables: if self.plan.has_own_files { self.plan.threads } else { 1 },
            files_max: self.plan.files_max,
            busy: self.loads.busy(seconds),
            waited: self.loads.waited(seconds),
            loads: self.loads.each(seconds),
            lag: Spread::of(&totals.lag),
            unsent: totals.unsent,
            untaken: totals.untaken,
            forgiven: self.swarm.gauges.forgiven.load(Ordering::Relaxed),
        }
    }

    /// A second of the measured time.
    pub(super) fn second(&self, number: usize) -> Second {
        let part = &self.parts[number];
        let at = |percentile| ms(part.latency.value_at_percentile(percentile));
        let server = self.meter.second(number);
        Second {
            sent: part.sent,
            delivered: part.delivered,
            p50: at(50.0),
            p99: at(99.0),
            max: ms(part.latency.max()),
            lag: ms(part.lag_max_ns),
            cpu_s: server.map(|(cpu_s, _)| cpu_s),
            memory_bytes: server.map(|(_, memory_bytes)| memory_bytes),
        }
    }
}

fn rates(parts: &[Part], server: Option<&ServerUse>) -> Rates {
    let seconds = (parts.len().max(2) - 1) as f64;
    let sum = |of: fn(&Part) -> u64| parts.iter().skip(1).map(of).sum::<u64>() as f64;
    let delivered = sum(|part| part.delivered);
    let (opened, bytes_in) = (sum(|part| part.opened), sum(|part| part.bytes_in));
    let cpu_s = server.map(|server| server.measured.cpu_s()).filter(|cpu_s| *cpu_s > 0.0);
    Rates {
        sent: sum(|part| part.sent) / seconds,
        delivered: delivered / seconds,
        bytes_in: bytes_in / seconds,
        opened: opened / seconds,
        delivered_per_cpu_s: cpu_s.map(|cpu_s| delivered / cpu_s),
        opened_per_cpu_s: cpu_s.map(|cpu_s| opened / cpu_s),
        bytes_per_cpu_s: cpu_s.map(|cpu_s| bytes_in / cpu_s),
    }
}
