//! From the flags to a configuration in force.
//!
//! Owns: what follows from what: the values nobody gave, and those that must fit together. Must not
//! know: where the value of a flag comes from.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Flags;
use crate::config::values::{MIB, Size, listen_on};
use crate::config::{Config, DEDUP_ENTRY_BYTES, THREADS_MAX, Tls, memory, open_files};
use crate::tls::identity::PairFiles;

/// Gun packs up to a ten-thousandth of the longest message into one frame.
const MESSAGES_PER_BATCH: usize = 10_000;
/// Bytes that may wait for the writers when nobody names a number, if there is room.
const QUEUE_BYTES_MAX_DEFAULT: usize = 256 * MIB as usize;
/// Unless they are given, remembered ids get this part of the memory at most, and the writers' queues as much.
const MEMORY_PART: usize = 8;
/// Message ids that are remembered when nobody names a number, if there is room.
const DEDUP_ENTRIES_MAX_DEFAULT: usize = 2_000_000;

impl Flags {
    /// The configuration that these flags make.
    ///
    /// # Errors
    /// Flags that are right each do not go together; which, and what to do, for an operator to read.
    pub fn resolve(self) -> Result<Config, String> {
        let tls = tls(self.tls_cert, self.tls_key, self.tls_listen)?;
        let message_bytes_max = self.message_bytes_max.bytes();
        let (memory_max, queue_bytes_max, dedup_entries_max) =
            share_memory(self.memory_max, self.queue_bytes_max, self.dedup_entries_max)?;
        let fit = memory::threads_within(memory_max, queue_bytes_max, dedup_entries_max);
        let asked = Threads {
            reactors: self.reactors,
            writers: self.writers,
            tls: self.tls_threads,
            has_tls: tls.is_some(),
        };
        let threads = asked.within(fit, memory_max, self.memory_max.is_some())?;
        let open_files_max = open_files::limit();
        let needs = open_files::Needs {
            threads: threads.count(),
            peers: self.peers.0.len(),
            www: self.www.is_some(),
        };
        Ok(Config {
            tls,
            tls_roots: self.tls_roots,
            tls_handshakes_max: self.tls_handshakes_max,
            tls_threads: threads.tls,
            listen: vec![self.port.map_or(self.listen, listen_on)],
            peers: self.peers.0,
            reactors: threads.reactors,
            writers: threads.writers,
            peers_per_writer: self.peers_per_writer,
            batch_gap: Duration::from_millis(self.gap),
            batch_bytes_max: (message_bytes_max / MESSAGES_PER_BATCH).max(1),
            message_bytes_max,
            message_depth_max: self.message_depth_max,
            backlog_bytes_max: self.backlog_bytes_max.bytes(),
            queue_turns_max: self.queue_turns_max,
            queue_bytes_max,
            dedup_entries_max,
            memory_max,
            connections_max: self
                .connections_max
                .unwrap_or_else(|| needs.connections_within(open_files_max)),
            head_bytes_max: self.head_bytes_max.bytes(),
            handshake_timeout: self.handshake_timeout,
            ping_interval: (!self.ping_interval.is_zero()).then_some(self.ping_interval),
            pong_timeout: self.pong_timeout,
            stall_timeout: self.stall_timeout,
            drain_delay: self.drain_delay,
            drain_time: self.drain_time,
            www: self.www,
            admin: self.admin.unwrap_or_default(),
            admission: self.admission.resolve()?,
            log: self.log,
            log_format: self.log_format,
            open_files_max,
        })
    }
}

/// The memory, and what of it the writers' queues and the remembered ids get: what is given, or a part.
fn share_memory(
    memory: Option<Size>,
    queue_bytes_max: Option<Size>,
    dedup_entries_max: Option<usize>,
) -> Result<(usize, usize, usize), String> {
    let memory_max = memory.unwrap_or(Size(memory::derived())).bytes();
    let part = memory_max / MEMORY_PART;
    let queue_bytes_max = queue_bytes_max.map_or(QUEUE_BYTES_MAX_DEFAULT.min(part), Size::bytes);
    let dedup_entries_max =
        dedup_entries_max.unwrap_or(DEDUP_ENTRIES_MAX_DEFAULT.min(part / DEDUP_ENTRY_BYTES));
    memory::check(memory_max, memory.is_some(), queue_bytes_max, dedup_entries_max)?;
    Ok((memory_max, queue_bytes_max, dedup_entries_max))
}

/// How to speak TLS: with all that is needed, or not at all.
fn tls(
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    listen: Option<SocketAddr>,
) -> Result<Option<Tls>, String> {
    let missing = match (cert, key) {
        (Some(cert), Some(key)) => return Ok(Some(Tls { files: PairFiles { cert, key }, listen })),
        (Some(_), None) => "--tls-cert needs the private key as well: --tls-key FILE",
        (None, Some(_)) => "--tls-key needs the certificate as well: --tls-cert FILE",
        (None, None) if listen.is_some() => {
            "--tls-listen needs a certificate: --tls-cert FILE --tls-key FILE"
        }
        (None, None) => return Ok(None),
    };
    Err(missing.to_owned())
}

/// Threads of each kind; of those that were asked for 0 is one per core, or for two of TLS.
#[derive(Clone, Copy)]
struct Threads {
    reactors: usize,
    writers: usize,
    tls: usize,
    has_tls: bool,
}

impl Threads {
    /// As many as there are cores, where nobody named a number, but not more than `fit` in all.
    fn within(self, fit: usize, memory_max: usize, is_given: bool) -> Result<Threads, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let fitting = (1..=cores).rev().map(|cores| self.on(cores)).find(|one| one.count() <= fit);
        fitting.ok_or_else(|| {
            let least = self.on(1);
            let counts = (least.reactors, least.writers, least.tls_in_use());
            memory::too_many_threads(counts, fit, memory_max, is_given)
        })
    }

    fn on(self, cores: usize) -> Threads {
        let or = |asked: usize, derived: usize| if asked > 0 { asked } else { derived };
        Threads {
            reactors: or(self.reactors, cores),
            writers: or(self.writers, cores),
            tls: or(self.tls, cores.div_ceil(2)),
            ..self
        }
    }

    fn count(&self) -> usize {
        self.reactors + self.writers + self.tls_in_use()
    }

    fn tls_in_use(&self) -> usize {
        if self.has_tls { self.tls } else { 0 }
    }
}
