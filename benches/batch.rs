//! `dam/batch.rs`: a frame's text into messages, among them one with half an emoji, which JavaScript
//! accepts and Rust's parsers do not. Beside it what a tape of the text costs (simd-json, its memory
//! used again), and a whole tree of values (serde_json).

mod common;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gunmetal::dam::batch::{Limits, Parser};
use simd_json::{Buffers, Tape};

fn bench(criterion: &mut Criterion) {
    let lenient = common::put(1).replace("The quick", r"The \ud83d quick");
    let frames = [
        ("put", 1, common::put(1)),
        ("get", 1, common::get(1)),
        ("answer", 1, common::answer(1)),
        ("batch of 50", 50, common::batch(50)),
        ("64 KiB", 1, common::large(64 * 1024)),
        ("lenient put", 1, lenient),
    ];
    let mut group = criterion.benchmark_group("batch");
    for (name, messages, text) in &frames {
        let bytes = text.len() as u64;
        group.throughput(Throughput::ElementsAndBytes { elements: *messages, bytes });
        let mut parser = Parser::new(Limits { message_units_max: 90_000_000, depth_max: 1_000 });
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                parser.hear(text.as_bytes(), &mut |heard| {
                    black_box(&heard);
                });
            });
        });
        let (mut copy, mut buffers, mut kept) = (Vec::new(), Buffers::default(), Tape(Vec::new()));
        group.bench_function(format!("{name} by simd-json"), |bencher| {
            bencher.iter(|| {
                copy.clear();
                copy.extend_from_slice(text.as_bytes());
                let mut tape = std::mem::replace(&mut kept, Tape(Vec::new())).reset();
                black_box(simd_json::fill_tape(&mut copy, &mut buffers, &mut tape).is_ok());
                kept = tape.reset();
            });
        });
        group.bench_function(format!("{name} by serde_json"), |bencher| {
            bencher.iter(|| black_box(serde_json::from_str::<serde_json::Value>(text).is_ok()));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
