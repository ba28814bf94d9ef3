//! Wakes a writer, but only one that sleeps: a wake-up is a system call.
//!
//! The writer says that it sleeps, looks at its queue once more, then polls. A sender pushes, then
//! looks whether the writer sleeps. Both do so by exchanging the same flag, and of two exchanges
//! the second sees all that was done before the first: the sender that the writer sleeps, or the
//! writer what was pushed. `tests/bell.rs` has every interleaving of this file checked.
//!
//! Owns: that flag. Must not know: queues, what a writer does when it is awake.

use super::sync::{AtomicBool, Ordering};

/// What ends a poll, from another thread. It may come before the poll begins.
pub trait Wake {
    /// Ends the poll, or the next one.
    fn wake(&self);
}

impl Wake for mio::Waker {
    fn wake(&self) {
        mio::Waker::wake(self).expect("an eventfd or pipe of our own can be written");
    }
}

/// See the module's head.
#[derive(Debug)]
pub struct Bell<W> {
    is_asleep: AtomicBool,
    waker: W,
}

impl<W: Wake> Bell<W> {
    /// A bell that rings through `waker`. Its writer is awake.
    pub fn new(waker: W) -> Self {
        Bell { is_asleep: AtomicBool::new(false), waker }
    }

    /// For a sender, after a push.
    pub fn ring(&self) {
        if self.is_asleep.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// For the writer, before it polls. Says whether it may wait for events, or `has_work`.
    pub fn fall_asleep(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.is_asleep.swap(true, Ordering::AcqRel);
        if has_work() {
            self.wake_up();
            return false;
        }
        true
    }

    /// For the writer, after it polled. What senders pushed that rang until now can be seen.
    pub fn wake_up(&self) {
        self.is_asleep.swap(false, Ordering::AcqRel);
    }
}
