//! What a thread counts and times.
//!
//! Owns: the histograms, their bounds, and what belongs to the measured time. Must not know sockets.

use hdrhistogram::Histogram;

use crate::stamp::Stamp;
use crate::swarm::Times;
use crate::track::Counts;

/// The longest time a histogram tells apart, in nanoseconds: five minutes.
const LONGEST_NS: u64 = 300_000_000_000;

/// A histogram of nanoseconds, three digits exact.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, LONGEST_NS, 3).expect("the bounds are valid")
}

/// What happened in a second.
#[derive(Clone, Debug)]
pub struct Part {
    /// Messages sent.
    pub sent: u64,
    /// Copies that came: of posts and questions, or the answers where something is asked.
    pub delivered: u64,
    /// Guests that came in.
    pub opened: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// From when a message was meant to be sent until its copy came.
    pub latency: Histogram<u64>,
    /// CPU time of the thread, in nanoseconds, where it can be told.
    pub cpu_ns: Option<u64>,
    /// Time it was ready and had no core, in nanoseconds, where it can be told.
    pub wait_ns: Option<u64>,
    /// How late the thread sent what it could have sent.
    pub lag_max_ns: u64,
}

impl Default for Part {
    fn default() -> Self {
        Part {
            sent: 0,
            delivered: 0,
            opened: 0,
            bytes_in: 0,
            latency: histogram(),
            cpu_ns: None,
            wait_ns: None,
            lag_max_ns: 0,
        }
    }
}

impl Part {
    /// Adds what another thread did in the same second, but for its own time.
    pub fn add(&mut self, other: &Part) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.opened += other.opened;
        self.bytes_in += other.bytes_in;
        // Same bounds: adding cannot fail.
        let _same_bounds = self.latency.add(&other.latency);
        self.lag_max_ns = self.lag_max_ns.max(other.lag_max_ns);
    }
}

/// All a thread counted.
#[derive(Clone, Debug)]
pub struct Totals {
    /// The copies.
    pub counts: Counts,
    /// From when a measured message was meant to be sent until its copy came.
    pub latency: Histogram<u64>,
    /// From when it was sent.
    pub raw: Histogram<u64>,
    /// How late the generator itself was.
    pub lag: Histogram<u64>,
    /// From dialling until open.
    pub opening: Histogram<u64>,
    /// Peers that the server closed, or that broke.
    pub closed: u64,
    /// Stalled ones that the server closed.
    pub stalled_closed: u64,
    /// Guests that came in.
    pub guests: u64,
    /// Guests that were due and did not come, as all places for them were taken.
    pub guests_skipped: u64,
    /// Dials and handshakes that failed.
    pub failed: u64,
    /// Why the last of them failed.
    pub failure: Option<String>,
    /// Messages that were due and that the generator did not get to.
    pub unsent: u64,
    /// Messages that were due and that the server did not take.
    pub untaken: u64,
}

impl Totals {
    fn new() -> Self {
        Totals {
            counts: Counts::default(),
            latency: histogram(),
            raw: histogram(),
            lag: histogram(),
            opening: histogram(),
            closed: 0,
            stalled_closed: 0,
            guests: 0,
            guests_skipped: 0,
            failed: 0,
            failure: None,
            unsent: 0,
            untaken: 0,
        }
    }

    /// Adds what another thread counted.
    pub fn add(&mut self, other: Totals) {
        self.counts += other.counts;
        let pairs = [
            (&mut self.latency, other.latency),
            (&mut self.raw, other.raw),
            (&mut self.lag, other.lag),
            (&mut self.opening, other.opening),
        ];
        for (mine, theirs) in pairs {
            // Same bounds: adding cannot fail.
            let _same_bounds = mine.add(&theirs);
        }
        self.closed += other.closed;
        self.stalled_closed += other.stalled_closed;
        self.guests += other.guests;
        self.guests_skipped += other.guests_skipped;
        self.failed += other.failed;
        self.failure = self.failure.take().or(other.failure);
        self.unsent += other.unsent;
        self.untaken += other.untaken;
    }
}

/// The running counts of a thread.
#[derive(Debug)]
pub struct Tally {
    /// Everything so far.
    pub totals: Totals,
    /// The current second.
    pub part: Part,
    /// Latencies of copies that were sent late.
    late: Histogram<u64>,
    times: Option<Times>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally { totals: Totals::new(), part: Part::default(), late: histogram(), times: None }
    }
}

impl Tally {
    /// Says what is measured.
    pub fn set_times(&mut self, times: Times) {
        self.times = Some(times);
    }

    /// Copies came at one time; they are timed, unless they were meant to be sent during the warm-up.
    #[inline]
    pub fn time(&mut self, copies: &[Stamp], now_ns: u64) {
        self.part.delivered += copies.len() as u64;
        let Some(times) = self.times else { return };
        let mut alike = Alike::default();
        for copy in copies.iter().filter(|copy| copy.meant_ns >= times.measured_ns) {
            let latency = now_ns.saturating_sub(copy.meant_ns);
            alike.add(latency, &mut self.part.latency);
            // What was sent when it was meant to be has one latency only; `finish` adds it to the raw ones.
            if copy.lag_ns > 0 {
                self.totals.raw.saturating_record(latency.saturating_sub(copy.lag_ns));
                self.late.saturating_record(latency);
            }
        }
        alike.record(&mut self.part.latency);
    }

    /// A message was sent, so much later than the generator could have.
    #[inline]
    pub fn sent(&mut self, meant_ns: u64, lag_ns: u64) {
        self.part.sent += 1;
        self.totals.counts.sent += 1;
        self.part.lag_max_ns = self.part.lag_max_ns.max(lag_ns);
        if self.times.is_some_and(|times| meant_ns >= times.measured_ns) {
            self.totals.lag.saturating_record(lag_ns);
        }
    }

    /// A guest came in.
    pub fn guest(&mut self) {
        self.part.opened += 1;
        self.totals.guests += 1;
    }

    /// Ends a second.
    pub fn cut(&mut self) -> Part {
        // Same bounds: adding cannot fail.
        let _same_bounds = self.totals.latency.add(&self.part.latency);
        std::mem::take(&mut self.part)
    }

    /// Ends everything.
    pub fn finish(&mut self) -> Totals {
        self.cut();
        let mut totals = std::mem::replace(&mut self.totals, Totals::new());
        let mut on_time = totals.latency.clone();
        // The late ones are among all, and bounds are the same: neither can fail.
        let _among_all = on_time.subtract(&self.late);
        let _same_bounds = totals.raw.add(&on_time);
        totals
    }
}

/// Times that a histogram does not tell apart, and that came one after the other: they are recorded as one,
/// as copies in one read are many and their times alike.
#[derive(Debug, Default)]
struct Alike {
    least: u64,
    /// One more than the most.
    end: u64,
    count: u64,
}

impl Alike {
    #[inline]
    fn add(&mut self, time: u64, to: &mut Histogram<u64>) {
        if !(self.least..self.end).contains(&time) {
            self.record(to);
            (self.least, self.end) = (to.lowest_equivalent(time), to.next_non_equivalent(time));
            self.count = 0;
        }
        self.count += 1;
    }

    #[inline]
    fn record(&self, to: &mut Histogram<u64>) {
        if self.count > 0 {
            to.saturating_record_n(self.least, self.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Kind;

    #[test]
    fn times_of_many_are_recorded_as_each_alone() {
        let now_ns = 400_000_000_000;
        // From nothing to more than a histogram holds, in steps that grow.
        let latencies: Vec<_> = (0..400).map(|n| 1.07f64.powi(n) as u64).collect();
        let latencies = latencies.iter().flat_map(|latency| [*latency, *latency + 1, *latency / 2]);
        let copies: Vec<_> = latencies
            .filter(|latency| *latency < now_ns)
            .zip(0..)
            .map(|(latency, sequence)| Stamp {
                kind: Kind::Post,
                source: 0,
                sequence,
                meant_ns: now_ns - latency,
                lag_ns: latency / 3 * u64::from(sequence % 2),
            })
            .collect();
        let times = Times { starts_ns: 0, measured_ns: 0, ends_ns: now_ns };
        let found = |chunk: usize| {
            let mut tally = Tally::default();
            tally.set_times(times);
            copies.chunks(chunk).for_each(|copies| tally.time(copies, now_ns));
            tally.finish()
        };
        let (together, alone) = (found(copies.len()), found(1));
        assert_eq!(alone.latency.len(), copies.len() as u64);
        assert_eq!(together.latency, alone.latency);
        assert_eq!(together.raw, alone.raw);
        let mut exact = histogram();
        copies.iter().for_each(|copy| exact.saturating_record(now_ns - copy.meant_ns));
        assert_eq!(together.latency, exact);
    }
}
