//! TLS, through the relay process: peers and links by `wss://`, certificates that change, and those who do not
//! play along.

#[path = "../support/mod.rs"]
mod support;

mod certs;
mod hostile;
mod links;
mod memory;
mod pressure;
mod proxied;
mod reload;
mod traffic;

use std::sync::Arc;

use rustls::ClientConfig;

use certs::url;
use support::peer::Peer;
use support::relay::Relay;

/// A peer by `wss://`, known to the relay as `name`.
fn join(relay: &Relay, trust: &Arc<ClientConfig>, name: &str) -> Peer {
    connect(relay, trust).named(name)
}

fn connect(relay: &Relay, trust: &Arc<ClientConfig>) -> Peer {
    Peer::try_connect_tls(&url(relay.port), trust).expect("connect by wss")
}
