//! What a result is compared with: `p99>5ms,lost>0`.
//!
//! Owns: the names of what can be compared, and which units each is written with. Must not know how
//! anything was measured.

use crate::outcome::Outcome;

/// `p99>5ms` and the like.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    quantity: &'static Quantity,
    is_above: bool,
    limit: f64,
    text: String,
}

/// What can be compared.
#[derive(Debug, PartialEq)]
struct Quantity {
    name: &'static str,
    unit: Unit,
}

/// How the limit of a quantity may be written; a bare number is of the first unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Time,
    Bytes,
    Count,
    Plain,
}

impl Unit {
    /// The units, and what each is worth.
    fn units(self) -> &'static [(&'static str, f64)] {
        match self {
            Unit::Time => &[("ms", 1.0), ("us", 1e-3), ("s", 1e3)],
            Unit::Bytes => {
                &[("B", 1.0), ("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0)]
            }
            Unit::Count => &[("k", 1e3), ("M", 1e6)],
            Unit::Plain => &[],
        }
    }

    /// What a limit must look like.
    fn describe(self) -> &'static str {
        match self {
            Unit::Time => "a time: 500us, 5ms, 1s",
            Unit::Bytes => "a size: 100B, 2KiB, 256MiB, 1GiB",
            Unit::Count => "a count: 0, 10k, 2M",
            Unit::Plain => "a number without a unit: 2, 0.5",
        }
    }

    fn read(self, text: &str) -> Option<f64> {
        let starts_unit = |c: char| c.is_ascii_alphabetic();
        let (digits, unit) = text.split_at(text.find(starts_unit).unwrap_or(text.len()));
        let worth = match unit {
            "" => 1.0,
            _ => self.units().iter().find(|(name, _)| *name == unit)?.1,
        };
        digits.trim().parse::<f64>().ok().map(|number| number * worth)
    }
}

const fn quantity(name: &'static str, unit: Unit) -> Quantity {
    Quantity { name, unit }
}

static QUANTITIES: &[Quantity] = &[
    quantity("p50", Unit::Time),
    quantity("p90", Unit::Time),
    quantity("p99", Unit::Time),
    quantity("p99.9", Unit::Time),
    quantity("max", Unit::Time),
    quantity("raw-p50", Unit::Time),
    quantity("raw-p99", Unit::Time),
    quantity("raw-max", Unit::Time),
    quantity("opening-p99", Unit::Time),
    quantity("lost", Unit::Count),
    quantity("duplicated", Unit::Count),
    quantity("reordered", Unit::Count),
    quantity("echoed", Unit::Count),
    quantity("corrupted", Unit::Count),
    quantity("closed", Unit::Count),
    quantity("failed", Unit::Count),
    quantity("delivered", Unit::Count),
    quantity("per-cpu", Unit::Count),
    quantity("cores", Unit::Plain),
    quantity("memory", Unit::Bytes),
    quantity("per-connection", Unit::Bytes),
    quantity("attack-p50", Unit::Plain),
    quantity("attack-p99", Unit::Plain),
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
        let Some(quantity) = QUANTITIES.iter().find(|quantity| quantity.name == name) else {
            let names: Vec<_> = QUANTITIES.iter().map(|quantity| quantity.name).collect();
            return Err(format!("{name} is none of {}", names.join(", ")));
        };
        let limit = quantity.unit.read(limit).ok_or_else(|| {
            format!("{text}: {name} is compared with {}", quantity.unit.describe())
        })?;
        let is_above = text.as_bytes()[at] == b'>';
        Ok(Threshold { quantity, is_above, limit, text: text.to_owned() })
    }

    /// What a result has crossed, if it has; what was not measured counts as crossed.
    pub fn crossed(&self, outcome: &Outcome) -> Option<String> {
        let Some(value) = value(outcome, self.quantity.name) else {
            return Some(format!("{}: not measured", self.text));
        };
        let is_crossed = if self.is_above { value > self.limit } else { value < self.limit };
        is_crossed.then(|| format!("{}: it is {value:.3}", self.text))
    }
}

fn value(outcome: &Outcome, name: &str) -> Option<f64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_with_their_units() {
        let text = "p99>5ms, lost>0,memory>1GiB,delivered<10k,max>1s,p50>500us,attack-p99>2";
        let all = Threshold::parse_all(text).unwrap();
        let limits: Vec<_> = all.iter().map(|threshold| threshold.limit).collect();
        assert_eq!(limits, [5.0, 0.0, 1_073_741_824.0, 10_000.0, 1000.0, 0.5, 2.0]);
        assert!(!all[3].is_above);
    }

    #[test]
    fn what_is_no_threshold_is_refused_with_a_reason() {
        for (wrong, word) in [
            ("p98>1ms", "p98 is none of"),
            ("p99", "no > or <"),
            ("p99>fast", "a time"),
            ("lost>5ms", "a count"),
            ("p99>2KiB", "a time"),
            ("memory>3s", "a size"),
            ("cores>1k", "without a unit"),
            ("delivered<1.2.3", "a count"),
        ] {
            let fault = Threshold::parse_all(wrong).unwrap_err();
            assert!(fault.contains(word), "{wrong}: {fault}");
        }
    }

    #[test]
    fn everything_that_can_be_compared_has_a_value() {
        use crate::outcome::{Attacked, ServerUse, Times};

        let mut outcome = Outcome {
            latency: Times { count: 1, ..Times::default() },
            server: Some(ServerUse::default()),
            attack: Some(Attacked::default()),
            ..Outcome::default()
        };
        outcome.rates.delivered_per_cpu_s = Some(1.0);
        for quantity in QUANTITIES {
            assert!(value(&outcome, quantity.name).is_some(), "{}", quantity.name);
        }
        let all = Threshold::parse_all("lost>0,p99>1ms").unwrap();
        assert!(all.iter().all(|threshold| threshold.crossed(&outcome).is_none()));
        outcome.counts.lost = 1;
        assert_eq!(all[0].crossed(&outcome).unwrap(), "lost>0: it is 1.000");
        assert!(all[1].crossed(&Outcome::default()).unwrap().contains("not measured"));
    }
}
