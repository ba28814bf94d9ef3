//! `/peers.json`: the peers that lead by some figure, and the last that left.
//!
//! Owns: its shape and its query, which the page and `gunmetal top` use. Must not know: who asks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::dam::peer::PeerId;
use crate::net::conn::Link;
use crate::net::roster::{Left, Member};
use crate::net::view::View;

/// Peers listed when the query names no number.
pub const LIMIT_DEFAULT: usize = 50;
/// Peers listed at most.
pub const LIMIT_MAX: usize = 1000;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The peers with the most of this come first.
    pub sort: Sort,
    /// How many, at most.
    pub limit: usize,
}

/// What peers are sorted by, the highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Bytes that wait for it.
    Pending,
    /// Bytes both ways, per second.
    Rate,
    /// Bytes read from it.
    BytesIn,
    /// Bytes written to it.
    BytesOut,
    /// Messages heard from it.
    MessagesIn,
    /// Messages handed to it.
    MessagesOut,
    /// Time since it came.
    Age,
}

impl Sort {
    /// Every order, and its name in a query.
    pub const ALL: &[(&str, Sort)] = &[
        ("pending", Sort::Pending),
        ("rate", Sort::Rate),
        ("bytes_in", Sort::BytesIn),
        ("bytes_out", Sort::BytesOut),
        ("messages_in", Sort::MessagesIn),
        ("messages_out", Sort::MessagesOut),
        ("age", Sort::Age),
    ];

    fn key(self, member: &Member, now: Instant) -> u64 {
        let [bytes_in, messages_in, bytes_out, messages_out] = member.counts();
        let rates = member.rates();
        match self {
            Sort::Pending => member.socket.traffic.pending_bytes.get(),
            Sort::Rate => (rates.bytes_in + rates.bytes_out) as u64,
            Sort::BytesIn => bytes_in,
            Sort::BytesOut => bytes_out,
            Sort::MessagesIn => messages_in,
            Sort::MessagesOut => messages_out,
            Sort::Age => now.saturating_duration_since(member.since).as_nanos() as u64,
        }
    }
}

impl Query {
    /// Reads the part of a URL after `?`.
    pub fn parse(query: &str) -> Result<Query, String> {
        let mut parsed = Query { sort: Sort::Pending, limit: LIMIT_DEFAULT };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("sort", name) => {
                    let found = Sort::ALL.iter().find(|(known, _)| *known == name);
                    let names: Vec<_> = Sort::ALL.iter().map(|(known, _)| *known).collect();
                    let fault = || format!("sort is one of {}", names.join(", "));
                    parsed.sort = found.ok_or_else(fault)?.1;
                }
                ("limit", number) => {
                    let limit = number.parse().ok().filter(|limit| *limit <= LIMIT_MAX);
                    parsed.limit = limit.ok_or(format!("limit is a number up to {LIMIT_MAX}"))?;
                }
                _ => return Err("there are sort and limit, and nothing else".to_owned()),
            }
        }
        Ok(parsed)
    }
}

/// See the module's head.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peers {
    /// How many are connected.
    pub total: u64,
    /// Those that lead.
    pub peers: Vec<PeerStats>,
    /// The last that left, the newest first.
    pub left: Vec<LeftStats>,
}

/// A connected peer. Rates are per second, since the peers were looked at before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerStats {
    /// Who it is, and what went through it.
    #[serde(flatten)]
    pub about: About,
    /// Bytes that wait for it.
    pub pending_bytes: u64,
    /// Bytes read.
    pub bytes_in_rate: f32,
    /// Messages heard.
    pub messages_in_rate: f32,
    /// Bytes written.
    pub bytes_out_rate: f32,
    /// Messages handed to it.
    pub messages_out_rate: f32,
}

/// A peer that left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeftStats {
    /// Who it was, and what went through it.
    #[serde(flatten)]
    pub about: About,
    /// How long ago it left.
    pub left_seconds: f64,
    /// Why.
    pub reason: String,
}

/// What a peer is or was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// Unique for the life of the relay.
    pub id: u64,
    /// The pid it told.
    pub pid: Option<String>,
    /// Where it is.
    pub address: String,
    /// The URL it was dialled by; `None`: it dialled this relay.
    pub link: Option<String>,
    /// How long it has been, or was, connected.
    pub age_seconds: f64,
    /// Bytes read from it.
    pub bytes_in: u64,
    /// Messages heard from it, dropped ones included.
    pub messages_in: u64,
    /// Bytes written to it.
    pub bytes_out: u64,
    /// Message copies handed to it.
    pub messages_out: u64,
}

impl Peers {
    /// The peers that lead, in order. Memory is needed for `limit` of them, whatever their number.
    pub fn of(view: &View, query: Query) -> Peers {
        let now = Instant::now();
        let mut total = 0;
        let mut leading = BinaryHeap::with_capacity(query.limit + 1);
        view.visit_peers(now, &mut |member| {
            total += 1;
            let key = (query.sort.key(member, now), Reverse(member.id));
            if leading.len() < query.limit
                || leading.peek().is_some_and(|least: &Leading| key > least.key)
            {
                leading.push(Leading { key, stats: PeerStats::of(member, now) });
            }
            if leading.len() > query.limit {
                leading.pop();
            }
        });
        let peers = leading.into_sorted_vec().into_iter().map(|leading| leading.stats).collect();
        let left = view.left_peers().iter().map(|left| LeftStats::of(left, now)).collect();
        Peers { total, peers, left }
    }
}

/// In a heap, the one with the least of the figure is on top.
struct Leading {
    key: (u64, Reverse<PeerId>),
    stats: PeerStats,
}

impl Ord for Leading {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.key.cmp(&self.key)
    }
}

impl PartialOrd for Leading {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Leading {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Leading {}

impl PeerStats {
    fn of(member: &Member, now: Instant) -> PeerStats {
        let Member { id, socket, link, since, pid, .. } = member;
        let (age, counts, rates) =
            (now.saturating_duration_since(*since), member.counts(), member.rates());
        PeerStats {
            about: About::of(*id, pid.as_deref(), socket.address, link.as_deref(), age, counts),
            pending_bytes: socket.traffic.pending_bytes.get(),
            bytes_in_rate: rates.bytes_in,
            messages_in_rate: rates.messages_in,
            bytes_out_rate: rates.bytes_out,
            messages_out_rate: rates.messages_out,
        }
    }
}

impl LeftStats {
    fn of(left: &Left, now: Instant) -> LeftStats {
        let Left { id, address, link, pid, since, at, ending, counts } = left;
        let age = at.saturating_duration_since(*since);
        LeftStats {
            about: About::of(*id, pid.as_deref(), *address, link.as_deref(), age, *counts),
            left_seconds: now.saturating_duration_since(*at).as_secs_f64(),
            reason: ending.to_string(),
        }
    }
}

impl About {
    fn of(
        id: PeerId,
        pid: Option<&str>,
        address: SocketAddr,
        link: Option<&Link>,
        age: Duration,
        [bytes_in, messages_in, bytes_out, messages_out]: [u64; 4],
    ) -> About {
        About {
            id: id.number(),
            pid: pid.map(str::to_owned),
            address: address.to_string(),
            link: link.map(|link| link.name.clone()),
            age_seconds: age.as_secs_f64(),
            bytes_in,
            messages_in,
            bytes_out,
            messages_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_a_sort_and_a_bounded_limit() {
        let parsed = |sort, limit| Ok(Query { sort, limit });
        assert_eq!(Query::parse(""), parsed(Sort::Pending, LIMIT_DEFAULT));
        assert_eq!(Query::parse("sort=age&limit=3"), parsed(Sort::Age, 3));
        assert_eq!(Query::parse("limit=0"), parsed(Sort::Pending, 0));
        assert_eq!(Query::parse("limit=1000&"), parsed(Sort::Pending, 1000));
        for wrong in ["limit=1001", "limit=-1", "limit=", "sort=", "sort=name", "order=age", "x"] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
    }
}
