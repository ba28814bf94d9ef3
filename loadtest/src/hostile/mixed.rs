//! Attackers of many kinds at once: each does one thing a well-behaved peer never does, and is thrown out.
//!
//! Owns: a thread for each connection, which does its worst in an endless loop.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gunmetal::ws::frame::{self, Opcode};
use gunmetal::ws::upgrade::client_request;

use super::{KEY, Life, MASK, connect, open};
use crate::plan::Target;

/// Pause between attacks of one connection, so that they do not measure the speed of this machine.
const PAUSE: Duration = Duration::from_millis(20);

/// What a hostile connection does once.
type Attack = fn(&Target) -> io::Result<()>;

const ATTACKS: &[Attack] =
    &[malformed_frames, broken_json, slow_request, flood, huge_claim, no_http];

/// Starts so many threads of each kind.
pub fn start(targets: &[Target], of_each: u32, life: &Life) -> Vec<JoinHandle<()>> {
    let kinds = (0..of_each).flat_map(|_| ATTACKS.iter().copied());
    let attacker = |(number, attack): (usize, Attack)| {
        let target = targets[number % targets.len()].clone();
        let life = life.clone();
        thread::spawn(move || {
            while life.goes_on() {
                // Being thrown out is what an attacker has to expect.
                let _thrown_out = attack(&target);
                thread::sleep(PAUSE);
            }
        })
    };
    kinds.enumerate().map(attacker).collect()
}

/// Waits until the server hangs up or patience ends.
fn await_end(mut stream: TcpStream) -> io::Result<()> {
    let mut answer = [0; 4096];
    while stream.read(&mut answer)? > 0 {}
    Ok(())
}

/// Reserved opcodes, frames without a mask, control frames that are too long.
fn malformed_frames(target: &Target) -> io::Result<()> {
    let frames: [&[u8]; 4] = [
        &[0x83, 0x80, 1, 2, 3, 4],
        &[0x81, 1, b'{'],
        &[0x89, 0xfe, 0, 126],
        &[0xf1, 0x80, 0, 0, 0, 0],
    ];
    for bytes in frames {
        let mut stream = open(target)?;
        stream.write_all(bytes)?;
        await_end(stream)?;
    }
    Ok(())
}

/// JSON that ends too early, nests too deep, or is none; bytes that are no text.
fn broken_json(target: &Target) -> io::Result<()> {
    let mut stream = open(target)?;
    let deep = "[".repeat(100_000);
    let texts: [&[u8]; 5] = [
        b"{\"#\":",
        deep.as_bytes(),
        b"{\"#\":\"x\",\"dam\":\"constructor\"}",
        b"[null,1,\"\",{}]",
        b"{\"@\":\"__proto__\"}",
    ];
    for text in texts {
        stream.write_all(&frame::masked(Opcode::Text, &[text], MASK))?;
    }
    stream.write_all(&frame::masked(Opcode::Text, &[b"{\"\xff\xfe\"}"], MASK))?;
    await_end(stream)
}

/// A request that comes byte by byte and never ends.
fn slow_request(target: &Target) -> io::Result<()> {
    let mut stream = connect(target)?;
    let request = client_request(&target.host, &target.path, KEY);
    for byte in &request[..request.len().min(30)] {
        stream.write_all(&[*byte])?;
        thread::sleep(PAUSE * 2);
    }
    Ok(())
}

/// As many controls and ignored texts as the server takes; none of it is passed on to others.
fn flood(target: &Target) -> io::Result<()> {
    let mut stream = open(target)?;
    let ping = frame::masked(Opcode::Ping, &[b"are you there"], MASK);
    let text = frame::masked(Opcode::Text, &[br##"{"dam":"none","#":"same"}"##], MASK);
    let bytes = [ping, text].concat().repeat(500);
    for _ in 0..20 {
        stream.write_all(&bytes)?;
    }
    Ok(())
}

/// A frame that claims to be longer than anything, and a little of it.
fn huge_claim(target: &Target) -> io::Result<()> {
    let mut stream = open(target)?;
    let claim = [0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    stream.write_all(&[&claim[..], &[b'{'; 10_000]].concat())?;
    await_end(stream)
}

/// Bytes that are no request.
fn no_http(target: &Target) -> io::Result<()> {
    let mut stream = connect(target)?;
    stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc])?;
    await_end(stream)?;
    let mut stream = connect(target)?;
    stream.write_all("GET /gun HTTP/1.1\r\n".as_bytes())?;
    stream.write_all(&b"X: y\r\n".repeat(10_000))?;
    await_end(stream)
}
