//! `net/queue.rs`: the messages of a reactor's turn into one push. Beside it a push per message.

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    for count in [1, 10, 50, 300] {
        let puts: Vec<_> = (0..count).map(common::put).collect();
        let bytes = puts.iter().map(|put| put.len() as u64).sum();
        group.throughput(Throughput::ElementsAndBytes { elements: count, bytes });
        let mut ends = common::turns::ends();
        group.bench_function(BenchmarkId::new("turn", count), |bencher| {
            bencher.iter(|| black_box(ends.turn(&puts)));
        });
        let (sender, receiver) = crossbeam_channel::bounded(count as usize);
        group.bench_function(BenchmarkId::new("a push per message", count), |bencher| {
            bencher.iter(|| {
                for put in &puts {
                    sender.send(bytes::Bytes::copy_from_slice(put.as_bytes())).expect("room");
                }
                receiver.try_iter().for_each(|message| drop(black_box(message)));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
