//! How large the writers' batches are, and how long messages take through the relay.
//!
//! Each writer records into a histogram of its own, under a lock that nobody else wants but for the
//! moment in which a reader exchanges it for an empty one.
//!
//! Owns: those histograms and how they are merged. Must not know: what a batch is made of.

use std::mem;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{Tally, lock};

/// Upper bounds of batch sizes are the powers of two up to this one, in messages.
const SIZE_MAX_LOG2: usize = 12;

/// The longest time that is told apart, in nanoseconds.
const DELAY_NS_MAX: u64 = 60_000_000_000;

/// Two digits of a delay are kept: a histogram takes 30 KiB then.
const DELAY_DIGITS: u8 = 2;

/// The recent past is told from two windows of this length: the last 5 to 10 s.
const WINDOW: Duration = Duration::from_secs(5);

/// The figures of one writer's batches.
#[derive(Debug, Default)]
pub struct Batches {
    sizes: [Tally; SIZE_MAX_LOG2 + 2],
    messages: Tally,
    recording: Mutex<Recording>,
}

#[derive(Debug)]
struct Recording {
    delays: Histogram<u64>,
    /// 64 bits would last for days only.
    sum_ns: u128,
}

impl Default for Recording {
    fn default() -> Self {
        let delays = Histogram::new_with_bounds(1, DELAY_NS_MAX, DELAY_DIGITS);
        Recording { delays: delays.expect("the bounds are in order"), sum_ns: 0 }
    }
}

impl Recording {
    fn record(&mut self, delay: Duration, messages: u64) {
        let delay_ns = delay.as_nanos().min(u128::from(DELAY_NS_MAX)) as u64;
        self.delays.saturating_record_n(delay_ns, messages);
        self.sum_ns += u128::from(delay_ns) * u128::from(messages);
    }

    fn add(&mut self, other: &Recording) {
        self.delays.add(&other.delays).expect("all have the same bounds");
        self.sum_ns += other.sum_ns;
    }

    fn reset(&mut self) {
        self.delays.reset();
        self.sum_ns = 0;
    }
}

impl Batches {
    /// A batch of `messages` was handed to the peers at `now`. `read` has when its messages were
    /// read, and how many at a time.
    pub fn record(
        &self,
        messages: usize,
        read: impl Iterator<Item = (Instant, u64)>,
        now: Instant,
    ) {
        self.sizes[size_index(messages)].add(1);
        self.messages.add(messages as u64);
        let mut recording = lock(&self.recording);
        for (at, messages) in read {
            recording.record(now.saturating_duration_since(at), messages);
        }
    }

    /// How many batches were of a size up to each bound; the last has no bound.
    pub fn sizes(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bound = |index| (index <= SIZE_MAX_LOG2).then(|| 1_u64 << index);
        self.sizes.iter().enumerate().map(move |(index, size)| (bound(index), size.get()))
    }

    /// Messages of all batches.
    pub fn messages(&self) -> u64 {
        self.messages.get()
    }
}

/// The first power of two that is not less.
fn size_index(messages: usize) -> usize {
    let log2 = usize::BITS - messages.max(1).saturating_sub(1).leading_zeros();
    (log2 as usize).min(SIZE_MAX_LOG2 + 1)
}

/// How long messages took, of all writers: from the read of the turn in which they came, until every
/// peer of a writer that could take them was written to. A message counts once for each writer.
#[derive(Debug)]
pub struct Delays {
    ever: Recording,
    recent: [Recording; 2],
    /// When the older and the newer window began.
    began: [Instant; 2],
    spare: Recording,
}

impl Default for Delays {
    fn default() -> Self {
        let now = Instant::now();
        let recent = Default::default();
        Delays { ever: Recording::default(), recent, began: [now; 2], spare: Recording::default() }
    }
}

/// A summary of delays.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Quantiles {
    /// Deliveries counted.
    pub count: u64,
    /// The time they were counted over, in seconds.
    pub window_seconds: f64,
    /// Half took no longer, in seconds.
    pub p50_seconds: f64,
    /// Of a hundred, 99 took no longer.
    pub p99_seconds: f64,
    /// The longest.
    pub max_seconds: f64,
}

impl Delays {
    /// Takes what a writer has recorded.
    pub(super) fn collect(&mut self, batches: &Batches) {
        self.turn_window(Instant::now());
        mem::swap(&mut *lock(&batches.recording), &mut self.spare);
        self.ever.add(&self.spare);
        self.recent[1].add(&self.spare);
        self.spare.reset();
    }

    fn turn_window(&mut self, now: Instant) {
        if now.duration_since(self.began[1]) >= WINDOW {
            self.recent.swap(0, 1);
            self.recent[1].reset();
            self.began = [self.began[1], now];
        }
    }

    /// The last 5 to 10 s, or the time since somebody looked if that is longer.
    pub fn recent(&self) -> Quantiles {
        let mut both = self.recent[0].delays.clone();
        both.add(&self.recent[1].delays).expect("all have the same bounds");
        let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
        Quantiles {
            count: both.len(),
            window_seconds: self.began[0].elapsed().as_secs_f64(),
            p50_seconds: seconds(both.value_at_quantile(0.5)),
            p99_seconds: seconds(both.value_at_quantile(0.99)),
            max_seconds: seconds(both.max()),
        }
    }

    /// Deliveries so far, and the sum of their delays in seconds.
    pub fn count_and_sum(&self) -> (u64, f64) {
        (self.ever.delays.len(), self.ever.sum_ns as f64 / 1e9)
    }

    /// Deliveries that took at most as long as each of `bounds`, in ascending order of seconds.
    pub fn cumulative(&self, bounds: &[f64]) -> Vec<u64> {
        let (mut counts, mut sum) = (Vec::with_capacity(bounds.len()), 0);
        let mut recorded = self.ever.delays.iter_recorded().peekable();
        for bound in bounds {
            let bound_ns = (bound * 1e9) as u64;
            while let Some(step) = recorded.next_if(|step| step.value_iterated_to() <= bound_ns) {
                sum += step.count_since_last_iteration();
            }
            counts.push(sum);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_counted_under_the_first_bound_that_holds_it() {
        let batches = Batches::default();
        for size in [1, 2, 3, 4, 5, 4096, 4097, 1_000_000] {
            batches.record(size, [].into_iter(), Instant::now());
        }
        let sizes: Vec<_> = batches.sizes().filter(|(_, count)| *count > 0).collect();
        let expected =
            [(Some(1), 1), (Some(2), 1), (Some(4), 2), (Some(8), 1), (Some(4096), 1), (None, 2)];
        assert_eq!(sizes, expected);
        assert_eq!(batches.messages(), 1 + 2 + 3 + 4 + 5 + 4096 + 4097 + 1_000_000);
    }

    #[test]
    fn delays_of_all_writers_are_merged_once() {
        let metrics = super::super::Metrics::default();
        let writers = [metrics.for_batches(), metrics.for_batches()];
        let (read, ms) = (Instant::now(), Duration::from_millis(1));
        writers[0].record(3, [(read, 2), (read + ms, 1)].into_iter(), read + 2 * ms);
        writers[1].record(1, [(read, 1)].into_iter(), read + 40 * ms);
        for _ in 0..2 {
            metrics.with_delays(|delays| {
                assert_eq!(delays.cumulative(&[0.0005, 0.0011, 0.01, 0.1]), [0, 1, 3, 4]);
                let (count, sum) = delays.count_and_sum();
                assert_eq!(count, 4);
                assert!((sum - 0.045).abs() < 1e-9, "{sum}");
                let recent = delays.recent();
                assert_eq!(recent.count, 4);
                assert!((0.0019..0.0021).contains(&recent.p50_seconds), "{recent:?}");
                assert!((0.039..0.041).contains(&recent.max_seconds), "{recent:?}");
            });
        }
    }

    #[test]
    fn what_is_long_ago_is_not_recent() {
        let mut delays = Delays::default();
        let batches = Batches::default();
        let now = Instant::now();
        batches.record(1, [(now, 1)].into_iter(), now);
        delays.collect(&batches);
        assert_eq!(delays.recent().count, 1);
        delays.turn_window(now + WINDOW + Duration::from_secs(1));
        assert_eq!(delays.recent().count, 1);
        delays.turn_window(now + 2 * WINDOW + Duration::from_secs(2));
        assert_eq!(delays.recent().count, 0);
        assert_eq!(delays.count_and_sum().0, 1);
    }
}
