//! Two results of `versus` or `floor` side by side.

use serde::Deserialize;

use super::table::Line;
use crate::process::Machine;

/// What is read of a `result.json`.
#[derive(Debug, Deserialize)]
pub struct Kept {
    machine: Machine,
    #[serde(default)]
    commit: Option<String>,
    seconds: f64,
    window: u32,
    lines: Vec<Line>,
}

/// The medians of both, the change of each, and what makes them hard to compare, as markdown.
pub fn compare(before: &Kept, after: &Kept) -> String {
    let mut text =
        String::from("| | | | before | after | change |\n|---|---|---|---:|---:|---:|\n");
    for line in &before.lines {
        let is_same = |other: &&Line| {
            (&other.row, other.figure, other.system) == (&line.row, line.figure, line.system)
        };
        if let Some(other) = after.lines.iter().find(is_same) {
            text.push_str(&row(line, other));
        }
    }
    for caution in cautions(before, after) {
        text.push_str(&format!("\nCaution: {caution}"));
    }
    text.push('\n');
    text
}

fn row(before: &Line, after: &Line) -> String {
    let percent = (after.median / before.median - 1.0) * 100.0;
    let is_better = (percent > 0.0) == before.figure.is_throughput();
    // What lies within the rounds of the other is no change.
    let is_apart = after.least > before.most || after.most < before.least;
    let word = match (is_apart && percent.is_finite(), is_better) {
        (false, _) => "",
        (_, true) => " better",
        (_, false) => " worse",
    };
    let write = |line: &Line| {
        let mark = if line.is_wrong {
            "‡"
        } else if line.is_limited {
            "†"
        } else {
            ""
        };
        format!("{}{mark}", line.figure.write(line.median))
    };
    format!(
        "| {} | {} | {} | {} | {} | {percent:+.1} %{word} |\n",
        before.row,
        before.figure.unit(),
        before.system.name(),
        write(before),
        write(after)
    )
}

fn cautions(before: &Kept, after: &Kept) -> Vec<String> {
    let mut cautions = Vec::new();
    let (one, other) = (&before.machine, &after.machine);
    if (&one.cpu, one.cores, &one.system) != (&other.cpu, other.cores, &other.system) {
        cautions.push("the machines differ".to_owned());
    }
    if (before.seconds, before.window) != (after.seconds, after.window) {
        cautions.push("seconds or windows differ".to_owned());
    }
    for (name, kept) in [("before", before), ("after", after)] {
        if kept.commit.as_ref().is_some_and(|commit| commit.ends_with("-dirty")) {
            cautions.push(format!("{name}: the tree had changes"));
        }
    }
    cautions
}
