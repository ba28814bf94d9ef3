//! What `gunmetal top` tells: a few lines about the relay, and a row for each peer.
//!
//! Owns: words, units and columns. Must not know: terminals, where figures come from.

use crate::admin::peers::{PeerStats, Peers};
use crate::admin::stats::Stats;

/// Keys that sort, what `/peers.json` calls that order, and what people do.
pub const SORTS: [(char, &str, &str); 5] = [
    ('p', "pending", "pending"),
    ('r', "rate", "rate"),
    ('i', "bytes_in", "bytes in"),
    ('o', "bytes_out", "bytes out"),
    ('a', "age", "age"),
];

/// The heads of the columns and their widths, in characters.
pub const COLUMNS: [(&str, u16); 8] = [
    ("PEER", 14),
    ("ADDRESS", 22),
    ("AGE", 8),
    ("IN/s", 8),
    ("OUT/s", 8),
    ("MSG IN/s", 8),
    ("MSG OUT/s", 9),
    ("PENDING", 8),
];

/// A relay at one moment.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The relay.
    pub stats: Stats,
    /// Its peers that lead.
    pub peers: Peers,
}

impl Picture {
    /// The lines about the relay.
    pub fn lines(&self) -> Vec<String> {
        let it = &self.stats;
        let mut lines = vec![
            format!(
                "gunmetal {}, up {}, {}",
                plain(&it.version),
                age(it.uptime_seconds),
                if it.unready.is_empty() { "ready".into() } else { list("NOT READY", &it.unready) },
            ),
            format!(
                "peers {} in, {} out; connections {} of {}",
                it.peers_inbound, it.peers_outbound, it.connections, it.connections_max
            ),
            format!(
                "waiting: {} for {} slow peers, {} of {} for writers",
                size(it.pending_bytes as f64),
                it.pending_peers,
                size(it.queue_bytes as f64),
                size(it.queue_bytes_max as f64),
            ),
        ];
        if !it.stuck.is_empty() {
            lines.push(list("STUCK", &it.stuck));
        }
        lines
    }

    /// A row for each peer, as wide as [`COLUMNS`].
    pub fn rows(&self) -> impl Iterator<Item = [String; COLUMNS.len()]> {
        self.peers.peers.iter().map(row)
    }

    /// All of it as plain text.
    pub fn text(&self) -> String {
        let mut text = self.lines().join("\n") + "\n\n";
        let heads = COLUMNS.map(|(head, _)| head.to_owned());
        for row in std::iter::once(heads).chain(self.rows()) {
            let cells = row.iter().zip(COLUMNS).map(|(cell, (_, width))| {
                let width = usize::from(width);
                format!("{cell:width$}")
            });
            text.push_str(cells.collect::<Vec<_>>().join(" ").trim_end());
            text.push('\n');
        }
        text
    }
}

fn row(peer: &PeerStats) -> [String; COLUMNS.len()] {
    let about = &peer.about;
    [
        plain(about.link.as_deref().or(about.pid.as_deref()).unwrap_or("-")),
        plain(&about.address),
        age(about.age_seconds),
        size(f64::from(peer.bytes_in_rate)),
        size(f64::from(peer.bytes_out_rate)),
        format!("{:.0}", peer.messages_in_rate),
        format!("{:.0}", peer.messages_out_rate),
        size(peer.pending_bytes as f64),
    ]
}

fn list(head: &str, reasons: &[String]) -> String {
    format!("{head}: {}", plain(&reasons.join("; ")))
}

/// Peers choose their names: what could steer a terminal is taken out.
fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

/// Bytes with a unit: `512`, `1.5K`.
fn size(bytes: f64) -> String {
    let units = ["", "K", "M", "G", "T"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    match unit {
        0 => format!("{value:.0}"),
        _ => format!("{value:.1}{}", units[unit]),
    }
}

/// The two largest units of a time in seconds: `3d4h`, `5m6s`.
fn age(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d{}h", hours % 24),
        () if hours > 0 => format!("{hours}h{}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units_and_names_cannot_steer_a_terminal() {
        assert_eq!([0.0, 1023.0, 1536.0, 4194304.0].map(size), ["0", "1023", "1.5K", "4.0M"]);
        assert_eq!([5.9, 65.0, 3700.0, 100_000.0].map(age), ["5s", "1m5s", "1h1m", "1d3h"]);
        assert_eq!(plain("a\u{1b}[2Jb\n☃\u{9b}"), "a?[2Jb?☃?");
    }
}
