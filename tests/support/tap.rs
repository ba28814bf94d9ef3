//! A tap on the wire between two relays: what one dials instead of the other. It passes every byte on and keeps the
//! text frames it saw, so that a test can see what goes between relays, and that nothing does.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::relay;

pub struct Tap {
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    target: Mutex<u16>,
    open: AtomicUsize,
    dialled: AtomicUsize,
    texts: Mutex<Vec<String>>,
}

impl Tap {
    /// A tap that leads nowhere yet: connections to it end at once.
    pub fn start() -> Tap {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind any port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for dialler in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || pass_on(dialler, &shared));
            }
        });
        Tap { port, seen }
    }

    pub fn lead_to(&self, port: u16) {
        *self.seen.target.lock().expect("target") = port;
    }

    pub fn url(&self) -> String {
        relay::url(self.port)
    }

    /// Whether a link goes through it right now.
    pub fn is_open(&self) -> bool {
        self.seen.open.load(Ordering::SeqCst) > 0
    }

    /// How often it was dialled, also in vain.
    pub fn dialled(&self) -> usize {
        self.seen.dialled.load(Ordering::SeqCst)
    }

    /// The text frames of both directions so far, but for heartbeats.
    pub fn texts(&self) -> Vec<String> {
        self.seen.texts.lock().expect("texts").clone()
    }
}

fn pass_on(dialler: TcpStream, seen: &Arc<Seen>) {
    seen.dialled.fetch_add(1, Ordering::SeqCst);
    let target = *seen.target.lock().expect("target");
    let Ok(relay) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { return };
    seen.open.fetch_add(1, Ordering::SeqCst);
    let back = {
        let (from, to) =
            (relay.try_clone().expect("a handle"), dialler.try_clone().expect("a handle"));
        let seen = Arc::clone(seen);
        thread::spawn(move || copy(from, to, &seen))
    };
    copy(dialler, relay, seen);
    let _ = back.join();
    seen.open.fetch_sub(1, Ordering::SeqCst);
}

// Copies until one end is gone, and then ends both.
fn copy(mut from: TcpStream, mut to: TcpStream, seen: &Seen) {
    let mut watcher = Watcher::default();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let texts = watcher.texts(&buffer[..count]);
        seen.texts.lock().expect("texts").extend(texts.into_iter().filter(|text| text != "[]"));
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Finds the text frames in one direction of a connection.
#[derive(Default)]
struct Watcher {
    pending: Vec<u8>,
    upgraded: bool,
}

impl Watcher {
    fn texts(&mut self, bytes: &[u8]) -> Vec<String> {
        self.pending.extend_from_slice(bytes);
        if !self.upgraded {
            let Some(end) = self.pending.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Vec::new();
            };
            self.pending.drain(..end + 4);
            self.upgraded = true;
        }
        std::iter::from_fn(|| self.next_frame())
            .filter(|(first, _)| *first == 0x81)
            .map(|(_, payload)| String::from_utf8_lossy(&payload).into_owned())
            .collect()
    }

    // The first byte and the payload of the next frame, if it is all there.
    fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (&first, &second) = (self.pending.first()?, self.pending.get(1)?);
        let (length, mut at) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(self.pending.get(2..4)?.try_into().ok()?)), 4),
            127 => (u64::from_be_bytes(self.pending.get(2..10)?.try_into().ok()?), 10),
            short => (u64::from(short), 2),
        };
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            mask.copy_from_slice(self.pending.get(at..at + 4)?);
            at += 4;
        }
        let end = at + usize::try_from(length).ok()?;
        let masked = self.pending.get(at..end)?;
        let payload =
            masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        self.pending.drain(..end);
        Some((first, payload))
    }
}
