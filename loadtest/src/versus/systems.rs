//! What is compared: the systems, what each can do, and how it is started and spoken to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::rows::{Kind, Row};
use crate::floor;
use crate::message::{Exchange, Protocol, Style};
use crate::scenario::Scenario;
use crate::server::{self, Server};
use crate::stock;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum System {
    /// One reactor and one writer.
    Gunmetal,
    /// As many threads as it likes.
    GunmetalDefault,
    /// One reactor and one writer, and two cores.
    GunmetalSpread,
    /// Two reactors, two writers and two cores.
    GunmetalTwoCores,
    /// Stock Gun without AXE.
    Gun,
    /// Stock Gun as it is installed.
    GunAxe,
    /// A Gun relay in Rust.
    Rod,
    /// The broker people pick instead.
    Nats,
    /// tokio and tungstenite, and nothing else.
    Broadcaster,
    /// The kernel, one write per message.
    FloorEach,
    /// The kernel, one write per wake-up.
    FloorWake,
    /// The same, each message longer by the names that relays of Gun add.
    FloorWakeGrown,
}

impl System {
    /// Every system.
    pub const ALL: [System; 12] = [
        System::Gunmetal,
        System::GunmetalDefault,
        System::GunmetalSpread,
        System::GunmetalTwoCores,
        System::Gun,
        System::GunAxe,
        System::Rod,
        System::Nats,
        System::Broadcaster,
        System::FloorEach,
        System::FloorWake,
        System::FloorWakeGrown,
    ];
    /// Those that `floor` measures.
    pub const FLOORS: [System; 3] = [System::FloorEach, System::FloorWake, System::FloorWakeGrown];

    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            System::Gunmetal => "gunmetal 1+1",
            System::GunmetalDefault => "gunmetal",
            System::GunmetalSpread => "gunmetal 1+1 2 cores",
            System::GunmetalTwoCores => "gunmetal 2 cores",
            System::Gun => "Gun without AXE",
            System::GunAxe => "Gun",
            System::Rod => "rod",
            System::Nats => "NATS",
            System::Broadcaster => "broadcaster",
            System::FloorEach => "floor per message",
            System::FloorWake => "floor per wake-up",
            System::FloorWakeGrown => "floor per wake-up grown",
        }
    }

    /// Whether it is measured when no column is named: on one core the relay's own choice of threads is
    /// not another system; two cores, and longer messages, answer questions of their own.
    pub fn is_usual(self) -> bool {
        self == System::Gunmetal || !self.is_gunmetal() && self != System::FloorWakeGrown
    }

    fn is_floor(self) -> bool {
        matches!(self, System::FloorEach | System::FloorWake | System::FloorWakeGrown)
    }

    /// Whether it is a relay of this project.
    pub fn is_gunmetal(self) -> bool {
        self.is_on_two_cores() || matches!(self, System::Gunmetal | System::GunmetalDefault)
    }

    /// Cores that it is given, where there are so many.
    pub fn cores(self) -> usize {
        if self.is_on_two_cores() { 2 } else { 1 }
    }

    fn is_on_two_cores(self) -> bool {
        matches!(self, System::GunmetalSpread | System::GunmetalTwoCores)
    }

    /// Whether it can do a work at all.
    pub fn can(self, row: &Row) -> bool {
        match row.kind {
            Kind::Broadcast => true,
            // Only relays know whom to answer and what they have heard.
            Kind::Answers => self != System::Broadcaster,
            Kind::Repeats => !matches!(self, System::Broadcaster | System::Nats),
            // A wake-up lets as many in as have come: there is one floor.
            Kind::Connect => !matches!(self, System::FloorWake | System::FloorWakeGrown),
            Kind::Memory => !self.is_floor(),
        }
    }

    /// Whether peers have to ask for what they want to hear.
    pub fn needs_subscriptions(self) -> bool {
        matches!(self, System::GunAxe | System::Rod)
    }

    /// Where the generator finds it.
    pub fn url(self, row: &Row, port: u16) -> String {
        match self {
            System::Nats => format!("nats://127.0.0.1:{port}"),
            floor if floor.is_floor() && row.kind != Kind::Connect => {
                format!("tcp://127.0.0.1:{port}")
            }
            _ => format!("ws://127.0.0.1:{port}/gun"),
        }
    }
}

/// The programs of those that were asked for.
#[derive(Debug, Default)]
pub struct Programs {
    relay: Option<PathBuf>,
    gun: Option<PathBuf>,
    nats: Option<PathBuf>,
    rod: Option<PathBuf>,
    broadcaster: Option<PathBuf>,
}

impl Programs {
    /// Finds, builds or installs them. What cannot be had is left out, and said.
    pub fn find(systems: &[System], relay: Option<&Path>, directory: &Path) -> Programs {
        let has = |any: &[System]| any.iter().any(|system| systems.contains(system));
        let note = |system: &str, found: Result<PathBuf, String>| {
            found.inspect_err(|why| println!("{system} is left out: {why}")).ok()
        };
        let in_path = |program: &str, how: &str| {
            stock::find(program).ok_or_else(|| format!("{program} is not in PATH; {how}"))
        };
        let mut found = Programs::default();
        if systems.iter().any(|system| system.is_gunmetal()) {
            found.relay = note("gunmetal", server::relay_binary(relay));
        }
        if has(&[System::Gun, System::GunAxe]) {
            found.gun = note("Gun", stock::install_gun(directory));
        }
        if has(&[System::Nats]) {
            found.nats = note("NATS", in_path("nats-server", stock::GET_NATS));
        }
        if has(&[System::Rod]) {
            found.rod = note("rod", in_path("rod", stock::GET_ROD));
        }
        if has(&[System::Broadcaster]) {
            found.broadcaster = note("the broadcaster", server::broadcaster_binary());
        }
        found
    }

    fn of(&self, system: System) -> Option<&Path> {
        match system {
            system if system.is_gunmetal() => self.relay.as_deref(),
            System::Gun | System::GunAxe => self.gun.as_deref(),
            System::Nats => self.nats.as_deref(),
            System::Rod => self.rod.as_deref(),
            System::Broadcaster => self.broadcaster.as_deref(),
            _ => None,
        }
    }

    /// What each of these systems says it is.
    pub fn versions(&self, systems: &[System]) -> BTreeMap<&'static str, String> {
        let version = |system: System| match system {
            System::Gun | System::GunAxe => stock::gun_version(),
            System::Broadcaster => stock::BROADCASTER.to_owned(),
            floor if floor.is_floor() => concat!("loadtest ", env!("CARGO_PKG_VERSION")).to_owned(),
            _ => self.of(system).map_or_else(String::new, stock::version_of),
        };
        let found = systems.iter().filter(|system| self.has(**system));
        found.map(|system| (system.name(), version(*system))).collect()
    }

    /// Whether a system can be started.
    pub fn has(&self, system: System) -> bool {
        system.is_floor() || self.of(system).is_some()
    }

    /// Starts a system for a work.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        &self,
        system: System,
        row: &Row,
        scenario: &Scenario,
        pin: &[String],
        directory: &Path,
    ) -> Result<Server, String> {
        let log = directory.join("server.log");
        if system.is_floor() {
            return start_floor(system, row, scenario, pin, &log);
        }
        let program = self.of(system).ok_or("it is not there")?;
        match system {
            System::Gun | System::GunAxe => {
                stock::start_gun(program, system == System::GunAxe, pin, &log)
            }
            System::Nats => stock::start_nats(program, pin, &log),
            System::Rod => stock::start_rod(program, pin, &log),
            System::Broadcaster => stock::start_broadcaster(program, pin, &log),
            _ => {
                let arguments = relay_arguments(system);
                let mut servers = server::start_relays(program, 1, &arguments, pin, directory)?;
                servers.pop().ok_or_else(|| "it is not there".to_owned())
            }
        }
    }
}

/// How many threads a relay is told to have.
fn relay_arguments(system: System) -> Vec<String> {
    let threads = match system {
        System::Gunmetal | System::GunmetalSpread => "1",
        System::GunmetalTwoCores => "2",
        _ => return Vec::new(),
    };
    ["--reactors", threads, "--writers", threads].map(str::to_owned).into()
}

fn start_floor(
    system: System,
    row: &Row,
    scenario: &Scenario,
    pin: &[String],
    log: &Path,
) -> Result<Server, String> {
    if row.kind == Kind::Connect {
        return stock::start_floor("accept-server", &[], pin, log);
    }
    let style = Style {
        protocol: Protocol::Raw,
        exchange: scenario.exchange,
        size: scenario.size,
        secret: 0,
    };
    let mut arguments = vec![style.message(0, 0).len().to_string()];
    if scenario.exchange != Exchange::Post {
        arguments.extend(["--answer-bytes".to_owned(), style.answer(0).len().to_string()]);
    }
    if scenario.repeat > 1 {
        arguments.push("--repeats".to_owned());
    }
    if system != System::FloorEach {
        arguments.push("--coalesce".to_owned());
    }
    if system == System::FloorWakeGrown {
        arguments.extend(["--grown-by".to_owned(), floor::names_bytes(scenario).to_string()]);
    }
    stock::start_floor("floor-server", &arguments, pin, log)
}
