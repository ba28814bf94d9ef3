//! What crosses from a reactor to a writer, without their threads.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use gunmetal::dam::peer::PeerId;
use gunmetal::metrics::Metrics;
use gunmetal::net::coalesce::Coalescer;
use gunmetal::net::placement::Placement;
use gunmetal::net::queue::{Budget, Outbox, Turn, lane};
use mio::{Poll, Token, Waker};

/// The peer that all messages are for.
pub const PEER: u64 = 1;

/// The two ends of a queue.
pub struct Ends {
    pub outbox: Outbox,
    pub queue: Receiver<Arc<Turn>>,
    /// Holds the waker's file.
    _poll: Poll,
}

/// A queue to one writer, which is never asleep.
pub fn ends() -> Ends {
    let poll = Poll::new().expect("a poll");
    let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
    let (lane, queue, _bell) = lane(8, waker);
    let counters = Metrics::default().for_thread();
    let placement = Arc::new(Placement::new(1, 1));
    placement.enter();
    let outbox = Outbox::new(vec![lane], placement, Budget::new(1 << 30), counters);
    Ends { outbox, queue, _poll: poll }
}

impl Ends {
    /// One turn of these texts.
    pub fn turn(&mut self, texts: &[String]) -> Arc<Turn> {
        for text in texts {
            self.outbox.say(PeerId::new(PEER, 0), text);
        }
        self.outbox.flush();
        self.queue.try_recv().expect("the turn")
    }
}

/// A turn in which a reactor passed on `count` puts, which fit into one.
pub fn turn_of_puts(count: u64) -> Arc<Turn> {
    let puts: Vec<_> = (0..count).map(super::put).collect();
    ends().turn(&puts)
}

/// Adds the messages of a turn for all, but those that `is_except` says not for the peer in slot 0.
pub fn add_broadcasts(batch: &mut Coalescer, turn: &Arc<Turn>, is_except: impl Fn(usize) -> bool) {
    batch.add_turn(turn.clone());
    for index in 0..turn.items().len() {
        batch.add_broadcast(index);
        if is_except(index) {
            batch.except(0);
        }
    }
}
