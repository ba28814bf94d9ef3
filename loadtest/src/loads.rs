//! How busy each thread of the generator was in the measured time.
//!
//! Owns: the sums, thread by thread: an average would hide one that is full among others that are idle.

use crate::clock::SECOND_NS;
use crate::outcome::Load;
use crate::swarm::tally::Part;

/// See the module's head.
#[derive(Debug)]
pub struct Loads(Vec<Sum>);

/// Nanoseconds of a thread; `None` where they cannot be told.
#[derive(Clone, Copy, Debug)]
struct Sum {
    cpu_ns: Option<u64>,
    wait_ns: Option<u64>,
}

impl Loads {
    /// Of so many threads.
    pub fn of(threads: usize) -> Self {
        Loads(vec![Sum { cpu_ns: Some(0), wait_ns: Some(0) }; threads])
    }

    /// What a thread did in a measured second.
    pub fn add(&mut self, thread: usize, part: &Part) {
        let sum = &mut self.0[thread];
        sum.cpu_ns = sum.cpu_ns.zip(part.cpu_ns).map(|(sum, more)| sum + more);
        sum.wait_ns = sum.wait_ns.zip(part.wait_ns).map(|(sum, more)| sum + more);
    }

    /// Of each thread, in so many seconds; nothing where it cannot be told.
    pub fn each(&self, seconds: usize) -> Vec<Load> {
        let load = |sum: &Sum| {
            let busy = part_of(sum.cpu_ns?, seconds);
            Some(Load { busy, waited: sum.wait_ns.map_or(0.0, |ns| part_of(ns, seconds)) })
        };
        self.0.iter().map(load).collect::<Option<_>>().unwrap_or_default()
    }

    /// The average part of the time that they computed.
    pub fn busy(&self, seconds: usize) -> Option<f64> {
        self.average(seconds, |sum| sum.cpu_ns)
    }

    /// The average part of the time that they had no core.
    pub fn waited(&self, seconds: usize) -> Option<f64> {
        self.average(seconds, |sum| sum.wait_ns)
    }

    fn average(&self, seconds: usize, of: fn(&Sum) -> Option<u64>) -> Option<f64> {
        let all: u64 = self.0.iter().map(of).sum::<Option<_>>()?;
        Some(part_of(all, seconds * self.0.len().max(1)))
    }
}

fn part_of(ns: u64, seconds: usize) -> f64 {
    ns as f64 / (seconds.max(1) as u64 * SECOND_NS) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_thread_is_not_hidden_by_idle_ones() {
        let mut loads = Loads::of(2);
        for _ in 0..4 {
            let mut part = Part::default();
            (part.cpu_ns, part.wait_ns) = (Some(SECOND_NS), Some(0));
            loads.add(0, &part);
            (part.cpu_ns, part.wait_ns) = (Some(0), Some(SECOND_NS / 2));
            loads.add(1, &part);
        }
        let expected = [Load { busy: 1.0, waited: 0.0 }, Load { busy: 0.0, waited: 0.5 }];
        assert_eq!(loads.each(4), expected);
        assert_eq!((loads.busy(4), loads.waited(4)), (Some(0.5), Some(0.25)));
    }

    #[test]
    fn what_cannot_be_told_is_not_made_up() {
        let mut loads = Loads::of(1);
        loads.add(0, &Part { cpu_ns: Some(SECOND_NS / 2), ..Part::default() });
        assert_eq!(loads.each(1), [Load { busy: 0.5, waited: 0.0 }]);
        assert_eq!(loads.waited(1), None);
        loads.add(0, &Part::default());
        assert_eq!((loads.each(2), loads.busy(2)), (Vec::new(), None));
    }
}
