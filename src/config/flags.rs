//! The command line.
//!
//! Owns: every flag with its help, unit, range and default. Must not know: what else gives settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::admin::Admin;
use super::admission::AdmissionFlags;
use super::peer_url::Peers;
use super::values::{GIB, KIB, MIB, Size, count, listen_on, log_filter, port, seconds, size};
use super::{LogFormat, THREADS_MAX};

mod resolve;

/// The port Gun's own relay listens on.
const PORT_DEFAULT: u16 = 8765;
/// Gun's `opt.max`: 0.3 × 300 000 000 UTF-16 code units.
const MESSAGE_BYTES_MAX_DEFAULT: u64 = 90_000_000;

const ABOUT: &str = "A relay for Gun.js applications. Gun peers connect to ws://HOST:8765/gun";
const AFTER_HELP: &str = "\
Environment: every flag is also a variable, --backlog-bytes-max is GUNMETAL_BACKLOG_BYTES_MAX. \
PORT, PEERS, HTTPS_CERT and HTTPS_KEY work as in Gun's own relay. A flag wins over GUNMETAL_..., which wins \
over those, and all win over the file of --config.

Signals: SIGTERM and SIGINT stop after a drain, SIGHUP reads the file and the certificate again, SIGUSR2 \
starts the program anew without a refused connection.

Looking in: gunmetal top; http://127.0.0.1:9765/ (--admin) has a live page, /metrics, /readyz and /livez.

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
    #[arg(value_name = "PORT", conflicts_with = "listen", value_parser = port)]
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
    /// Connections open at the same time, further ones are turned away [default: from the open-file limit]
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
    /// TLS handshakes at the same time, further connections are turned away; at most what an eighth of the memory for peers holds
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
    /// Memory of the whole process: near it new connections are turned away, at it those are closed that hold the most
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
