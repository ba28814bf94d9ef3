//! A thread that puts new certificates in force.
//!
//! Owns: when to look, and what is said about it. Must not know: what a pair is.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::metrics::{Counter, Counters};
use crate::tls::reload::{Outcome, Reloader};

/// Between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Looks at the files until the other end of `requests` is gone. A request is to take what lies there
/// at once.
pub fn run(mut reloader: Reloader, requests: Receiver<()>, counters: Arc<Counters>) {
    loop {
        let outcome = match requests.recv_timeout(LOOK_INTERVAL) {
            Ok(()) => reloader.reload(),
            Err(RecvTimeoutError::Timeout) => reloader.look(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match outcome {
            Outcome::Unchanged => {}
            Outcome::Replaced => {
                counters.count(Counter::TlsReloads);
                tracing::info!("TLS: the certificate was read anew; new connections get it");
            }
            Outcome::Refused(error) => {
                counters.count(Counter::TlsReloadFailures);
                tracing::error!("TLS: the new certificate is not used, the old one stays: {error}");
            }
        }
    }
}
