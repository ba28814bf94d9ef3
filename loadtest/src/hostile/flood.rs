//! Too much of what is allowed: connections that come without end, and messages.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use gunmetal::ws::frame::{self, Opcode};

use super::{Budget, Life, MASK, TURN, open};
use crate::plan::Target;

/// Messages between two looks at what the server says.
const MESSAGES_AT_ONCE: usize = 64;

/// So many peers a second come in; when there are more than `count`, the oldest leaves.
pub fn connections(targets: &[Target], count: u32, rate: f64, life: &Life) {
    let mut peers = VecDeque::new();
    let (mut budget, mut number) = (Budget::new(rate), 0);
    while life.goes_on() {
        for _ in 0..budget.take() {
            number += 1;
            // Not being let in is what a flood has to expect.
            peers.extend(open(&targets[number % targets.len()]).ok());
            if peers.len() > count as usize {
                peers.pop_front();
            }
            if !life.goes_on() {
                return;
            }
        }
        thread::sleep(TURN);
    }
}

/// How long the messages of a flood are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As short as data can be.
    Short,
    /// Four KiB more: what nobody reads is soon more than the kernel holds for a peer.
    Long,
}

/// `count` peers say so many messages a second, all together; every one is new, and for everybody.
pub fn messages(targets: &[Target], count: u32, size: Size, rate: f64, life: &Life) {
    let text = match size {
        Size::Short => String::new(),
        Size::Long => "all work and no play ".repeat(4096 / 21),
    };
    let mut peers: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
    let mut budget = Budget::new(rate);
    let (mut said, mut room) = (0_u64, vec![0; 256 << 10]);
    while life.goes_on() {
        for (number, peer) in peers.iter_mut().enumerate() {
            if peer.is_none() {
                *peer = open(&targets[number % targets.len()]).ok().filter(set_nonblocking);
            }
            if !peer.as_mut().is_some_and(|peer| read_all(peer, &mut room)) {
                *peer = None;
            }
        }
        let due = budget.take();
        for messages in (0..due).step_by(MESSAGES_AT_ONCE) {
            let many = MESSAGES_AT_ONCE.min(due - messages);
            let bytes: Vec<u8> =
                (0..many as u64).flat_map(|more| message(said + more, &text)).collect();
            let turn = messages / MESSAGES_AT_ONCE % peers.len();
            said += many as u64;
            // What a full socket takes a part of ends in the middle of a frame: that peer begins anew.
            let is_said = |peer: &mut TcpStream| peer.write(&bytes).is_ok_and(|n| n == bytes.len());
            if !peers[turn].as_mut().is_some_and(is_said) {
                peers[turn] = None;
            }
        }
        thread::sleep(TURN);
    }
}

fn set_nonblocking(peer: &TcpStream) -> bool {
    peer.set_nonblocking(true).is_ok()
}

/// Whether the peer is still there.
fn read_all(peer: &mut TcpStream, room: &mut [u8]) -> bool {
    loop {
        match peer.read(room) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Data for everybody, under an id of its own.
fn message(number: u64, text: &str) -> Vec<u8> {
    let (from, soul) = (std::process::id(), "loadtest/flood");
    let text = format!(
        r##"{{"#":"f{from:x}.{number:x}","put":{{"{soul}":{{"_":{{"#":"{soul}",">":{{"n":{number}}}}},"n":"{number} {text}"}}}}}}"##
    );
    frame::masked(Opcode::Text, &[text.as_bytes()], MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_floods_is_valid_and_new_each_time() {
        let text_of = |mut frame: Vec<u8>| {
            let from = memchr::memchr(MASK[0], &frame).unwrap() + MASK.len();
            frame::mask(&mut frame[from..], MASK, 0);
            serde_json::from_slice::<serde_json::Value>(&frame[from..]).unwrap()
        };
        for text in ["", &"x".repeat(4096)] {
            let [one, two] = [1, 2].map(|number| text_of(message(number, text)));
            assert_ne!(one["#"], two["#"]);
            assert_eq!(two["put"]["loadtest/flood"]["n"], format!("2 {text}"));
        }
    }
}
