//! A reactor's part in bounded memory.
//!
//! Owns: what each connection is counted with, and closing the one that holds the most. Must not
//! know: when memory is full, and which thread has the worst of all: that is known to the
//! [`Keeper`](crate::net::memory::Keeper).

use std::time::Instant;

use super::Reactor;
use crate::net::admission::Rejection;
use crate::net::conn::{Conn, Stage};
use crate::net::socket::Ending;
use crate::net::{hear, http};
use crate::ws::frame;

impl Reactor {
    /// Closes the worst connections while the memory is full and no other thread has worse ones.
    /// Says whether there is room again.
    pub(super) fn keep_memory(&mut self) -> bool {
        self.grown = 0;
        while self.keeper.look(self.now) {
            let held = |(index, conn): (usize, &Conn)| (conn.held, index);
            let (bytes, index) = self.conns.iter().map(held).max().unwrap_or_default();
            if !self.keeper.is_to_go(bytes, Instant::now()) {
                return false;
            }
            let address = self.conns[index].socket.address;
            self.keeper.note(Some(address), bytes, self.now);
            self.evict(index);
        }
        true
    }

    fn evict(&mut self, index: usize) {
        let conn = &self.conns[index];
        if conn.socket.half_read_bytes() > conn.held / 2 {
            // Only its end frees what its session holds.
            conn.socket.hang_up();
            return self.remove(index, Ending::Memory);
        }
        let Stage::Open(hearing) = &self.conns[index].stage else {
            self.conns[index].socket.end(Ending::Memory);
            self.respond(index, &http::reject(Rejection::Memory));
            return self.settle(index);
        };
        let last = hear::last_frame(Some(frame::CLOSE_AGAIN), "out of memory", &hearing.peer);
        self.finish(index, last, Ending::Memory);
        self.settle(index);
    }

    /// Brings up to date what a connection is counted with.
    pub(super) fn settle(&mut self, index: usize) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        let held = conn.held_bytes();
        if held == conn.held {
            return;
        }
        let before = std::mem::replace(&mut conn.held, held);
        self.grown += held.saturating_sub(before);
        self.keeper.gauge().add(held);
        self.keeper.gauge().sub(before);
    }
}
