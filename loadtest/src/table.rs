//! A result as text: what is printed at the end of a run.

use crate::outcome::{Attacked, Outcome, Second, Times};

/// A number as people read it: 1,234,567 or 12.3.
pub fn number(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut grouped = if value < 0.0 { String::from("-") } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Milliseconds with as many digits as they deserve.
pub fn millis(value: f64) -> String {
    match value {
        0.0..0.1 => format!("{value:.3} ms"),
        0.1..10.0 => format!("{value:.2} ms"),
        10.0..1000.0 => format!("{value:.0} ms"),
        _ => format!("{:.2} s", value / 1e3),
    }
}

/// Bytes in the unit that fits.
pub fn bytes(value: f64) -> String {
    match value {
        0.0..1024.0 => format!("{value:.0} B"),
        1024.0..1_048_576.0 => format!("{:.1} KiB", value / 1024.0),
        1_048_576.0..1_073_741_824.0 => format!("{:.1} MiB", value / 1_048_576.0),
        _ => format!("{:.2} GiB", value / 1_073_741_824.0),
    }
}

/// The line of a second.
pub fn second_line(second: &Second) -> String {
    let mut line = format!("{} sent", number(second.sent as f64));
    if second.delivered > 0 {
        line.push_str(&format!(
            ", {} delivered, p50 {}, p99 {}, max {}",
            number(second.delivered as f64),
            millis(second.p50),
            millis(second.p99),
            millis(second.max)
        ));
    }
    if let (Some(cpu_s), Some(memory)) = (second.cpu_s, second.memory_bytes) {
        line.push_str(&format!(", server {cpu_s:.2} cores, {}", bytes(memory as f64)));
    }
    line
}

/// The rows of a result: what, and how much.
pub fn rows(outcome: &Outcome) -> Vec<(String, String)> {
    let mut rows = connection_rows(outcome);
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    if outcome.rates.opened > 0.0 {
        row("guests let in", format!("{} a second", number(outcome.rates.opened)));
    }
    if let Some(attack) = &outcome.attack {
        attack_rows(attack).into_iter().for_each(|(name, value)| row(name, value));
        if let Some(each) = attack.bytes_per_stalled(outcome.scenario.stalled) {
            row("per stalled peer", format!("{} at most", bytes(each)));
        }
    }
    if !outcome.scenario.is_sending() && outcome.scenario.is_saying() {
        let counts = &outcome.counts;
        let (received, expected) = (number(counts.received as f64), number(counts.expected as f64));
        row("roll call", format!("{received} of {expected} copies"));
        row("until they came", spread(&outcome.latency));
    }
    if outcome.scenario.is_sending() {
        row("sent", format!("{} a second", number(outcome.rates.sent)));
        row("delivered", format!("{} a second", number(outcome.rates.delivered)));
        row("received", format!("{} a second", bytes(outcome.rates.bytes_in)));
        row("latency", spread(&outcome.latency));
        row("raw latency", spread(&outcome.raw));
    }
    rows.extend(server_rows(outcome));
    rows.extend(generator_rows(outcome));
    rows
}

fn connection_rows(outcome: &Outcome) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    let connections = &outcome.connections;
    let opening = match connections.opening.count {
        0 => String::new(),
        _ => format!(", p99 {}", millis(connections.opening.p99)),
    };
    row(
        "connections",
        format!("{} in {:.2} s{opening}", number(connections.count as f64), connections.seconds),
    );
    if let Some(seconds) = connections.back_seconds {
        row("all back after", format!("{seconds:.2} s"));
    }
    if connections.guests > 0 {
        row("guests", guests(connections.guests, connections.guests_skipped));
    }
    if connections.failed > 0 {
        let why = connections.failure.as_deref().unwrap_or("unknown");
        row("failed to connect", format!("{} ({why})", number(connections.failed as f64)));
    }
    if outcome.scenario.stalled > 0 {
        let (closed, all) = (connections.stalled_closed, outcome.scenario.stalled);
        row("stalled, closed", format!("{closed} of {all}"));
    }
    rows
}

fn guests(came: u64, skipped: u64) -> String {
    let came = number(came as f64);
    match skipped {
        0 => came,
        _ => format!("{came}; {} did not come, as all places were taken", number(skipped as f64)),
    }
}

/// What the well-behaved peers noticed of an attack.
fn attack_rows(attack: &Attacked) -> Vec<(&'static str, String)> {
    let latency = |times: &Times| format!("p50 {}, p99 {}", millis(times.p50), millis(times.p99));
    let mut rows = vec![
        ("latency before", latency(&attack.quiet)),
        ("under attack", latency(&attack.attacked)),
        ("attack ratio", format!("p50 {:.2}, p99 {:.2}", attack.p50_ratio, attack.p99_ratio)),
    ];
    let memories = attack.quiet_memory_bytes.zip(attack.attacked_memory_bytes);
    if let Some((quiet, attacked)) = memories {
        let (quiet, attacked) = (bytes(quiet as f64), bytes(attacked as f64));
        rows.push(("attack memory", format!("{quiet} before, {attacked} at most during it")));
    }
    rows
}

fn spread(times: &Times) -> String {
    if times.count == 0 {
        return "nothing timed".to_owned();
    }
    let parts = [
        ("p50", times.p50),
        ("p90", times.p90),
        ("p99", times.p99),
        ("p99.9", times.p999),
        ("max", times.max),
    ];
    parts.map(|(name, value)| format!("{name} {}", millis(value))).join(", ")
}

fn server_rows(outcome: &Outcome) -> Vec<(String, String)> {
    let Some(server) = &outcome.server else { return Vec::new() };
    let measured = &server.measured;
    let (cpu_s, cores) = (measured.cpu_s(), server.cores);
    let cpu = match measured.either_s > 0.0 {
        true => format!("{cpu_s:.2} s ({cores:.2} cores)"),
        false => format!(
            "{cpu_s:.2} s ({cores:.2} cores; {:.2} s program, {:.2} s kernel)",
            measured.user_s, measured.system_s
        ),
    };
    let memory = format!(
        "{} empty, {} with idle peers, {} at most",
        bytes(server.empty.memory_bytes as f64),
        bytes(server.idle.memory_bytes as f64),
        bytes(measured.memory_bytes_max as f64)
    );
    let switches = format!(
        "{} threads, {} voluntary and {} forced switches",
        measured.threads,
        number(measured.switches_voluntary as f64),
        number(measured.switches_forced as f64)
    );
    let mut rows = vec![("server CPU".to_owned(), cpu)];
    if let Some(per_cpu_s) = outcome.rates.delivered_per_cpu_s.filter(|per_cpu_s| *per_cpu_s > 0.0)
    {
        rows.push(("per CPU second".to_owned(), format!("{} delivered", number(per_cpu_s))));
    }
    rows.push(("server memory".to_owned(), memory));
    let mut idle = bytes(server.bytes_per_connection);
    if server.bytes_per_connection_each.len() > 1 {
        let each = server.bytes_per_connection_each.iter().map(|each| bytes(*each));
        idle.push_str(&format!(" ({} in each process)", each.collect::<Vec<_>>().join(", ")));
    }
    rows.push(("per idle peer".to_owned(), idle));
    rows.push(("server threads".to_owned(), switches));
    rows
}

fn generator_rows(outcome: &Outcome) -> Vec<(String, String)> {
    let generator = &outcome.generator;
    let busy = generator.busy.map_or("?".to_owned(), |busy| format!("{:.0} %", busy * 100.0));
    let mut value = format!("{} threads, {busy} busy", generator.threads);
    let cores = generator.busy.map(|busy| busy * generator.threads as f64);
    if let Some(cores) = cores.filter(|_| outcome.rates.delivered > 0.0) {
        value.push_str(&format!(", {:.0} ns a copy", cores * 1e9 / outcome.rates.delivered));
    }
    if let Some(waited) = generator.waited.filter(|waited| *waited >= 0.01) {
        value.push_str(&format!(", waited {:.0} % for a core", waited * 100.0));
    }
    if generator.lag.count > 0 && outcome.scenario.window == 0 {
        value.push_str(&format!(", lag p99 {}", millis(generator.lag.p99)));
    }
    if generator.forgiven > 0 {
        value.push_str(&format!(", gave up on {} in flight", generator.forgiven));
    }
    let mut rows = vec![("generator".to_owned(), value)];
    if generator.file_tables > 1 {
        let (files_max, tables) = (number(generator.files_max as f64), generator.file_tables);
        let value = format!(
            "{files_max} a process is this machine's limit: the generator has {tables} tables of them"
        );
        rows.push(("open files".to_owned(), value));
    }
    rows
}

/// The counts: what, and how many.
pub fn counts(outcome: &Outcome) -> Vec<(&'static str, u64)> {
    let counts = &outcome.counts;
    let mut rows =
        vec![("sent", counts.sent), ("expected", counts.expected), ("received", counts.received)];
    rows.extend(counts.faults());
    rows.push(("closed", outcome.connections.closed));
    rows
}

/// One line for the verdict.
pub fn verdict(outcome: &Outcome) -> String {
    let verdict = &outcome.verdict;
    let mut parts = Vec::new();
    if !verdict.invalid.is_empty() {
        parts.push(format!("INVALID: {}", verdict.invalid.join("; ")));
    }
    if !verdict.faults.is_empty() {
        parts.push(format!("WRONG: {}", verdict.faults.join(", ")));
    }
    if !verdict.crossed.is_empty() {
        parts.push(format!("CROSSED: {}", verdict.crossed.join("; ")));
    }
    match parts.is_empty() {
        true if outcome.scenario.is_saying() => {
            "OK: every copy came once, whole and in order".to_owned()
        }
        true => "OK".to_owned(),
        false => parts.join("\n"),
    }
}

/// The whole table.
pub fn table(outcome: &Outcome) -> String {
    let mut text = format!("\n{}: {}\n", outcome.scenario.name, outcome.scenario.about);
    for (name, value) in rows(outcome) {
        text.push_str(&format!("  {name:<18} {value}\n"));
    }
    if outcome.scenario.is_saying() {
        let counts = counts(outcome);
        let counts: Vec<_> = counts
            .iter()
            .map(|(name, count)| format!("{} {name}", number(*count as f64)))
            .collect();
        text.push_str(&format!("  {:<18} {}\n", "copies", counts.join(", ")));
    }
    text.push_str(&verdict(outcome));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let all = [0.0, 12.3, 999.0, 1000.0, 1_234_567.0, -4321.0].map(number);
        assert_eq!(all, ["0", "12.3", "999", "1,000", "1,234,567", "-4,321"]);
    }

    #[test]
    fn units_fit() {
        assert_eq!(
            [0.05, 1.234, 55.5, 2500.0].map(millis),
            ["0.050 ms", "1.23 ms", "56 ms", "2.50 s"]
        );
        assert_eq!([12.0, 2048.0, 3e6].map(bytes), ["12 B", "2.0 KiB", "2.9 MiB"]);
    }
}
