//! What the server uses, from before the first connection to the last measured second.
//!
//! Owns: the readings, and what follows from two of them. Must not know where they are read, nor what the
//! server was given to do.

use crate::outcome::ServerUse;
use crate::plan::Plan;
use crate::process::Usage;
use crate::source::{self, Source};

/// See the module's head.
#[derive(Debug)]
pub struct Meter {
    sources: Vec<Source>,
    /// What each held before anybody was connected; nothing where it cannot be told.
    empty: Vec<Usage>,
    /// What is known before anything was measured; `None` where nothing can be told.
    idle: Option<ServerUse>,
    /// At the beginning of each second, and at the end.
    readings: Vec<Usage>,
    /// Readings that failed.
    unread: u64,
}

impl Meter {
    /// Reads for the first time: nobody may be connected yet.
    pub fn new(sources: Vec<Source>) -> Self {
        // Where nothing can be told at the start, nothing is told of the run.
        let empty = source::read_each(&sources).unwrap_or_default();
        Meter { sources, empty, idle: None, readings: Vec::new(), unread: 0 }
    }

    /// Everybody is connected, and nobody says anything.
    pub fn note_idle(&mut self, plan: &Plan) {
        let Ok(idle) = source::read_each(&self.sources) else { return };
        if self.empty.is_empty() || idle.len() != self.empty.len() {
            return;
        }
        let added = |empty: &Usage, idle: &Usage, connections: u32| {
            let added = idle.memory_bytes.saturating_sub(empty.memory_bytes);
            added as f64 / f64::from(connections.max(1))
        };
        let each = self.empty.iter().zip(&idle).enumerate();
        let each =
            each.map(|(number, (empty, idle))| added(empty, idle, plan.residents_of(number)));
        let bytes_per_connection_each = each.collect();
        let (empty, idle) = (Usage::sum(&self.empty), Usage::sum(&idle));
        self.idle = Some(ServerUse {
            bytes_per_connection: added(&empty, &idle, plan.residents()),
            bytes_per_connection_each,
            cores_allowed: source::cores_allowed(&self.sources),
            empty,
            idle,
            ..ServerUse::default()
        });
    }

    /// A second begins, or the last one is over.
    pub fn read(&mut self) {
        let before = self.readings.last().copied();
        let before = before.or(self.idle.as_ref().map(|server| server.idle)).unwrap_or_default();
        let reading = match &self.idle {
            Some(_) => source::read_each(&self.sources).ok().map(|each| Usage::sum(&each)),
            None => Some(before),
        };
        self.unread += u64::from(reading.is_none());
        // A server that is gone uses nothing more.
        self.readings.push(reading.unwrap_or(before));
    }

    /// How often it was read.
    pub fn len(&self) -> usize {
        self.readings.len()
    }

    /// Whether it was never read.
    pub fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }

    /// CPU seconds in a second, the first being 1, and memory at its end.
    pub fn second(&self, number: usize) -> Option<(f64, u64)> {
        self.idle.as_ref()?;
        let (before, after) = (self.readings.get(number - 1)?, self.readings.get(number)?);
        Some((after.since(before).cpu_s(), after.memory_bytes))
    }

    /// What was used in so many measured seconds.
    pub fn found(&self, seconds: usize) -> Option<ServerUse> {
        let server = self.idle.clone()?;
        let mut measured = self.readings.last()?.since(self.readings.first()?);
        let most = self.readings.iter().map(|reading| reading.memory_bytes_max).max();
        measured.memory_bytes_max = most.unwrap_or(0);
        let cores = measured.cpu_s() / seconds.max(1) as f64;
        Some(ServerUse { measured, cores, unread: self.unread, ..server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Protocol;
    use crate::plan::Target;
    use crate::scenario::Scenario;

    fn plan() -> Plan {
        Plan::new(Scenario::default(), vec![Target::local(1)], Protocol::Dam)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_server_that_ends_is_noticed_and_never_gives_time_back() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let mut meter = Meter::new(vec![Source::Process(child.id())]);
        meter.note_idle(&plan());
        meter.read();
        child.kill().unwrap();
        child.wait().unwrap();
        meter.read();
        meter.read();
        let server = meter.found(2).unwrap();
        assert_eq!((server.unread, meter.len()), (2, 3));
        assert!(server.cores >= 0.0 && server.cores_allowed.is_some(), "{server:?}");
        assert!(server.measured.memory_bytes_max > 0);
        assert_eq!(meter.second(2).map(|(cpu_s, _)| cpu_s), Some(0.0));
    }

    #[test]
    fn without_a_source_nothing_is_told() {
        let mut meter = Meter::new(Vec::new());
        meter.note_idle(&plan());
        meter.read();
        meter.read();
        assert_eq!((meter.found(1), meter.second(1)), (None, None));
    }
}
