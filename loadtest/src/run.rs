//! A run, from the first connection to the last copy.
//!
//! Owns: the order of things and the time each may take. The swarm does the work; this watches and reads
//! what the server uses. `found` beneath this file puts together what came of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::{SECOND_NS, seconds_ns};
use crate::hostile;
use crate::loads::Loads;
use crate::meter::Meter;
use crate::outcome::Second;
use crate::plan::Plan;
use crate::source::Source;
use crate::swarm::tally::{Part, Totals};
use crate::swarm::{Command, Report, Swarm, Times};
use crate::threshold::Threshold;
pub use found::Found;

mod found;

/// Time without a further connection after which opening is given up.
const OPENING_STUCK: Duration = Duration::from_secs(20);
/// Silence after which a server has said all it had to say by itself.
const QUIET: Duration = Duration::from_millis(300);
/// How long after the last expected copy a further one is still noticed.
const LINGER: Duration = Duration::from_millis(300);
/// Longest wait for copies that are on their way.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// How often the gauges are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How far a run is, for whoever watches.
#[derive(Clone, Debug)]
pub enum Stage {
    /// So many connections are open, of so many.
    Opening(u64, u64),
    /// A second of the measured time, of so many.
    Second(Second, usize, usize),
    /// Waiting for what is on its way.
    Draining,
}

/// Whom to read, and whom to tell.
pub struct Watch<'a> {
    /// Where it is read what the server uses; may be nowhere.
    pub sources: Vec<Source>,
    /// What the target is called.
    pub target: String,
    /// What must not be crossed.
    pub thresholds: Vec<Threshold>,
    /// Is told how far the run is.
    pub tell: &'a mut dyn FnMut(Stage),
}

/// Runs a plan.
///
/// # Errors
/// It could not be done: nothing listens, or the system lacks sockets or threads.
pub fn run<'a>(plan: &'a Arc<Plan>, watch: Watch<'a>) -> Result<Found, String> {
    let swarm = Swarm::start(plan).map_err(|error| error.to_string())?;
    let meter = Meter::new(watch.sources.clone());
    let loads = Loads::of(plan.threads);
    let mut run = Run { plan, swarm, watch, parts: Vec::new(), loads, meter, measured_unix_s: 0.0 };
    let opened = run.open()?;
    let times = run.go();
    let attackers =
        hostile::start(plan, times.measured_ns + u64::from(plan.scenario.calm) * SECOND_NS);
    run.measure(times)?;
    drop(attackers);
    run.drain();
    let totals = run.finish()?;
    Ok(run.found(totals, opened))
}

struct Run<'a> {
    plan: &'a Arc<Plan>,
    swarm: Swarm,
    watch: Watch<'a>,
    /// The warm-up, then each second.
    parts: Vec<Part>,
    loads: Loads,
    meter: Meter,
    /// When the measured time begins.
    measured_unix_s: f64,
}

/// How opening went: seconds until all were open, and until all were back.
struct Opened {
    seconds: f64,
    back_seconds: Option<f64>,
}

impl Run<'_> {
    fn open(&mut self) -> Result<Opened, String> {
        let seconds = self.open_all(&Command::Open)?;
        let back_seconds = match self.plan.scenario.reconnect {
            true => Some(self.open_all(&Command::Reopen)?),
            false => None,
        };
        self.wait_quiet();
        if self.plan.scenario.subscribe {
            for command in [Command::WriteFirst, Command::Subscribe] {
                self.swarm.tell(&command);
                self.wait_quiet();
            }
        }
        self.meter.note_idle(self.plan);
        Ok(Opened { seconds, back_seconds })
    }

    fn open_all(&mut self, command: &Command) -> Result<f64, String> {
        let total = u64::from(self.plan.residents());
        let start = Instant::now();
        if matches!(command, Command::Reopen) {
            self.plan_reopening();
        }
        self.swarm.tell(command);
        let (mut last, mut grew) = (0, start);
        loop {
            thread::sleep(LOOK / 4);
            let open = self.swarm.gauges.sum(|gauge| &gauge.open);
            (self.watch.tell)(Stage::Opening(open, total));
            if open == total {
                return Ok(start.elapsed().as_secs_f64());
            }
            if open > last {
                (last, grew) = (open, Instant::now());
            }
            if let Ok(Report::Failed(error)) = self.swarm.reports.try_recv() {
                return Err(format!("after {open} connections: {error}{}", advice(&error)));
            }
            if grew.elapsed() > OPENING_STUCK {
                let why = self.swarm.gauges.failure().unwrap_or_else(|| "no answer".to_owned());
                return Err(format!("{open} of {total} connections could be opened: {why}"));
            }
        }
    }

    /// Makes sure that the old connections are not counted as the new ones.
    fn plan_reopening(&self) {
        for thread in 0..self.plan.threads {
            self.swarm.gauges.of(thread).open.store(0, Ordering::Relaxed);
        }
    }

    /// Waits until nothing arrives by itself any more.
    fn wait_quiet(&self) {
        self.wait_silence(QUIET, Duration::from_secs(5), || false);
    }

    /// Waits until no byte came for so long, or something holds; at most so long.
    fn wait_silence(&self, silence: Duration, at_most: Duration, holds: impl Fn() -> bool) {
        let start = Instant::now();
        let (mut bytes, mut since) = (u64::MAX, start);
        while since.elapsed() < silence && start.elapsed() < at_most && !holds() {
            let now = self.swarm.gauges.sum(|gauge| &gauge.bytes_in);
            if now != bytes {
                (bytes, since) = (now, Instant::now());
            }
            thread::sleep(LOOK);
        }
    }

    fn go(&mut self) -> Times {
        let scenario = &self.plan.scenario;
        let starts_ns = self.plan.clock.now_ns() + 20_000_000;
        let measured_ns = starts_ns + seconds_ns(scenario.warmup);
        let ends_ns = measured_ns + seconds_ns(scenario.duration);
        let times = Times { starts_ns, measured_ns, ends_ns };
        self.measured_unix_s = self.plan.clock.unix_us(measured_ns) as f64 / 1e6;
        self.swarm.tell(&Command::Go(times));
        times
    }

    /// Seconds that are reported.
    fn seconds(&self) -> usize {
        (self.plan.scenario.duration.ceil() as usize).max(1)
    }

    fn measure(&mut self, times: Times) -> Result<(), String> {
        let total = self.seconds();
        let mut told = vec![0; total + 1];
        let deadline_ns = times.ends_ns + 10 * SECOND_NS;
        let threads = self.plan.threads;
        while told.last() != Some(&threads) || self.meter.len() <= total {
            let now_ns = self.plan.clock.now_ns();
            let next_ns = times.measured_ns + self.meter.len() as u64 * SECOND_NS;
            if now_ns >= next_ns && self.meter.len() <= total {
                self.meter.read();
            }
            let wait = Duration::from_nanos(next_ns.saturating_sub(now_ns)).min(LOOK);
            match self.swarm.reports.recv_timeout(wait.max(Duration::from_millis(1))) {
                Ok(Report::Second { number, thread, part }) if number <= total => {
                    self.add_part(number, thread, &part);
                    told[number] += 1;
                    if number > 0 && told[number] == threads {
                        if self.meter.len() == number {
                            self.meter.read();
                        }
                        let second = self.second(number);
                        (self.watch.tell)(Stage::Second(second, number, total));
                    }
                }
                Ok(Report::Failed(error)) => return Err(error.to_string()),
                Err(RecvTimeoutError::Disconnected) => return Err("a thread ended".to_owned()),
                _ if now_ns > deadline_ns => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    fn add_part(&mut self, number: usize, thread: usize, part: &Part) {
        if number > 0 {
            self.loads.add(thread, part);
        }
        match self.parts.get_mut(number) {
            Some(sum) => sum.add(part),
            None => self.parts.push(part.clone()),
        }
    }

    fn drain(&mut self) {
        let scenario = &self.plan.scenario;
        if !scenario.is_saying() {
            return;
        }
        (self.watch.tell)(Stage::Draining);
        if scenario.roll_call > 0 {
            self.swarm.tell(&Command::RollCall);
        }
        let gauges = &self.swarm.gauges;
        let copies = scenario.copies();
        let least = u64::from(scenario.roll_call) * u64::from(scenario.senders);
        let is_all_here = || {
            let behind = gauges.sum(|gauge| &gauge.behind);
            let sent = gauges.sum(|gauge| &gauge.sent);
            behind == 0 && sent >= least && gauges.sum(|gauge| &gauge.delivered) >= sent * copies
        };
        let silence = Duration::from_secs_f64(self.plan.scenario.settle);
        self.wait_silence(silence, silence, || gauges.sum(|gauge| &gauge.behind) == 0);
        self.swarm.tell(&Command::Stop);
        self.wait_silence(silence, DRAIN_MAX, is_all_here);
        self.wait_silence(LINGER, LINGER, || false);
    }

    fn finish(&mut self) -> Result<Totals, String> {
        let sent = self.swarm.gauges.sent.iter();
        let sent = sent.map(|sent| sent.load(Ordering::Relaxed) as u32).collect();
        self.swarm.tell(&Command::Finish(Arc::new(sent)));
        let mut totals: Option<Totals> = None;
        for _ in 0..self.plan.threads {
            let finished = loop {
                match self.swarm.reports.recv_timeout(OPENING_STUCK) {
                    Ok(Report::Finished(finished)) => break finished,
                    Ok(Report::Second { .. }) => {}
                    Ok(Report::Failed(error)) => return Err(error.to_string()),
                    Err(error) => return Err(error.to_string()),
                }
            };
            match &mut totals {
                Some(totals) => totals.add(*finished),
                None => totals = Some(*finished),
            }
        }
        totals.ok_or_else(|| "there is no thread".to_owned())
    }
}

/// What can be done about it.
fn advice(error: &std::io::Error) -> &'static str {
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::MFILE) => {
            "; raise the limit with ulimit -n, for the server as well"
        }
        _ => "",
    }
}
