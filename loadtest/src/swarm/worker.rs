//! A thread of the generator: its loop, and what it is told.
//!
//! Owns: a poll, the connections of this thread and what they counted. Opening is in
//! [`opening`](super::opening), sending in [`send`](super::send), receiving in
//! [`receive`](super::receive).

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender as Reporter};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};

use crate::clock::{Alarm, seconds_ns};
use crate::memo::Memo;
use crate::message::Exchange;
use crate::plan::{Plan, Role};
use crate::stamp::Stamp;
use crate::swarm::conn::{Conn, Progress, State};
use crate::swarm::dial::{Dials, Guests, Rush};
use crate::swarm::opening::conns;
use crate::swarm::seconds::Seconds;
use crate::swarm::send::Senders;
use crate::swarm::tally::Tally;
use crate::swarm::{Command, Gauges, Report, Times};

/// The token of the waker.
pub const BELL: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);
/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;

/// See the module's head.
#[derive(Debug)]
pub struct Worker {
    pub(super) index: usize,
    pub(super) plan: Arc<Plan>,
    pub(super) gauges: Arc<Gauges>,
    pub(super) conns: Vec<Conn>,
    pub(super) senders: Senders,
    pub(super) tally: Tally,
    /// Connections with something to write.
    pub(super) dirty: Vec<usize>,
    pub(super) poll: Poll,
    alarm: Alarm,
    commands: Receiver<Command>,
    pub(super) reports: Reporter<Report>,
    pub(super) dials: Dials,
    pub(super) guests: Option<Guests>,
    pub(super) rush: Option<Rush>,
    /// Connections that may have more to read.
    pub(super) ready: Vec<usize>,
    pub(super) room: Vec<u8>,
    /// What its connections were given.
    pub(super) memo: Memo,
    /// Questions that are ours to answer.
    pub(super) questions: Vec<Stamp>,
    pub(super) seconds: Option<Seconds>,
    /// From when on stalled peers read nothing, until they are told to stop.
    pub(super) stalls_ns: u64,
    pub(super) serial: u32,
    pub(super) bytes_in: u64,
    pub(super) delivered: u64,
}

impl Worker {
    /// A thread that opens nothing yet.
    ///
    /// # Errors
    /// The process may not have more files.
    pub fn new(
        index: usize,
        plan: Arc<Plan>,
        poll: Poll,
        commands: Receiver<Command>,
        reports: Reporter<Report>,
        gauges: Arc<Gauges>,
    ) -> io::Result<Self> {
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let conns = conns(&plan, index);
        Ok(Worker {
            index,
            senders: Senders::new(&plan, &conns),
            gauges,
            conns,
            tally: Tally::default(),
            dirty: Vec::new(),
            poll,
            alarm,
            commands,
            reports,
            dials: Dials::default(),
            guests: None,
            rush: None,
            ready: Vec::new(),
            room: vec![0; READ_BYTES],
            memo: Memo::default(),
            questions: Vec::new(),
            seconds: None,
            stalls_ns: if plan.scenario.calm == 0 { 0 } else { u64::MAX },
            serial: plan.connections() + index as u32,
            bytes_in: 0,
            delivered: 0,
            plan,
        })
    }

    /// Runs until it is told to finish.
    pub fn run(mut self) {
        if self.plan.has_own_files
            && let Err(error) = take_own_files()
        {
            // Nobody listens when another thread failed first.
            let _nobody = self.reports.send(Report::Failed(error));
            return;
        }
        if let Err(error) = self.turns() {
            // Nobody listens when another thread failed first.
            let _nobody = self.reports.send(Report::Failed(error));
        }
    }

    fn turns(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            let held = std::mem::take(&mut self.ready);
            held.into_iter().for_each(|place| self.read(place, true));
            for event in &events {
                self.on_event(event);
            }
            if self.take_commands()? {
                return Ok(());
            }
            let now_ns = self.plan.clock.now_ns();
            self.come_and_go(now_ns)?;
            self.publish();
            self.send(now_ns);
            self.flush();
            self.end_seconds(now_ns);
        }
    }

    /// How long the poll may sleep; the alarm is set to what comes next.
    fn timeout(&mut self) -> Option<Duration> {
        let times = [
            self.senders.next_ns(),
            self.dials.next_ns(),
            self.guests.as_ref().and_then(Guests::next_ns),
            self.rush.as_ref().and_then(Rush::next_ns),
            self.seconds.as_ref().map(|seconds| seconds.next_ns),
        ];
        let now_ns = self.plan.clock.now_ns();
        match times.into_iter().flatten().min() {
            _ if !self.ready.is_empty() => Some(Duration::ZERO),
            Some(next_ns) if next_ns <= now_ns => Some(Duration::ZERO),
            Some(next_ns) => self.alarm.set(Duration::from_nanos(next_ns - now_ns)),
            None => None,
        }
    }

    fn on_event(&mut self, event: &Event) {
        let place = event.token().0;
        if place >= self.conns.len() {
            return;
        }
        match self.conns[place].state {
            State::Closed => {}
            State::Connecting | State::Handshake => self.advance(place),
            State::Open => {
                if event.is_writable() {
                    self.dirty.push(place);
                }
                if event.is_readable() || event.is_read_closed() {
                    self.read(place, event.is_read_closed());
                }
            }
        }
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for place in dirty.drain(..) {
            if self.conns[place].state == State::Open
                && let Progress::Ended(_) = self.conns[place].flush()
            {
                self.on_ended(place);
            }
        }
        self.dirty = dirty;
    }

    fn publish(&self) {
        let gauge = self.gauges.of(self.index);
        gauge.bytes_in.store(self.bytes_in, Ordering::Relaxed);
        gauge.behind.store(self.senders.behind(), Ordering::Relaxed);
        if gauge.delivered.swap(self.delivered, Ordering::Relaxed) != self.delivered {
            self.gauges.wake_waiting(self.index);
        }
    }

    /// Returns whether this was the last.
    fn take_commands(&mut self) -> io::Result<bool> {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Open => self.open(self.plan.scenario.ramp / self.plan.threads as f64),
                Command::Reopen => self.reopen(),
                Command::WriteFirst => self.write_first(),
                Command::Subscribe => self.subscribe(),
                Command::Go(times) => self.go(times),
                Command::RollCall => self.roll_call(),
                Command::Stop => self.stop(),
                Command::Finish(sent) => {
                    self.finish(&sent);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn write_first(&mut self) {
        let now_ns = self.plan.clock.now_ns();
        let us = self.plan.clock.unix_us(now_ns);
        for (place, conn) in self.conns.iter_mut().enumerate() {
            if conn.role == Role::Sender {
                let room = self.plan.rooms[conn.index as usize];
                conn.push(&self.plan.style.first_data(conn.index, room, us));
                self.dirty.push(place);
            }
        }
    }

    fn subscribe(&mut self) {
        let mut rooms = self.plan.rooms.clone();
        rooms.dedup();
        for (place, conn) in self.conns.iter_mut().enumerate() {
            if matches!(conn.role, Role::Sender | Role::Receiver) {
                for room in &rooms {
                    conn.push(&self.plan.style.subscription(conn.index, *room));
                }
                self.dirty.push(place);
            }
        }
    }

    fn go(&mut self, times: Times) {
        self.tally.set_times(times);
        self.senders.start(&self.plan, times, self.index);
        self.seconds = Some(Seconds::start(times.measured_ns, self.bytes_in));
        let scenario = &self.plan.scenario;
        if scenario.calm > 0 {
            self.stalls_ns = times.measured_ns + seconds_ns(scenario.calm.into());
        }
        let is_guest = |place: &usize| self.conns[*place].role == Role::Guest;
        let places = (0..self.conns.len()).filter(is_guest).collect();
        if scenario.rush > 0 {
            self.rush = Some(Rush::new(places, times.starts_ns, times.ends_ns));
        } else if scenario.churn > 0.0 {
            let rate = scenario.churn / self.plan.threads as f64;
            let guests = Guests::new(places, rate, scenario.stay, times.starts_ns, times.ends_ns);
            self.guests = Some(guests);
        }
    }

    fn stop(&mut self) {
        let (unsent, untaken) = self.senders.stop();
        self.tally.totals.unsent += unsent;
        self.tally.totals.untaken += untaken;
        // Now the stalled ones read as well, to learn whether the server has closed them: its goodbye is
        // behind all they did not read.
        self.stalls_ns = u64::MAX;
        let is_stalled = |place: &usize| self.conns[*place].role == Role::Stalled;
        let stalled: Vec<_> = (0..self.conns.len()).filter(is_stalled).collect();
        stalled.into_iter().for_each(|place| self.read(place, true));
    }

    fn finish(&mut self, sent: &[u32]) {
        let mut counts = self.tally.totals.counts;
        let asks = self.plan.scenario.exchange != Exchange::Post;
        let peers =
            self.conns.iter().filter(|conn| matches!(conn.role, Role::Sender | Role::Receiver));
        for conn in peers {
            for (source, (track, sent)) in conn.tracks.iter().zip(sent).enumerate() {
                // At its own place a peer has the answers it got.
                if source as u32 != conn.index || asks {
                    counts.expected += u64::from(*sent);
                    counts.lost += u64::from(track.lost(*sent));
                }
            }
        }
        self.tally.totals.counts = counts;
        self.tally.totals.guests_skipped = self.guests.as_ref().map_or(0, Guests::skipped);
        let totals = self.tally.finish();
        // Nobody listens when the run was given up.
        let _nobody = self.reports.send(Report::Finished(Box::new(totals)));
    }
}

/// Gives this thread a table of open files of its own, and with it a limit of its own.
#[cfg(target_os = "linux")]
fn take_own_files() -> io::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn take_own_files() -> io::Result<()> {
    Ok(())
}
