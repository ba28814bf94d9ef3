//! Rows under heads: the peers that lead, and those that left.
//!
//! Owns: columns, their widths and what is in them. Must not know: terminals, where figures come from.

use super::words::{age, count, cut, plain, size};
use crate::admin::peers::{About, LeftStats, PeerStats};

/// Characters of a terminal that everything fits in.
pub const WIDTH_MIN: usize = 80;

/// Keys that sort, what `/peers.json` calls that order, and what people do.
pub const SORTS: [(char, &str, &str); 7] = [
    ('p', "pending", "pending"),
    ('r', "rate", "rate"),
    ('i', "bytes_in", "in"),
    ('o', "bytes_out", "out"),
    ('m', "messages_in", "msgs in"),
    ('n', "messages_out", "msgs out"),
    ('a', "age", "age"),
];

/// Whether peers in this order, an index of [`SORTS`], are to be seen with what went through them so far: else with
/// what goes through them per second.
fn shows_totals(sort: usize) -> bool {
    let (_, order, _) = SORTS[sort];
    order.starts_with("bytes") || order.starts_with("messages")
}

/// A head, the width under it in characters, and whether there are figures.
type Column = (&'static str, usize, bool);

/// Takes what a terminal is wider than [`WIDTH_MIN`], up to this: a URL or an IPv6 address.
const NAME_MORE_MAX: usize = 40;
/// Likewise.
const ADDRESS_MORE_MAX: usize = 26;

const RATES: [Column; 8] = peer_columns(["IN/s", "OUT/s", "MSGIN/s", "MOUT/s"]);
const TOTALS: [Column; 8] = peer_columns(["IN", "OUT", "MSGS IN", "MSG OUT"]);

/// `heads`: over bytes in and out, and messages in and out.
const fn peer_columns(heads: [&'static str; 4]) -> [Column; 8] {
    let [bytes_in, bytes_out, messages_in, messages_out] = heads;
    [
        ("PEER", 10, false),
        ("ADDRESS", 21, false),
        ("AGE", 7, true),
        (bytes_in, 7, true),
        (bytes_out, 7, true),
        (messages_in, 7, true),
        (messages_out, 7, true),
        ("PENDING", 7, true),
    ]
}

const LEFT: [Column; 5] = [
    ("LEFT", 10, false),
    ("ADDRESS", 21, false),
    ("AGO", 7, true),
    ("STAYED", 7, true),
    ("WHY", 31, false),
];

/// The peers in lines of `width` characters, heads first.
pub fn peers(peers: &[PeerStats], sort: usize, width: usize) -> Vec<String> {
    let is_total = shows_totals(sort);
    let columns = if is_total { TOTALS } else { RATES };
    lines(columns, peers.iter().map(|peer| peer_row(peer, is_total)), width)
}

/// Those that left likewise, the newest first.
pub fn left(left: &[LeftStats], width: usize) -> Vec<String> {
    lines(LEFT, left.iter().map(left_row), width)
}

fn lines<const N: usize>(
    mut columns: [Column; N],
    rows: impl Iterator<Item = [String; N]>,
    width: usize,
) -> Vec<String> {
    let spare = width.saturating_sub(WIDTH_MIN);
    let name_more = (spare / 2).min(NAME_MORE_MAX);
    columns[0].1 += name_more;
    columns[1].1 += (spare - name_more).min(ADDRESS_MORE_MAX);
    let heads = columns.map(|(head, ..)| head.to_owned());
    let line = |cells: [String; N]| {
        let cells =
            cells.iter().zip(columns).map(|(cell, (_, width, is_figure))| match is_figure {
                true => format!("{:>width$}", cut(cell, width)),
                false => format!("{:width$}", cut(cell, width)),
            });
        cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    };
    std::iter::once(heads).chain(rows).map(line).collect()
}

fn peer_row(peer: &PeerStats, is_total: bool) -> [String; RATES.len()] {
    let about = &peer.about;
    let rates =
        [peer.bytes_in_rate, peer.bytes_out_rate, peer.messages_in_rate, peer.messages_out_rate];
    let totals = [about.bytes_in, about.bytes_out, about.messages_in, about.messages_out];
    let [bytes_in, bytes_out, messages_in, messages_out] = match is_total {
        true => totals.map(|total| total as f64),
        false => rates.map(f64::from),
    };
    [
        name(about),
        plain(&about.address),
        age(about.age_seconds),
        size(bytes_in),
        size(bytes_out),
        count(messages_in),
        count(messages_out),
        size(peer.pending_bytes as f64),
    ]
}

fn left_row(left: &LeftStats) -> [String; LEFT.len()] {
    let about = &left.about;
    [
        name(about),
        plain(&about.address),
        age(left.left_seconds),
        age(about.age_seconds),
        plain(&left.reason),
    ]
}

/// What a peer calls itself; a link has an arrow before it.
fn name(about: &About) -> String {
    let arrow = if about.link.is_some() { ">" } else { "" };
    format!("{arrow}{}", plain(about.pid.as_deref().unwrap_or("-")))
}
