//! The seconds of a run: what a thread did in each is reported when it is over.
//!
//! Owns: when a second ends, and what the counters were when it began.

use crate::clock::{SECOND_NS, thread_cpu_ns, thread_wait_ns};
use crate::swarm::Report;
use crate::swarm::worker::Worker;

/// The seconds of a run that were reported.
#[derive(Debug)]
pub struct Seconds {
    next: usize,
    /// When the current one ends.
    pub next_ns: u64,
    cpu_ns: Option<u64>,
    wait_ns: Option<u64>,
    bytes_in: u64,
}

impl Seconds {
    /// The first ends then: it is the warm-up, whose number is 0.
    pub fn start(next_ns: u64, bytes_in: u64) -> Self {
        let (cpu_ns, wait_ns) = (thread_cpu_ns(), thread_wait_ns());
        Seconds { next: 0, next_ns, cpu_ns, wait_ns, bytes_in }
    }
}

impl Worker {
    /// Reports a second that is over.
    pub(super) fn end_seconds(&mut self, now_ns: u64) {
        let Some(seconds) = &mut self.seconds else { return };
        if now_ns < seconds.next_ns {
            return;
        }
        self.tally.part.bytes_in = self.bytes_in - seconds.bytes_in;
        seconds.bytes_in = self.bytes_in;
        let mut part = self.tally.cut();
        let cpu_ns = thread_cpu_ns();
        part.cpu_ns = cpu_ns.zip(seconds.cpu_ns).map(|(now, before)| now - before);
        seconds.cpu_ns = cpu_ns;
        let wait_ns = thread_wait_ns();
        part.wait_ns = wait_ns.zip(seconds.wait_ns).map(|(now, before)| now.saturating_sub(before));
        seconds.wait_ns = wait_ns;
        let (number, part) = (seconds.next, Box::new(part));
        seconds.next += 1;
        seconds.next_ns += SECOND_NS;
        // Nobody listens when the run was given up.
        let _nobody = self.reports.send(Report::Second { number, thread: self.index, part });
    }
}
