//! `dam/mesh.rs`: from a frame's text to a route, with 100 peers connected.

mod common;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gunmetal::dam::batch::Limits;
use gunmetal::dam::mesh::{Mesh, Peer, Route, Router};
use gunmetal::dam::peer::{Name, PeerId};

struct Relay {
    router: Router,
    peers: Vec<Peer>,
    id: u64,
}

impl Relay {
    fn new() -> Self {
        let mesh = Arc::new(Mesh::new(2_000_000, [7; 192], 1));
        let limits = Limits { message_units_max: 90_000_000, depth_max: 1_000 };
        let join = |n: u64| {
            let id = PeerId::new(n, 0);
            let seat = mesh.peers.join(id, Name::Id(&format!("peer{n:05}")));
            Peer { id, seat, is_dialled: false, pid: None }
        };
        let peers = (0..100).map(join).collect();
        Relay { router: Router::new(mesh, limits, 1), peers, id: 0 }
    }

    fn next_id(&mut self) -> u64 {
        self.id += 1;
        self.id
    }

    fn hear(&mut self, peer: usize, text: &str) -> usize {
        let mut bytes = 0;
        let mut out = Vec::with_capacity(1024);
        self.router.receive(text.as_bytes(), &mut self.peers[peer], &mut |route| match route {
            Route::Broadcast(message, except) => {
                black_box(except);
                out.clear();
                message.append_to(&mut out);
                bytes += out.len();
            }
            Route::Peer(_, message) => {
                out.clear();
                message.append_to(&mut out);
                bytes += out.len();
            }
            other => {
                black_box(&other);
            }
        });
        bytes
    }
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mesh");
    group.throughput(Throughput::Elements(1));
    let mut relay = Relay::new();
    group.bench_function("put to all", |bencher| {
        bencher.iter(|| {
            let text = common::put(relay.next_id());
            assert!(relay.hear(0, &text) > 0);
        });
    });
    let text = common::put(relay.next_id());
    relay.hear(0, &text);
    group.bench_function("put heard before", |bencher| {
        bencher.iter(|| assert_eq!(relay.hear(1, &text), 0));
    });
    group.bench_function("get and answer", |bencher| {
        bencher.iter(|| {
            let id = relay.next_id();
            assert!(relay.hear(0, &common::get(id)) > 0);
            assert!(relay.hear(1, &common::answer(id)) > 0);
        });
    });
    group.bench_function("making the texts", |bencher| {
        bencher.iter(|| black_box(common::put(relay.next_id())));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
