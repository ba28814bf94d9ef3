//! The relay binary: arguments in, exit code out.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use gunmetal::config::Config;
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
