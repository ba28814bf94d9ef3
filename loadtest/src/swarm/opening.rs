//! How the connections of a thread open and end: residents at the start, guests as they come and go.
//!
//! Owns: what follows from a connection that opened, failed or ended. When one is to be opened is in
//! [`dial`](super::dial), how is in [`conn`](super::conn).

use std::io;
use std::sync::atomic::Ordering;

use gunmetal::ws::frame::{self, Opcode};
use mio::Token;

use crate::message::Protocol;
use crate::plan::{Plan, Role};
use crate::swarm::conn::{Conn, Progress};
use crate::swarm::worker::Worker;

impl Worker {
    /// Opens all but guests, so many a second; 0: as fast as they are accepted.
    pub(super) fn open(&mut self, rate: f64) {
        self.dials.start(self.residents().into_iter(), rate, self.plan.clock.now_ns());
    }

    /// Closes all, and opens all but guests again at once.
    pub(super) fn reopen(&mut self) {
        self.close_all();
        self.dials.start_at_once(self.residents().into_iter(), self.plan.clock.now_ns());
    }

    fn residents(&self) -> Vec<usize> {
        let is_resident = |place: &usize| self.conns[*place].role != Role::Guest;
        (0..self.conns.len()).filter(is_resident).collect()
    }

    fn close_all(&mut self) {
        self.conns.iter_mut().for_each(Conn::close);
        self.gauges.of(self.index).open.store(0, Ordering::Relaxed);
        self.tally.totals.opening.reset();
    }

    pub(super) fn advance(&mut self, place: usize) {
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
        if let Some(rush) = &mut self.rush
            && conn.role == Role::Guest
        {
            conn.reset();
            rush.give_back(place);
            return self.tally.guest();
        }
        let early = conn.take_early();
        if self.plan.style.protocol == Protocol::Dam {
            conn.push(&greeting(conn.index, self.plan.style.secret));
        }
        self.dirty.push(place);
        if conn.role == Role::Guest {
            self.tally.guest();
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
        } else if let Some(rush) = &mut self.rush {
            rush.give_back(place);
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

    pub(super) fn come_and_go(&mut self, now_ns: u64) -> io::Result<()> {
        while let Some(place) = self.dials.take(now_ns) {
            self.dial(place, self.conns[place].index)?;
        }
        while let Some(place) = self.guests.as_mut().and_then(|guests| guests.take_leaving(now_ns))
        {
            self.conns[place].close();
        }
        while let Some(place) = self.guests.as_mut().and_then(|guests| guests.take_coming(now_ns)) {
            self.dial_guest(place)?;
        }
        while let Some(place) = self.rush.as_mut().and_then(|rush| rush.take(now_ns)) {
            self.dial_guest(place)?;
        }
        Ok(())
    }

    fn dial_guest(&mut self, place: usize) -> io::Result<()> {
        self.serial = self.serial.wrapping_add(self.plan.threads as u32) % 1_000_000;
        self.dial(place, self.serial)
    }

    fn dial(&mut self, place: usize, serial: u32) -> io::Result<()> {
        let conn = &mut self.conns[place];
        conn.dialled_ns = self.plan.clock.now_ns();
        let target = self.plan.target(conn.index);
        let buffer = self.plan.scenario.buffer;
        conn.dial(target, serial, buffer, self.poll.registry(), Token(place))
    }
}

/// The connections of a thread.
pub(super) fn conns(plan: &Plan, thread: usize) -> Vec<Conn> {
    let mine = (0..plan.connections()).filter(|index| plan.thread(*index) == thread);
    let conn = |index| {
        let role = plan.role(index);
        let is_counted = matches!(role, Role::Sender | Role::Receiver);
        Conn::new(index, role, if is_counted { plan.scenario.senders as usize } else { 0 })
    };
    mine.map(conn).collect()
}

/// What a Gun peer answers the relay's question for its name with. The name is as long as Gun makes them:
/// relays add the names of up to seven peers to each message.
fn greeting(index: u32, secret: u64) -> Vec<u8> {
    let text =
        format!(r##"{{"dam":"?","pid":"lt{index:07x}","@":"hi","#":"hi{secret:x}{index:x}"}}"##);
    frame::masked(Opcode::Text, &[text.as_bytes()], [1, 2, 3, 4])
}
