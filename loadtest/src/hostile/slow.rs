//! Requests that never end: a byte now and then, on many connections, from one thread.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use gunmetal::ws::upgrade::client_request;

use super::{KEY, Life, TURN, connect};
use crate::plan::Target;

/// Time between two bytes of a connection.
const BYTE_EVERY: Duration = Duration::from_millis(500);

struct Slow {
    stream: Option<TcpStream>,
    sent: usize,
    next: Instant,
}

/// Keeps so many requests open that never end; those that the server ends are begun anew.
pub fn requests(targets: &[Target], count: u32, life: &Life) {
    let start = Instant::now();
    let slow = |number| Slow {
        stream: None,
        sent: 0,
        // Not all at once.
        next: start + BYTE_EVERY * number / count,
    };
    let mut all: Vec<_> = (0..count).map(slow).collect();
    while life.goes_on() {
        let now = Instant::now();
        for (number, slow) in all.iter_mut().enumerate().filter(|(_, slow)| slow.next <= now) {
            slow.next = now + BYTE_EVERY;
            slow.say_a_byte(&targets[number % targets.len()]);
        }
        thread::sleep(TURN);
    }
}

impl Slow {
    fn say_a_byte(&mut self, target: &Target) {
        if self.stream.is_none() {
            // A server that lets nobody in is asked again at the next byte.
            self.stream = connect(target).ok();
            self.sent = 0;
        }
        let request = client_request(&target.host, &target.path, KEY);
        // The empty line at the end is never sent: another letter of the last header is.
        let byte = request.get(self.sent).filter(|_| self.sent + 4 < request.len());
        let is_sent = |stream: &mut TcpStream| stream.write_all(&[*byte.unwrap_or(&b'x')]).is_ok();
        self.sent += 1;
        if !self.stream.as_mut().is_some_and(is_sent) {
            self.stream = None;
        }
    }
}
