//! `dam/mesh.rs`: from a frame's text to a route. Beside it what making the texts costs, which is in
//! all of them.

mod common;

use std::hint::black_box;

use common::hub::Hub;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mesh");
    let (put, get, answer) = (common::put(0), common::get(0), common::answer(0));
    let bytes = |text: &String| text.len() as u64;
    for peers in [10, 100, 10_000] {
        group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes: bytes(&put) });
        let (mut hub, mut id) = (Hub::new(peers), 0);
        group.bench_function(BenchmarkId::new("put to all", peers), |bencher| {
            bencher.iter(|| {
                id += 1;
                assert!(hub.hear(0, &common::put(id)) > 0);
            });
        });
        hub.hear(0, &put);
        group.bench_function(BenchmarkId::new("put heard before", peers), |bencher| {
            bencher.iter(|| assert_eq!(hub.hear(1, &put), 0));
        });
        // Duplicates are common now, so that the next message gets a fingerprint.
        let known = common::put(999_999_999);
        hub.hear(0, &known);
        group.bench_function(BenchmarkId::new("put recognised", peers), |bencher| {
            bencher.iter(|| assert_eq!(hub.hear(1, &known), 0));
        });
        let bytes = bytes(&get) + bytes(&answer);
        group.throughput(Throughput::ElementsAndBytes { elements: 2, bytes });
        group.bench_function(BenchmarkId::new("get and answer", peers), |bencher| {
            bencher.iter(|| {
                id += 1;
                assert!(hub.hear(0, &common::get(id)) > 0);
                assert!(hub.hear(1, &common::answer(id)) > 0);
            });
        });
    }
    let mut id = 0;
    group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes: bytes(&put) });
    group.bench_function("making the texts", |bencher| {
        bencher.iter(|| {
            id += 1;
            black_box(common::put(id))
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
