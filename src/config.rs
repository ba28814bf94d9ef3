//! Every knob of the relay: flag, environment variable, unit, default, validation.
//!
//! The rest of the program gets a [`Config`] of plain values. `flags` has the command line and all defaults,
//! `sources` says who wins: flag, then `GUNMETAL_…`, then the names Gun's own relay reads (`PORT`, `PEERS`), then the
//! configuration `file`, then the default. A variable and a key of the file go through the same parser as the flag,
//! which `values` has, so all are validated alike and an error names the one that is at fault.
//!
//! Owns: what a configuration is. Must not know: the process; [`cli`](crate::cli) reads its arguments and environment.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};

use crate::tls::identity::PairFiles;
pub use admin::Admin;
pub use admission::{Admission, Origin, Token};
pub(crate) use flags::Flags;
pub(crate) use open_files::raise as raise_open_files;
pub use peer_url::{PEERS_MAX, PeerUrl};
pub use settings::{Change, Loaded, RELOADABLE, Setting};
use sources::{fault, matches_with_environment, without_tokens};
pub(crate) use values::seconds;
pub use variables::unknown_variables;

mod admin;
mod admission;
mod file;
mod flags;
mod memory;
mod open_files;
mod origin;
mod peer_url;
mod settings;
mod sources;
mod start_lines;
#[cfg(test)]
mod tests;
mod values;
mod variables;

/// Reactor threads, and as many writer threads.
pub const THREADS_MAX: usize = 64;
/// What the process needs without connections, in bytes.
pub const BASE_BYTES: usize = 12 << 20;
/// And for each thread: stack, buffers, what its allocator keeps.
pub const THREAD_BYTES: usize = 1 << 20;
/// What a remembered id costs at most, in bytes: 32 in a table that has just doubled and is three eighths full.
pub const DEDUP_ENTRY_BYTES: usize = 96;

/// A configuration in force: validated, every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where to accept connections; one address.
    pub listen: Vec<SocketAddr>,
    /// How to speak TLS; `None`: not at all.
    pub tls: Option<Tls>,
    /// The roots that `wss://` links are verified against; `None`: the system's.
    pub tls_roots: Option<PathBuf>,
    /// Connections that shake hands for TLS at the same time.
    pub tls_handshakes_max: usize,
    /// Threads that shake hands for TLS, at least one.
    pub tls_threads: usize,
    /// Relays to dial, each once.
    pub peers: Vec<PeerUrl>,
    /// Threads that read, at least one.
    pub reactors: usize,
    /// Threads that write, at least one.
    pub writers: usize,
    /// Peers that one writer takes before another one gets any.
    pub peers_per_writer: usize,
    /// How long a writer collects messages before it writes (Gun: `opt.gap`).
    pub batch_gap: Duration,
    /// Up to how many bytes of messages share a frame (Gun: `opt.pack`); follows `message_bytes_max`.
    pub batch_bytes_max: usize,
    /// The longest message that is forwarded (Gun: `opt.max`, in UTF-16 code units).
    pub message_bytes_max: usize,
    /// How deep the JSON of a message may be nested.
    pub message_depth_max: usize,
    /// Bytes that may wait for one slow peer.
    pub backlog_bytes_max: usize,
    /// Reactor turns that may wait for one writer.
    pub queue_turns_max: usize,
    /// Bytes that may wait for all the writers together.
    pub queue_bytes_max: usize,
    /// Message ids that are remembered.
    pub dedup_entries_max: usize,
    /// Connections open at the same time.
    pub connections_max: usize,
    /// Memory of the whole process, in bytes.
    pub memory_max: usize,
    /// Bytes of an HTTP request or response head.
    pub head_bytes_max: usize,
    /// From accept or connect to a finished WebSocket handshake.
    pub handshake_timeout: Duration,
    /// How often a quiet peer is pinged; `None`: never.
    pub ping_interval: Option<Duration>,
    /// How long a pinged peer may stay silent.
    pub pong_timeout: Duration,
    /// How long a peer with a backlog may take nothing at all.
    pub stall_timeout: Duration,
    /// How long a relay that is told to stop still serves, not ready any more.
    pub drain_delay: Duration,
    /// Over how long a stopping relay closes its peers.
    pub drain_time: Duration,
    /// The directory of files that plain requests may get; `None`: no files.
    pub www: Option<PathBuf>,
    /// Where the operator looks.
    pub admin: Admin,
    /// Who may come in, and how much each may say.
    pub admission: Admission,
    /// The filter of log lines.
    pub log: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// How many files the process may open; what `connections_max` is derived from.
    pub open_files_max: usize,
}

/// How the relay speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificate and key.
    pub files: PairFiles,
    /// Where, if not at the public address, which is plain then.
    pub listen: Option<SocketAddr>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for programs.
    Json,
}

impl Config {
    /// Where connections are accepted, and whether they speak TLS there.
    pub fn listeners(&self) -> Vec<(SocketAddr, bool)> {
        let public = self.listen[0];
        match &self.tls {
            None => vec![(public, false)],
            Some(Tls { listen: None, .. }) => vec![(public, true)],
            Some(Tls { listen: Some(beside), .. }) => vec![(public, false), (*beside, true)],
        }
    }

    /// Reads `args` (the program's name first), the environment that `env` looks up, and the file that one of them
    /// names.
    pub fn parse_from(
        args: impl IntoIterator<Item = impl Into<OsString>>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Config, clap::Error> {
        Config::load(args, env).map(|loaded| loaded.config)
    }

    /// The same, and where each setting comes from.
    pub fn load(
        args: impl IntoIterator<Item = impl Into<OsString>>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Loaded, clap::Error> {
        let args = args.into_iter().map(Into::into).collect();
        let (matches, origins) = matches_with_environment(args, env).map_err(without_tokens)?;
        let config = Flags::from_arg_matches(&matches)?.resolve().map_err(fault)?;
        let settings = settings::list(&Flags::command(), &matches, &origins, &config);
        Ok(Loaded { config, settings })
    }

    /// The default with two threads of each kind, so that a test crosses threads on any machine.
    pub fn for_tests() -> Config {
        Config { reactors: 2, writers: 2, peers_per_writer: 1, ..Config::default() }
    }
}

impl Default for Config {
    /// The default of every flag, on a free port of the loopback address: a relay inside another program.
    fn default() -> Config {
        let no_env = |_: &str| None;
        let config = Config::parse_from(["gunmetal"], no_env).expect("the defaults are valid");
        Config { listen: vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)], ..config }
    }
}
