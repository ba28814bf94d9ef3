//! `dam/dedup.rs`: is an id new? Beside it a dashmap and a map under one lock, which know of each id when it
//! came and forget the oldest one for each new one; and the standard library's hash. All are given the same
//! keys, and none hashes them again.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use criterion::{
    BatchSize, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use dashmap::DashMap;
use gunmetal::dam::dedup::{Dedup, Entry, GENERATION_MS, Key, Keys};

/// Length of the ids.
const ID_BYTES: u64 = 8;
/// What the tables hold that are filled by several threads.
const SHARED_ENTRIES: usize = 2_000_000;

fn keys() -> Keys {
    Keys::new([7; 192])
}

/// So many ids.
fn throughput(ids: u64) -> Throughput {
    Throughput::ElementsAndBytes { elements: ids, bytes: ids * ID_BYTES }
}

/// Passes a key through: it is a hash already.
#[derive(Default)]
struct PassThrough(u64);

impl Hasher for PassThrough {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only keys are hashed, and they write one u64");
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

type Pass = BuildHasherDefault<PassThrough>;

/// The order in which ids came, of as many as are remembered.
struct Order {
    keys: Vec<Key>,
    at: usize,
    room: usize,
}

impl Order {
    fn of(room: usize) -> Self {
        Order { keys: Vec::with_capacity(room), at: 0, room }
    }

    /// The newest comes. Returns the one that is too old now.
    fn push(&mut self, key: Key) -> Option<Key> {
        if self.keys.len() < self.room {
            self.keys.push(key);
            return None;
        }
        self.at = (self.at + 1) % self.room;
        Some(std::mem::replace(&mut self.keys[self.at], key))
    }
}

/// A table with this many entries in its current generation, about as many as it holds.
fn filled(keys: &Keys, entries: u64) -> Dedup {
    let dedup = Dedup::new(2 * entries as usize + 1_000);
    for id in 0..entries {
        dedup.first(keys.of(&id.to_le_bytes()), Entry::SEEN);
    }
    dedup
}

/// The time of `count` calls, spread over `threads`.
fn on_threads(threads: u64, count: u64, call: impl Fn(u64) + Sync) -> Duration {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let call = &call;
            scope.spawn(move || (thread..count).step_by(threads as usize).for_each(call));
        }
    });
    started.elapsed()
}

fn hashing(criterion: &mut Criterion) {
    let (keys, siphash) = (keys(), RandomState::new());
    let mut group = criterion.benchmark_group("dedup");
    for bytes in [9, 36, 200] {
        let id = vec![b'a'; bytes];
        group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes: bytes as u64 });
        group.bench_function(BenchmarkId::new("key", bytes), |bencher| {
            bencher.iter(|| keys.of(black_box(&id)));
        });
        group.bench_function(
            BenchmarkId::new("64 bits by the standard library", bytes),
            |bencher| {
                bencher.iter(|| siphash.hash_one(black_box(&id[..])));
            },
        );
    }
    group.finish();
}

fn sizes(criterion: &mut Criterion) {
    let keys = keys();
    let mut group = criterion.benchmark_group("dedup");
    group.throughput(throughput(1));
    for entries in [10_000, 1_000_000, 10_000_000] {
        let dedup = filled(&keys, entries);
        let known = |id: u64| keys.of(&(id % entries).to_le_bytes());
        let mut id = 0;
        group.bench_function(BenchmarkId::new("known", entries), |bencher| {
            bencher.iter(|| {
                id += 7919;
                assert!(!dedup.first(known(id), Entry::SEEN));
            });
        });
        let mut id = entries;
        group.bench_function(BenchmarkId::new("new", entries), |bencher| {
            bencher.iter(|| {
                id += 1;
                assert!(dedup.first(keys.of(&id.to_le_bytes()), Entry::SEEN));
            });
        });
        let map: DashMap<Key, Entry, Pass> = DashMap::default();
        let mut order = Order::of(entries as usize);
        for id in 0..entries {
            let key = keys.of(&id.to_le_bytes());
            map.insert(key, Entry::SEEN);
            order.push(key);
        }
        let mut id = entries;
        group.bench_function(BenchmarkId::new("new in a dashmap", entries), |bencher| {
            bencher.iter(|| {
                id += 1;
                let key = keys.of(&id.to_le_bytes());
                assert!(map.insert(key, Entry::SEEN).is_none());
                order.push(key).map(|oldest| map.remove(&oldest))
            });
        });
        assert_eq!(map.len() as u64, entries);
    }
    group.finish();
}

/// An id of the older generation is touched, and a full generation is emptied. Each call needs a table of
/// its own, which takes far longer to fill: so there are few calls.
fn ageing(criterion: &mut Criterion) {
    let keys = keys();
    let mut group = criterion.benchmark_group("dedup");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(1));
    for entries in [10_000, 1_000_000, 10_000_000] {
        let old = || {
            let dedup = filled(&keys, entries);
            dedup.expire(GENERATION_MS);
            dedup
        };
        group.throughput(throughput(entries));
        group.bench_function(BenchmarkId::new("refresh", entries), |bencher| {
            let refresh_all = |dedup: Dedup| {
                for id in 0..entries {
                    assert!(!dedup.first(keys.of(&id.to_le_bytes()), Entry::SEEN));
                }
                dedup
            };
            bencher.iter_batched(old, refresh_all, BatchSize::PerIteration);
        });
        group.bench_function(BenchmarkId::new("rotation", entries), |bencher| {
            let rotate = |dedup: Dedup| {
                dedup.expire(2 * GENERATION_MS);
                dedup
            };
            bencher.iter_batched(old, rotate, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn threads(criterion: &mut Criterion) {
    let keys = keys();
    let mut group = criterion.benchmark_group("dedup");
    group.throughput(throughput(1));
    for threads in [1, 2, 4, 8] {
        let dedup = Dedup::new(SHARED_ENTRIES);
        let mut from = 0u64;
        group.bench_function(BenchmarkId::new("new, on threads", threads), |bencher| {
            bencher.iter_custom(|count| {
                from += count;
                on_threads(threads, count, |id| {
                    let new = from - count + id;
                    assert!(dedup.first(keys.of(&new.to_le_bytes()), Entry::SEEN));
                })
            });
        });
        let dedup = filled(&keys, 1_000_000);
        group.bench_function(BenchmarkId::new("known, on threads", threads), |bencher| {
            bencher.iter_custom(|count| {
                on_threads(threads, count, |id| {
                    let id = id * 7919 % 1_000_000;
                    assert!(!dedup.first(keys.of(&id.to_le_bytes()), Entry::SEEN));
                })
            });
        });
        let map = Mutex::new((HashMap::<Key, Entry, Pass>::default(), Order::of(SHARED_ENTRIES)));
        let mut from = 0u64;
        group.bench_function(BenchmarkId::new("one lock, on threads", threads), |bencher| {
            bencher.iter_custom(|count| {
                from += count;
                on_threads(threads, count, |id| {
                    let key = keys.of(&(from - count + id).to_le_bytes());
                    let (map, order) = &mut *map.lock().expect("no thread panics");
                    assert!(map.insert(key, Entry::SEEN).is_none());
                    if let Some(oldest) = order.push(key) {
                        map.remove(&oldest);
                    }
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hashing, sizes, ageing, threads);
criterion_main!(benches);
