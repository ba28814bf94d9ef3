//! Servers that are started for a run, as child processes, and end with it.
//!
//! Owns: finding the relay's binary, free ports, readiness, and the children of this process. A signal
//! that ends this process ends them as well.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long a server may take until it listens.
const READY: Duration = Duration::from_secs(20);

/// Children that run.
static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A server that listens. It is ended when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens, on this machine.
    pub port: u16,
}

impl Server {
    /// Starts a server that will listen on `port`, its words going to a file, and waits until it does.
    ///
    /// # Errors
    /// It cannot be started, it ended, or it does not listen in time.
    pub fn start(mut command: Command, port: u16, log: &Path) -> Result<Server, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let words = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let more_words = words.try_clone().map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(words).stderr(more_words);
        let child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        lock().push(child.id());
        let mut server = Server { child, port };
        server.wait_until_ready().map_err(|why| format!("{name}: {why}; see {}", log.display()))?;
        Ok(server)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let start = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended: {status}"));
            }
            if start.elapsed() > READY {
                return Err("it does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        lock().retain(|pid| *pid != self.child.id());
        // An error says that it has ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn lock() -> std::sync::MutexGuard<'static, Vec<u32>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on a signal that ends this process ends its children first.
///
/// # Errors
/// The system does not let this process hear signals.
pub fn stop_on_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            lock().iter().for_each(|pid| end(*pid));
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

fn end(pid: u32) {
    use rustix::process::{Pid, Signal, kill_process};

    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // An error says that it has ended by itself.
        let _ended = kill_process(pid, Signal::TERM);
    }
}

/// Ports nobody listens on, all different.
///
/// # Errors
/// There are none.
pub fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let listeners: Vec<_> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<io::Result<_>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// The relay's binary: the one that was named, or the one that was built beside this one. Started by
/// cargo, this builds it first, so that what is measured is what the tree says.
///
/// # Errors
/// There is none.
pub fn relay_binary(named: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let directory = own_directory()?;
    let beside = directory.join(format!("gunmetal{}", std::env::consts::EXE_SUFFIX));
    let profile = match directory.file_name().map(|name| name.to_string_lossy()).as_deref() {
        Some("debug") | None => "dev".to_owned(),
        Some(name) => name.to_owned(),
    };
    build(&["-p", "gunmetal", "--bin", "gunmetal", "--profile", &profile])?;
    match beside.exists() {
        true => Ok(beside),
        false => Err(format!("{} does not exist; name the relay with --relay", beside.display())),
    }
}

/// The broadcaster's binary. It is no part of the workspace; started by cargo, this builds it first.
///
/// # Errors
/// There is none.
pub fn broadcaster_binary() -> Result<PathBuf, String> {
    let target = own_directory()?.join("broadcaster");
    if let Some(package) = std::env::var_os("CARGO_MANIFEST_DIR") {
        let manifest = Path::new(&package).join("broadcaster/Cargo.toml");
        let (manifest, target) = (manifest.to_string_lossy(), target.to_string_lossy());
        build(&["--release", "--locked", "--manifest-path", &manifest, "--target-dir", &target])?;
    }
    let name = format!("release/loadtest-broadcaster{}", std::env::consts::EXE_SUFFIX);
    let binary = target.join(name);
    match binary.exists() {
        true => Ok(binary),
        false => Err("it is built when this is started by cargo run".to_owned()),
    }
}

/// Where this program is; a test's own is one below.
fn own_directory() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let directory = own.parent().unwrap_or(Path::new("."));
    let is_test = directory.ends_with("deps");
    Ok(directory.parent().filter(|_| is_test).unwrap_or(directory).to_owned())
}

/// Has cargo build something, if it was cargo that started this.
fn build(arguments: &[&str]) -> Result<(), String> {
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
    let build = Command::new(cargo)
        .args(["build", "--quiet"])
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if build.success() { Ok(()) } else { Err("it could not be built".to_owned()) }
}

/// Starts relays, each linked to all others, with further arguments and a prefix such as `taskset`.
///
/// # Errors
/// One of them does not start.
pub fn start_relays(
    binary: &Path,
    count: usize,
    arguments: &[String],
    prefix: &[String],
    logs: &Path,
) -> Result<Vec<Server>, String> {
    let ports = free_ports(count).map_err(|error| error.to_string())?;
    let mut servers = Vec::new();
    for (number, port) in ports.iter().enumerate() {
        let others = ports.iter().filter(|other| *other != port);
        let peers: Vec<_> = others.map(|other| format!("ws://127.0.0.1:{other}/gun")).collect();
        let mut command = prefixed(prefix, binary);
        command.arg("--listen").arg(format!("127.0.0.1:{port}")).args(arguments);
        if count > 1 {
            command.arg("--peers").arg(peers.join(","));
        }
        let log = logs.join(format!("relay-{number}.log"));
        servers.push(Server::start(command, *port, &log)?);
    }
    Ok(servers)
}

/// A command that another runs, such as `taskset -c 0 program`.
pub fn prefixed(prefix: &[String], program: &Path) -> Command {
    match prefix.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        None => Command::new(program),
    }
}
