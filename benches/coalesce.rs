//! `net/coalesce.rs`: a batch for all peers, and the slices of a peer that sent some of it.
//! Beside it one frame per message and peer.

mod common;

use std::hint::black_box;
use std::sync::Arc;

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::Receiver;
use gunmetal::dam::peer::PeerId;
use gunmetal::metrics::Metrics;
use gunmetal::net::coalesce::Coalescer;
use gunmetal::net::queue::{Budget, Outbox, Turn, lane};
use gunmetal::ws::frame;
use mio::{Poll, Token, Waker};

const BATCH_BYTES_MAX: usize = 9_000;

/// A turn in which a reactor passed on `count` puts.
fn turn(count: u64) -> (Arc<Turn>, Receiver<Arc<Turn>>) {
    let poll = Poll::new().expect("a poll");
    let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
    let (lane, queue, _bell) = lane(8, waker);
    let counters = Metrics::default().for_thread();
    let mut outbox = Outbox::new(vec![lane], Budget::new(1 << 30), counters);
    let to = PeerId::new(1, 0);
    for id in 0..count {
        outbox.say(to, &common::put(id));
    }
    outbox.flush();
    (queue.try_recv().expect("the turn"), queue)
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("coalesce");
    for count in [1, 10, 40, 300] {
        let (turn, _queue) = turn(count);
        group.throughput(Throughput::Elements(count));
        let mut batch = Coalescer::new(BATCH_BYTES_MAX, Arc::default());
        group.bench_function(BenchmarkId::new("encode for all", count), |bencher| {
            bencher.iter(|| {
                add(&mut batch, &turn, |_, _| {});
                let marks = batch.encode();
                black_box(batch.shared());
                batch.clear(marks);
            });
        });
        group.bench_function(BenchmarkId::new("encode and cut for a sender", count), |bencher| {
            bencher.iter(|| {
                add(&mut batch, &turn, |batch, index| {
                    if index == count as usize / 2 {
                        batch.except(0);
                    }
                });
                let marks = batch.encode();
                let (_, cut) = marks.by_slot().next().expect("one peer");
                black_box(batch.cut_for(cut, false));
                batch.clear(marks);
            });
        });
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

fn add(batch: &mut Coalescer, turn: &Arc<Turn>, mut each: impl FnMut(&mut Coalescer, usize)) {
    batch.add_turn(turn.clone());
    for index in 0..turn.items().len() {
        batch.add_broadcast(index);
        each(batch, index);
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
