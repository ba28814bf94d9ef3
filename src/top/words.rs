//! Figures and names as a terminal shows them.
//!
//! Owns: units, and what is cut or wrapped. Must not know: what the figures are of.

/// Peers choose their names: what could steer a terminal is taken out.
pub fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

/// Bytes with a unit of 1024: `512`, `1.5K`.
pub fn size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["", "K", "M", "G", "T", "P"])
}

/// How many, with a unit of 1000: `512`, `1.5k`.
pub fn count(number: f64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G", "T", "P"])
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // What would be rounded to a whole step takes the next unit.
    while value >= step - 0.05 && unit + 1 < units.len() {
        (value, unit) = (value / step, unit + 1);
    }
    match unit {
        0 => format!("{value:.0}"),
        _ => format!("{value:.1}{}", units[unit]),
    }
}

/// A time that is short as a rule, in seconds: `210 µs`, `1.4 ms`, `2.5 s`.
pub fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        ..0.000_999_5 => (seconds * 1e6, "µs"),
        ..0.999_5 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    match value {
        ..9.95 if unit != "µs" => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// The two largest units of a time in seconds: `3d4h`, `5m6s`.
pub fn age(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d{}h", hours % 24),
        () if hours > 0 => format!("{hours}h{}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

/// A share of a whole: `43 %`.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// At most so many characters of a text; the last one says that there were more.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A text as lines of at most so many characters, words kept whole where they fit.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.into_iter().map(|line| cut(&line, width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units_and_names_cannot_steer_a_terminal() {
        assert_eq!([0.0, 1023.0, 1536.0, 4194304.0].map(size), ["0", "1023", "1.5K", "4.0M"]);
        assert_eq!(
            [0.0, 999.0, 999.96, 1500.0, 2.5e6].map(count),
            ["0", "999", "1.0k", "1.5k", "2.5M"]
        );
        assert_eq!([5.9, 65.0, 3700.0, 100_000.0].map(age), ["5s", "1m5s", "1h1m", "1d3h"]);
        assert_eq!(
            [0.0, 0.00021, 0.0014, 0.0999, 2.5, 30.0].map(time),
            ["0 µs", "210 µs", "1.4 ms", "100 ms", "2.5 s", "30 s"]
        );
        assert_eq!(plain("a\u{1b}[2Jb\n☃\u{9b}"), "a?[2Jb?☃?");
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_or_wrapped() {
        assert_eq!([cut("abc", 3), cut("abcd", 3), cut("a", 0)], ["abc", "ab…", "…"]);
        assert_eq!(wrap("one two three fourteen", 9), ["one two", "three", "fourteen"]);
        assert_eq!(wrap("fourteen", 5), ["four…"]);
    }
}
