//! A swarm that reads nothing, and some who see to it that there is something to read.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use gunmetal::ws::upgrade::client_request;
use socket2::{Domain, Socket, Type};

use super::flood::{self, Size};
use super::{KEY, Life, PATIENCE, TURN};
use crate::plan::Target;

/// One in so many says something.
const SPEAKERS_ONE_IN: u32 = 20;
/// How long one stalls before another takes its place: what the server held for it has to be freed as well.
const STALLS_FOR: Duration = Duration::from_secs(3);
/// The kernel is to hold little for who reads nothing: the rest is the server's.
const RECEIVE_BUFFER_BYTES: usize = 4096;

/// `count` peers, of whom some say so many messages a second, all together.
pub fn swarm(targets: &[Target], count: u32, rate: f64, life: &Life) {
    let speakers = (count / SPEAKERS_ONE_IN).max(1);
    thread::scope(|scope| {
        scope.spawn(|| flood::messages(targets, speakers, Size::Long, rate, life));
        stall(targets, count.saturating_sub(speakers), life);
    });
}

/// Keeps so many peers that read nothing after they have been let in.
fn stall(targets: &[Target], count: u32, life: &Life) {
    let mut peers: VecDeque<(Instant, TcpStream)> = VecDeque::new();
    let mut number = 0;
    while life.goes_on() {
        while peers.front().is_some_and(|(since, _)| since.elapsed() > STALLS_FOR) {
            peers.pop_front();
        }
        if peers.len() >= count as usize {
            thread::sleep(TURN);
            continue;
        }
        number += 1;
        match open(&targets[number % targets.len()]) {
            Ok(peer) => peers.push_back((Instant::now(), peer)),
            // Not being let in is what a swarm has to expect.
            Err(_) => thread::sleep(TURN),
        }
    }
}

fn open(target: &Target) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target.address), Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.connect_timeout(&target.address.into(), PATIENCE)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&client_request(&target.host, &target.path, KEY))?;
    // The first byte of the answer says that it is let in.
    match stream.read(&mut [0])? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(stream),
    }
}
