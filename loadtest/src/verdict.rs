//! How a result is to be taken: faults, thresholds, and whether the generator was the limit.
//!
//! Owns: the rules. Must not know how anything was measured.

use crate::outcome::{Outcome, Verdict};

/// In open loop a generator that computes, or waits for a core, more than this part of the time is no
/// judge.
const BUSY_MAX_OPEN: f64 = 0.9;
/// In closed loop it may be busy, but not while the server has time left.
const BUSY_MAX_CLOSED: f64 = 0.97;
/// A generator that waits for a core more than this part of the time shares this machine with too much.
const WAITED_MAX: f64 = 0.25;
/// Part of a core of the server below which a busy generator was the limit.
const SERVER_BUSY_MIN: f64 = 0.9;

/// `p99>5ms` and the like.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    name: String,
    is_above: bool,
    limit: f64,
    text: String,
}

/// What can be compared, with what its unit is called.
const QUANTITIES: &[&str] = &[
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "raw-p50",
    "raw-p99",
    "raw-max",
    "lost",
    "duplicated",
    "reordered",
    "echoed",
    "corrupted",
    "closed",
    "failed",
    "delivered",
    "per-cpu",
    "cores",
    "memory",
    "per-connection",
    "opening-p99",
    "attack-p50",
    "attack-p99",
];

impl Threshold {
    /// Reads `p99>5ms,lost>0`.
    ///
    /// # Errors
    /// What is wrong, for a human.
    pub fn parse_all(text: &str) -> Result<Vec<Threshold>, String> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Threshold::parse)
            .collect()
    }

    fn parse(text: &str) -> Result<Threshold, String> {
        let at = text.find(['>', '<']).ok_or_else(|| format!("{text}: there is no > or <"))?;
        let (name, limit) = (text[..at].trim(), text[at + 1..].trim());
        if !QUANTITIES.contains(&name) {
            return Err(format!("{name} is none of {}", QUANTITIES.join(", ")));
        }
        let limit = number(limit).ok_or_else(|| format!("{limit} is no number with a unit"))?;
        let is_above = text.as_bytes()[at] == b'>';
        Ok(Threshold { name: name.to_owned(), is_above, limit, text: text.to_owned() })
    }

    fn crossed(&self, outcome: &Outcome) -> Option<String> {
        let Some(value) = quantity(outcome, &self.name) else {
            return Some(format!("{}: not measured", self.text));
        };
        let is_crossed = if self.is_above { value > self.limit } else { value < self.limit };
        is_crossed.then(|| format!("{}: it is {value:.3}", self.text))
    }
}

/// Milliseconds, bytes or a plain number.
fn number(text: &str) -> Option<f64> {
    let units = [
        ("us", 1e-3),
        ("ms", 1.0),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("k", 1e3),
        ("M", 1e6),
        ("s", 1e3),
    ];
    let unit = units.iter().find(|(unit, _)| text.ends_with(unit));
    let (digits, factor) = match unit {
        Some((unit, factor)) => (&text[..text.len() - unit.len()], *factor),
        None => (text, 1.0),
    };
    digits.trim().parse::<f64>().ok().map(|number| number * factor)
}

fn quantity(outcome: &Outcome, name: &str) -> Option<f64> {
    let (latency, raw, counts) = (&outcome.latency, &outcome.raw, &outcome.counts);
    let timed = |value: f64| (latency.count > 0).then_some(value);
    let server = outcome.server.as_ref();
    match name {
        "p50" => timed(latency.p50),
        "p90" => timed(latency.p90),
        "p99" => timed(latency.p99),
        "p99.9" => timed(latency.p999),
        "max" => timed(latency.max),
        "raw-p50" => timed(raw.p50),
        "raw-p99" => timed(raw.p99),
        "raw-max" => timed(raw.max),
        "lost" => Some(counts.lost as f64),
        "duplicated" => Some(counts.duplicated as f64),
        "reordered" => Some(counts.reordered as f64),
        "echoed" => Some(counts.echoed as f64),
        "corrupted" => Some(counts.corrupted as f64),
        "closed" => Some(outcome.connections.closed as f64),
        "failed" => Some(outcome.connections.failed as f64),
        "delivered" => Some(outcome.rates.delivered),
        "per-cpu" => outcome.rates.delivered_per_cpu_s,
        "cores" => server.map(|server| server.cores),
        "memory" => server.map(|server| server.measured.memory_bytes_max as f64),
        "per-connection" => server.map(|server| server.bytes_per_connection),
        "attack-p50" => outcome.attack.as_ref().map(|attack| attack.p50_ratio),
        "attack-p99" => outcome.attack.as_ref().map(|attack| attack.p99_ratio),
        "opening-p99" => Some(outcome.connections.opening.p99),
        _ => None,
    }
}

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
    let faults = outcome.counts.faults().into_iter().chain(more);
    faults.filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect()
}

fn invalid(outcome: &Outcome) -> Vec<String> {
    let (scenario, generator) = (&outcome.scenario, &outcome.generator);
    let mut reasons = Vec::new();
    let is_open = scenario.window == 0 && scenario.rush == 0;
    if is_open && generator.lag.p99 > scenario.lag_max {
        let (lag, max) = (generator.lag.p99, scenario.lag_max);
        reasons.push(format!("the generator ran late: p99 {lag:.1} ms, allowed are {max} ms"));
    }
    if is_open && generator.unsent > 0 {
        reasons.push(format!("{} messages were never sent", generator.unsent));
    }
    let busy_max = if is_open { BUSY_MAX_OPEN } else { BUSY_MAX_CLOSED };
    let cores = outcome.server.as_ref().map(|server| server.cores);
    let is_server_busy = !is_open && cores.is_some_and(|cores| cores >= SERVER_BUSY_MIN);
    let waited = generator.waited.unwrap_or(0.0);
    let is_limit = |busy: &f64| busy + waited > busy_max && !is_server_busy;
    if let Some(busy) = generator.busy.filter(|busy| is_limit(busy) || waited > WAITED_MAX) {
        let (share, waited) = (busy * 100.0, waited * 100.0);
        reasons.push(format!(
            "the generator computed {share:.0} % of the time, and waited {waited:.0} % for a core"
        ));
    }
    if scenario.is_sending() && outcome.latency.count == 0 {
        reasons.push("nothing was delivered in the measured time".to_owned());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_with_their_units() {
        let all = Threshold::parse_all("p99>5ms, lost>0,memory>1GiB,delivered<10k,max>1s").unwrap();
        let limits: Vec<_> = all.iter().map(|threshold| threshold.limit).collect();
        assert_eq!(limits, [5.0, 0.0, 1_073_741_824.0, 10_000.0, 1000.0]);
        assert!(!all[3].is_above);
        for wrong in ["p98>1ms", "p99", "p99>fast"] {
            assert!(Threshold::parse_all(wrong).is_err(), "{wrong}");
        }
    }
}
