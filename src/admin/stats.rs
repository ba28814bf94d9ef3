//! `/stats.json`: the whole relay in one object.
//!
//! Owns: its shape, which the page and `gunmetal top` read. Must not know: who asks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::process::Process;
use super::survey::Surveyor;
use crate::metrics::Counter;
use crate::metrics::batches::Quantiles;
use crate::net::view::View;

/// See the module's head. Names end in their unit; times are in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stats {
    /// Of the relay.
    pub version: String,
    /// Its name among peers.
    pub pid: String,
    /// Time since its start.
    pub uptime_seconds: f64,
    /// Why no new peers should be sent here; empty: ready.
    pub unready: Vec<String>,
    /// Threads that are stuck; empty: live.
    pub stuck: Vec<String>,
    /// Connections open, of any kind.
    pub connections: u64,
    /// Their limit.
    pub connections_max: u64,
    /// Peers that dialled this relay.
    pub peers_inbound: u64,
    /// Peers that this relay dialled.
    pub peers_outbound: u64,
    /// The configured peers.
    pub links: Vec<LinkStats>,
    /// Bytes that wait for slow peers.
    pub pending_bytes: u64,
    /// The most that waits for one.
    pub pending_bytes_worst: u64,
    /// The limit for one.
    pub pending_bytes_max: u64,
    /// Peers for which something waits.
    pub pending_peers: u64,
    /// Bytes that wait for the writers.
    pub queue_bytes: u64,
    /// Their limit.
    pub queue_bytes_max: u64,
    /// Bytes of memory held for peers.
    pub memory_held_bytes: u64,
    /// Their limit: what `--memory-max` leaves for peers.
    pub memory_max_bytes: u64,
    /// Message ids that are remembered.
    pub dedup_entries: u64,
    /// Their limit.
    pub dedup_entries_max: u64,
    /// Ids forgotten before their time.
    pub dedup_evicted_early: u64,
    /// How long messages took lately.
    pub delays: Quantiles,
    /// Batches written, of all writers.
    pub batches: u64,
    /// Messages in them.
    pub batch_messages: u64,
    /// Threads with an event loop: they read, write, or shake hands for TLS.
    pub threads: Vec<ThreadStats>,
    /// All counters, by name.
    pub counters: BTreeMap<String, u64>,
    /// What the operating system knows.
    pub process: Option<Process>,
}

/// A configured peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkStats {
    /// As configured.
    pub url: String,
    /// It is connected.
    pub is_up: bool,
    /// How often it was.
    pub opened: u64,
}

/// A thread with an event loop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ThreadStats {
    /// Its name.
    pub name: String,
    /// Time outside of its poll.
    pub busy_seconds: f64,
    /// Turns made.
    pub turns: u64,
    /// Turns of others that wait for it.
    pub queued: u64,
}

impl Stats {
    /// The relay as it is now.
    pub fn of(view: &View, surveyor: &Surveyor) -> Stats {
        let (survey, config, mesh) = (surveyor.survey(), view.config(), view.mesh());
        let batches = view.metrics().batches();
        let sizes = batches.iter().flat_map(|batches| batches.sizes());
        Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: mesh.pid.clone(),
            uptime_seconds: view.uptime().as_secs_f64(),
            unready: view.unready_reasons(),
            stuck: stuck(view),
            connections: view.open_connections() as u64,
            connections_max: config.connections_max as u64,
            peers_inbound: survey.inbound,
            peers_outbound: survey.outbound,
            links: links(view),
            pending_bytes: survey.pending_bytes,
            pending_bytes_worst: survey.pending_bytes_worst,
            pending_bytes_max: config.backlog_bytes_max as u64,
            pending_peers: survey.pending_peers,
            queue_bytes: view.queued_bytes() as u64,
            queue_bytes_max: config.queue_bytes_max as u64,
            memory_held_bytes: view.memory().held() as u64,
            memory_max_bytes: view.memory().held_max() as u64,
            dedup_entries: survey.dedup_entries,
            dedup_entries_max: config.dedup_entries_max as u64,
            dedup_evicted_early: mesh.dedup.evicted_early(),
            delays: view.metrics().with_delays(|delays| delays.recent()),
            batches: sizes.map(|(_, count)| count).sum(),
            batch_messages: batches.iter().map(|batches| batches.messages()).sum(),
            threads: threads(view),
            counters: counters(view),
            process: Process::myself(),
        }
    }
}

/// The threads that are stuck, a line each.
pub fn stuck(view: &View) -> Vec<String> {
    let line = |(name, time): (String, std::time::Duration)| {
        format!("{name} has been in one turn for {} s", time.as_secs())
    };
    view.stuck_threads().into_iter().map(line).collect()
}

fn links(view: &View) -> Vec<LinkStats> {
    let stats = |link: &std::sync::Arc<crate::net::conn::Link>| LinkStats {
        url: link.name.clone(),
        is_up: link.is_up(),
        opened: link.opened.get(),
    };
    view.links().iter().map(stats).collect()
}

fn threads(view: &View) -> Vec<ThreadStats> {
    let loops = view.metrics().loops();
    let stats = |one: &std::sync::Arc<crate::metrics::loops::Loop>| ThreadStats {
        queued: queued_turns(view, &one.name).unwrap_or(0),
        name: one.name.clone(),
        busy_seconds: one.busy().as_secs_f64(),
        turns: one.turns(),
    };
    loops.iter().map(stats).collect()
}

/// Turns of readers that wait for the writer thread of this name; `None`: it is none.
pub fn queued_turns(view: &View, thread: &str) -> Option<u64> {
    let index: usize = thread.strip_prefix("writer-")?.parse().ok()?;
    view.queued_turns().get(index).map(|turns| *turns as u64)
}

fn counters(view: &View) -> BTreeMap<String, u64> {
    let value = |counter: &Counter| (counter.name().to_owned(), view.metrics().get(*counter));
    Counter::ALL.iter().map(value).collect()
}
