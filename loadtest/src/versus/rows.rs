//! What the systems are asked to do, and which figures are taken from it.

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::table::{bytes, millis, number};

/// A work: a scenario, and the figures it gives.
#[derive(Debug)]
pub struct Row {
    /// What the table calls it.
    pub name: &'static str,
    /// What a system must be able to do.
    pub kind: Kind,
    /// Its parameters; the window and the duration are the comparison's unless they are among them.
    pub scenario: &'static [(&'static str, &'static str)],
    /// What is taken from a run.
    pub figures: &'static [Figure],
    /// Whether it is measured when no row is named. The others show how a cost grows.
    pub is_usual: bool,
}

/// What a system must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pass on what one says to all others.
    Broadcast,
    /// Bring an answer to who asked.
    Answers,
    /// Know what it has heard.
    Repeats,
    /// Let connections in.
    Connect,
    /// Hold connections.
    Memory,
}

/// A figure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Figure {
    /// Copies or answers per server CPU second.
    Deliveries,
    /// Messages heard per server CPU second, each said so many times.
    Heard(u32),
    /// Bytes delivered per server CPU second.
    Bytes,
    /// Connections let in per server CPU second.
    Connections,
    /// Median latency, in milliseconds.
    P50,
    /// The latency that one in a hundred exceeds, in milliseconds.
    P99,
    /// Memory added by each connection, before anything was said.
    IdleMemory,
    /// Memory added by each connection, after the last measured second.
    BusyMemory,
    /// Memory added by each peer that stopped reading, at the end of the second that had most.
    StalledMemory,
    /// CPU seconds of the server a second, in thousandths.
    IdleCpu,
}

impl Figure {
    /// What it is, for the table.
    pub fn unit(self) -> &'static str {
        match self {
            Figure::Deliveries => "deliveries/CPU s",
            Figure::Heard(_) => "messages heard/CPU s",
            Figure::Bytes => "bytes/CPU s",
            Figure::Connections => "connections/CPU s",
            Figure::P50 => "p50",
            Figure::P99 => "p99",
            Figure::IdleMemory => "memory per idle peer",
            Figure::BusyMemory => "memory per busy peer",
            Figure::StalledMemory => "memory per stalled peer",
            Figure::IdleCpu => "CPU ms a second",
        }
    }

    /// Whether it says what a server CPU second brings.
    pub fn is_throughput(self) -> bool {
        matches!(self, Figure::Deliveries | Figure::Heard(_) | Figure::Bytes | Figure::Connections)
    }

    /// The figure as people read it.
    pub fn write(self, value: f64) -> String {
        match self {
            Figure::P50 | Figure::P99 => millis(value),
            Figure::Bytes | Figure::IdleMemory | Figure::BusyMemory | Figure::StalledMemory => {
                bytes(value)
            }
            _ => number(value),
        }
    }

    /// The figure of a run, if the run tells it.
    pub fn of(self, outcome: &Outcome) -> Option<f64> {
        let server = outcome.server.as_ref()?;
        let rates = &outcome.rates;
        match self {
            Figure::Deliveries => rates.delivered_per_cpu_s,
            Figure::Heard(times) => {
                let heard = rates.sent * outcome.seconds.len() as f64 * f64::from(times);
                let cpu_s = server.measured.cpu_s();
                (cpu_s > 0.0).then(|| heard / cpu_s)
            }
            Figure::Bytes => rates.bytes_per_cpu_s,
            Figure::Connections => rates.opened_per_cpu_s,
            Figure::P50 => (outcome.latency.count > 0).then_some(outcome.latency.p50),
            Figure::P99 => (outcome.latency.count > 0).then_some(outcome.latency.p99),
            Figure::IdleMemory => Some(server.bytes_per_connection),
            Figure::BusyMemory => {
                let (after, before) = (server.measured.memory_bytes, server.empty.memory_bytes);
                let connections = outcome.connections.count.max(1) as f64;
                Some(after.saturating_sub(before) as f64 / connections)
            }
            Figure::StalledMemory => {
                outcome.attack.as_ref()?.bytes_per_stalled(outcome.scenario.stalled)
            }
            Figure::IdleCpu => Some(server.cores * 1e3),
        }
    }
}

const DELIVERIES: &[Figure] = &[Figure::Deliveries];

/// Every row.
pub const ROWS: &[Row] = &[
    broadcast("1 to 10", &[("senders", "1"), ("receivers", "10")]),
    broadcast("1 to 100", &[("senders", "1"), ("receivers", "100")]),
    broadcast("1 to 1000", &[("senders", "1"), ("receivers", "1000")]),
    broadcast("10 to 100", &[("senders", "10"), ("receivers", "100")]),
    broadcast("100 all", &[("senders", "100"), ("receivers", "0")]),
    Row {
        name: "16 KiB to 100",
        kind: Kind::Broadcast,
        scenario: &[("senders", "1"), ("receivers", "100"), ("size", "16K"), ("window", "64")],
        figures: &[Figure::Bytes],
        is_usual: true,
    },
    Row {
        name: "1 MiB to 10",
        kind: Kind::Broadcast,
        scenario: &[("senders", "1"), ("receivers", "10"), ("size", "1M"), ("window", "4")],
        figures: &[Figure::Bytes],
        is_usual: true,
    },
    Row {
        name: "ask",
        kind: Kind::Answers,
        scenario: &[("senders", "1"), ("receivers", "1"), ("exchange", "ask")],
        figures: DELIVERIES,
        is_usual: true,
    },
    Row {
        name: "each 4 times",
        kind: Kind::Repeats,
        scenario: &[("senders", "1"), ("receivers", "1"), ("repeat", "4")],
        figures: &[Figure::Heard(4)],
        is_usual: true,
    },
    Row {
        name: "connect",
        kind: Kind::Connect,
        scenario: &[
            ("senders", "0"),
            ("receivers", "0"),
            ("rate", "0"),
            ("window", "0"),
            ("rush", "64"),
        ],
        figures: &[Figure::Connections],
        is_usual: true,
    },
    Row {
        name: "latency",
        kind: Kind::Broadcast,
        scenario: &[("senders", "1"), ("receivers", "100"), ("rate", "1000"), ("window", "0")],
        figures: &[Figure::P50, Figure::P99],
        is_usual: true,
    },
    Row {
        name: "idle",
        kind: Kind::Memory,
        scenario: &[("senders", "0"), ("receivers", "2000"), ("rate", "0"), ("window", "0")],
        figures: &[Figure::IdleMemory, Figure::IdleCpu],
        is_usual: true,
    },
    Row {
        name: "busy",
        kind: Kind::Memory,
        scenario: &[("senders", "1"), ("receivers", "1000"), ("rate", "20"), ("window", "0")],
        figures: &[Figure::BusyMemory],
        is_usual: true,
    },
    Row {
        name: "stalled",
        kind: Kind::Memory,
        scenario: &[
            ("senders", "1"),
            ("receivers", "20"),
            ("size", "4K"),
            ("rate", "1000"),
            ("window", "0"),
            ("stalled", "20"),
            ("calm", "1"),
            ("duration", "7"),
        ],
        figures: &[Figure::StalledMemory],
        is_usual: true,
    },
    Row { is_usual: false, ..broadcast("1 to 10000", &[("senders", "1"), ("receivers", "10000")]) },
    Row {
        is_usual: false,
        ..broadcast("1 KiB to 100", &[("senders", "1"), ("receivers", "100"), ("size", "1K")])
    },
    steady("100 a second", &[("receivers", "100"), ("window", "0"), ("rate", "100")]),
    steady("1000 a second", &[("receivers", "100"), ("window", "0"), ("rate", "1000")]),
    steady("10000 a second", &[("receivers", "100"), ("window", "0"), ("rate", "10000")]),
];

const fn broadcast(name: &'static str, scenario: &'static [(&'static str, &'static str)]) -> Row {
    Row { name, kind: Kind::Broadcast, scenario, figures: DELIVERIES, is_usual: true }
}

/// So many messages, whatever comes of them.
const fn steady(name: &'static str, scenario: &'static [(&'static str, &'static str)]) -> Row {
    let figures = &[Figure::Deliveries, Figure::P50, Figure::P99];
    Row { name, kind: Kind::Broadcast, scenario, figures, is_usual: false }
}
