//! Which connections a thread opens when: the residents at a rate, and guests that come and go.
//!
//! Owns: the order and the times. Must not know sockets.

use std::collections::VecDeque;

use crate::clock::{SECOND_NS, seconds_ns};

/// Connections of a thread on their way at a time, as long as nobody asks for more: the kernel of the server
/// holds a few thousand before it accepts.
const OPENING_MAX: usize = 256;
/// The same when all are to come at once, as after a restart: what the server's kernel does not hold is tried
/// again by this one's.
const OPENING_AT_ONCE_MAX: usize = 16_384;
/// Pause after a failed dial.
const RETRY_NS: u64 = 100_000_000;

/// The order in which a thread opens its connections.
#[derive(Debug, Default)]
pub struct Dials {
    waiting: VecDeque<usize>,
    /// Nanoseconds between dials.
    gap_ns: u64,
    next_ns: u64,
    opening: usize,
    opening_max: usize,
}

impl Dials {
    /// Opens these from now on, so many a second; 0: as fast as they are accepted.
    pub fn start(&mut self, places: impl Iterator<Item = usize>, rate: f64, now_ns: u64) {
        self.waiting = places.collect();
        self.gap_ns = if rate > 0.0 { (SECOND_NS as f64 / rate) as u64 } else { 0 };
        self.next_ns = now_ns;
        self.opening = 0;
        self.opening_max = OPENING_MAX;
    }

    /// Opens these now, all at once.
    pub fn start_at_once(&mut self, places: impl Iterator<Item = usize>, now_ns: u64) {
        self.start(places, 0.0, now_ns);
        self.opening_max = OPENING_AT_ONCE_MAX;
    }

    /// When to look again.
    pub fn next_ns(&self) -> Option<u64> {
        let is_possible = !self.waiting.is_empty() && self.opening < self.opening_max;
        is_possible.then_some(self.next_ns)
    }

    /// The next connection to dial.
    pub fn take(&mut self, now_ns: u64) -> Option<usize> {
        if self.opening >= self.opening_max || now_ns < self.next_ns {
            return None;
        }
        let place = self.waiting.pop_front()?;
        self.opening += 1;
        self.next_ns = if self.gap_ns == 0 { now_ns } else { self.next_ns + self.gap_ns };
        Some(place)
    }

    /// A connection is open.
    pub fn opened(&mut self) {
        self.opening = self.opening.saturating_sub(1);
    }

    /// A connection could not be opened: it is tried again after the others.
    pub fn failed(&mut self, place: usize, now_ns: u64) {
        self.opening = self.opening.saturating_sub(1);
        self.waiting.push_back(place);
        self.next_ns = now_ns + RETRY_NS;
    }
}

/// Peers that come and go.
#[derive(Debug)]
pub struct Guests {
    free: Vec<usize>,
    /// Who leaves when; all stay as long as each other.
    leaving: VecDeque<(u64, usize)>,
    gap_ns: u64,
    stay_ns: u64,
    next_ns: u64,
    ends_ns: u64,
    skipped: u64,
}

impl Guests {
    /// So many a second in these places, until the end.
    pub fn new(places: Vec<usize>, rate: f64, stay: f64, starts_ns: u64, ends_ns: u64) -> Self {
        Guests {
            free: places,
            leaving: VecDeque::new(),
            gap_ns: (SECOND_NS as f64 / rate) as u64,
            stay_ns: seconds_ns(stay),
            next_ns: starts_ns,
            ends_ns,
            skipped: 0,
        }
    }

    /// When somebody comes or leaves next.
    pub fn next_ns(&self) -> Option<u64> {
        let leaves_ns = self.leaving.front().map(|(at_ns, _)| *at_ns);
        let comes_ns = (self.next_ns < self.ends_ns).then_some(self.next_ns);
        leaves_ns.into_iter().chain(comes_ns).min()
    }

    /// A place for one that comes now. Those that find none are counted, and do not come.
    pub fn take_coming(&mut self, now_ns: u64) -> Option<usize> {
        while self.next_ns <= now_ns && self.next_ns < self.ends_ns {
            self.next_ns += self.gap_ns.max(1);
            if let Some(place) = self.free.pop() {
                self.leaving.push_back((now_ns + self.stay_ns, place));
                return Some(place);
            }
            self.skipped += 1;
        }
        None
    }

    /// How many found no place.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The place of one that leaves now.
    pub fn take_leaving(&mut self, now_ns: u64) -> Option<usize> {
        let (_, place) = self.leaving.front().copied().filter(|(at_ns, _)| *at_ns <= now_ns)?;
        self.leaving.pop_front();
        self.free.push(place);
        Some(place)
    }
}

/// Peers that come and go at once, as fast as they are let in.
#[derive(Debug)]
pub struct Rush {
    free: Vec<usize>,
    starts_ns: u64,
    ends_ns: u64,
}

impl Rush {
    /// In these places, until the end.
    pub fn new(places: Vec<usize>, starts_ns: u64, ends_ns: u64) -> Self {
        Rush { free: places, starts_ns, ends_ns }
    }

    /// When somebody comes next.
    pub fn next_ns(&self) -> Option<u64> {
        (!self.free.is_empty()).then_some(self.starts_ns)
    }

    /// A place for one that comes now.
    pub fn take(&mut self, now_ns: u64) -> Option<usize> {
        if now_ns >= self.ends_ns {
            self.free.clear();
        }
        if now_ns < self.starts_ns { None } else { self.free.pop() }
    }

    /// The one in this place has been in, or was not let in.
    pub fn give_back(&mut self, place: usize) {
        self.free.push(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_restart_all_come_at_once() {
        let mut dials = Dials::default();
        dials.start(0..5_000, 0.0, 7);
        assert_eq!(std::iter::from_fn(|| dials.take(7)).count(), OPENING_MAX);
        dials.start_at_once(0..5_000, 7);
        assert_eq!(std::iter::from_fn(|| dials.take(7)).count(), 5_000);
    }

    #[test]
    fn guests_without_a_place_are_counted() {
        // Ten a second that stay a second, and six places.
        let mut guests = Guests::new((0..6).collect(), 10.0, 1.0, 0, 2 * SECOND_NS);
        let came = std::iter::from_fn(|| guests.take_coming(SECOND_NS - 1)).count();
        assert_eq!((came, guests.skipped()), (6, 4));
        assert!(guests.take_leaving(2 * SECOND_NS).is_some());
        assert!(guests.take_coming(2 * SECOND_NS).is_some());
        assert_eq!((guests.take_coming(2 * SECOND_NS), guests.skipped()), (None, 13));
        assert_eq!(guests.next_ns(), Some(2 * SECOND_NS - 1));
    }
}
