//! What the rounds found, as a table and a page.

use std::collections::BTreeMap;

use super::{Cell, System, WORKS, Work};
use crate::args::SideArgs;
use crate::process::Machine;
use crate::table::number;
use crate::{plot, report};

/// Median, least and most of the rounds.
fn spread(cells: &[Cell], work: &str, system: System) -> Option<(f64, f64, f64)> {
    let of = cells.iter().filter(|cell| cell.work == work && cell.system == system);
    let mut values: Vec<_> = of.filter_map(|cell| cell.per_cpu_s).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = match values.len() {
        0 => return None,
        count if count.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    };
    Some((median, values[0], *values.last()?))
}

fn works(cells: &[Cell]) -> impl Iterator<Item = &'static Work> {
    WORKS.iter().filter(|work| cells.iter().any(|cell| cell.work == work.name))
}

/// Deliveries per CPU second of the server: a row for each work, a column for each system.
pub fn table(cells: &[Cell], systems: &[System], args: &SideArgs) -> String {
    let names: Vec<_> = systems.iter().map(|system| system.name()).collect();
    let mut text = format!("| per server CPU second | {} |\n|---|", names.join(" | "));
    text.push_str(&"---:|".repeat(systems.len()));
    text.push('\n');
    let mut marks = BTreeMap::new();
    for work in works(cells) {
        text.push_str(&format!("| {} |", work.name));
        for system in systems {
            text.push_str(&format!(" {} |", entry(cells, work.name, *system, &mut marks)));
        }
        text.push('\n');
    }
    let machine = Machine::this();
    text.push_str(&format!(
        "\nMedian (least to most) of {} rounds of {} s, {} messages in flight, server and generator on a core \
         each where there are cores; {}, {} cores, {}.\n",
        args.rounds, args.duration, args.window, machine.cpu, machine.cores, machine.system
    ));
    for (mark, meaning) in marks {
        text.push_str(&format!("{mark}: {meaning}\n"));
    }
    text
}

fn entry(
    cells: &[Cell],
    work: &str,
    system: System,
    marks: &mut BTreeMap<&'static str, &'static str>,
) -> String {
    let Some((median, least, most)) = spread(cells, work, system) else { return String::new() };
    let mut text = number(median);
    if least < most {
        text.push_str(&format!(" ({} to {})", number(least), number(most)));
    }
    let has = |word: &str| {
        let mut of = cells.iter().filter(|cell| cell.work == work && cell.system == system);
        of.any(|cell| cell.verdict.contains(word))
    };
    let kinds = [
        ("INVALID", "†", "the generator was the limit in a round"),
        ("WRONG", "‡", "copies were lost, duplicated, reordered, echoed or corrupted in a round"),
    ];
    for (word, mark, meaning) in kinds {
        if has(word) {
            text.push_str(mark);
            marks.insert(mark, meaning);
        }
    }
    text
}

/// A page with a plot and the table.
pub fn page(cells: &[Cell], systems: &[System], table: &str) -> Result<String, String> {
    let names: Vec<_> = systems.iter().map(|system| system.name().to_owned()).collect();
    let value =
        |work: &Work, system: &System| spread(cells, work.name, *system).map(|found| found.0);
    let groups: Vec<_> = works(cells)
        .map(|work| {
            let values = systems.iter().map(|system| value(work, system)).collect();
            (work.name.to_owned(), values)
        })
        .collect();
    let svg = plot::bars("per server CPU second", &names, &groups)?;
    let body = format!(
        "<h1>Deliveries per CPU second of the server</h1>\n<div class=wide>{svg}</div>\n<div class=wide>{}</div>",
        html(table)
    );
    Ok(report::document("loadtest: versus", &body))
}

/// A markdown table, and the lines behind it, as HTML.
fn html(markdown: &str) -> String {
    let (rows, words): (Vec<_>, Vec<_>) = markdown.lines().partition(|line| line.starts_with('|'));
    let row = |line: &&str| {
        let cells = line.trim_matches('|').split('|').map(|cell| report::escape(cell.trim()));
        format!("<tr><td>{}\n", cells.collect::<Vec<_>>().join("<td>"))
    };
    let rows: String = rows.iter().filter(|line| !line.starts_with("|---")).map(row).collect();
    let words: String =
        words.iter().map(|line| format!("<p>{}</p>\n", report::escape(line))).collect();
    format!("<table class=series>\n{rows}</table>\n{words}")
}
