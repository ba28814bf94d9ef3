//! What the rounds found, as tables and a page.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rows::{Figure, ROWS};
use super::{Cell, System};
use crate::args::SideArgs;
use crate::process::Machine;
use crate::{plot, report};

/// A figure of a row and a system, over all rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub(super) row: String,
    pub(super) figure: Figure,
    pub(super) system: System,
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    /// In a round the generator was the limit.
    pub(super) is_limited: bool,
    /// In a round copies were lost, duplicated, reordered, echoed or corrupted.
    pub(super) is_wrong: bool,
}

/// All figures there are, row by row.
pub fn lines(cells: &[Cell]) -> Vec<Line> {
    let mut lines = Vec::new();
    for row in ROWS {
        for figure in row.figures {
            let of = |system: &System| line(cells, row.name, *figure, *system);
            lines.extend(System::ALL.iter().filter_map(of));
        }
    }
    lines
}

fn line(cells: &[Cell], row: &'static str, figure: Figure, system: System) -> Option<Line> {
    let of = || cells.iter().filter(|cell| cell.row == row && cell.system == system);
    let figures = of().flat_map(|cell| cell.figures.iter());
    let mut values: Vec<_> =
        figures.filter(|(name, _)| *name == figure).filter_map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = match values.len() {
        0 => return None,
        count if count.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    };
    Some(Line {
        row: row.to_owned(),
        figure,
        system,
        median,
        least: values[0],
        most: *values.last()?,
        is_limited: of().any(|cell| cell.verdict.contains("INVALID")),
        is_wrong: of().any(|cell| cell.verdict.contains("WRONG")),
    })
}

/// What has to be known of a column.
const NOTES: &[(System, &str)] = &[
    (
        System::GunmetalSpread,
        "one reactor and one writer on two cores, which the generator may use as well where there are no more",
    ),
    (
        System::GunmetalTwoCores,
        "two reactors and two writers on two cores, which the generator may use as well where there are no more",
    ),
    (
        System::FloorWakeGrown,
        "behind each message as many bytes more as a relay of Gun has to add for the names of up to seven peers",
    ),
];

/// The systems of these lines, in their order.
fn systems(lines: &[Line]) -> Vec<System> {
    let has = |system: &System| lines.iter().any(|line| line.system == *system);
    System::ALL.into_iter().filter(has).collect()
}

/// The rows of these lines with their figures, in their order.
fn heads(lines: &[Line]) -> Vec<(&str, Figure)> {
    let mut heads: Vec<_> = lines.iter().map(|line| (line.row.as_str(), line.figure)).collect();
    heads.dedup();
    heads
}

fn find<'a>(lines: &'a [Line], head: (&str, Figure), system: System) -> Option<&'a Line> {
    lines.iter().find(|line| (line.row.as_str(), line.figure) == head && line.system == system)
}

/// The figures, what gunmetal's are beside those of the others, and what the marks mean, as markdown.
pub fn table(lines: &[Line], args: &SideArgs) -> String {
    let systems = systems(lines);
    let mut marks = BTreeMap::new();
    let figures = grid("", &systems, &heads(lines), |head, system| {
        find(lines, head, system).map(|line| entry(line, &mut marks))
    });
    let mut text = figures;
    if let Some(base) = systems.iter().copied().find(|system| system.is_gunmetal()) {
        let others: Vec<_> = systems.iter().copied().filter(|other| !other.is_gunmetal()).collect();
        let title = format!("{} is better by", base.name());
        let ratios = grid(&title, &others, &heads(lines), |head, system| {
            let ratio = better_by(find(lines, head, base)?, find(lines, head, system)?)?;
            Some(format!("{ratio:.2}"))
        });
        text.push_str(&format!("\n{ratios}"));
    }
    let machine = Machine::this();
    text.push_str(&format!(
        "\nMedian (least to most) of {} rounds of {} s, {} messages in flight where there is a window, server and \
         generator on a core each where there are cores; {}, {} cores, {}.\n",
        args.rounds, args.seconds, args.window, machine.cpu, machine.cores, machine.system
    ));
    for (system, note) in NOTES {
        if systems.contains(system) {
            text.push_str(&format!("{}: {note}\n", system.name()));
        }
    }
    for (mark, meaning) in marks {
        text.push_str(&format!("{mark}: {meaning}\n"));
    }
    text
}

/// How many times better: more of a throughput, less of a time or of memory.
fn better_by(line: &Line, other: &Line) -> Option<f64> {
    let (more, less) = match line.figure.is_throughput() {
        true => (line.median, other.median),
        false => (other.median, line.median),
    };
    (less > 0.0 && more > 0.0).then(|| more / less)
}

/// A markdown table with a line for each row and figure, and a column for each system.
fn grid(
    title: &str,
    systems: &[System],
    heads: &[(&str, Figure)],
    mut entry: impl FnMut((&str, Figure), System) -> Option<String>,
) -> String {
    let names: Vec<_> = systems.iter().map(|system| system.name()).collect();
    let mut text = format!("| {title} | | {} |\n|---|---|", names.join(" | "));
    text.push_str(&"---:|".repeat(systems.len()));
    text.push('\n');
    for head in heads {
        text.push_str(&format!("| {} | {} |", head.0, head.1.unit()));
        for system in systems {
            text.push_str(&format!(" {} |", entry(*head, *system).unwrap_or_default()));
        }
        text.push('\n');
    }
    text
}

fn entry(line: &Line, marks: &mut BTreeMap<&'static str, &'static str>) -> String {
    let write = |value| line.figure.write(value);
    let mut text = write(line.median);
    let kinds = [
        (line.is_limited, "†", "the generator was the limit in a round"),
        (
            line.is_wrong,
            "‡",
            "copies were lost, duplicated, reordered, echoed or corrupted in a round",
        ),
    ];
    for (is_so, mark, meaning) in kinds {
        if is_so {
            text.push_str(mark);
            marks.insert(mark, meaning);
        }
    }
    if line.least < line.most {
        text.push_str(&format!(" ({} to {})", write(line.least), write(line.most)));
    }
    text
}

/// A page with a plot and the tables.
pub fn page(lines: &[Line], table: &str) -> Result<String, String> {
    let systems = systems(lines);
    let names: Vec<_> = systems.iter().map(|system| system.name().to_owned()).collect();
    // Bytes are no messages: they would stretch the axis a thousandfold.
    let is_plotted = |figure: Figure| figure.is_throughput() && figure != Figure::Bytes;
    let groups: Vec<_> = heads(lines)
        .into_iter()
        .filter(|(_, figure)| is_plotted(*figure))
        .map(|head| {
            let value = |system: &System| find(lines, head, *system).map(|line| line.median);
            (head.0.to_owned(), systems.iter().map(value).collect())
        })
        .collect();
    let figure = match groups.is_empty() {
        true => String::new(),
        false => {
            let svg = plot::bars("per server CPU second", &names, &groups)?;
            let legend = report::legend(&names);
            format!("{legend}\n<div class=\"wide plot\">{svg}</div>")
        }
    };
    let body = format!(
        "<div class=landscape>\n<h1>What a CPU second of the server brings</h1>\n\
         <p class=small>The bars are medians on a logarithmic axis; bytes, times and memory are in the table.</p>\n\
         {figure}\n{}</div>",
        html(table)
    );
    Ok(report::document("loadtest: versus", &body))
}

/// Markdown tables and lines, as HTML.
fn html(markdown: &str) -> String {
    let mut html = String::new();
    let mut is_head = true;
    for line in markdown.lines() {
        let Some(cells) = line.strip_prefix('|') else {
            if !is_head {
                html.push_str("</table></div>\n");
            }
            is_head = true;
            if !line.is_empty() {
                html.push_str(&format!("<p class=small>{}</p>\n", report::escape(line)));
            }
            continue;
        };
        if line.starts_with("|---") {
            continue;
        }
        let tag = if is_head { "th" } else { "td" };
        if is_head {
            html.push_str("<div class=wide><table class=\"series named\">\n");
        }
        is_head = false;
        let cells = cells.trim_end_matches('|').split('|');
        let cells: String =
            cells.map(|cell| format!("<{tag}>{}", spread_below(cell.trim()))).collect();
        html.push_str(&format!("<tr>{cells}\n"));
    }
    html
}

/// An entry with its spread on a line of its own.
fn spread_below(entry: &str) -> String {
    match entry.split_once(" (") {
        Some((median, spread)) => {
            format!("{}<br><small>({}</small>", report::escape(median), report::escape(spread))
        }
        None => report::escape(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(system: System, round: u32, deliveries: f64, p99: f64) -> [Cell; 2] {
        let cell = |row, figures| Cell {
            row,
            system,
            round,
            figures,
            delivered: 0.0,
            cores: 1.0,
            verdict: if round == 2 { "INVALID: busy".to_owned() } else { "OK".to_owned() },
        };
        [
            cell("1 to 10", vec![(Figure::Deliveries, Some(deliveries))]),
            cell("latency", vec![(Figure::P50, None), (Figure::P99, Some(p99))]),
        ]
    }

    fn some() -> Vec<Line> {
        let rounds = [
            cell(System::Gunmetal, 1, 3000.0, 2.0),
            cell(System::Gunmetal, 3, 1000.0, 4.0),
            cell(System::Gunmetal, 4, 2000.0, 3.0),
            cell(System::Nats, 1, 500.0, 6.0),
            cell(System::Nats, 2, 1500.0, 12.0),
        ];
        lines(&rounds.concat())
    }

    #[test]
    fn a_figure_is_the_median_of_its_rounds_with_its_spread() {
        let lines = some();
        let head = ("1 to 10", Figure::Deliveries);
        let gunmetal = find(&lines, head, System::Gunmetal).unwrap();
        assert_eq!([gunmetal.median, gunmetal.least, gunmetal.most], [2000.0, 1000.0, 3000.0]);
        let nats = find(&lines, head, System::Nats).unwrap();
        assert_eq!((nats.median, nats.is_limited, gunmetal.is_limited), (1000.0, true, false));
        assert_eq!(find(&lines, ("latency", Figure::P50), System::Nats), None);
    }

    #[test]
    fn better_is_more_of_a_throughput_and_less_of_a_time() {
        let args = SideArgs {
            rounds: 3,
            seconds: 1.0,
            window: 1,
            rows: Vec::new(),
            columns: Vec::new(),
            relay: None,
            out: "out".into(),
        };
        let text = table(&some(), &args);
        assert!(text.contains(
            "| 1 to 10 | deliveries/CPU s | 2,000 (1,000 to 3,000) | 1,000† (500 to 1,500) |"
        ));
        let ratios = &text[text.find("is better by").unwrap()..];
        assert!(ratios.contains("| 1 to 10 | deliveries/CPU s | 2.00 |"), "{ratios}");
        assert!(ratios.contains("| latency | p99 | 3.00 |"), "{ratios}");
        assert!(text.contains("\n†: "));
        let page = page(&some(), &text).unwrap();
        assert_eq!(page.matches("<table").count(), 2);
        assert_eq!(page.matches("<table").count(), page.matches("</table>").count());
        assert!(page.contains("2,000<br><small>(1,000 to 3,000)</small>"));
        assert!(page.contains("<svg"));
    }
}
