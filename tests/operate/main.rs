//! What an operator does to a relay, with the real binary: subcommands, settings, signals, hand-over.

#[path = "../support/mod.rs"]
mod support;

#[path = "../tls/certs.rs"]
#[allow(dead_code)] // A part of it is used here.
mod certs;

mod cli;
mod container;
mod documented;
mod health;
mod notify;
mod randomness;
mod reload;
mod stop;
mod upgrade;
mod upgrade_load;

use std::process::Command;

use support::process::Process;
use support::relay::url;

/// A relay on a free port, and its URL.
fn start(args: &[&str], env: &[(&str, &str)]) -> (Process, String) {
    start_with(&[&["--listen", "127.0.0.1:0"], args].concat(), env)
}

/// The same, with an address of its own.
fn start_with(args: &[&str], env: &[(&str, &str)]) -> (Process, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gunmetal"));
    command.args(args);
    command
        .env_remove("PORT")
        .env_remove("PEERS")
        .env("GUNMETAL_ADMIN", "off")
        .envs(env.iter().copied());
    let mut process = Process::spawn("gunmetal", &mut command);
    let port = process.logged("its port", listening_port);
    (process, url(port))
}

fn listening_port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
    rest.split(',').next()?.parse().ok()
}

/// Waits until this many lines of the log contain `text`.
fn logged(process: &mut Process, text: &str, count: usize) {
    support::wait::until(format!("{count} lines with {text:?}"), || {
        let found = process.log().lines().filter(|line| line.contains(text)).count();
        (found >= count).then_some(())
    });
}
