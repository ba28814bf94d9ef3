//! The operator's sight into a running relay: metrics, health, live figures, the page, the terminal.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod figures;
mod health;
mod memory;
mod page;
mod prometheus;
mod top;

use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use support::http::{self, Answer};
use support::relay::{Kind, Relay, Setup};

/// A relay whose operator looks in at a free port, with further flags.
fn watched(flags: &[&str]) -> (Relay, SocketAddr) {
    let mut relay =
        Setup::new(Kind::Gunmetal).flags(&["--admin", "127.0.0.1:0"]).flags(flags).start();
    let admin = relay.admin();
    (relay, admin)
}

fn get(admin: SocketAddr, path: &str) -> Answer {
    http::get(TcpStream::connect(admin).expect("connect to the admin"), path)
}

fn json(admin: SocketAddr, path: &str) -> Value {
    let answer = get(admin, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json", "{path}");
    serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{path}: {e}: {}", answer.body))
}
