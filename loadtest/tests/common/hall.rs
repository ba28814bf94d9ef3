//! A small relay with a fault of its own: a thread for each connection, and one lock around all.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use gunmetal::ws::frame;
use gunmetal::ws::reader::{Event, FrameReader, Role};
use gunmetal::ws::upgrade::{self, HeadLimits};

/// How often the fault happens: once in so many copies.
const ONCE_IN: u64 = 1000;

/// How a peer's greeting begins; it is for the relay alone.
const GREETING: &[u8] = br#"{"dam""#;

/// What the relay does wrong, to one copy in a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    Drop,
    Repeat,
    Reorder,
    Echo,
    Corrupt,
}

/// Whether the hall reads on. It stops by itself after so many texts, until it is told to go on.
#[derive(Debug, Default)]
pub struct Gate {
    /// How many texts were read, and whether it goes on.
    state: Mutex<(u32, bool)>,
    opened: Condvar,
}

impl Gate {
    /// The hall goes on, and does not stop again.
    pub fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.opened.notify_all();
    }

    fn pass(&self, stop_after: u32) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        while state.0 > stop_after && !state.1 {
            state = self.opened.wait(state).unwrap();
        }
    }
}

/// Everybody who is connected.
struct Hall {
    fault: Fault,
    copies: u64,
    peers: Vec<Option<Peer>>,
}

struct Peer {
    stream: TcpStream,
    /// A copy that leaves after the next one.
    held: Option<Vec<u8>>,
}

/// Starts the relay. Returns its port.
pub fn start(fault: Fault) -> u16 {
    let gate = Arc::new(Gate::default());
    gate.open();
    start_with(fault, gate, 0)
}

/// Starts a relay without fault that stops reading after so many texts, until its gate is opened.
pub fn start_gated(stop_after: u32) -> (u16, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    (start_with(Fault::None, gate.clone(), stop_after), gate)
}

fn start_with(fault: Fault, gate: Arc<Gate>, stop_after: u32) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let hall = Arc::new(Mutex::new(Hall { fault, copies: 0, peers: Vec::new() }));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (hall, gate) = (hall.clone(), gate.clone());
            thread::spawn(move || serve(stream, &hall, &|| gate.pass(stop_after)));
        }
    });
    port
}

fn serve(mut stream: TcpStream, hall: &Mutex<Hall>, wait: &dyn Fn()) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut input = open(&mut stream)?;
    let place = {
        let mut hall = hall.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = stream.try_clone().ok()?;
        hall.peers.push(Some(Peer { stream, held: None }));
        hall.peers.len() - 1
    };
    let mut reader = FrameReader::new(Role::Server, 1 << 20);
    let mut room = vec![0; 64 << 10];
    loop {
        let mut at = 0;
        while let Ok(Some(event)) = reader.next(&mut input, &mut at) {
            if let Event::Text(text) = event {
                if !text.starts_with(GREETING) {
                    wait();
                }
                hall.lock().unwrap_or_else(PoisonError::into_inner).pass(place, &text);
            }
        }
        let read = stream.read(&mut room).unwrap_or(0);
        if read == 0 {
            hall.lock().unwrap_or_else(PoisonError::into_inner).peers[place] = None;
            return None;
        }
        input = room[..read].to_vec();
    }
}

/// Answers the request. Returns what came behind it.
fn open(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let mut room = [0; 4096];
        let read = stream.read(&mut room).ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&room[..read]);
        if let Some(request) = upgrade::parse(&head, &HeadLimits::default()).ok()? {
            stream.write_all(&upgrade::accept(&request.upgrade?.ok()?)).ok()?;
            return Some(head.split_off(request.head_bytes));
        }
    }
}

impl Hall {
    fn pass(&mut self, from: usize, text: &[u8]) {
        if text.starts_with(GREETING) {
            return;
        }
        for to in 0..self.peers.len() {
            if to != from && self.peers[to].is_some() {
                self.copies += 1;
                let is_wrong = self.copies % ONCE_IN == ONCE_IN / 2;
                let fault = if is_wrong { self.fault } else { Fault::None };
                self.pass_to(from, to, text, fault);
            }
        }
    }

    fn pass_to(&mut self, from: usize, to: usize, text: &[u8], fault: Fault) {
        let frame = [&frame::text_header(text.len()), text].concat();
        match fault {
            Fault::None => self.write(to, frame),
            Fault::Drop => {}
            Fault::Repeat => {
                self.write(to, frame.clone());
                self.write(to, frame);
            }
            Fault::Reorder => self.peers[to].as_mut().unwrap().held = Some(frame),
            Fault::Echo => {
                self.write(to, frame.clone());
                self.write(from, frame);
            }
            Fault::Corrupt => {
                let mut frame = frame;
                let at = frame.len() - 20;
                frame[at] ^= 1;
                self.write(to, frame);
            }
        }
    }

    fn write(&mut self, to: usize, mut bytes: Vec<u8>) {
        let Some(peer) = &mut self.peers[to] else { return };
        bytes.extend(peer.held.take().unwrap_or_default());
        // A peer that is gone is noticed by its own thread.
        let _gone = peer.stream.write_all(&bytes);
    }
}
