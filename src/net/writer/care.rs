//! What becomes due for peers, whether anything is said to them or not.
//!
//! Owns: heartbeats, pings, and who is closed for what. Must not know: batches, queues.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::Token;

use super::{HEARTBEAT_INTERVAL, TICK, Writer, is_trouble, pen};
use crate::dam::peer::PeerId;
use crate::net::remote::Remote;
use crate::net::socket::Ending;
use crate::ws::frame::{self, Opcode};

/// The heartbeat: an empty batch as a text frame.
const HEARTBEAT_FRAME: &[u8] = &[0x81, 2, b'[', b']'];

/// Time for a peer to take its close frame before the connection is cut.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Something that is due for a peer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Heartbeat(PeerId),
    /// For this connection of the peer, as [`Remote::connections`] counts: a link has many.
    Ping(PeerId, u64),
    /// Likewise.
    Pong(PeerId, u64),
}

impl Writer {
    pub(super) fn run_timers(&mut self) {
        if self.drain.as_ref().is_some_and(|drain| drain.next_slice <= self.now) {
            self.drain_slice();
        }
        if self.now < self.next_tick {
            return;
        }
        self.next_tick = self.now + TICK;
        while let Some((_, due)) = self.timers.take_due(self.now) {
            match due {
                Due::Heartbeat(peer) => self.heartbeat(peer),
                Due::Ping(peer, connection) => self.ping(peer, connection),
                Due::Pong(peer, connection) => self.check_pong(peer, connection),
            }
        }
        self.forget_timers();
        if self.has_trouble {
            self.look_at_trouble();
        }
    }

    /// Of peers that are gone, as they come and go faster than their timers are due.
    fn forget_timers(&mut self) {
        let Writer { timers, slots, remotes, .. } = self;
        timers.thin_out(slots.len(), |due| match due {
            Due::Heartbeat(peer) => slots.contains_key(peer),
            Due::Ping(peer, connection) | Due::Pong(peer, connection) => {
                slots.get(peer).is_some_and(|slot| remotes[*slot].connections == *connection)
            }
        });
    }

    fn heartbeat(&mut self, peer: PeerId) {
        if let Some(slot) = self.slot(peer) {
            self.remotes[slot].take_back_room();
            self.write_frame(peer, &Bytes::from_static(HEARTBEAT_FRAME));
            self.timers.set(self.now, HEARTBEAT_INTERVAL, Due::Heartbeat(peer));
        }
    }

    fn ping(&mut self, peer: PeerId, connection: u64) {
        let Some(remote) = self.connected(peer, connection) else { return };
        let Some(socket) = remote.socket() else { return };
        socket.take_alive();
        let ping = frame::control(Opcode::Ping, b"", remote.is_link.then(rand::random));
        self.write_frame(peer, &ping);
        self.timers.set(self.now, self.parts.config.pong_timeout, Due::Pong(peer, connection));
    }

    fn check_pong(&mut self, peer: PeerId, connection: u64) {
        let Some(remote) = self.connected(peer, connection) else { return };
        let Some(socket) = remote.socket() else { return };
        // While something waits the ping may not have left yet; a stall ends such a peer.
        if !socket.take_alive() && remote.stuck_since().is_none() {
            return remote.hang_up(Ending::Silent);
        }
        if let Some(interval) = self.parts.config.ping_interval {
            self.timers.set(self.now, interval, Due::Ping(peer, connection));
        }
    }

    /// The peer, if it is still on this connection.
    fn connected(&mut self, peer: PeerId, connection: u64) -> Option<&mut Remote> {
        let slot = self.slot(peer)?;
        Some(&mut self.remotes[slot]).filter(|remote| remote.connections == connection)
    }

    /// Closes peers that are stuck for too long, and hangs up on those that do not take their
    /// close frame.
    fn look_at_trouble(&mut self) {
        self.has_trouble = false;
        let pen = pen(&self.parts, self.now);
        let age = |since: Option<Instant>| {
            since.map_or(Duration::ZERO, |since| self.now.duration_since(since))
        };
        for (slot, remote) in &mut self.remotes {
            if age(remote.closing_since()) >= CLOSE_TIMEOUT {
                remote.hang_up(Ending::Stalled);
            } else if remote.is_open()
                && !remote.is_bridge()
                && age(remote.stuck_since()) >= self.parts.config.stall_timeout
            {
                remote.close_slow(Ending::Stalled, Token(slot), &pen);
            }
            self.has_trouble |= is_trouble(remote);
        }
    }

    /// Closes the worst peers while the memory is full and nobody else has worse ones.
    pub(super) fn keep_memory(&mut self) {
        while self.parts.keeper.look(self.now) {
            let held = |(slot, remote): (usize, &Remote)| (remote.held_bytes(), slot);
            let (bytes, slot) = self.remotes.iter().map(held).max().unwrap_or_default();
            if !self.parts.keeper.is_to_go(bytes, self.now) {
                return;
            }
            let remote = &mut self.remotes[slot];
            let address = remote.socket().map(|socket| socket.address);
            remote.evict(Token(slot), &pen(&self.parts, self.now));
            self.has_trouble |= is_trouble(remote);
            self.parts.keeper.note(address, bytes, self.now);
        }
    }
}
