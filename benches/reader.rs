//! `ws/reader.rs`: frames out of received bytes, unmasked and checked. Beside it tungstenite's
//! `WebSocketContext`, fed from the same 64 KiB, as a server would that uses it as it is.

use std::hint::black_box;
use std::io::{self, Read, Write};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gunmetal::ws::frame::{Opcode, masked};
use gunmetal::ws::reader::{FrameReader, Role};
use tungstenite::protocol::{Role as OracleRole, WebSocketConfig, WebSocketContext};

const RECEIVED_BYTES: usize = 64 * 1024;

/// What one read of the socket yields: as many frames of this size as fit, one at least.
fn received(payload_bytes: usize) -> (Vec<u8>, usize) {
    let payload = vec![b'a'; payload_bytes];
    let frame = masked(Opcode::Text, &[&payload], [1, 2, 3, 4]);
    let count = (RECEIVED_BYTES / frame.len()).max(1);
    (frame.repeat(count), count)
}

/// The bytes of a socket that has no more.
struct Received<'a>(&'a [u8]);

impl Read for Received<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Received<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ours(reader: &mut FrameReader, input: &mut [u8]) -> usize {
    let (mut at, mut events) = (0, 0);
    while let Some(event) = reader.next(input, &mut at).expect("the frames are good") {
        black_box(&event);
        events += 1;
    }
    events
}

fn theirs(context: &mut WebSocketContext, input: &[u8]) -> usize {
    let (mut socket, mut events) = (Received(input), 0);
    while let Ok(message) = context.read(&mut socket) {
        black_box(&message);
        events += 1;
    }
    events
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reader");
    for payload_bytes in [20, 200, 2_000, 16 * 1024, 1 << 20] {
        let (bytes, count) = received(payload_bytes);
        let (elements, bytes_in) = (count as u64, bytes.len() as u64);
        group.throughput(Throughput::ElementsAndBytes { elements, bytes: bytes_in });
        let mut input = bytes.clone();
        let mut reader = FrameReader::new(Role::Server, 1 << 30);
        group.bench_function(BenchmarkId::new("frames", payload_bytes), |bencher| {
            bencher.iter(|| {
                input.copy_from_slice(&bytes);
                let parts = input.chunks_mut(RECEIVED_BYTES);
                assert_eq!(parts.map(|part| ours(&mut reader, part)).sum::<usize>(), count);
            });
        });
        let config = WebSocketConfig::default().read_buffer_size(1024).max_frame_size(None);
        let mut context = WebSocketContext::new(OracleRole::Server, Some(config));
        group.bench_function(BenchmarkId::new("tungstenite", payload_bytes), |bencher| {
            bencher.iter(|| {
                let parts = bytes.chunks(RECEIVED_BYTES);
                assert_eq!(parts.map(|part| theirs(&mut context, part)).sum::<usize>(), count);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
