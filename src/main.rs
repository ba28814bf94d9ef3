//! The relay binary: arguments in, exit code out.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use gunmetal::cli::{Health, Order};
use gunmetal::config::{Config, Loaded};
use gunmetal::health;
use gunmetal::net::relay::Relay;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    match Order::from_args() {
        Order::Serve(loaded) => serve(loaded.config),
        Order::Check(loaded) => check(&loaded),
        Order::Health(order) => ask(&order),
    }
}

/// Prints the settings that would be in force, as a configuration file.
fn check(loaded: &Loaded) -> ExitCode {
    let mut out = io::stdout().lock();
    for setting in &loaded.settings {
        // A pipe that is closed has read enough.
        if writeln!(out, "{setting}").is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn ask(order: &Health) -> ExitCode {
    let url = order.url();
    match health::ask(&url, order.timeout) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{url} is not well: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config) -> ExitCode {
    let filter = EnvFilter::try_new(&config.log).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .init();
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal, then stops; a second signal ends the process at once.
fn run(config: Config) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let listen = config.listen[0];
    let relay = Relay::start(config.clone()).map_err(|error| explain(error, listen))?;
    for line in config.start_lines(&[relay.address()]) {
        tracing::info!("{line}");
    }
    let relay = Arc::new(relay);
    if signals.forever().next().is_some() {
        tracing::info!("stopping: closing all peers; a second signal ends this at once");
        std::thread::spawn(move || {
            signals.forever().next();
            std::process::exit(1);
        });
    }
    relay.stop();
    relay.join();
    tracing::info!("stopped");
    Ok(())
}

fn explain(error: io::Error, listen: std::net::SocketAddr) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => ": something else listens there; choose another with --listen",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need a privilege; try another",
        io::ErrorKind::AddrNotAvailable => ": this machine does not have that address",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}{advice}"))
}
