//! Every knob of the relay: flag, environment variable, unit, default, validation.
//!
//! This file is the only reader of arguments and environment; the rest of the program gets a [`Config`] of plain
//! values. Precedence: flag, then `GUNMETAL_…`, then the names Gun's own relay reads (`PORT`, `PEERS`), then the
//! configuration file, then the default. A variable and a key of the file go through the same parser as the flag, so
//! all are validated alike and an error names the one that is at fault. The defaults live in `Flags` and nowhere else.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};

use crate::tls::identity::PairFiles;
pub use admin::Admin;
pub use admission::{Admission, Origin, Token};
use admission::{AdmissionFlags, Profile};
use file::File;
use peer_url::Peers;
pub use peer_url::{PEERS_MAX, PeerUrl};
pub use settings::{Change, Loaded, RELOADABLE, Setting};

mod admin;
mod admission;
mod file;
mod memory;
mod origin;
mod peer_url;
mod settings;
#[cfg(test)]
mod tests;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// The port Gun's own relay listens on.
pub const PORT_DEFAULT: u16 = 8765;
/// Gun's `opt.max`: 0.3 × 300 000 000 UTF-16 code units.
pub const MESSAGE_BYTES_MAX_DEFAULT: u64 = 90_000_000;
/// Gun packs up to a ten-thousandth of the longest message into one frame.
const MESSAGES_PER_BATCH: usize = 10_000;
/// Reactor threads, and as many writer threads.
pub const THREADS_MAX: usize = 64;
/// The most connections the relay takes when nobody names a number, however many files it may open.
pub const CONNECTIONS_MAX_DERIVED: usize = 1_000_000;
/// Message ids that are remembered when nobody names a number, if there is room.
pub const DEDUP_ENTRIES_MAX_DEFAULT: usize = 2_000_000;
/// What a remembered id costs at most, in bytes: 41 in a hash table that has just doubled and is seven sixteenths full.
pub const DEDUP_ENTRY_BYTES: usize = 96;
/// Bytes that may wait for the writers when nobody names a number, if there is room.
const QUEUE_BYTES_MAX_DEFAULT: usize = 256 * MIB as usize;
/// Unless they are given, remembered ids get this part of the memory at most, and the writers' queues as much.
const MEMORY_PART: usize = 8;
/// Files a relay needs besides its connections: logs, libraries, connections that are being refused.
const OPEN_FILES_RESERVED: usize = 64;
/// Files each thread needs: its poll, its waker, its listener.
const OPEN_FILES_PER_THREAD: usize = 4;
/// Files that answering requests for files needs: the files, each connection a second time, the thread's own.
const OPEN_FILES_OF_WWW: usize = 64 + 64 + 8;

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

    /// Reads the arguments and the environment of this process; prints the fault and exits when one is wrong.
    ///
    /// Raises the limit on open files first, because `connections_max` follows from it.
    pub fn from_args() -> Config {
        raise_open_files();
        Config::parse_from(std::env::args_os(), |name| std::env::var_os(name))
            .unwrap_or_else(|error| error.exit())
    }

    /// Reads `args` (the program's name first), the environment that `env` looks up, and the file that one of them
    /// names.
    pub fn parse_from<I, A>(
        args: I,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Config, clap::Error>
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString>,
    {
        Config::load(args, env).map(|loaded| loaded.config)
    }

    /// The same, and where each setting comes from.
    pub fn load<I, A>(
        args: I,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Loaded, clap::Error>
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString>,
    {
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

    /// What a relay says when it starts; `bound` is where it listens in fact.
    pub fn start_lines(&self, bound: &[SocketAddr]) -> Vec<String> {
        let mut lines = vec![format!("gunmetal {}", env!("CARGO_PKG_VERSION"))];
        lines.extend(bound.iter().zip(self.listeners()).map(|(address, (_, is_tls))| {
            let scheme = if is_tls { "wss" } else { "ws" };
            format!("listening on {address}, Gun peers at {scheme}://{address}/gun")
        }));
        if let Some(Tls { files, .. }) = &self.tls {
            let (cert, key) = (files.cert.display(), files.key.display());
            lines.push(format!("TLS: certificate {cert}, key {key}"));
        }
        lines.extend(self.www.iter().map(|dir| format!("files: {}", dir.display())));
        lines.push(format!("threads: {} reactors, {} writers", self.reactors, self.writers));
        lines.push(self.limits_line());
        lines.push(self.times_line());
        lines.extend(self.admission.start_line());
        if self.connections_max > self.open_files_max {
            lines.push(format!(
                "connections-max {} cannot be reached: this process may open {} files (see `ulimit -n`)",
                self.connections_max, self.open_files_max
            ));
        }
        lines.extend(self.peers.iter().map(|peer| format!("peer: {}", peer.name)));
        lines
    }

    fn limits_line(&self) -> String {
        let size = |bytes: usize| Size(bytes as u64);
        format!(
            "limits: memory {}, connections {}, message {}, depth {}, backlog {}, queue {} turns and {}, head {}, remembered ids {}",
            Size(self.memory_max as u64 / MIB * MIB),
            self.connections_max,
            size(self.message_bytes_max),
            self.message_depth_max,
            size(self.backlog_bytes_max),
            self.queue_turns_max,
            size(self.queue_bytes_max),
            size(self.head_bytes_max),
            self.dedup_entries_max
        )
    }

    fn times_line(&self) -> String {
        let ping = self.ping_interval.map_or("off".to_owned(), |interval| format!("{interval:?}"));
        format!(
            "times: handshake {:?}, ping {ping}, pong {:?}, stall {:?}, drain {:?}, gap {}ms",
            self.handshake_timeout,
            self.pong_timeout,
            self.stall_timeout,
            self.drain_time,
            self.batch_gap.as_millis()
        )
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

const ABOUT: &str = "A relay for Gun.js applications. Gun peers connect to ws://HOST:8765/gun";
const AFTER_HELP: &str = "\
Environment: every flag is also a variable, --backlog-bytes-max is GUNMETAL_BACKLOG_BYTES_MAX. \
PORT, PEERS, HTTPS_CERT and HTTPS_KEY work as in Gun's own relay. A flag wins over GUNMETAL_..., which wins \
over those.

Sizes are bytes, or K, M, G for KiB, MiB, GiB: 512K, 4M. Times may have a fraction: 0.5.

Examples:
  gunmetal                                      on port 8765 of every address
  gunmetal 8080 --peers ws://10.0.0.2:8765/gun  on port 8080, linked to another relay
  gunmetal --listen 127.0.0.1:8765              behind a proxy on the same machine
  gunmetal 443 --tls-cert a.pem --tls-key k.pem with TLS: wss://HOST/gun";

/// The command line.
#[derive(Parser, Debug)]
#[command(name = "gunmetal", version, about = ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Flags {
    /// Port to listen on, on every IPv4 address; short for --listen 0.0.0.0:PORT
    #[arg(value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,
    /// Configuration file, TOML; its keys are the names of these flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Network", default_value_t = listen_on(PORT_DEFAULT))]
    listen: SocketAddr,
    /// Relays to link to, comma-separated: ws://HOST:PORT/gun, or wss://. The path is used as given, so do not forget /gun
    #[arg(long, value_name = "URL,URL", help_heading = "Network", value_parser = Peers::parse,
          default_value = "", hide_default_value = true)]
    peers: Peers,
    /// Connections open at the same time, further ones are refused [default: from the open-file limit]
    #[arg(long, value_name = "COUNT", help_heading = "Network", value_parser = count(1..=10_000_000))]
    connections_max: Option<usize>,

    /// Certificate, and those that lead from it to a root, as a PEM file; the listening port then speaks TLS only
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, as a PEM file
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_key: Option<PathBuf>,
    /// Address and port for TLS, beside --listen, which stays plain then
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "TLS")]
    tls_listen: Option<SocketAddr>,
    /// Roots that wss:// links are verified against, as a PEM file [default: the system's, or SSL_CERT_FILE]
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_roots: Option<PathBuf>,
    /// TLS handshakes at the same time, further connections are refused
    #[arg(long, value_name = "COUNT", help_heading = "TLS", default_value_t = 4096, value_parser = count(1..=1_000_000))]
    tls_handshakes_max: usize,
    /// Threads that make TLS handshakes, at most 64; 0: one for two cores
    #[arg(long, value_name = "COUNT", help_heading = "TLS", default_value_t = 0,
          value_parser = count(0..=THREADS_MAX as u64))]
    tls_threads: usize,
    #[command(flatten)]
    admission: AdmissionFlags,

    /// Directory of files to serve beside /gun, such as npm's gun.js; its index.html takes the place of the relay's page
    #[arg(long, value_name = "DIR", help_heading = "Network")]
    www: Option<PathBuf>,

    /// Threads that read, at most 64; 0: one per core
    #[arg(long, value_name = "COUNT", help_heading = "Threads", default_value_t = 0,
          value_parser = count(0..=THREADS_MAX as u64))]
    reactors: usize,
    /// Threads that write, at most 64; 0: one per core
    #[arg(long, value_name = "COUNT", help_heading = "Threads", default_value_t = 0,
          value_parser = count(0..=THREADS_MAX as u64))]
    writers: usize,
    /// Peers that one writer takes before another one gets any; from then on they are shared out evenly
    #[arg(long, value_name = "COUNT", help_heading = "Threads", default_value_t = 64,
          value_parser = count(1..=1_000_000))]
    peers_per_writer: usize,
    /// Milliseconds to collect messages before writing them; 0: write at once
    #[arg(long, value_name = "MS", help_heading = "Threads", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=1000))]
    gap: u64,

    /// Longest message forwarded, strictly in UTF-16 code units, as Gun counts
    #[arg(long, value_name = "SIZE", help_heading = "Limits", default_value_t = Size(MESSAGE_BYTES_MAX_DEFAULT),
          value_parser = size(KIB..=GIB))]
    message_bytes_max: Size,
    /// Deepest nesting of a message's JSON
    #[arg(long, value_name = "COUNT", help_heading = "Limits", default_value_t = 1000,
          value_parser = count(8..=10_000))]
    message_depth_max: usize,
    /// Bytes waiting for one slow peer; more closes it
    #[arg(long, value_name = "SIZE", help_heading = "Limits", default_value_t = Size(4 * MIB),
          value_parser = size(64 * KIB..=4 * GIB))]
    backlog_bytes_max: Size,
    /// Turns waiting for one writer; more makes the readers wait
    #[arg(long, value_name = "COUNT", help_heading = "Limits", default_value_t = 64, value_parser = count(1..=65_536))]
    queue_turns_max: usize,
    /// Bytes waiting for all the writers; more makes the readers wait [default: 256M, or an eighth of --memory-max]
    #[arg(long, value_name = "SIZE", help_heading = "Limits", value_parser = size(MIB..=64 * GIB))]
    queue_bytes_max: Option<Size>,
    /// Message ids remembered against duplicates; beyond it the oldest are forgotten early [default: 2000000, or what
    /// an eighth of --memory-max holds]
    #[arg(long, value_name = "COUNT", help_heading = "Limits", value_parser = count(1000..=1_000_000_000))]
    dedup_entries_max: Option<usize>,
    /// Memory of the whole process: near it new connections are refused, at it those are closed that hold the most
    /// [default: three quarters of what the system gives]
    #[arg(long, value_name = "SIZE", help_heading = "Limits", value_parser = size(64 * MIB..=1024 * GIB))]
    memory_max: Option<Size>,
    /// Bytes of an HTTP request head
    #[arg(long, value_name = "SIZE", help_heading = "Limits", default_value_t = Size(16 * KIB),
          value_parser = size(KIB..=MIB))]
    head_bytes_max: Size,

    /// Time for a new connection to finish its handshake
    #[arg(long, value_name = "SECONDS", help_heading = "Times", default_value = "5", value_parser = seconds(0.1..=3600.0))]
    handshake_timeout: Duration,
    /// Time between pings to a quiet peer; 0: no pings
    #[arg(long, value_name = "SECONDS", help_heading = "Times", default_value = "30", value_parser = seconds(0.0..=3600.0))]
    ping_interval: Duration,
    /// Time a pinged peer has to answer; then it is closed
    #[arg(long, value_name = "SECONDS", help_heading = "Times", default_value = "30", value_parser = seconds(0.1..=3600.0))]
    pong_timeout: Duration,
    /// Time a peer with a backlog may take nothing; then it is closed
    #[arg(long, value_name = "SECONDS", help_heading = "Times", default_value = "10", value_parser = seconds(0.1..=3600.0))]
    stall_timeout: Duration,
    /// Time a relay that is told to stop still serves, but says that it is not ready, so that load balancers notice
    #[arg(long, value_name = "SECONDS", help_heading = "Times", default_value = "0", value_parser = seconds(0.0..=3600.0))]
    drain_delay: Duration,
    /// Time over which peers are closed when the relay is told to stop
    #[arg(long, value_name = "SECONDS", help_heading = "Times", default_value = "3", value_parser = seconds(0.0..=3600.0))]
    drain_time: Duration,

    /// Address and port of metrics, health and the live page, or off [default: 127.0.0.1:9765]
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Operation")]
    admin: Option<Admin>,

    /// What to log: error, warn, info, debug, or a filter such as warn,gunmetal::net::dial=debug
    #[arg(long, value_name = "FILTER", help_heading = "Log", default_value = "info", value_parser = log_filter)]
    log: String,
    /// How log lines are written: text, or json for one JSON object per line
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Log", default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

impl Flags {
    fn resolve(self) -> Result<Config, String> {
        let tls = tls(self.tls_cert, self.tls_key, self.tls_listen)?;
        let tls_threads = match self.tls_threads {
            0 => threads(0).div_ceil(2),
            count => count,
        };
        let shakers = if tls.is_some() { tls_threads } else { 0 };
        let message_bytes_max = self.message_bytes_max.bytes();
        let (reactors, writers) = (threads(self.reactors), threads(self.writers));
        let open_files_max = open_files_max();
        let spare_files = open_files_max.saturating_sub(
            OPEN_FILES_RESERVED
                + OPEN_FILES_PER_THREAD * (reactors + writers + shakers)
                + self.www.as_ref().map_or(0, |_| OPEN_FILES_OF_WWW)
                + self.peers.0.len(),
        );
        let memory_max = self.memory_max.unwrap_or(Size(memory::derived())).bytes();
        let part = memory_max / MEMORY_PART;
        let queue_bytes_max =
            self.queue_bytes_max.map_or(QUEUE_BYTES_MAX_DEFAULT.min(part), Size::bytes);
        let dedup_entries_max = self
            .dedup_entries_max
            .unwrap_or(DEDUP_ENTRIES_MAX_DEFAULT.min(part / DEDUP_ENTRY_BYTES));
        if self.memory_max.is_some() {
            memory::check(memory_max, queue_bytes_max, dedup_entries_max)?;
        }
        Ok(Config {
            tls,
            tls_roots: self.tls_roots,
            tls_handshakes_max: self.tls_handshakes_max,
            tls_threads,
            listen: vec![self.port.map_or(self.listen, listen_on)],
            peers: self.peers.0,
            reactors,
            writers,
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
                .unwrap_or(spare_files.clamp(1, CONNECTIONS_MAX_DERIVED)),
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

/// Where a setting comes from that no argument gives: the flag without its dashes, and the variable or the line.
type Origins = Vec<(String, String)>;

/// Parses `args`, then adds each flag that only the environment or the file gives, one by one, so that an error has
/// one culprit.
fn matches_with_environment(
    mut args: Vec<OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<(ArgMatches, Origins), clap::Error> {
    let command = Flags::command();
    let on_command_line = command.clone().try_get_matches_from(&args)?;
    let given = |id: &str| on_command_line.value_source(id) == Some(ValueSource::CommandLine);
    let path = on_command_line.get_one::<PathBuf>("config").cloned();
    let path = path.or_else(|| environment_value("config", &env).map(|(_, path)| path.into()));
    let file = path.map(|path| File::read(&path, &command)).transpose()?.unwrap_or_default();
    let mut origins = Origins::new();
    let mut matches = on_command_line.clone();
    for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
        let id = flag.replace('-', "_");
        if given(&id) || id == "listen" && given("port") {
            continue;
        }
        let from_env = environment_value(&id, &env)
            .map(|(variable, value)| (format!("environment variable {variable}"), value));
        let Some((origin, value)) = from_env.or_else(|| file.value(flag)) else {
            continue;
        };
        let mut arg = OsString::from(format!("--{flag}="));
        arg.push(value);
        args.insert(1, arg);
        matches =
            command.clone().try_get_matches_from(&args).map_err(|error| blame(&origin, &error))?;
        origins.push((flag.to_owned(), origin));
    }
    let matches = add_profile(&command, args, matches, &mut origins)?;
    Ok((matches, origins))
}

/// Adds what the profile says about flags that nothing else gives.
fn add_profile(
    command: &clap::Command,
    mut args: Vec<OsString>,
    matches: ArgMatches,
    origins: &mut Origins,
) -> Result<ArgMatches, clap::Error> {
    let defaults = matches.get_one::<Profile>("profile").map_or(&[][..], |it| it.defaults());
    let is_given = |flag: &str| {
        let source = matches.value_source(&flag.replace('-', "_"));
        source == Some(ValueSource::CommandLine)
    };
    for (flag, value) in defaults.iter().filter(|(flag, _)| !is_given(flag)) {
        args.insert(1, format!("--{flag}={value}").into());
        origins.push(((*flag).to_owned(), "profile".to_owned()));
    }
    command.clone().try_get_matches_from(&args)
}

/// The variable that stands in for a flag, and its value. Empty counts as not set, except for the list of peers,
/// where it means none.
fn environment_value(
    id: &str,
    env: impl Fn(&str) -> Option<OsString>,
) -> Option<(String, OsString)> {
    let own = format!("GUNMETAL_{}", id.to_uppercase());
    if let Some(value) = env(&own).filter(|value| id == "peers" || !value.is_empty()) {
        return Some((own, value));
    }
    let guns = match id {
        "listen" => "PORT",
        "peers" => "PEERS",
        "tls_cert" => "HTTPS_CERT",
        "tls_key" => "HTTPS_KEY",
        _ => return None,
    };
    let mut value = env(guns).filter(|value| !value.is_empty())?;
    if id == "listen" {
        let port = std::mem::replace(&mut value, format!("{}:", Ipv4Addr::UNSPECIFIED).into());
        value.push(port);
    }
    Some((guns.to_owned(), value))
}

fn blame(origin: &str, error: &clap::Error) -> clap::Error {
    let text = error.to_string();
    let text = text.trim_start_matches("error: ").lines().next().unwrap_or_default();
    fault(format!("{origin}: {text}"))
}

fn fault(text: String) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, text + "\n")
}

/// The error without the tokens in URLs of peers, which it quotes.
fn without_tokens(error: clap::Error) -> clap::Error {
    let text = error.to_string();
    if !text.contains("token=") || error.kind() != ErrorKind::ValueValidation {
        return error;
    }
    let text = text.trim_start_matches("error: ");
    clap::Error::raw(ErrorKind::ValueValidation, peer_url::without_tokens(text))
}

/// A number of bytes, written as `4194304` or `4M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size(u64);

impl Size {
    fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    fn parse(text: &str) -> Option<Size> {
        let (digits, unit) = match text.as_bytes().last()? {
            b'K' | b'k' => (&text[..text.len() - 1], KIB),
            b'M' | b'm' => (&text[..text.len() - 1], MIB),
            b'G' | b'g' => (&text[..text.len() - 1], GIB),
            _ => (text, 1),
        };
        digits.parse::<u64>().ok()?.checked_mul(unit).map(Size)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes % GIB == 0 => write!(out, "{}G", bytes / GIB),
            bytes if bytes > 0 && bytes % MIB == 0 => write!(out, "{}M", bytes / MIB),
            bytes if bytes > 0 && bytes % KIB == 0 => write!(out, "{}K", bytes / KIB),
            bytes => write!(out, "{bytes}"),
        }
    }
}

fn size(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<Size, String> + Clone + Send + Sync + 'static {
    move |text| {
        let size = Size::parse(text)
            .ok_or("a size is a number of bytes, or one with K, M or G: 512K, 4M")?;
        let (least, most) = (Size(*range.start()), Size(*range.end()));
        if range.contains(&size.0) {
            Ok(size)
        } else {
            Err(format!("it must be from {least} to {most}"))
        }
    }
}

pub(crate) fn seconds(
    range: RangeInclusive<f64>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| {
        let seconds = text.parse::<f64>().map_err(|_| "a time is a number of seconds: 5, 0.5")?;
        let (least, most) = (range.start(), range.end());
        if !range.contains(&seconds) {
            return Err(format!("it must be from {least} to {most} seconds"));
        }
        Ok(Duration::from_secs_f64(seconds))
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    let filter = tracing_subscriber::EnvFilter::try_new(text).map_err(|error| error.to_string());
    filter.map(|_| text.to_owned())
}

fn count(range: RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

fn listen_on(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

fn threads(asked: usize) -> usize {
    if asked > 0 {
        return asked;
    }
    std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
}

/// Raises the limit on open files as far as the system permits.
pub(crate) fn raise_open_files() {
    // A refusal is no fault: the limit that is in force is read afterwards.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

fn open_files_max() -> usize {
    // Where the limit cannot be read, the smallest that is usual.
    let soft = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024);
    usize::try_from(soft).unwrap_or(usize::MAX)
}
