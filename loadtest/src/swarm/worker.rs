//! A thread of the generator: its loop, what it opens and when.
//!
//! Owns: a poll, the connections of this thread and what they counted. Sending is in
//! [`send`](super::send), receiving in [`receive`](super::receive).

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender as Reporter};
use std::time::Duration;

use gunmetal::ws::frame::{self, Opcode};
use mio::event::Event;
use mio::{Events, Poll, Token};

use crate::clock::{Alarm, SECOND_NS, thread_cpu_ns, thread_wait_ns};
use crate::message::{Exchange, Protocol};
use crate::plan::{Plan, Role};
use crate::stamp::Stamp;
use crate::swarm::conn::{Conn, Progress, State};
use crate::swarm::dial::{Dials, Guests};
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
    poll: Poll,
    alarm: Alarm,
    commands: Receiver<Command>,
    reports: Reporter<Report>,
    dials: Dials,
    guests: Option<Guests>,
    /// Connections that may have more to read.
    pub(super) ready: Vec<usize>,
    pub(super) room: Vec<u8>,
    /// Questions that are ours to answer.
    pub(super) questions: Vec<Stamp>,
    clockwork: Option<Seconds>,
    pub(super) has_stopped: bool,
    serial: u32,
    pub(super) bytes_in: u64,
    pub(super) delivered: u64,
}

/// The seconds of a run that were reported.
#[derive(Debug)]
struct Seconds {
    next: usize,
    next_ns: u64,
    cpu_ns: Option<u64>,
    wait_ns: Option<u64>,
    bytes_in: u64,
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
            ready: Vec::new(),
            room: vec![0; READ_BYTES],
            questions: Vec::new(),
            clockwork: None,
            has_stopped: false,
            serial: plan.connections() + index as u32,
            bytes_in: 0,
            delivered: 0,
            plan,
        })
    }

    /// Runs until it is told to finish.
    pub fn run(mut self) {
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
            self.clockwork.as_ref().map(|seconds| seconds.next_ns),
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

    fn advance(&mut self, place: usize) {
        let conn = &mut self.conns[place];
        let target = self.plan.target(conn.index);
        match conn.advance(target, self.plan.style.protocol, &mut self.room) {
            Progress::None => {}
            Progress::Opened => self.on_opened(place),
            Progress::Ended(why) => self.on_failed(place, why),
        }
    }

    fn on_opened(&mut self, place: usize) {
        let now_ns = self.plan.clock.now_ns();
        let conn = &mut self.conns[place];
        self.tally.totals.opening.saturating_record(now_ns - conn.dialled_ns);
        let early = conn.take_early();
        if self.plan.style.protocol == Protocol::Dam {
            conn.push(&greeting(conn.index, self.plan.style.secret));
        }
        self.dirty.push(place);
        if conn.role == Role::Guest {
            self.tally.totals.guests += 1;
        } else {
            self.dials.opened();
            self.gauges.of(self.index).open.fetch_add(1, Ordering::Relaxed);
        }
        self.take(place, &early, now_ns);
        self.read(place, true);
    }

    fn on_failed(&mut self, place: usize, why: String) {
        self.tally.totals.failed += 1;
        self.gauges.set_failure(&why);
        self.tally.totals.failure = Some(why);
        if self.conns[place].role != Role::Guest {
            self.dials.failed(place, self.plan.clock.now_ns());
        }
    }

    pub(super) fn on_ended(&mut self, place: usize) {
        self.conns[place].close();
        match self.conns[place].role {
            Role::Guest => return,
            Role::Stalled => self.tally.totals.stalled_closed += 1,
            _ => self.tally.totals.closed += 1,
        }
        self.gauges.of(self.index).open.fetch_sub(1, Ordering::Relaxed);
    }

    fn come_and_go(&mut self, now_ns: u64) -> io::Result<()> {
        while let Some(place) = self.dials.take(now_ns) {
            self.dial(place, self.conns[place].index)?;
        }
        while let Some(place) = self.guests.as_mut().and_then(|guests| guests.take_leaving(now_ns))
        {
            self.conns[place].close();
        }
        while let Some(place) = self.guests.as_mut().and_then(|guests| guests.take_coming(now_ns)) {
            self.serial = self.serial.wrapping_add(self.plan.threads as u32) % 1_000_000;
            self.dial(place, self.serial)?;
        }
        Ok(())
    }

    fn dial(&mut self, place: usize, serial: u32) -> io::Result<()> {
        let conn = &mut self.conns[place];
        conn.dialled_ns = self.plan.clock.now_ns();
        let target = self.plan.target(conn.index);
        conn.dial(target, serial, self.poll.registry(), Token(place))
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

    fn end_seconds(&mut self, now_ns: u64) {
        let Some(seconds) = &mut self.clockwork else { return };
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
        let number = seconds.next;
        seconds.next += 1;
        seconds.next_ns += SECOND_NS;
        // Nobody listens when the run was given up.
        let _nobody = self.reports.send(Report::Second(number, Box::new(part)));
    }

    /// Returns whether this was the last.
    fn take_commands(&mut self) -> io::Result<bool> {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Open => self.open(self.plan.scenario.ramp / self.plan.threads as f64),
                Command::Reopen => {
                    self.close_all();
                    self.open(0.0);
                }
                Command::WriteFirst => self.write_first(),
                Command::Subscribe => self.subscribe(),
                Command::Go(times) => self.go(times),
                Command::Stop => self.stop(),
                Command::Finish(sent) => {
                    self.finish(&sent);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn open(&mut self, rate: f64) {
        let is_resident = |place: &usize| self.conns[*place].role != Role::Guest;
        let places: Vec<_> = (0..self.conns.len()).filter(is_resident).collect();
        self.dials.start(places.into_iter(), rate, self.plan.clock.now_ns());
    }

    fn close_all(&mut self) {
        self.conns.iter_mut().for_each(Conn::close);
        self.gauges.of(self.index).open.store(0, Ordering::Relaxed);
        self.tally.totals.opening.reset();
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
        let next_ns = times.measured_ns;
        self.clockwork = Some(Seconds {
            next: 0,
            next_ns,
            cpu_ns: thread_cpu_ns(),
            wait_ns: thread_wait_ns(),
            bytes_in: self.bytes_in,
        });
        let scenario = &self.plan.scenario;
        if scenario.churn > 0.0 {
            let is_guest = |place: &usize| self.conns[*place].role == Role::Guest;
            let places = (0..self.conns.len()).filter(is_guest).collect();
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
        self.has_stopped = true;
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
        let totals = self.tally.finish();
        // Nobody listens when the run was given up.
        let _nobody = self.reports.send(Report::Finished(Box::new(totals)));
    }
}

/// The connections of a thread.
fn conns(plan: &Plan, thread: usize) -> Vec<Conn> {
    let mine = (0..plan.connections()).filter(|index| plan.thread(*index) == thread);
    let conn = |index| {
        let role = plan.role(index);
        let is_counted = matches!(role, Role::Sender | Role::Receiver);
        Conn::new(index, role, if is_counted { plan.scenario.senders as usize } else { 0 })
    };
    mine.map(conn).collect()
}

/// What a Gun peer answers the relay's question for its name with.
fn greeting(index: u32, secret: u64) -> Vec<u8> {
    let text =
        format!(r##"{{"dam":"?","pid":"lt{index:x}","@":"hi","#":"hi{secret:x}{index:x}"}}"##);
    frame::masked(Opcode::Text, &[text.as_bytes()], [1, 2, 3, 4])
}
