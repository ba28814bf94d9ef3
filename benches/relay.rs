//! `net/relay.rs`: a whole relay over loopback, with one reactor and one writer. Beside it a thread
//! that writes what it reads to all receivers, and knows no messages.
//!
//! The generator is this thread: the figures tell whether a change made it faster or slower, not
//! what the relay can do. That is what `loadtest` is for.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gunmetal::config::Config;
use gunmetal::net::relay::Relay;
use gunmetal::ws::frame::{Opcode, masked};

/// Messages sent before the receivers are read.
const WINDOW: u64 = 100;

/// Longer than any message, so that the last one is found in what came last.
const TAIL_BYTES: usize = 1024;

struct Client(TcpStream);

impl Client {
    fn join(relay: &Relay) -> Client {
        let address = relay.address();
        let mut stream = TcpStream::connect(address).expect("the relay listens");
        stream.set_nodelay(true).expect("a socket");
        let request = format!(
            "GET /gun HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("the relay reads");
        let mut client = Client(stream);
        client.read_to(r#""dam":"?""#);
        client
    }

    /// Reads until this was among what came last.
    fn read_to(&mut self, text: &str) {
        let (mut buffer, mut tail) = (vec![0; 256 * 1024], Vec::new());
        loop {
            let count = self.0.read(&mut buffer).expect("the relay writes");
            assert!(count > 0, "the relay hung up");
            tail.extend_from_slice(&buffer[..count]);
            tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
            if tail.windows(text.len()).any(|window| window == text.as_bytes()) {
                return;
            }
        }
    }

    fn send(&mut self, texts: impl Iterator<Item = String>) {
        let mut frames = Vec::new();
        for text in texts {
            // A mask that changes nothing: receivers of the thread beside the relay get it as it is sent.
            frames.extend(masked(Opcode::Text, &[text.as_bytes()], [0; 4]));
        }
        self.0.write_all(&frames).expect("the relay reads");
    }
}

fn relay() -> Relay {
    Relay::start(Config { reactors: 1, writers: 1, ..Config::default() }).expect("a relay")
}

/// Sends a window of puts from one to all others, which read all of it.
fn fan_out(sender: &mut Client, receivers: &mut [Client], from: u64) {
    sender.send((from..from + WINDOW).map(common::put));
    let last = format!(r##""#":"{:09}""##, from + WINDOW - 1);
    receivers.iter_mut().for_each(|receiver| receiver.read_to(&last));
}

fn fan_outs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay");
    for receivers in [1, 10, 100] {
        let elements = WINDOW * receivers;
        let bytes = elements * common::put(0).len() as u64;
        group.throughput(Throughput::ElementsAndBytes { elements, bytes });
        let relay = relay();
        let mut sender = Client::join(&relay);
        let mut crowd: Vec<_> = (0..receivers).map(|_| Client::join(&relay)).collect();
        let mut from = 0;
        group.bench_function(BenchmarkId::new("one to", receivers), |bencher| {
            bencher.iter(|| {
                fan_out(&mut sender, &mut crowd, from);
                from += WINDOW;
            });
        });
        relay.stop();
        let (mut sender, mut crowd) = floor(receivers as usize);
        group.bench_function(BenchmarkId::new("bytes from one to", receivers), |bencher| {
            bencher.iter(|| {
                fan_out(&mut sender, &mut crowd, from);
                from += WINDOW;
            });
        });
    }
    group.finish();
}

/// A thread that passes bytes on, until its sender hangs up.
fn floor(receivers: usize) -> (Client, Vec<Client>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let pair = || {
        let near = TcpStream::connect(address).expect("it listens");
        let (far, _) = listener.accept().expect("it connects");
        near.set_nodelay(true).and(far.set_nodelay(true)).expect("a socket");
        (Client(near), far)
    };
    let (sender, mut source) = pair();
    let (crowd, mut sinks): (Vec<_>, Vec<_>) = (0..receivers).map(|_| pair()).unzip();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            sinks.iter_mut().for_each(|sink| drop(sink.write_all(&buffer[..count])));
        }
    });
    (sender, crowd)
}

fn questions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay");
    let bytes = WINDOW * (common::get(0).len() + common::answer(0).len()) as u64;
    group.throughput(Throughput::ElementsAndBytes { elements: WINDOW, bytes });
    let relay = relay();
    let (mut asker, mut answerer) = (Client::join(&relay), Client::join(&relay));
    let mut from = 0;
    group.bench_function("questions and answers", |bencher| {
        bencher.iter(|| {
            let last = from + WINDOW - 1;
            asker.send((from..=last).map(common::get));
            answerer.read_to(&format!(r##""#":"g{last:08}""##));
            answerer.send((from..=last).map(common::answer));
            asker.read_to(&format!(r##""@":"g{last:08}""##));
            from += WINDOW;
        });
    });
    group.finish();
    relay.stop();
}

criterion_group!(benches, fan_outs, questions);
criterion_main!(benches);
