//! A ready connection is read, and what came is heard.
//!
//! Owns: whose turn it is, and who is not read for a while. Must not know: what is ready, why.

use std::io;
use std::time::Duration;

use mio::Token;

use super::{Reactor, token};
use crate::metrics::Counter;
use crate::net::conn::Stage;
use crate::net::hear::{Fate, Hearer};
use crate::net::memory::LOOK_BYTES;
use crate::net::socket::{Ending, Received};
use crate::ws::upgrade::{self, HeadLimits};

/// Bytes read at once; the buffer is the thread's, not the connection's.
pub(super) const READ_BYTES: usize = 64 * 1024;

impl Reactor {
    pub(super) fn read_ready(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else { return };
            let index = token::index(token);
            let is_full = self.keeper.is_full();
            let Some(conn) = self.conn_mut(token) else { continue };
            // A message that is being assembled has to wait until there is memory for it.
            if is_full && conn.held > 0 || self.read(index) {
                self.ready.push_back(token);
            }
            if self.grown >= LOOK_BYTES && !self.keep_memory() {
                return;
            }
        }
    }

    /// Reads a connection once. Says whether it is to be read again without a new event.
    fn read(&mut self, index: usize) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.conns[index].socket.read(&mut buffer);
        let again = match read {
            Ok(Received::End) => {
                self.remove(index, Ending::Peer);
                false
            }
            Ok(Received::Bytes { count, has_more }) => {
                self.count_received(index, count);
                self.hear(index, &mut buffer[..count]);
                has_more
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.conns[index].is_hung_up = false;
                false
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(_) => {
                self.remove(index, Ending::Peer);
                false
            }
        };
        self.buffer = buffer;
        self.settle(index);
        let Some(conn) = self.conns.get_mut(index) else { return false };
        conn.is_ready = again || conn.is_hung_up;
        match conn.overdraft(self.now) {
            Some(time) => {
                self.pause(index, time);
                false
            }
            None => conn.is_ready,
        }
    }

    /// So many bytes came from a connection.
    #[inline]
    pub(super) fn count_received(&mut self, index: usize, bytes: usize) {
        let (conn, bytes) = (&mut self.conns[index], bytes as u64);
        conn.bytes_in += bytes;
        conn.socket.traffic.bytes_in.set(conn.bytes_in);
        let kind = match conn.stage {
            Stage::Open(_) => Counter::PeerBytesIn,
            _ => Counter::HttpBytesIn,
        };
        self.counters.add(Counter::BytesIn, bytes);
        self.counters.add(kind, bytes);
    }

    /// Reads a peer no more for a while. TCP slows it down meanwhile.
    fn pause(&mut self, index: usize, time: Duration) {
        self.counters.count(Counter::ReadPauses);
        let conn = &mut self.conns[index];
        conn.is_paused = true;
        // The poll has told what is there, and may not again: the timer puts it into the list.
        conn.is_ready = true;
        conn.socket.pause();
        self.pauses.set(self.now, time, token::pack(index, conn.generation));
    }

    /// Reads a peer on whose pause is over, unless it needs a longer one.
    pub(super) fn resume(&mut self, token: Token) {
        let now = self.now;
        let Some(conn) = self.conn_mut(token) else { return };
        if let Some(time) = conn.overdraft(now) {
            return self.pauses.set(now, time, token);
        }
        conn.is_paused = false;
        conn.socket.resume();
        self.ready.push_back(token);
    }

    /// Hears what came from a connection.
    pub(super) fn hear(&mut self, index: usize, input: &mut [u8]) {
        let conn = &mut self.conns[index];
        match &mut conn.stage {
            Stage::Proxy(header) => {
                header.extend_from_slice(input);
                let header = std::mem::take(header);
                self.hear_proxy(index, header);
            }
            Stage::Head(head) => {
                let seen = head.len();
                head.extend_from_slice(input);
                let limits = HeadLimits::new(self.config.head_bytes_max);
                if !upgrade::is_worth_a_look(head, seen, &limits) {
                    return;
                }
                let head = std::mem::take(head);
                self.hear_head(index, head);
            }
            Stage::Open(hearing) => {
                let (heard, was_named) =
                    (self.counters.get(Counter::MessagesIn), hearing.peer.pid.is_some());
                let hearer = Hearer {
                    router: &mut self.router,
                    outbox: &mut self.outbox,
                    counters: &self.counters,
                    socket: &conn.socket,
                    heard: 0,
                };
                let fate = hearer.hear(hearing, input);
                let heard = self.counters.get(Counter::MessagesIn) - heard;
                conn.socket.traffic.messages_in.add(heard);
                if let (false, Some(pid)) = (was_named, &hearing.peer.pid) {
                    self.roster.learn_pid(index, pid);
                }
                if let Fate::Finish(last, ending) = fate {
                    self.finish(index, last, ending);
                }
            }
            Stage::Ended(_) => {}
        }
    }
}
