//! Two results side by side.

use crate::outcome::Outcome;
use crate::table::{bytes, millis, number};

/// A figure: its name, its value in each result, how it is written, and whether more is better.
struct Figure {
    name: &'static str,
    values: [Option<f64>; 2],
    write: fn(f64) -> String,
    is_more_better: bool,
}

/// The figures of both, the change of each, and what makes them hard to compare.
pub fn compare(before: &Outcome, after: &Outcome) -> String {
    let mut text = String::from("| figure | before | after | change |\n|---|---:|---:|---:|\n");
    for figure in figures(before, after) {
        text.push_str(&row(&figure));
    }
    for caution in cautions(before, after) {
        text.push_str(&format!("\nCaution: {caution}"));
    }
    text.push('\n');
    text
}

fn figures(before: &Outcome, after: &Outcome) -> Vec<Figure> {
    type Get = fn(&Outcome) -> Option<f64>;
    type Write = fn(f64) -> String;
    let figures: [(&'static str, Get, Write, bool); 10] = [
        ("delivered a second", |o| Some(o.rates.delivered), number, true),
        ("delivered per server CPU second", |o| o.rates.delivered_per_cpu_s, number, true),
        ("latency p50", |o| timed(o, o.latency.p50), millis, false),
        ("latency p99", |o| timed(o, o.latency.p99), millis, false),
        ("latency p99.9", |o| timed(o, o.latency.p999), millis, false),
        ("latency max", |o| timed(o, o.latency.max), millis, false),
        ("opening p99", |o| Some(o.connections.opening.p99), millis, false),
        ("server cores", |o| Some(o.server.as_ref()?.cores), |v| format!("{v:.2}"), false),
        (
            "server memory, most",
            |o| Some(o.server.as_ref()?.measured.memory_bytes_max as f64),
            bytes,
            false,
        ),
        ("memory per idle peer", |o| Some(o.server.as_ref()?.bytes_per_connection), bytes, false),
    ];
    let figure = |(name, get, write, is_more_better): (_, Get, Write, _)| Figure {
        name,
        values: [get(before), get(after)],
        write,
        is_more_better,
    };
    figures.into_iter().map(figure).collect()
}

fn timed(outcome: &Outcome, value: f64) -> Option<f64> {
    (outcome.latency.count > 0).then_some(value)
}

fn row(figure: &Figure) -> String {
    let [before, after] = figure.values;
    let write = |value: Option<f64>| value.map_or("".to_owned(), figure.write);
    let change = before.zip(after).filter(|(before, _)| *before > 0.0);
    let change = change.map_or(String::new(), |(before, after)| {
        let percent = (after / before - 1.0) * 100.0;
        let is_better = (percent > 0.0) == figure.is_more_better;
        let word = if percent.abs() < 1.0 {
            ""
        } else if is_better {
            " better"
        } else {
            " worse"
        };
        format!("{percent:+.1} %{word}")
    });
    format!("| {} | {} | {} | {change} |\n", figure.name, write(before), write(after))
}

fn cautions(before: &Outcome, after: &Outcome) -> Vec<String> {
    let mut cautions = Vec::new();
    if before.scenario != after.scenario {
        cautions.push("the scenarios differ".to_owned());
    }
    let (one, other) = (&before.machine, &after.machine);
    if (&one.cpu, one.cores, &one.system) != (&other.cpu, other.cores, &other.system) {
        cautions.push("the machines differ".to_owned());
    }
    for (name, outcome) in [("before", before), ("after", after)] {
        if outcome.verdict.exit_code() != 0 {
            cautions
                .push(format!("{name}: {}", crate::table::verdict(outcome).replace('\n', "; ")));
        }
    }
    cautions
}
