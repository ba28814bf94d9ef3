//! How many instructions each step of the data path takes, counted by valgrind, against the limits
//! in `instructions.toml`. A step that takes 5 % more than its limit fails the run.
//!
//! The counts do not depend on the machine's speed or load: inputs and secrets are fixed, and each
//! step runs a thousand times, so that what is paid once in a while is in them.
#![allow(missing_docs)] // gungraun's macros make public modules.

mod common;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use common::hub::Hub;
use common::turns::{self, Ends, add_broadcasts, turn_of_puts};
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use gunmetal::dam::batch::{Limits, Parser};
use gunmetal::dam::dedup::{Dedup, Entry, FETCH_MAX, Key, Keys};
use gunmetal::net::coalesce::Coalescer;
use gunmetal::net::queue::Turn;
use gunmetal::ws::frame::{self, Opcode};
use gunmetal::ws::reader::{FrameReader, Role, START_BYTES};

/// Calls of a step in one count.
const CALLS: u64 = 1_000;

/// How far over its limit a step may be, in percent: what another compiler or library costs.
const TOLERANCE: u64 = 5;

/// A config that fails when the step takes more than `instructions.toml` allows.
fn within(step: &str) -> LibraryBenchmarkConfig {
    let limits: HashMap<String, u64> =
        toml::from_str(include_str!("instructions.toml")).expect("a table of numbers");
    let limit = limits.get(step).unwrap_or_else(|| panic!("instructions.toml: no {step}"));
    let most = limit * (100 + TOLERANCE) / 100;
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, most)]));
    config
}

fn keys() -> Keys {
    Keys::new([7; 192])
}

fn parser() -> Parser {
    Parser::new(Limits { message_units_max: 90_000_000, depth_max: 1_000 })
}

// ws/reader.rs, ws/frame.rs

fn received(payload_bytes: usize) -> (FrameReader, Vec<u8>) {
    let frame = frame::masked(Opcode::Text, &[&vec![b'a'; payload_bytes]], [1, 2, 3, 4]);
    (FrameReader::new(Role::Server, 1 << 30), frame.repeat(CALLS as usize))
}

#[library_benchmark]
#[bench::bytes_200(args = (200), setup = received, config = within("read_200_bytes"))]
#[bench::bytes_16k(args = (16 * 1024), setup = received, config = within("read_16_kib"))]
fn read((mut reader, mut input): (FrameReader, Vec<u8>)) -> (FrameReader, Vec<u8>) {
    let mut at = 0;
    while let Some(event) = reader.next(&mut input, &mut at).expect("the frames are good") {
        black_box(&event);
    }
    (reader, input)
}

// dam/batch.rs

fn puts() -> (Parser, Vec<String>) {
    (parser(), (0..CALLS).map(common::put).collect())
}

fn batches() -> (Parser, Vec<String>) {
    (parser(), (0..CALLS / 50).map(|_| common::batch(50)).collect())
}

fn lenient() -> (Parser, Vec<String>) {
    let halved = |id| common::put(id).replace("The quick", r"The \ud83d quick");
    (parser(), (0..CALLS).map(halved).collect())
}

#[library_benchmark]
#[bench::single(setup = puts, config = within("spans_single"))]
#[bench::batch(setup = batches, config = within("spans_in_batches_of_50"))]
#[bench::lenient(setup = lenient, config = within("spans_lenient"))]
fn spans((mut parser, frames): (Parser, Vec<String>)) -> (Parser, Vec<String>) {
    for frame in &frames {
        parser.hear(frame.as_bytes(), &mut |heard| {
            black_box(&heard);
        });
    }
    (parser, frames)
}

// dam/dedup.rs

fn ids(from: u64) -> Vec<Key> {
    let keys = keys();
    (from..from + CALLS).map(|id| keys.of(&id.to_le_bytes())).collect()
}

fn filled(entries: u64) -> Dedup {
    let (keys, dedup) = (keys(), Dedup::new(4 * entries as usize));
    for id in 0..entries {
        dedup.first(keys.of(&id.to_le_bytes()), Entry::SEEN);
    }
    dedup
}

fn with_new(entries: u64) -> (Dedup, Vec<Key>) {
    (filled(entries), ids(entries))
}

fn with_known(entries: u64) -> (Dedup, Vec<Key>) {
    (filled(entries), ids(entries / 2))
}

fn with_old(entries: u64) -> (Dedup, Vec<Key>) {
    let dedup = filled(entries);
    dedup.expire(gunmetal::dam::dedup::GENERATION_MS);
    (dedup, ids(entries / 2))
}

#[library_benchmark]
#[bench::ids(config = within("key"))]
fn key() {
    let keys = keys();
    for id in 0..CALLS {
        black_box(keys.of(&black_box(nine_bytes(id))));
    }
}

/// Nine bytes, as Gun's ids have.
fn nine_bytes(id: u64) -> [u8; 9] {
    let mut bytes = [b'a'; 9];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    bytes
}

#[library_benchmark]
#[bench::new_10k(args = (10_000), setup = with_new, config = within("dedup_new_among_10k"))]
#[bench::new_1m(args = (1_000_000), setup = with_new, config = within("dedup_new_among_1m"))]
#[bench::new_10m(args = (10_000_000), setup = with_new, config = within("dedup_new_among_10m"))]
#[bench::known_10k(args = (10_000), setup = with_known, config = within("dedup_known_among_10k"))]
#[bench::known_1m(args = (1_000_000), setup = with_known, config = within("dedup_known_among_1m"))]
#[bench::known_10m(args = (10_000_000), setup = with_known, config = within("dedup_known_among_10m"))]
#[bench::old_10k(args = (10_000), setup = with_old, config = within("dedup_refresh_among_10k"))]
fn dedup((dedup, ids): (Dedup, Vec<Key>)) -> (Dedup, Vec<Key>) {
    for id in &ids {
        black_box(dedup.first(*id, Entry::SEEN));
    }
    (dedup, ids)
}

// dam/mesh.rs

fn fresh_puts(peers: u64) -> (Hub, Vec<String>) {
    (Hub::new(peers), (0..CALLS).map(common::put).collect())
}

/// Where duplicates are common.
fn new_of_a_mesh(peers: u64) -> (Hub, Vec<String>) {
    let (mut hub, puts) = fresh_puts(peers);
    let other = common::put(2 * CALLS);
    (0..2 * CALLS).for_each(|peer| drop(hub.hear(peer as usize % 2, &other)));
    (hub, puts)
}

fn duplicates(peers: u64) -> (Hub, Vec<String>) {
    let (mut hub, puts) = new_of_a_mesh(peers);
    hub.hear_all(1, &puts);
    (hub, puts)
}

fn answers(peers: u64) -> (Hub, Vec<String>) {
    let mut hub = Hub::new(peers);
    for id in 0..CALLS {
        hub.hear(1, &common::get(id));
    }
    (hub, (0..CALLS).map(common::answer).collect())
}

#[library_benchmark]
#[bench::put_10(args = (10), setup = fresh_puts, config = within("route_put_10_peers"))]
#[bench::put_10k(args = (10_000), setup = fresh_puts, config = within("route_put_10k_peers"))]
#[bench::put_in_mesh(args = (10), setup = new_of_a_mesh, config = within("route_put_in_mesh"))]
#[bench::duplicate(args = (10), setup = duplicates, config = within("route_duplicate"))]
#[bench::answer(args = (10), setup = answers, config = within("route_answer"))]
fn route((mut hub, texts): (Hub, Vec<String>)) -> (Hub, Vec<String>) {
    black_box(hub.hear_all(0, &texts));
    (hub, texts)
}

fn starts() -> (Hub, Vec<[u8; START_BYTES]>) {
    let start = |id| *common::put(id).as_bytes().first_chunk().expect("it is longer");
    (Hub::new(10), (0..CALLS).map(start).collect())
}

#[library_benchmark]
#[bench::of_16(setup = starts, config = within("foresee_16"))]
fn foresee((mut hub, starts): (Hub, Vec<[u8; START_BYTES]>)) -> (Hub, Vec<[u8; START_BYTES]>) {
    for starts in starts.chunks(FETCH_MAX) {
        hub.router.foresee(starts.iter().map(|start| &start[..]));
    }
    (hub, starts)
}

// net/queue.rs

fn ends_and_puts() -> (Ends, Vec<String>) {
    (turns::ends(), (0..CALLS).map(common::put).collect())
}

#[library_benchmark]
#[bench::of_50(setup = ends_and_puts, config = within("turns_of_50"))]
fn turn((mut ends, texts): (Ends, Vec<String>)) -> (Ends, Vec<String>) {
    for texts in texts.chunks(50) {
        black_box(ends.turn(texts));
    }
    (ends, texts)
}

// net/coalesce.rs

/// A thousand messages in batches of 50, of which the peer in slot 0 does not get so many.
type Batches = (Coalescer, Arc<Turn>, usize);

fn batch_with(exceptions: usize) -> Batches {
    (Coalescer::new(9_000, Default::default()), turn_of_puts(50), exceptions)
}

#[library_benchmark]
#[bench::for_all(args = (0), setup = batch_with, config = within("encode_for_all"))]
#[bench::except_1(args = (1), setup = batch_with, config = within("encode_and_cut_1"))]
#[bench::except_10(args = (10), setup = batch_with, config = within("encode_and_cut_10"))]
fn encode((mut batch, turn, exceptions): Batches) -> Batches {
    for _ in 0..CALLS / 50 {
        add_broadcasts(&mut batch, &turn, |index| index % 5 == 2 && index / 5 < exceptions);
        let marks = batch.encode();
        for (_, marks) in marks.by_slot() {
            black_box(batch.cut_for(marks, false));
        }
        black_box(batch.shared());
        batch.clear(marks);
    }
    (batch, turn, exceptions)
}

library_benchmark_group!(
    name = steps,
    benchmarks = [read, spans, key, dedup, route, foresee, turn, encode]
);

main!(library_benchmark_groups = steps);
