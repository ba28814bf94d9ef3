//! The relay binary: arguments in, exit code out.

use std::io::{self, Write};
use std::process::ExitCode;

use gunmetal::cli::{self, Health, Order, Top};
use gunmetal::config::Loaded;
use gunmetal::net::relay::Relay;
use gunmetal::{health, service, top};

fn main() -> ExitCode {
    match Order::from_args() {
        Order::Serve(loaded) => service::run(*loaded),
        Order::Check(loaded) => check(&loaded),
        Order::Health(order) => ask(&order),
        Order::Top(order) => show(&order),
    }
}

/// Prints the settings that would be in force, as a configuration file; or what is wrong with the files that they name,
/// with clap's exit code for wrong settings.
fn check(loaded: &Loaded) -> ExitCode {
    if let Err(fault) = Relay::check(&loaded.config) {
        eprintln!("error: {fault}");
        return ExitCode::from(2);
    }
    for fault in cli::unknown_variables() {
        eprintln!("warning: {fault}");
    }
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
    match order.places().and_then(|places| health::ask(places, order.timeout)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("not well: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn show(order: &Top) -> ExitCode {
    let Some(admin) = order.admin() else {
        eprintln!("GUNMETAL_ADMIN is off: name the relay's admin address, --admin ADDRESS:PORT");
        return ExitCode::FAILURE;
    };
    match top::run(admin, order.once) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
