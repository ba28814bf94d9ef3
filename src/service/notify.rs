//! What the service manager is told (`sd_notify(3)`). Without `NOTIFY_SOCKET` all of it does nothing.
//!
//! Owns: the states and the watchdog. Must not know: when they change.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::net::relay::Relay;

/// The process serves, at first, after a reload, or instead of the one before it.
pub fn ready(address: SocketAddr) {
    let status = format!("serving Gun peers at {address}");
    // The process that was started first is not the main one for ever.
    let main = NotifyState::MainPid(std::process::id());
    tell(&[main, NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The settings are being read again.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The process is about to end, and nothing follows it. It asks for `time`, however soon it is expected to end.
pub fn stopping(time: Duration) {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    let status = NotifyState::Status("closing all peers");
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros), status]);
}

/// Gives a sign of life twice in each interval the service manager asks for, for as long as every thread of the data
/// path answers. Ends when the process drains, because threads may end then.
pub fn start_watchdog(relay: Arc<Relay>) {
    let Some(interval) = sd_notify::watchdog_enabled().map(|interval| interval / 2) else {
        return;
    };
    thread::spawn(move || watch(&relay, interval));
}

fn watch(relay: &Relay, interval: Duration) {
    while !relay.is_draining() {
        if relay.is_alive(interval) {
            tell(&[NotifyState::Watchdog]);
        } else if !relay.is_draining() {
            tracing::error!(
                "a thread of the relay does not answer; the watchdog is not told to wait"
            );
        }
        thread::sleep(interval);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    static IS_KNOWN: AtomicBool = AtomicBool::new(false);
    if let Err(error) = sd_notify::notify(states)
        && !IS_KNOWN.swap(true, Ordering::Relaxed)
    {
        tracing::warn!("the service manager cannot be told, which is said once: {error}");
    }
}
