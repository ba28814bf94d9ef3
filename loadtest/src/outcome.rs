//! What a run found: the content of `result.json`.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::process::{Machine, Usage};
use crate::scenario::Scenario;
use crate::track::Counts;

/// All that a run found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was done.
    pub scenario: Scenario,
    /// To whom.
    pub target: String,
    /// The source revision of the tree this was started in, if it is known.
    pub commit: Option<String>,
    /// When the measured time began, in seconds since 1970.
    #[serde(default)]
    pub measured_unix_s: f64,
    /// When it ended, in seconds since 1970.
    pub ended_unix_s: u64,
    /// Where.
    pub machine: Machine,
    /// What arrived.
    pub counts: Counts,
    /// Per second, over the measured time.
    pub rates: Rates,
    /// From when a message was meant to be sent until a copy came.
    pub latency: Times,
    /// From when it was sent.
    pub raw: Times,
    /// What connecting took.
    pub connections: Connections,
    /// What the server used in the measured time, if it could be read.
    pub server: Option<ServerUse>,
    /// Whether the generator kept up.
    pub generator: Generator,
    /// Each second of the measured time.
    pub seconds: Vec<Second>,
    /// The well-behaved peers before and during an attack, if there was a quiet time before it.
    pub attack: Option<Attacked>,
    /// How it is to be taken.
    pub verdict: Verdict,
}

/// The same peers without and with an attack, in one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attacked {
    /// Their latency before.
    pub quiet: Times,
    /// Their latency while it went on.
    pub attacked: Times,
    /// p50 during the attack, in p50s of the quiet time.
    pub p50_ratio: f64,
    /// p99 during the attack, in p99s of the quiet time.
    pub p99_ratio: f64,
    /// The most memory of the server at the end of a quiet second, in bytes, if known.
    pub quiet_memory_bytes: Option<u64>,
    /// The most memory of the server at the end of a second of the attack, in bytes, if known.
    pub attacked_memory_bytes: Option<u64>,
}

impl Attacked {
    /// The latencies of both, and memories at the ends of their seconds.
    pub fn of(
        [quiet, attacked]: [&Histogram<u64>; 2],
        [quiet_memory_bytes, attacked_memory_bytes]: [Option<u64>; 2],
    ) -> Attacked {
        let (quiet, attacked) = (Times::of(quiet), Times::of(attacked));
        let ratio = |of: fn(&Times) -> f64| of(&attacked) / of(&quiet).max(1e-6);
        Attacked {
            p50_ratio: ratio(|times| times.p50),
            p99_ratio: ratio(|times| times.p99),
            quiet,
            attacked,
            quiet_memory_bytes,
            attacked_memory_bytes,
        }
    }

    /// Memory that each of so many stalled peers added to the server, at most, in bytes; `None` when there
    /// were none or it is not known.
    pub fn bytes_per_stalled(&self, stalled: u32) -> Option<f64> {
        let (before, during) = self.quiet_memory_bytes.zip(self.attacked_memory_bytes)?;
        (stalled > 0).then(|| during.saturating_sub(before) as f64 / f64::from(stalled))
    }
}

/// Averages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Messages sent a second.
    pub sent: f64,
    /// Copies (or answers, where something is asked) received a second.
    pub delivered: f64,
    /// Bytes received a second.
    pub bytes_in: f64,
    /// Deliveries for each second of the server's CPU time.
    pub delivered_per_cpu_s: Option<f64>,
    /// Guests let in a second.
    pub opened: f64,
    /// Guests let in for each second of the server's CPU time.
    pub opened_per_cpu_s: Option<f64>,
    /// Bytes received for each second of the server's CPU time.
    pub bytes_per_cpu_s: Option<f64>,
}

/// Percentiles, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // They say themselves.
pub struct Times {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// Percentile and milliseconds, for a plot.
    pub curve: Vec<(f64, f64)>,
}

impl Times {
    /// The summary of a histogram of nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Times {
        if histogram.is_empty() {
            return Times::default();
        }
        let at = |percentile: f64| ms(histogram.value_at_percentile(percentile));
        let nines = (0..=40).map(|step| 100.0 * (1.0 - 10f64.powf(-f64::from(step) / 8.0)));
        let told = 100.0 * (1.0 - 1.0 / histogram.len() as f64);
        Times {
            count: histogram.len(),
            mean: histogram.mean() / 1e6,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: ms(histogram.max()),
            curve: nines.filter(|percentile| *percentile <= told).map(|p| (p, at(p))).collect(),
        }
    }
}

/// Nanoseconds as milliseconds.
pub fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Opening connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// Those that were to be open all the time.
    pub count: u64,
    /// Seconds until all were.
    pub seconds: f64,
    /// From dialling to open.
    pub opening: Times,
    /// Attempts that failed.
    pub failed: u64,
    /// Why the last one did.
    pub failure: Option<String>,
    /// Peers that were closed while they should not have been.
    pub closed: u64,
    /// Of the stalled peers, those that the server closed.
    pub stalled_closed: u64,
    /// Guests that came.
    pub guests: u64,
    /// Guests that were due and did not come, as those before them were still connecting or leaving.
    #[serde(default)]
    pub guests_skipped: u64,
    /// Seconds until all were back, when all left at once.
    pub back_seconds: Option<f64>,
}

/// What the server used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerUse {
    /// Before anybody connected.
    pub empty: Usage,
    /// With everybody connected and nothing said.
    pub idle: Usage,
    /// In the measured time.
    pub measured: Usage,
    /// CPU seconds a second.
    pub cores: f64,
    /// How many cores it may use, if that is known.
    #[serde(default)]
    pub cores_allowed: Option<usize>,
    /// Measured seconds in which it could not be read.
    #[serde(default)]
    pub unread: u64,
    /// Resident memory that each idle connection added, in bytes.
    pub bytes_per_connection: f64,
    /// The same for each of several processes.
    pub bytes_per_connection_each: Vec<f64>,
}

/// How the generator itself did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Threads.
    pub threads: usize,
    /// Tables of open files: more than one when there are more connections than a process may have files.
    pub file_tables: usize,
    /// The limit on open files of each table, and of each process of the server.
    pub files_max: u64,
    /// The part of the time that its threads computed, on average; `None` where it cannot be told.
    pub busy: Option<f64>,
    /// The part of the time that its threads were ready and had no core, on average; `None` where it cannot
    /// be told.
    pub waited: Option<f64>,
    /// The same for each thread; empty where it cannot be told.
    #[serde(default)]
    pub loads: Vec<Load>,
    /// How late it sent what it could have sent.
    pub lag: Times,
    /// Messages that were due and that it did not get to.
    pub unsent: u64,
    /// Messages that were due and that the server did not take.
    pub untaken: u64,
    /// Messages of the window that were given up.
    pub forgiven: u64,
}

/// What a thread of the generator did with its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The part of it that it computed.
    pub busy: f64,
    /// The part of it that it was ready and had no core.
    pub waited: f64,
}

/// One second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Messages sent.
    pub sent: u64,
    /// Copies or answers received.
    pub delivered: u64,
    /// Milliseconds.
    pub p50: f64,
    /// Milliseconds.
    pub p99: f64,
    /// Milliseconds.
    pub max: f64,
    /// The generator's worst lag, milliseconds.
    pub lag: f64,
    /// CPU seconds of the server, if known.
    pub cpu_s: Option<f64>,
    /// Memory of the server, if known.
    pub memory_bytes: Option<u64>,
}

/// How a result is to be taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Why the figures say nothing about the server; empty when they do.
    pub invalid: Vec<String>,
    /// What was lost, duplicated, reordered, echoed, corrupted or closed.
    pub faults: Vec<String>,
    /// Thresholds that were crossed.
    pub crossed: Vec<String>,
}

impl Verdict {
    /// The exit code: 0 when all is well, 2 wrong counts, 3 a threshold, 4 invalid.
    pub fn exit_code(&self) -> u8 {
        match (self.faults.is_empty(), self.crossed.is_empty(), self.invalid.is_empty()) {
            (false, ..) => 2,
            (_, false, _) => 3,
            (.., false) => 4,
            _ => 0,
        }
    }
}
