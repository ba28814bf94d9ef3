//! The relays that are compared, a new one for each scenario.

use std::io::{BufRead, BufReader, Write};
use std::process::ChildStdout;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::node::{self, Scratch};
use crate::support::process::Process;
use crate::support::relay::{self, Kind, Relay, Setup};

/// What a scenario asks of its relay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Frames of this many UTF-16 code units are too big.
    pub max: Option<usize>,
}

/// Relays of the npm package, all in one process.
pub struct Package {
    inner: Mutex<Inner>,
    _scratch: Scratch,
}

struct Inner {
    process: Process,
    ports: BufReader<ChildStdout>,
}

impl Package {
    /// Gun's mesh alone, saying again what it hears. `None` without node.
    pub fn mesh() -> Option<Package> {
        Package::start("mesh")
    }

    /// The relay of the package without AXE: it stores, answers, and says again what it stored.
    pub fn stock() -> Option<Package> {
        Package::start("stock")
    }

    fn start(kind: &str) -> Option<Package> {
        let setup = json!({"kind": kind});
        let (mut process, scratch) =
            node::ensure()?.run(format!("{kind} relays"), "meshes.js", &setup);
        let ports = BufReader::new(process.stdout());
        Some(Package { inner: Mutex::new(Inner { process, ports }), _scratch: scratch })
    }

    /// Starts a relay and returns its port.
    pub fn relay(&self, options: Options) -> u16 {
        self.start_relay(&json!({"max": options.max}))
    }

    /// A relay that dials another; 0 is any port.
    pub fn linked_relay(&self, port: u16, peer: &str) -> u16 {
        self.start_relay(&json!({"peers": [peer], "port": port}))
    }

    fn start_relay(&self, setup: &Value) -> u16 {
        let mut inner = self.inner.lock().expect("no scenario fails while it starts a relay");
        writeln!(inner.process.stdin(), "{setup}").expect("ask for a relay");
        let mut port = String::new();
        inner.ports.read_line(&mut port).expect("a port");
        port.trim().parse().unwrap_or_else(|e| panic!("the port {port:?} of a relay: {e}"))
    }
}

/// gunmetal, as it is delivered.
pub fn gunmetal(options: Options) -> Relay {
    let setup = Setup::new(Kind::Gunmetal);
    match options.max {
        Some(max) => setup.flags(&["--message-bytes-max", &max.to_string()]).start(),
        None => setup.start(),
    }
}

pub fn url(port: u16) -> String {
    relay::url(port)
}
