//! Relays as processes: gunmetal, and the relays of the npm package.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

use super::node::{self, Scratch, Version};
use super::process::Process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gunmetal,
    /// Gun's network layer alone: what DAM is, nothing stored.
    Mesh,
    /// The relay of the package without AXE: stores, answers, floods.
    Stock,
    /// The relay of the package as it comes: puts go to subscribers only, and questions not always to
    /// everybody, so that not every test passes with it.
    Axe,
}

impl Kind {
    /// The relay under test: gunmetal, unless `GUNMETAL_TEST_RELAY` names another.
    pub fn under_test() -> Kind {
        match std::env::var("GUNMETAL_TEST_RELAY").as_deref() {
            Err(_) | Ok("" | "gunmetal") => Kind::Gunmetal,
            Ok("mesh") => Kind::Mesh,
            Ok("stock") => Kind::Stock,
            Ok("axe") => Kind::Axe,
            Ok(other) => panic!("GUNMETAL_TEST_RELAY={other}: gunmetal, mesh, stock or axe"),
        }
    }

    /// Says no, and says so, where a test is about what only gunmetal does.
    pub fn is_gunmetal(self) -> bool {
        if self != Kind::Gunmetal {
            eprintln!("SKIPPED: the {self:?} relay does not do this");
        }
        self == Kind::Gunmetal
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Gunmetal => "gunmetal",
            Kind::Mesh => "mesh",
            Kind::Stock => "stock",
            Kind::Axe => "axe",
        }
    }
}

/// What to start.
#[derive(Clone)]
pub struct Setup {
    pub kind: Kind,
    /// Of the relays of the package.
    pub version: Version,
    pub port: u16,
    pub peers: Vec<String>,
    /// Further flags of gunmetal. The relays of the package know `--message-bytes-max` and `--gap` and ignore the rest.
    pub flags: Vec<String>,
    /// How many files gunmetal may open, if that is to be few.
    pub open_files_max: Option<u32>,
}

impl Setup {
    pub fn new(kind: Kind) -> Setup {
        Setup {
            kind,
            version: Version::Newest,
            port: 0,
            peers: Vec::new(),
            flags: Vec::new(),
            open_files_max: None,
        }
    }

    pub fn version(mut self, version: Version) -> Setup {
        self.version = version;
        self
    }

    pub fn open_files_max(mut self, count: u32) -> Setup {
        self.open_files_max = Some(count);
        self
    }

    pub fn port(mut self, port: &Port) -> Setup {
        self.port = port.number;
        self
    }

    pub fn peer(mut self, url: impl Into<String>) -> Setup {
        self.peers.push(url.into());
        self
    }

    pub fn flags(mut self, flags: &[&str]) -> Setup {
        self.flags.extend(flags.iter().map(|flag| flag.to_string()));
        self
    }

    pub fn start(self) -> Relay {
        let (mut process, scratch) = match self.kind {
            Kind::Gunmetal => (self.spawn_gunmetal(), None),
            _ => {
                let (process, scratch) = self.spawn_package();
                (process, Some(scratch))
            }
        };
        let port = process.logged("its port", listening_port);
        Relay { setup: self, port, process, scratch }
    }

    fn spawn_gunmetal(&self) -> Process {
        let binary = env!("CARGO_BIN_EXE_gunmetal");
        let mut command = Command::new(binary);
        if let Some(count) = self.open_files_max {
            command = Command::new("sh");
            command.args(["-c", &format!("ulimit -n {count}; exec \"$0\" \"$@\""), binary]);
        }
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        if !self.peers.is_empty() {
            command.args(["--peers", &self.peers.join(",")]);
        }
        // Many relays run side by side, and one admin address is usual. The few peers of a test are to
        // cross threads. A flag wins over both.
        command
            .args(&self.flags)
            .env_remove("PORT")
            .env_remove("PEERS")
            .env("GUNMETAL_ADMIN", "off")
            .env("GUNMETAL_PEERS_PER_WRITER", "1");
        Process::spawn("gunmetal", &mut command)
    }

    fn spawn_package(&self) -> (Process, Scratch) {
        let node =
            node::ensure().expect("a test that starts a relay of the package asks for node first");
        let setup = json!({
            "gun": self.version.package(),
            "kind": self.kind.name(),
            "port": self.port,
            "peers": self.peers,
            "max": self.flag("--message-bytes-max"),
            "gap": self.flag("--gap"),
        });
        node.run(format!("{} relay", self.kind.name()), "relay.js", &setup)
    }

    fn flag(&self, name: &str) -> Option<u64> {
        let at = self.flags.iter().position(|flag| flag == name)?;
        self.flags.get(at + 1)?.parse().ok()
    }
}

/// A running relay.
pub struct Relay {
    setup: Setup,
    pub port: u16,
    pub process: Process,
    scratch: Option<Scratch>,
}

impl Relay {
    /// Starts the relay under test.
    pub fn start(flags: &[&str]) -> Relay {
        Setup::new(Kind::under_test()).flags(flags).start()
    }

    pub fn url(&self) -> String {
        url(self.port)
    }

    /// A plain TCP connection to it.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("connect to the relay")
    }

    /// Where its operator looks; for a relay started with `--admin`.
    pub fn admin(&mut self) -> SocketAddr {
        self.process.logged("its admin address", |line| {
            let (_, rest) = line.split_once("admin: http://")?;
            rest.split('/').next()?.parse().ok()
        })
    }

    /// Ends it at once and starts it again on the same port, with nothing remembered.
    pub fn restart(&mut self) {
        self.process.kill();
        let setup = Setup { port: self.port, ..self.setup.clone() };
        *self = setup.start();
    }

    /// Asks it to stop, as a service manager does.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.signal("TERM");
        self.process.exit_within(Duration::from_secs(10))
    }
}

/// The URL of a relay on this port.
pub fn url(port: u16) -> String {
    format!("ws://127.0.0.1:{port}/gun")
}

/// A port kept free for relays that have to be known before they start, or that come back.
///
/// A bound socket that does not listen: the kernel gives its port to nobody else, while a relay that names the port
/// may bind it, because both sides allow the reuse.
pub struct Port {
    pub number: u16,
    _bound: Socket,
}

impl Port {
    pub fn reserve() -> Port {
        let socket =
            Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        socket.set_reuse_address(true).expect("SO_REUSEADDR");
        socket.set_reuse_port(true).expect("SO_REUSEPORT");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("bind any port");
        let address =
            socket.local_addr().expect("an address").as_socket().expect("an IPv4 address");
        Port { number: address.port(), _bound: socket }
    }

    pub fn url(&self) -> String {
        url(self.number)
    }
}

fn listening_port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    digits.parse().ok()
}
