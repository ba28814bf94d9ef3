//! The relay stops: its peers are closed slice by slice, so that they do not all come to another relay at once.
//!
//! Owns: the pace, and who goes last. Must not know: who stops the relay, and why.

use std::time::{Duration, Instant};

use mio::Token;

use super::{Writer, pen};
use crate::net::socket::Ending;
use crate::ws::frame;

/// How long beyond the drain links wait for peers that do not hang up.
const LINKS_WAIT_MAX: Duration = Duration::from_secs(4);

/// How often a part of the peers is closed while the relay stops.
pub(super) const DRAIN_SLICE: Duration = Duration::from_millis(50);

/// The relay stops: peers are closed slice by slice.
pub(super) struct Drain {
    pub(super) ends: Instant,
    pub(super) next_slice: Instant,
    pause: Duration,
    per_slice: usize,
    /// Links are closed when all other peers have gone, so that their last words get through.
    has_links_turn: bool,
}

impl Drain {
    pub(super) fn turn_to_links(&mut self, now: Instant) {
        self.has_links_turn = true;
        self.next_slice = now;
    }
}

impl Writer {
    pub(super) fn start_drain(&mut self, time: Duration) {
        let count = self.remotes.len().max(1);
        let slices = (time.as_millis() / DRAIN_SLICE.as_millis()).max(1) as usize;
        let per_slice = count.div_ceil(slices);
        let pause = (time / u32::try_from(count).unwrap_or(u32::MAX)).max(DRAIN_SLICE);
        let (ends, next_slice) = (self.now + time, self.now);
        self.drain = Some(Drain { ends, next_slice, pause, per_slice, has_links_turn: false });
    }

    pub(super) fn drain_slice(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let is_late = drain.has_links_turn || self.now >= drain.ends;
        drain.next_slice = self.now + if is_late { DRAIN_SLICE } else { drain.pause };
        let pen = pen(&self.parts, self.now);
        let open = self.remotes.iter_mut().filter(|(_, remote)| remote.is_open());
        let with_links = drain.has_links_turn || self.now > drain.ends + LINKS_WAIT_MAX;
        let open = open
            .filter(|(_, remote)| remote.socket().is_some())
            .filter(|(_, remote)| with_links || !(remote.is_link || remote.is_bridge()));
        for (slot, remote) in open.take(drain.per_slice.max(1)) {
            let close = remote.close_frame(frame::CLOSE_RESTART, "the relay stops");
            remote.socket().inspect(|socket| socket.end(Ending::Stopping));
            remote.finish(close, Token(slot), &pen);
            self.has_trouble = true;
        }
    }
}
