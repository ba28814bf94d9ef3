//! `ws/frame.rs`: headers and masks. Beside them tungstenite's header and a mask byte by byte.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gunmetal::ws::frame::{mask, text_header};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

const KEY: [u8; 4] = [0x11, 0x52, 0xa3, 0xf4];

fn byte_by_byte(bytes: &mut [u8], key: [u8; 4]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= black_box(key)[index % 4];
    }
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Elements(1));
    group.bench_function("header", |bencher| bencher.iter(|| text_header(black_box(200))));
    let mut out = Vec::with_capacity(16);
    group.bench_function("header by tungstenite", |bencher| {
        bencher.iter(|| {
            out.clear();
            let opcode = OpCode::Data(Data::Text);
            let header = FrameHeader { opcode, ..FrameHeader::default() };
            header.format(black_box(200), &mut out).expect("a Vec takes all");
            black_box(&out);
        });
    });
    group.finish();
}

fn masks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    for payload_bytes in [20, 200, 16 * 1024, 1 << 20] {
        let bytes = payload_bytes as u64;
        group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes });
        let mut payload = vec![b'a'; payload_bytes];
        group.bench_function(BenchmarkId::new("unmask", payload_bytes), |bencher| {
            bencher.iter(|| mask(black_box(&mut payload), KEY, 0));
        });
        group.bench_function(BenchmarkId::new("unmask byte by byte", payload_bytes), |bencher| {
            bencher.iter(|| byte_by_byte(black_box(&mut payload), KEY));
        });
    }
    group.finish();
}

criterion_group!(benches, headers, masks);
criterion_main!(benches);
