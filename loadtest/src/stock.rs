//! The systems a relay is compared with: how each is found, installed and started.
//!
//! Owns: their command lines and configuration. None of them stores anything.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::server::{Server, free_ports, prefixed};

/// The release of Gun that is measured.
const GUN: &str = "gun@0.2020.1241";
const RELAY_SCRIPT: &str = include_str!("../stock/relay.cjs");
/// NATS asks for signs of life; the generator gives none, as a run is shorter than this.
const NATS_CONFIG: &str = "ping_interval: \"10m\"\nwrite_deadline: \"30s\"\nmax_payload: 16777216\nmax_pending: 268435456\n";

/// How to get NATS.
pub const GET_NATS: &str =
    "Debian has it (apt-get install nats-server), as has github.com/nats-io/nats-server";
/// How to get rod.
pub const GET_ROD: &str = "cargo install rod --version 0.2.4";
/// What the broadcaster is made of.
pub const BROADCASTER: &str = "tokio 1, tokio-tungstenite 0.30";

/// The first line of what a program answers to `--version`.
pub fn version_of(program: &Path) -> String {
    let asked = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let Ok(output) = asked else { return String::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// The release of Gun, and of what runs it.
pub fn gun_version() -> String {
    format!("{GUN}, node {}", version_of(Path::new("node")))
}

/// A program found in `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// Installs stock Gun below a directory, unless it is there. Returns the script that starts it.
///
/// # Errors
/// There is no node or npm, or npm cannot reach its registry.
pub fn install_gun(below: &Path) -> Result<PathBuf, String> {
    let directory = below.join("gun");
    fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let script = directory.join("relay.cjs");
    fs::write(&script, RELAY_SCRIPT).map_err(|error| error.to_string())?;
    if directory.join("node_modules/gun/package.json").exists() {
        return Ok(script);
    }
    find("node").ok_or("node is not in PATH; Debian has it (apt-get install nodejs npm)")?;
    let status = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", ".", GUN])
        .current_dir(&directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("npm: {error}"))?;
    if status.success() { Ok(script) } else { Err(format!("npm could not install {GUN}")) }
}

/// Starts stock Gun.
///
/// # Errors
/// It does not start.
pub fn start_gun(
    script: &Path,
    has_axe: bool,
    prefix: &[String],
    log: &Path,
) -> Result<Server, String> {
    let port = free_port()?;
    let mut command = prefixed(prefix, Path::new("node"));
    command.arg(script.file_name().unwrap_or_default());
    command.arg(port.to_string()).arg(if has_axe { "on" } else { "off" });
    command.current_dir(script.parent().unwrap_or(Path::new(".")));
    Server::start(command, port, log)
}

/// Starts NATS.
///
/// # Errors
/// It does not start.
pub fn start_nats(binary: &Path, prefix: &[String], log: &Path) -> Result<Server, String> {
    let config = log.with_extension("conf");
    fs::write(&config, NATS_CONFIG).map_err(|error| error.to_string())?;
    let port = free_port()?;
    let mut command = prefixed(prefix, binary);
    command.args(["-a", "127.0.0.1", "-p"]).arg(port.to_string()).arg("-c").arg(config);
    Server::start(command, port, log)
}

/// Starts rod.
///
/// # Errors
/// It does not start.
pub fn start_rod(binary: &Path, prefix: &[String], log: &Path) -> Result<Server, String> {
    let port = free_pair()?;
    let mut command = prefixed(prefix, binary);
    command.arg("start");
    command.env("PORT", port.to_string()).env("MULTICAST", "false").env("STATS", "false");
    command.env("SLED_STORAGE", "false").env("MEMORY_STORAGE", "false");
    command.current_dir(log.parent().unwrap_or(Path::new(".")));
    Server::start(command, port, log)
}

/// Starts the broadcaster.
///
/// # Errors
/// It does not start.
pub fn start_broadcaster(binary: &Path, prefix: &[String], log: &Path) -> Result<Server, String> {
    let port = free_port()?;
    let mut command = prefixed(prefix, binary);
    command.arg(port.to_string());
    Server::start(command, port, log)
}

/// Starts a server of the floor: this program again, with these arguments before and behind the port.
///
/// # Errors
/// It does not start.
pub fn start_floor(
    kind: &str,
    arguments: &[String],
    prefix: &[String],
    log: &Path,
) -> Result<Server, String> {
    let port = free_port()?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = prefixed(prefix, &own);
    command.arg(kind).arg(port.to_string()).args(arguments);
    Server::start(command, port, log)
}

/// The first of two ports that are free on all addresses: rod listens on all of them, and with its pages on
/// the next port. Below those that the kernel gives to clients, which may hold them for a while.
fn free_pair() -> Result<u16, String> {
    let is_free = |port: u16| TcpListener::bind(("0.0.0.0", port)).is_ok();
    let tries = (0..100).map(|_| rand::random_range(10_000..30_000));
    let mut free = tries.filter(|port| is_free(*port) && is_free(port + 1));
    free.next().ok_or_else(|| "there is no free port".to_owned())
}

fn free_port() -> Result<u16, String> {
    let ports = free_ports(1).map_err(|error| error.to_string())?;
    ports.first().copied().ok_or_else(|| "there is no free port".to_owned())
}
