//! What went on between looks at a relay: rates, and what was counted lately.
//!
//! Owns: how many looks are kept, and what is worked out of them. Must not know: how it is told.

use std::collections::{BTreeMap, VecDeque};

use crate::admin::stats::Stats;

/// What was counted lately is what was counted in this time, in seconds.
const LATELY_SECONDS: f64 = 10.0;

/// Looks that are kept at most: one a second, and some asked for by keys.
const LOOKS_MAX: usize = 32;

/// Per second, between the last two looks.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Messages heard.
    pub messages_in: f64,
    /// Bytes read.
    pub bytes_in: f64,
    /// Message copies handed to peers.
    pub copies_out: f64,
    /// Bytes written.
    pub bytes_out: f64,
    /// Processor time; `None`: the system does not tell.
    pub cores: Option<f64>,
    /// Messages of a batch; not per second. `None`: none was written.
    pub batch: Option<f64>,
    /// Which share of the time each thread was busy, in the order of [`Stats::threads`].
    pub busy: Vec<f64>,
    /// Counters that grew lately, and by how much.
    pub grown: BTreeMap<String, u64>,
    /// How long "lately" is, in seconds.
    pub grown_seconds: f64,
}

/// The last looks, the oldest first.
#[derive(Debug, Default)]
pub struct History(VecDeque<Stats>);

impl History {
    /// One more look. `None`: it is the first of this relay.
    pub fn pace(&mut self, now: &Stats) -> Option<Pace> {
        // Another process answers there now.
        if self.0.back().is_some_and(|last| last.uptime_seconds > now.uptime_seconds) {
            self.0.clear();
        }
        let is_old = |look: &Stats| now.uptime_seconds - look.uptime_seconds > LATELY_SECONDS;
        while self.0.len() > 1 && self.0.front().is_some_and(is_old) || self.0.len() >= LOOKS_MAX {
            self.0.pop_front();
        }
        let pace = self.0.back().zip(self.0.front()).map(|(last, first)| between(last, first, now));
        self.0.push_back(now.clone());
        pace
    }
}

fn between(last: &Stats, first: &Stats, now: &Stats) -> Pace {
    // The relay may have answered twice within a tick of its clock.
    let seconds = (now.uptime_seconds - last.uptime_seconds).max(1e-3);
    let counted = |stats: &Stats, name: &str| stats.counters.get(name).copied().unwrap_or(0);
    let counter = |name| counted(now, name).saturating_sub(counted(last, name)) as f64 / seconds;
    let cores = now.process.zip(last.process);
    let batches = now.batches.saturating_sub(last.batches);
    let messages = now.batch_messages.saturating_sub(last.batch_messages);
    let busy = now.threads.iter().zip(&last.threads);
    let grown = now.counters.iter().filter_map(|(name, value)| {
        let more = value.saturating_sub(counted(first, name));
        (more > 0).then(|| (name.clone(), more))
    });
    Pace {
        messages_in: counter("messages_in"),
        bytes_in: counter("bytes_in"),
        copies_out: counter("copies_out"),
        bytes_out: counter("bytes_out"),
        cores: cores.map(|(now, last)| (now.cpu_seconds - last.cpu_seconds).max(0.0) / seconds),
        batch: (batches > 0).then(|| messages as f64 / batches as f64),
        busy: busy
            .map(|(now, last)| ((now.busy_seconds - last.busy_seconds) / seconds).clamp(0.0, 1.0))
            .collect(),
        grown: grown.collect(),
        grown_seconds: now.uptime_seconds - first.uptime_seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::screen::tests::stats;

    fn look(at: f64, messages: u64) -> Stats {
        let mut stats = stats();
        stats.uptime_seconds = at;
        stats.counters.insert("messages_in".to_owned(), messages);
        stats.threads[0].busy_seconds = at / 4.0;
        stats
    }

    #[test]
    fn rates_are_of_the_last_two_looks_and_what_grew_is_of_ten_seconds() {
        let mut history = History::default();
        assert!(history.pace(&look(100.0, 50)).is_none(), "there is nothing to compare with");
        for second in 1..=30_u32 {
            let pace = history.pace(&look(100.0 + f64::from(second), 50 + u64::from(second) * 7));
            let pace = pace.expect("two looks");
            assert!((pace.messages_in - 7.0).abs() < 1e-9 && (pace.busy[0] - 0.25).abs() < 1e-9);
            let lately = u64::from(second).min(10);
            assert_eq!(pace.grown.get("messages_in"), Some(&(lately * 7)), "after {second} s");
        }
        let idle = history.pace(&look(160.0, 260)).expect("two looks");
        assert_eq!((idle.messages_in, idle.grown.len()), (0.0, 0), "nothing for a long time");
        assert!(history.pace(&look(2.0, 9)).is_none(), "another process");
    }
}
