//! `net/coalesce.rs`: a batch for all peers, and the slices of a peer that sent some of it.
//! Beside it one frame per message and peer.

mod common;

use std::hint::black_box;

use bytes::BytesMut;
use common::turns::{add_broadcasts, turn_of_puts};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gunmetal::net::coalesce::Coalescer;
use gunmetal::ws::frame;

const BATCH_BYTES_MAX: usize = 9_000;

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("coalesce");
    for count in [1, 10, 40, 300] {
        let turn = turn_of_puts(count);
        let bytes = common::put(0).len() as u64 * count;
        group.throughput(Throughput::ElementsAndBytes { elements: count, bytes });
        let mut batch = Coalescer::new(BATCH_BYTES_MAX, Default::default());
        group.bench_function(BenchmarkId::new("encode for all", count), |bencher| {
            bencher.iter(|| {
                add_broadcasts(&mut batch, &turn, |_| false);
                let marks = batch.encode();
                black_box(batch.shared());
                batch.clear(marks);
            });
        });
        for exceptions in [1, 10] {
            let name = format!("encode and cut {exceptions}");
            let every = (count as usize / exceptions).max(1);
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    add_broadcasts(&mut batch, &turn, |index| index % every == every / 2);
                    let marks = batch.encode();
                    let (_, cut) = marks.by_slot().next().expect("one peer");
                    black_box(batch.cut_for(cut, false));
                    batch.clear(marks);
                });
            });
        }
        let puts: Vec<_> = (0..count).map(common::put).collect();
        let mut buffer = BytesMut::new();
        group.bench_function(BenchmarkId::new("a frame per message", count), |bencher| {
            bencher.iter(|| {
                for put in &puts {
                    buffer.extend_from_slice(&frame::text_header(put.len()));
                    buffer.extend_from_slice(put.as_bytes());
                }
                black_box(buffer.split());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
