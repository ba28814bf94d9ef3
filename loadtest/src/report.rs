//! `report.html`: a result as one page that needs nothing else, for a screen, a phone and paper.

use crate::outcome::{Outcome, Second};
use crate::plot::{self, Axes, Line};
use crate::table::{self, bytes, millis, number};

const CSS: &str = include_str!("report.css");

/// The page.
///
/// # Errors
/// A plot could not be drawn.
pub fn page(outcome: &Outcome) -> Result<String, String> {
    let scenario = &outcome.scenario;
    let class = if outcome.verdict.exit_code() == 0 { "verdict" } else { "verdict bad" };
    let body = format!(
        "<h1>{}</h1>\n<p>{}</p>\n<p class=small>{}</p>\n<p class=\"{class}\">{}</p>\n{}\n{}\n{}\n{}\n{}",
        escape(&scenario.name),
        escape(&scenario.about),
        escape(&origin(outcome)),
        escape(&table::verdict(outcome)),
        results(outcome),
        plots(outcome)?,
        counts(outcome),
        seconds(&outcome.seconds),
        parameters(outcome),
    );
    Ok(document(&format!("loadtest: {}", scenario.name), &body))
}

/// A page around a body.
pub fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n",
        escape(title)
    )
}

/// Text as HTML shows it.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn origin(outcome: &Outcome) -> String {
    let machine = &outcome.machine;
    let commit =
        outcome.commit.as_deref().map_or(String::new(), |commit| format!(", tree {commit}"));
    format!(
        "{}{commit}; {}, {} cores, {}, {}; load before {:.1}",
        outcome.target,
        machine.cpu,
        machine.cores,
        bytes(machine.memory_bytes as f64),
        machine.system,
        machine.load
    )
}

fn results(outcome: &Outcome) -> String {
    let row = |(name, value): (String, String)| {
        format!("<tr><th>{}<td>{}\n", escape(&name), escape(&value))
    };
    let rows: String = table::rows(outcome).into_iter().map(row).collect();
    format!("<h2>Results</h2>\n<div class=wide><table>\n{rows}</table></div>")
}

fn counts(outcome: &Outcome) -> String {
    if !outcome.scenario.is_saying() {
        return String::new();
    }
    let counts = table::counts(outcome);
    let row =
        |(name, count): &(&str, u64)| format!("<tr><th>{name}<td>{}\n", number(*count as f64));
    let rows: String = counts.iter().map(row).collect();
    format!(
        "<h2>Copies</h2>\n<p class=small>Everything from lost on has to be zero.</p>\n<table>\n{rows}</table>"
    )
}

fn plots(outcome: &Outcome) -> Result<String, String> {
    let mut figures = String::new();
    let mut add = |caption: &str, axes: Axes<'_>, lines: &[Line]| {
        if let Some(svg) = plot::lines(axes, lines)? {
            let names: Vec<_> = lines.iter().map(|line| line.name.clone()).collect();
            let names = if names.len() < 2 { String::new() } else { legend(&names) };
            figures.push_str(&format!(
                "<figure><figcaption>{caption}</figcaption>{names}{svg}</figure>\n"
            ));
        }
        Ok::<(), String>(())
    };
    let axes = Axes { x: "percentile", y: "ms", is_log: true, x_label: percentile_label };
    add("Latency by percentile", axes, &percentile_lines(outcome))?;
    let seconds = &outcome.seconds;
    let over_time = |of: fn(&Second) -> Option<f64>| {
        let points = seconds.iter().enumerate();
        points.filter_map(move |(at, second)| Some((at as f64 + 1.0, of(second)?)))
    };
    let axes = |y, is_log| Axes { x: "seconds", y, is_log, x_label: whole };
    let is_sending = outcome.scenario.is_sending();
    if is_sending {
        let latency = [
            Line::new("p50", over_time(|second| Some(second.p50))),
            Line::new("p99", over_time(|second| Some(second.p99))),
            Line::new("max", over_time(|second| Some(second.max))),
            Line::new("generator's lag", over_time(|second| Some(second.lag))),
        ];
        add("Latency over time", axes("ms", true), &latency)?;
        let delivered = [Line::new("delivered", over_time(|second| Some(second.delivered as f64)))];
        add("Deliveries over time", axes("a second", false), &delivered)?;
    }
    let memory =
        [Line::new("memory", over_time(|s| s.memory_bytes.map(|m| m as f64 / 1_048_576.0)))];
    add("Memory of the server", axes("MiB", false), &memory)?;
    let cpu = [Line::new("cores", over_time(|second| second.cpu_s))];
    add("CPU of the server", axes("cores", false), &cpu)?;
    Ok(format!("<h2>Plots</h2>\n<div class=plots>\n{figures}</div>"))
}

/// Nines to the right: each step is ten times rarer.
fn percentile_lines(outcome: &Outcome) -> [Line; 2] {
    let nines = |curve: &[(f64, f64)]| -> Vec<(f64, f64)> {
        curve.iter().map(|(percentile, ms)| (-(1.0 - percentile / 100.0).log10(), *ms)).collect()
    };
    [
        Line::new("from when it was meant to be sent", nines(&outcome.latency.curve)),
        Line::new("from when it was sent", nines(&outcome.raw.curve)),
    ]
}

/// Names in the colours of their lines or bars.
pub fn legend(names: &[String]) -> String {
    let name = |(number, name): (usize, &String)| {
        format!(
            "<span><b style=\"color:{}\">\u{25a0}</b> {}</span> ",
            plot::colour(number),
            escape(name)
        )
    };
    let names: String = names.iter().enumerate().map(name).collect();
    format!("<p class=\"small legend\">{names}</p>")
}

/// Seconds are whole; a place between them has no name.
fn whole(x: f64) -> String {
    if (x - x.round()).abs() < 1e-6 { format!("{x:.0}") } else { String::new() }
}

fn percentile_label(nines: f64) -> String {
    // Places between the nines have no short name.
    if whole(nines).is_empty() {
        return String::new();
    }
    let percentile = 100.0 * (1.0 - 10f64.powf(-nines));
    let text = format!("{percentile:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn seconds(seconds: &[Second]) -> String {
    let row = |(at, second): (usize, &Second)| {
        format!(
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}\n",
            at + 1,
            number(second.sent as f64),
            number(second.delivered as f64),
            millis(second.p50),
            millis(second.p99),
            millis(second.max),
            millis(second.lag),
            second.cpu_s.map_or(String::new(), |cpu_s| format!("{cpu_s:.2}")),
            second.memory_bytes.map_or(String::new(), |memory| bytes(memory as f64)),
        )
    };
    let rows: String = seconds.iter().enumerate().map(row).collect();
    format!(
        "<h2>Each second</h2>\n<div class=wide><table class=series>\n\
         <tr><th>s<th>sent<th>delivered<th>p50<th>p99<th>max<th>lag<th>cores<th>memory\n{rows}</table></div>"
    )
}

fn parameters(outcome: &Outcome) -> String {
    let scenario = toml::to_string(&outcome.scenario).unwrap_or_default();
    format!("<h2>Scenario</h2>\n<pre class=wide><code>{}</code></pre>", escape(&scenario))
}
