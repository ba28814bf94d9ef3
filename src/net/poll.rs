//! Waiting for what a poll has to tell.
//!
//! Owns: what ends such a wait. Must not know: who waits, and for what.

use std::io;
use std::time::Duration;

use mio::{Events, Poll};

/// Waits until there are events or this time has passed; `None`: for as long as it takes. A signal may end it early.
pub fn wait(poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) {
    match poll.poll(events, timeout) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => panic!("a poll of our own cannot fail: {error}"),
    }
}
