//! A relay at one moment, in lines.
//!
//! Owns: which figures are told, and in which words. Must not know: terminals, where figures come from.

use std::net::SocketAddr;

use super::pace::Pace;
use super::table::{self, WIDTH_MIN};
use super::words::{age, count, percent, plain, size, time};
use crate::admin::peers::Peers;
use crate::admin::stats::{LinkStats, Stats};

/// Those that left and are listed as text.
const LEFT_MAX: usize = 20;

/// Threads that are listed in their order; of more the busiest come first.
const THREADS_IN_ORDER: usize = 6;

/// Counters by reason: what the line begins with, and how the names of its counters do. `ignored` and the like are
/// names of their own.
const REASONS: [(&str, &[&str]); 3] = [
    ("dropped", &["dropped_", "refused_", "ignored", "binary_in", "unknown_verbs"]),
    ("ended", &["closed_"]),
    ("turned away", &["rejected_"]),
];

/// Names that say little without the line's beginning.
const WORDS: [(&str, &str); 5] = [
    ("closed_peer", "hung up"),
    ("closed_http", "plain HTTP answered"),
    ("closed_handshake", "request too slow"),
    ("closed_itself", "link to itself"),
    ("binary_in", "binary"),
];

/// See the module's head.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Where the relay was asked.
    pub admin: SocketAddr,
    /// The relay.
    pub stats: Stats,
    /// What went on since it was asked before; `None`: it was not.
    pub pace: Option<Pace>,
    /// Its peers that lead.
    pub peers: Peers,
    /// In which order, an index of [`table::SORTS`].
    pub sort: usize,
}

impl Picture {
    /// What the relay is.
    pub fn title(&self) -> String {
        let it = &self.stats;
        let state = match (it.stuck.is_empty(), it.unready.is_empty()) {
            (false, _) => "STUCK",
            (_, false) => "NOT READY",
            _ => "ready",
        };
        let (version, pid, up) = (plain(&it.version), plain(&it.pid), age(it.uptime_seconds));
        format!("gunmetal {version} at {}, pid {pid}, up {up}, {state}", self.admin)
    }

    /// What is wrong with it; nothing: all is well.
    pub fn trouble(&self) -> Vec<String> {
        let stuck = self.stats.stuck.iter().map(|line| format!("STUCK: {}", plain(line)));
        let unready = self.stats.unready.iter().map(|line| format!("NOT READY: {}", plain(line)));
        stuck.chain(unready).collect()
    }

    /// How it is.
    pub fn lines(&self) -> Vec<String> {
        let always = [
            self.connections(),
            self.traffic(),
            self.delay(),
            self.waiting(),
            self.threads(),
            self.process(),
        ];
        let reasons = REASONS.iter().filter_map(|(head, names)| self.reasons(head, names));
        always.into_iter().chain(reasons).chain(self.links()).collect()
    }

    /// All of it as plain text.
    pub fn text(&self) -> String {
        let mut lines = vec![self.title()];
        lines.extend(self.trouble());
        lines.extend(self.lines());
        lines.push(String::new());
        lines.extend(table::peers(&self.peers.peers, self.sort, WIDTH_MIN));
        if !self.peers.left.is_empty() {
            let left = &self.peers.left[..self.peers.left.len().min(LEFT_MAX)];
            lines.push(String::new());
            lines.extend(table::left(left, WIDTH_MIN));
        }
        lines.join("\n") + "\n"
    }

    fn connections(&self) -> String {
        let it = &self.stats;
        format!(
            "peers {} in, {} out; connections {} of {}; memory held {} of {}",
            it.peers_inbound,
            it.peers_outbound,
            it.connections,
            it.connections_max,
            size(it.memory_held_bytes as f64),
            size(it.memory_max_bytes as f64),
        )
    }

    fn traffic(&self) -> String {
        let Some(pace) = &self.pace else { return "in, out: known at the next look".to_owned() };
        let mut line = format!(
            "in {} messages/s, {}/s; out {} copies/s, {}/s",
            count(pace.messages_in),
            size(pace.bytes_in),
            count(pace.copies_out),
            size(pace.bytes_out),
        );
        if let Some(batch) = pace.batch {
            line += &format!("; {batch:.1} messages a batch");
        }
        line
    }

    fn delay(&self) -> String {
        let delays = &self.stats.delays;
        if delays.count == 0 {
            return "delay: nothing was relayed lately".to_owned();
        }
        format!(
            "delay p50 {}, p99 {}, worst {}, over {}",
            time(delays.p50_seconds),
            time(delays.p99_seconds),
            time(delays.max_seconds),
            age(delays.window_seconds),
        )
    }

    fn waiting(&self) -> String {
        let it = &self.stats;
        let slow = match it.pending_peers {
            0 => "nothing for slow peers".to_owned(),
            peers => format!(
                "{} for {peers} slow peers, worst {} of {}",
                size(it.pending_bytes as f64),
                size(it.pending_bytes_worst as f64),
                size(it.pending_bytes_max as f64),
            ),
        };
        let (queue, queue_max) = (size(it.queue_bytes as f64), size(it.queue_bytes_max as f64));
        format!("waiting: {slow}; {queue} of {queue_max} for writers")
    }

    fn threads(&self) -> String {
        let busy = self.pace.as_ref().map_or(&[][..], |pace| &pace.busy);
        let share = |index: usize| busy.get(index).copied().unwrap_or_default();
        let mut threads: Vec<_> = self.stats.threads.iter().enumerate().collect();
        if threads.len() > THREADS_IN_ORDER {
            threads.sort_by(|(one, _), (other, _)| share(*other).total_cmp(&share(*one)));
        }
        let told = threads.into_iter().map(|(index, thread)| {
            let queued = match thread.queued {
                0 => String::new(),
                queued => format!(" ({queued} queued)"),
            };
            format!("{} {}{queued}", plain(&thread.name), percent(share(index)))
        });
        format!("busy: {}", told.collect::<Vec<_>>().join(", "))
    }

    fn process(&self) -> String {
        let it = &self.stats;
        let mut told = Vec::new();
        if let Some(cores) = self.pace.as_ref().and_then(|pace| pace.cores) {
            told.push(format!("{} of a core", percent(cores)));
        }
        if let Some(process) = &it.process {
            told.push(format!("{} resident", size(process.resident_bytes as f64)));
            told.push(format!("files {} of {}", process.open_fds, process.max_fds));
        }
        let (ids, ids_max) = (count(it.dedup_entries as f64), count(it.dedup_entries_max as f64));
        let early = match it.dedup_evicted_early {
            0 => String::new(),
            early => format!(", {} forgotten early", count(early as f64)),
        };
        told.push(format!("ids {ids} of {ids_max}{early}"));
        format!("process: {}", told.join(", "))
    }

    /// What was counted under some names: first what grew lately, and how fast, then the rest. `None`: nothing was.
    fn reasons(&self, head: &str, names: &[&str]) -> Option<String> {
        let is_meant = |name: &str| names.iter().any(|start| name.starts_with(start));
        let counted =
            self.stats.counters.iter().filter(|(name, value)| **value > 0 && is_meant(name));
        let grown = |name: &str| {
            let pace = self.pace.as_ref()?;
            pace.grown.get(name).map(|more| *more as f64 / pace.grown_seconds.max(1.0))
        };
        let mut reasons: Vec<_> =
            counted.map(|(name, value)| (grown(name).unwrap_or_default(), *value, name)).collect();
        reasons.sort_by(|one, other| {
            other.0.total_cmp(&one.0).then(other.1.cmp(&one.1)).then(one.2.cmp(other.2))
        });
        let told = reasons.iter().map(|(rate, value, name)| {
            let rate = match *rate {
                0.0 => String::new(),
                rate if rate < 10.0 => format!(" (+{rate:.1}/s)"),
                rate => format!(" (+{}/s)", count(rate)),
            };
            format!("{} {}{rate}", reason(name, names), count(*value as f64))
        });
        let told = told.collect::<Vec<_>>().join(", ");
        (!told.is_empty()).then(|| format!("{head}: {told}"))
    }

    /// The configured peers, those that are down first. `None`: there are none.
    fn links(&self) -> Option<String> {
        let links = &self.stats.links;
        let up = links.iter().filter(|link| link.is_up).count();
        let (down, well): (Vec<_>, Vec<_>) = links.iter().partition(|link| !link.is_up);
        let told = |link: &LinkStats| {
            let state = if link.is_up { "up" } else { "DOWN" };
            format!("{state} {}, opened {}×", plain(&link.url), count(link.opened as f64))
        };
        let told: Vec<_> = down.into_iter().chain(well).map(told).collect();
        (!told.is_empty())
            .then(|| format!("links, {up} of {} up: {}", links.len(), told.join("; ")))
    }
}

fn reason(name: &str, starts: &[&str]) -> String {
    if let Some((_, word)) = WORDS.iter().find(|(known, _)| *known == name) {
        return (*word).to_owned();
    }
    let start = starts.iter().find(|start| start.ends_with('_') && name.starts_with(**start));
    plain(&name[start.map_or(0, |start| start.len())..]).replace('_', " ")
}
