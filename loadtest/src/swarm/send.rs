//! Sending: what is due in open loop, what the window allows in closed loop.
//!
//! Owns: the senders of a thread. In open loop a message keeps the time it was meant for, however late
//! it leaves. What makes it late is told apart: a server that does not read holds up its sender, and
//! that is the server's; all other lateness is the generator's own lag.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::message::Template;
use crate::pace::{Pace, Schedule};
use crate::plan::{Plan, Role};
use crate::stamp::{Kind, Stamp};
use crate::swarm::Times;
use crate::swarm::conn::Conn;
use crate::swarm::worker::Worker;

/// Messages sent between two looks at what arrived.
const TURN_MESSAGES_MAX: usize = 512;
/// Messages that may wait for servers that do not read; the schedule stands still beyond it.
const PARKED_MAX: usize = 100_000;
/// A window in which nothing moves for so long is given up: what is in it was lost.
const STUCK_NS: u64 = 1_000_000_000;

/// A sender.
#[derive(Debug)]
pub struct Sender {
    /// Its connection.
    place: usize,
    /// Others that say the same.
    twins: Vec<usize>,
    template: Template,
    sequence: u32,
    /// When the messages that wait for the server were meant to be sent.
    parked: VecDeque<u64>,
    /// Since when it could send.
    free_ns: u64,
}

/// The senders of a thread, and when they send.
#[derive(Debug, Default)]
pub struct Senders {
    all: Vec<Sender>,
    schedule: Option<Schedule>,
    window: Option<Window>,
    parked: usize,
}

/// Closed loop.
#[derive(Debug)]
struct Window {
    times: Times,
    /// Messages in flight, of all threads.
    messages: u64,
    /// Copies that each message becomes.
    copies: u64,
    /// Whose turn it is.
    next: usize,
    /// What had been delivered when it last grew, and when that was.
    progress: (u64, u64),
}

impl Senders {
    /// The senders among a thread's connections.
    pub fn new(plan: &Plan, conns: &[Conn]) -> Self {
        let twins_of = |index: u32| {
            let places = conns.iter().enumerate();
            let twins = places.filter(move |(_, conn)| conn.role == Role::Twin(index));
            twins.map(|(place, _)| place).collect()
        };
        let has_twins = plan.scenario.repeat > 1;
        let sender = |(place, conn): (usize, &Conn)| Sender {
            place,
            twins: if has_twins { twins_of(conn.index) } else { Vec::new() },
            template: plan.style.message(conn.index, plan.rooms[conn.index as usize]),
            sequence: 0,
            parked: VecDeque::new(),
            free_ns: 0,
        };
        let places = conns.iter().enumerate();
        let all = places.filter(|(_, conn)| conn.role == Role::Sender).map(sender).collect();
        Senders { all, ..Senders::default() }
    }

    /// Starts the schedule.
    pub fn start(&mut self, plan: &Plan, times: Times, thread: usize) {
        let scenario = &plan.scenario;
        if self.all.is_empty() || !scenario.is_sending() {
            return;
        }
        if scenario.window > 0 {
            let messages = u64::from(scenario.window);
            let (copies, progress) = (plan.scenario.copies(), (0, times.starts_ns));
            self.window = Some(Window { times, messages, copies, next: 0, progress });
            return;
        }
        let pace = Pace {
            rate: scenario.rate / f64::from(scenario.senders),
            burst: scenario.burst,
            starts_ns: times.starts_ns,
            ends_ns: times.ends_ns,
            seed: thread as u64,
        };
        let phase = |number: usize| {
            let index = number * plan.threads + thread;
            (number as u32, index as f64 / f64::from(scenario.senders))
        };
        self.schedule = Some(Schedule::new(pace, (0..self.all.len()).map(phase)));
    }

    /// When to send next, if it is known.
    pub fn next_ns(&self) -> Option<u64> {
        if self.parked >= PARKED_MAX {
            return None;
        }
        let opens = self.window.as_ref().map(|window| window.times.starts_ns);
        let opens = opens.filter(|_| self.all.first().is_some_and(|first| first.sequence == 0));
        self.schedule.as_ref().and_then(Schedule::next_ns).or(opens)
    }

    /// Messages that wait for the server, and one for all that the schedule holds.
    pub fn behind(&self) -> u64 {
        let scheduled = self.schedule.as_ref().and_then(Schedule::next_ns);
        self.parked as u64 + u64::from(scheduled.is_some())
    }

    /// Sends no more. Returns the messages that were due and not sent: those that the generator did
    /// not get to, and those that the server did not take.
    pub fn stop(&mut self) -> (u64, u64) {
        self.window = None;
        let scheduled = self.schedule.take().map_or(0, |schedule| schedule.remaining());
        let parked = std::mem::take(&mut self.parked) as u64;
        self.all.iter_mut().for_each(|sender| sender.parked.clear());
        if parked > 0 { (0, parked + scheduled) } else { (scheduled, 0) }
    }
}

impl Worker {
    /// Each sender says so many messages at once, whatever its schedule.
    pub(super) fn roll_call(&mut self) {
        for number in 0..self.senders.all.len() {
            for _ in 0..self.plan.scenario.roll_call {
                self.send_one(number, self.plan.clock.now_ns());
            }
        }
    }

    /// Sends what is to be sent now.
    pub(super) fn send(&mut self, now_ns: u64) {
        if self.senders.parked > 0 {
            self.send_parked();
        }
        if self.senders.schedule.is_some() {
            self.send_due(now_ns);
        }
        if self.senders.window.is_some() {
            self.send_window(now_ns);
        }
    }

    fn send_due(&mut self, now_ns: u64) {
        for _ in 0..TURN_MESSAGES_MAX {
            if self.senders.parked >= PARKED_MAX {
                return;
            }
            let Some(schedule) = &mut self.senders.schedule else { return };
            let Some(due) = schedule.take(now_ns) else { return };
            let sender = &mut self.senders.all[due.sender as usize];
            if self.conns[sender.place].is_full() || !sender.parked.is_empty() {
                sender.parked.push_back(due.at_ns);
                self.senders.parked += 1;
            } else {
                self.send_one(due.sender as usize, due.at_ns);
            }
        }
    }

    fn send_parked(&mut self) {
        let now_ns = self.plan.clock.now_ns();
        for number in 0..self.senders.all.len() {
            let sender = &mut self.senders.all[number];
            if !sender.parked.is_empty() {
                sender.free_ns = now_ns;
            }
            while !self.conns[self.senders.all[number].place].is_full() {
                let Some(meant_ns) = self.senders.all[number].parked.pop_front() else { break };
                self.senders.parked -= 1;
                self.send_one(number, meant_ns);
            }
        }
    }

    fn send_window(&mut self, now_ns: u64) {
        let Some(window) = &mut self.senders.window else { return };
        if now_ns < window.times.starts_ns || now_ns >= window.times.ends_ns {
            return;
        }
        // Set before looking: progress made meanwhile then wakes this thread.
        self.gauges.of(self.index).is_waiting.store(true, Ordering::SeqCst);
        let delivered = self.gauges.sum(|gauge| &gauge.delivered);
        if delivered > window.progress.0 {
            window.progress = (delivered, now_ns);
        }
        let forgiven = self.gauges.forgiven.load(Ordering::Relaxed);
        let sent = self.gauges.sum(|gauge| &gauge.sent);
        let flying = sent.saturating_sub(delivered / window.copies.max(1) + forgiven);
        if flying >= window.messages {
            if now_ns > window.progress.1 + STUCK_NS {
                window.progress.1 = now_ns;
                self.gauges.forgiven.fetch_add(flying, Ordering::Relaxed);
            }
            return;
        }
        self.gauges.of(self.index).is_waiting.store(false, Ordering::SeqCst);
        let share = (window.messages - flying).div_ceil(self.plan.threads as u64);
        for _ in 0..share.min(TURN_MESSAGES_MAX as u64) {
            let Some(number) = self.next_free() else { return };
            self.send_one(number, self.plan.clock.now_ns());
        }
    }

    /// The sender whose turn it is, of those that the server reads from.
    fn next_free(&mut self) -> Option<usize> {
        let window = self.senders.window.as_mut()?;
        let count = self.senders.all.len();
        let found = (0..count).map(|step| (window.next + step) % count).find(|number| {
            let conn = &self.conns[self.senders.all[*number].place];
            !conn.is_full()
        })?;
        window.next = found + 1;
        Some(found)
    }

    fn send_one(&mut self, number: usize, meant_ns: u64) {
        let now_ns = self.plan.clock.now_ns();
        let sender = &mut self.senders.all[number];
        let kind = if self.plan.answerer(0).is_some() { Kind::Question } else { Kind::Post };
        let stamp = Stamp {
            kind,
            source: self.conns[sender.place].index,
            sequence: sender.sequence,
            meant_ns,
            lag_ns: now_ns.saturating_sub(meant_ns),
        };
        sender.sequence += 1;
        let bytes = sender.template.message(&stamp, self.plan.clock.unix_us(now_ns));
        for place in std::iter::once(sender.place).chain(sender.twins.iter().copied()) {
            self.conns[place].push(bytes);
            self.dirty.push(place);
        }
        self.tally.sent(meant_ns, now_ns.saturating_sub(meant_ns.max(sender.free_ns)));
        let sent = &self.gauges.sent[stamp.source as usize];
        sent.store(u64::from(sender.sequence), Ordering::Relaxed);
        let gauge = self.gauges.of(self.index);
        gauge.sent.store(self.tally.totals.counts.sent, Ordering::Relaxed);
    }
}
