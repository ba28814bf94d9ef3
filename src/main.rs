//! The relay binary: arguments in, exit code out.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use gunmetal::config::Config;
use gunmetal::net::relay::Relay;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
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
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let relay = Relay::start(config.clone())?;
    for line in config.start_lines(relay.addresses()) {
        tracing::info!("{line}");
    }
    let relay = Arc::new(relay);
    let is_hang_up = |signal: &i32| *signal == SIGHUP && reload(&relay);
    if signals.forever().find(|signal| !is_hang_up(signal)).is_some() {
        tracing::info!("stopping: closing all peers; a second signal ends this at once");
        std::thread::spawn(move || {
            signals.forever().find(|signal| *signal != SIGHUP);
            std::process::exit(1);
        });
    }
    relay.stop();
    relay.join();
    tracing::info!("stopped");
    Ok(())
}

/// SIGHUP. Says that it was one.
fn reload(relay: &Relay) -> bool {
    if !relay.reload_tls() {
        tracing::info!("SIGHUP: there is no TLS certificate to read anew");
    }
    true
}
