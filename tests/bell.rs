//! The bell that wakes a writer, in every interleaving that the memory model allows (loom).
//!
//! The bell's own file is compiled into this test with loom's atomics in place of the standard
//! ones. A push that is slept through shows as a deadlock.

use std::sync::atomic::Ordering::{Acquire, Release};

use loom::sync::atomic::AtomicUsize;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

#[path = "../src/net/bell.rs"]
mod bell;

mod sync {
    pub use loom::sync::atomic::AtomicBool;
    pub use std::sync::atomic::Ordering;
}

use bell::{Bell, Wake};

/// A poll that can be ended from elsewhere, as an eventfd ends one: also before it begins.
#[derive(Default)]
struct Poll {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Poll {
    fn wait(&self) {
        let mut is_woken = self.is_woken.lock().expect("nobody panics");
        while !std::mem::take(&mut *is_woken) {
            is_woken = self.woken.wait(is_woken).expect("nobody panics");
        }
    }
}

impl Wake for Arc<Poll> {
    fn wake(&self) {
        *self.is_woken.lock().expect("nobody panics") = true;
        self.woken.notify_one();
    }
}

/// What is in the queue, and the way to wake who takes it out.
struct Lane {
    queued: AtomicUsize,
    poll: Arc<Poll>,
    bell: Bell<Arc<Poll>>,
}

impl Lane {
    fn new() -> Arc<Self> {
        let poll = Arc::new(Poll::default());
        let bell = Bell::new(poll.clone());
        Arc::new(Lane { queued: AtomicUsize::new(0), poll, bell })
    }

    fn push(&self) {
        self.queued.fetch_add(1, Release);
        self.bell.ring();
    }

    /// Takes until `count` were taken, and sleeps whenever there is nothing.
    fn take_all(&self, count: usize) {
        let mut taken = 0;
        while taken < count {
            if self.bell.fall_asleep(|| self.queued.load(Acquire) > taken) {
                self.poll.wait();
            }
            self.bell.wake_up();
            taken = self.queued.load(Acquire);
        }
    }
}

#[test]
fn no_push_is_slept_through() {
    // With three threads, all that a few switches at the worst moments can do.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let lane = Lane::new();
        let senders = [(); 2].map(|()| {
            let lane = lane.clone();
            thread::spawn(move || lane.push())
        });
        lane.take_all(2);
        for sender in senders {
            sender.join().expect("a sender does not panic");
        }
    });
}

#[test]
fn two_pushes_of_one_sender_are_taken() {
    loom::model(|| {
        let lane = Lane::new();
        let sender = lane.clone();
        let sender = thread::spawn(move || {
            sender.push();
            sender.push();
        });
        lane.take_all(2);
        sender.join().expect("the sender does not panic");
    });
}
