//! The relay binary: arguments in, exit code out.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use gunmetal::admin;
use gunmetal::config::{Admin, Config};
use gunmetal::net::relay::Relay;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let config = Config::from_args();
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
    let relay = Relay::start(config.clone()).map_err(|error| explain(error, listen, "--listen"))?;
    for line in config.start_lines(&[relay.address()]) {
        tracing::info!("{line}");
    }
    start_admin(&config, &relay)?;
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

/// Lets the operator look in, where the configuration says. A place nobody asked for may be taken.
fn start_admin(config: &Config, relay: &Relay) -> io::Result<()> {
    let Some(address) = config.admin.address() else { return Ok(()) };
    match admin::start(address, relay.view()) {
        Ok(bound) => {
            tracing::info!("admin: http://{bound}/ (live page, /metrics, /livez, /readyz)");
            if !bound.ip().is_loopback() {
                tracing::warn!(
                    "admin: whoever can reach {bound} can read addresses and pids of all peers"
                );
            }
            Ok(())
        }
        Err(error) if config.admin == Admin::Usual => {
            tracing::warn!(
                "NO METRICS, NO HEALTH CHECKS, NO LIVE PAGE: cannot listen on {address}: {error}; \
                 another relay here? Give this one --admin ADDRESS:PORT, or --admin off"
            );
            Ok(())
        }
        Err(error) => Err(explain(error, address, "--admin")),
    }
}

fn explain(error: io::Error, listen: SocketAddr, flag: &str) -> io::Error {
    let in_use = format!(": something else listens there; choose another with {flag}");
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => &*in_use,
        io::ErrorKind::PermissionDenied => ": ports below 1024 need a privilege; try another",
        io::ErrorKind::AddrNotAvailable => ": this machine does not have that address",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}{advice}"))
}
