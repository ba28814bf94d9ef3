//! `ws/frame.rs`: headers and masks. Beside them tungstenite's header, and the two usual ways to mask: byte
//! by byte, and in words of four. The compiler may use vectors for all of them.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gunmetal::ws::frame::{mask, text_header};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

const KEY: [u8; 4] = [0x11, 0x52, 0xa3, 0xf4];

fn byte_by_byte(bytes: &mut [u8], key: [u8; 4]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= key[index % 4];
    }
}

/// As tungstenite does it.
fn by_words(bytes: &mut [u8], key: [u8; 4]) {
    let word = u32::from_ne_bytes(key);
    let (words, rest) = bytes.as_chunks_mut::<4>();
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    byte_by_byte(rest, key);
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    let bytes = text_header(200).len() as u64;
    group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes });
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
            bencher.iter(|| mask(black_box(&mut payload), black_box(KEY), 0));
        });
        group.bench_function(BenchmarkId::new("unmask byte by byte", payload_bytes), |bencher| {
            bencher.iter(|| byte_by_byte(black_box(&mut payload), black_box(KEY)));
        });
        group.bench_function(BenchmarkId::new("unmask by words of 4", payload_bytes), |bencher| {
            bencher.iter(|| by_words(black_box(&mut payload), black_box(KEY)));
        });
    }
    group.finish();
}

criterion_group!(benches, headers, masks);
criterion_main!(benches);
