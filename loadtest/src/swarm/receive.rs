//! Receiving: large reads, scanned rather than parsed; every copy counted and timed.
//!
//! Owns: what becomes of the bytes a connection read. Copies in one read share the time of that read.

use std::io::ErrorKind;

use gunmetal::ws::frame::{self, Opcode};

use crate::memo::Heard;
use crate::message::Protocol;
use crate::plan::{Plan, Role};
use crate::scan::Found;
use crate::stamp::{Kind, Stamp};
use crate::swarm::tally::Tally;
use crate::swarm::worker::Worker;
use crate::track::Track;
use crate::wire::Part;

/// Reads of one connection before the others have their turn.
const READS_PER_TURN: usize = 8;

impl Worker {
    pub(super) fn read(&mut self, place: usize, is_ending: bool) {
        if self.conns[place].role == Role::Stalled && self.plan.clock.now_ns() >= self.stalls_ns {
            return;
        }
        let mut room = std::mem::take(&mut self.room);
        for _ in 0..READS_PER_TURN {
            match self.conns[place].read(&mut room) {
                Ok(0) => self.on_ended(place),
                Ok(read) => {
                    self.take(place, &room[..read], self.plan.clock.now_ns());
                    // What comes after a read that did not fill its room is a new event; but not the end.
                    if read == room.len() || is_ending {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.on_ended(place),
            }
            self.room = room;
            return;
        }
        self.room = room;
        self.ready.push(place);
    }

    /// Counts and times what was read.
    pub(super) fn take(&mut self, place: usize, bytes: &[u8], now_ns: u64) {
        self.bytes_in += bytes.len() as u64;
        let conn = &mut self.conns[place];
        let mut receipt = Receipt {
            index: conn.index,
            is_counted: matches!(conn.role, Role::Sender | Role::Receiver),
            plan: &self.plan,
            tally: &mut self.tally,
            tracks: &mut conn.tracks,
            questions: &mut self.questions,
            delivered: &mut self.delivered,
            now_ns,
        };
        let (scanner, cursor, memo) = (&mut conn.scanner, &mut conn.cursor, &mut self.memo);
        let mut scan = |text: &[u8], receipt: &mut Receipt<'_>| {
            let mut heard = |heard: Heard<'_>| receipt.note(heard);
            memo.scan(scanner, cursor, text, &self.plan.expected, &mut heard);
        };
        if self.plan.style.protocol != Protocol::Dam {
            scan(bytes, &mut receipt);
            return self.reply(place);
        }
        let mut pongs = Vec::new();
        let mut is_over = false;
        conn.walker.walk(bytes, &mut |part| match part {
            Part::Text(piece, begins) => {
                receipt.check_begin(piece, begins);
                scan(piece, &mut receipt);
            }
            Part::Ping(payload) => {
                pongs.extend(frame::masked(Opcode::Pong, &[payload], [1, 2, 3, 4]));
            }
            Part::Close(_) => is_over = true,
            Part::Fault => receipt.tally.totals.counts.corrupted += 1,
        });
        if !pongs.is_empty() {
            conn.push(&pongs);
            self.dirty.push(place);
        }
        if is_over {
            return self.on_ended(place);
        }
        self.reply(place);
    }

    /// Answers what is ours to answer.
    fn reply(&mut self, place: usize) {
        if self.questions.is_empty() {
            return;
        }
        let conn = &mut self.conns[place];
        let plan = &self.plan;
        let mut answer = conn.answer.take().unwrap_or_else(|| plan.style.answer(conn.index).into());
        let state_us = plan.clock.unix_us(plan.clock.now_ns());
        for question in self.questions.drain(..) {
            conn.push(answer.answer(&question, conn.answers, state_us));
            conn.answers += 1;
        }
        conn.answer = Some(answer);
        self.dirty.push(place);
    }
}

/// What counting a read needs.
struct Receipt<'a> {
    index: u32,
    is_counted: bool,
    plan: &'a Plan,
    tally: &'a mut Tally,
    tracks: &'a mut [Track],
    questions: &'a mut Vec<Stamp>,
    delivered: &'a mut u64,
    now_ns: u64,
}

impl Receipt<'_> {
    /// Gun clients ignore texts that begin with anything but an object or a list.
    fn check_begin(&mut self, piece: &[u8], begins: bool) {
        if begins && !matches!(piece.first(), Some(b'{' | b'[')) {
            self.tally.totals.counts.corrupted += 1;
        }
    }

    #[inline]
    fn note(&mut self, heard: Heard<'_>) {
        match heard {
            Heard::Whole(stamps) => {
                stamps.chunk_by(follows).for_each(|run| self.note_run(run));
            }
            Heard::Other(found) => {
                self.tally.totals.counts.corrupted += 1;
                // It came, though it is not as it was sent.
                if let Found::Message(stamp, _) = found {
                    self.note_run(&[stamp]);
                }
            }
        }
    }

    /// Counts and times copies that follow each other.
    #[inline]
    fn note_run(&mut self, run: &[Stamp]) {
        if !self.is_counted {
            return;
        }
        let (first, count) = (run[0], run.len());
        let is_own = first.source == self.index;
        // What a twin said may be new to the sender's relay: it is right to pass it on to the sender.
        if is_own && first.kind != Kind::Answer && self.plan.scenario.repeat > 1 {
            return;
        }
        let counts = &mut self.tally.totals.counts;
        counts.received += count as u64;
        if is_own != (first.kind == Kind::Answer) {
            counts.echoed += count as u64;
            return;
        }
        if let Some(track) = self.tracks.get_mut(first.source as usize) {
            track.note_run(first.sequence, count as u32, counts);
        }
        if first.kind != Kind::Question {
            *self.delivered += count as u64;
            self.tally.time(run, self.now_ns);
        } else if self.plan.answerer(first.source) == Some(self.index) {
            self.questions.extend(run);
        }
    }
}

/// Whether one stamp is of the message behind another's.
#[inline]
fn follows(one: &Stamp, next: &Stamp) -> bool {
    one.source == next.source
        && one.kind == next.kind
        && one.sequence.checked_add(1) == Some(next.sequence)
}
