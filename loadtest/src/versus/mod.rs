//! gunmetal beside what people use instead, and above the floor.
//!
//! Owns: the works and systems, the rounds, and the table. Rounds are interleaved, so that what else
//! this machine does hits all alike; each figure is a median with its spread. Every cell is a run of
//! this program in a process of its own. Where `taskset` is found and there are cores enough, server
//! and generator have a core each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Serialize;

use crate::args::SideArgs;
use crate::message::{Exchange, Protocol, Style};
use crate::outcome::Outcome;
use crate::scenario::Scenario;
use crate::server::{self, Server, prefixed};
use crate::table::number;
use crate::{files, stock};

mod table;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum System {
    /// One reactor and one writer.
    Gunmetal,
    /// As many threads as it likes.
    GunmetalDefault,
    /// Stock Gun without AXE.
    Gun,
    /// Stock Gun as it is installed.
    GunAxe,
    /// The broker people pick instead.
    Nats,
    /// A Gun relay in Rust.
    Rod,
    /// The kernel, one write per message.
    FloorEach,
    /// The kernel, one write per wake-up.
    FloorWake,
}

impl System {
    /// Every system.
    pub const ALL: [System; 8] = [
        System::Gunmetal,
        System::GunmetalDefault,
        System::Gun,
        System::GunAxe,
        System::Nats,
        System::Rod,
        System::FloorEach,
        System::FloorWake,
    ];

    fn name(self) -> &'static str {
        match self {
            System::Gunmetal => "gunmetal 1+1",
            System::GunmetalDefault => "gunmetal",
            System::Gun => "Gun without AXE",
            System::GunAxe => "Gun",
            System::Nats => "NATS",
            System::Rod => "rod",
            System::FloorEach => "floor per message",
            System::FloorWake => "floor per wake-up",
        }
    }

    fn is_floor(self) -> bool {
        matches!(self, System::FloorEach | System::FloorWake)
    }
}

/// A work: a scenario without its duration and window, and what is counted.
struct Work {
    name: &'static str,
    scenario: &'static [(&'static str, &'static str)],
    unit: Unit,
}

/// What a server CPU second is divided into.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    /// Copies or answers delivered.
    Deliveries,
    /// Messages received, each several times.
    Heard(f64),
}

const WORKS: &[Work] = &[
    work("1 to 10", &[("senders", "1"), ("receivers", "10")]),
    work("1 to 100", &[("senders", "1"), ("receivers", "100")]),
    work("1 to 1000", &[("senders", "1"), ("receivers", "1000")]),
    work("10 to 100", &[("senders", "10"), ("receivers", "100")]),
    work("100 all", &[("senders", "100"), ("receivers", "0")]),
    work("16 KiB", &[("senders", "1"), ("receivers", "100"), ("size", "16K")]),
    work("ask", &[("senders", "1"), ("receivers", "1"), ("exchange", "ask")]),
    Work {
        name: "each 4 times",
        scenario: &[("senders", "1"), ("receivers", "1"), ("repeat", "4")],
        unit: Unit::Heard(4.0),
    },
];

const fn work(name: &'static str, scenario: &'static [(&'static str, &'static str)]) -> Work {
    Work { name, scenario, unit: Unit::Deliveries }
}

/// What one round found.
#[derive(Clone, Debug, Serialize)]
struct Cell {
    work: &'static str,
    system: System,
    round: u32,
    per_cpu_s: Option<f64>,
    delivered: f64,
    cores: f64,
    verdict: String,
}

/// Compares all systems.
///
/// # Errors
/// Nothing could be measured.
pub fn measure(args: &SideArgs) -> Result<(), String> {
    measure_systems(args, "versus", &System::ALL)
}

/// Compares these systems.
///
/// # Errors
/// Nothing could be measured.
pub fn measure_systems(args: &SideArgs, name: &str, systems: &[System]) -> Result<(), String> {
    let directory = args.out.join(name);
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let directory = directory.canonicalize().map_err(|error| error.to_string())?;
    let field = Field::new(args, &directory, systems);
    let mut cells = Vec::new();
    for round in 1..=args.rounds {
        for work in WORKS.iter().filter(|work| field.wants(work)) {
            for system in field.systems.iter().filter(|system| field.wants_system(work, **system)) {
                match field.cell(work, *system, round) {
                    Ok(cell) => {
                        println!("{}", line(&cell));
                        cells.push(cell);
                    }
                    Err(why) => println!("round {round}, {}, {}: {why}", work.name, system.name()),
                }
            }
        }
    }
    if cells.is_empty() {
        return Err("nothing could be measured".to_owned());
    }
    field.write(name, &cells)
}

fn line(cell: &Cell) -> String {
    let per_cpu_s = cell.per_cpu_s.map_or("?".to_owned(), number);
    let (work, system) = (cell.work, cell.system.name());
    let (delivered, cores) = (number(cell.delivered), cell.cores);
    format!(
        "round {}, {work}, {system}: {per_cpu_s} per CPU second, {delivered} a second, {cores:.2} cores; {}",
        cell.round,
        cell.verdict.replace('\n', "; ")
    )
}

/// What all cells share.
struct Field<'a> {
    args: &'a SideArgs,
    directory: &'a Path,
    systems: Vec<System>,
    relay: Option<PathBuf>,
    gun: Option<PathBuf>,
    nats: Option<PathBuf>,
    rod: Option<PathBuf>,
    /// What puts a server, and the generator, on a core of its own.
    pins: [Vec<String>; 2],
}

impl<'a> Field<'a> {
    fn new(args: &'a SideArgs, directory: &'a Path, systems: &[System]) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pin = |core: usize| match stock::find("taskset") {
            Some(_) if cores >= 2 => vec!["taskset".into(), "-c".into(), core.to_string()],
            _ => Vec::new(),
        };
        let note = |system: &str, found: Result<PathBuf, String>| {
            found.inspect_err(|why| println!("{system} is left out: {why}")).ok()
        };
        let has = |system: System| systems.contains(&system);
        let in_path = |program: &str| stock::find(program).ok_or("it is not in PATH".to_owned());
        let mut field = Field {
            args,
            directory,
            systems: Vec::new(),
            relay: has(System::Gunmetal)
                .then(|| note("gunmetal", server::relay_binary(args.relay.as_deref())))
                .flatten(),
            gun: has(System::Gun).then(|| note("Gun", stock::install_gun(directory))).flatten(),
            nats: has(System::Nats).then(|| note("NATS", in_path("nats-server"))).flatten(),
            rod: has(System::Rod).then(|| note("rod", in_path("rod"))).flatten(),
            pins: [pin(0), pin(1)],
        };
        field.systems = systems.iter().copied().filter(|system| field.is_there(*system)).collect();
        field
    }

    fn is_there(&self, system: System) -> bool {
        match system {
            System::Gunmetal | System::GunmetalDefault => self.relay.is_some(),
            System::Gun | System::GunAxe => self.gun.is_some(),
            System::Nats => self.nats.is_some(),
            System::Rod => self.rod.is_some(),
            System::FloorEach | System::FloorWake => true,
        }
    }

    /// `--only` names works, systems or both; a kind that is not named is not limited.
    fn wants(&self, work: &Work) -> bool {
        is_wanted(&self.args.only, work.name, WORKS.iter().map(|work| work.name))
    }

    fn wants_system(&self, work: &Work, system: System) -> bool {
        let names = System::ALL.into_iter().map(System::name);
        let is_wanted = is_wanted(&self.args.only, system.name(), names);
        // Only relays know what they have heard, and only some systems answer.
        let knows_repeats = !(system.is_floor() || system == System::Nats);
        let is_possible = match work.unit {
            Unit::Heard(_) => knows_repeats,
            Unit::Deliveries => !(system.is_floor() && work.name == "ask"),
        };
        is_wanted && is_possible
    }

    fn scenario(&self, work: &Work, system: System) -> Result<Scenario, String> {
        let mut parameters: Vec<_> =
            work.scenario.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        parameters.push(("window", self.args.window.to_string()));
        parameters.push(("duration", self.args.duration.to_string()));
        parameters.push(("threads", "1".to_owned()));
        parameters.push(("subscribe", (system == System::GunAxe).to_string()));
        Scenario::parse("", &parameters)
    }

    fn cell(&self, work: &Work, system: System, round: u32) -> Result<Cell, String> {
        let mut scenario = self.scenario(work, system)?;
        scenario.name = "cell".to_owned();
        let server = self.start(system, &scenario)?;
        let outcome = self.drive(system, &scenario, &server)?;
        let cpu_s = outcome.server.as_ref().map(|server| server.measured.cpu_s());
        let per_cpu_s = match work.unit {
            Unit::Deliveries => outcome.rates.delivered_per_cpu_s,
            Unit::Heard(times) => {
                let heard = outcome.rates.sent * outcome.seconds.len() as f64 * times;
                cpu_s.filter(|cpu_s| *cpu_s > 0.0).map(|cpu_s| heard / cpu_s)
            }
        };
        Ok(Cell {
            work: work.name,
            system,
            round,
            per_cpu_s,
            delivered: outcome.rates.delivered,
            cores: outcome.server.as_ref().map_or(0.0, |server| server.cores),
            verdict: crate::table::verdict(&outcome),
        })
    }

    fn start(&self, system: System, scenario: &Scenario) -> Result<Server, String> {
        let (pin, log) = (&self.pins[0], self.directory.join("server.log"));
        let missing = || "it is not there".to_owned();
        match system {
            System::Gunmetal | System::GunmetalDefault => {
                let relay = self.relay.as_deref().ok_or_else(missing)?;
                let one: Vec<String> =
                    ["--reactors", "1", "--writers", "1"].map(str::to_owned).into();
                let arguments = if system == System::Gunmetal { one } else { Vec::new() };
                let mut servers = server::start_relays(relay, 1, &arguments, pin, self.directory)?;
                servers.pop().ok_or_else(missing)
            }
            System::Gun | System::GunAxe => {
                let script = self.gun.as_deref().ok_or_else(missing)?;
                stock::start_gun(script, system == System::GunAxe, pin, &log)
            }
            System::Nats => stock::start_nats(self.nats.as_deref().ok_or_else(missing)?, pin, &log),
            System::Rod => stock::start_rod(self.rod.as_deref().ok_or_else(missing)?, pin, &log),
            System::FloorEach | System::FloorWake => {
                let (exchange, size) = (Exchange::Post, scenario.size);
                let style = Style { protocol: Protocol::Raw, exchange, size, secret: 0 };
                let bytes = style.message(0, 0).len();
                stock::start_floor(bytes, system == System::FloorWake, pin, &log)
            }
        }
    }

    /// Runs this program against a server.
    fn drive(
        &self,
        system: System,
        scenario: &Scenario,
        server: &Server,
    ) -> Result<Outcome, String> {
        let file = self.directory.join("cell.toml");
        let text = toml::to_string(scenario).map_err(|error| error.to_string())?;
        fs::write(&file, text).map_err(|error| error.to_string())?;
        let url = match system {
            System::Nats => format!("nats://127.0.0.1:{}", server.port),
            System::FloorEach | System::FloorWake => format!("tcp://127.0.0.1:{}", server.port),
            _ => format!("ws://127.0.0.1:{}/gun", server.port),
        };
        let result = self.directory.join("cell/result.json");
        // What an earlier cell left must not be taken for this one's.
        let _absent = fs::remove_file(&result);
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let output = prefixed(&self.pins[1], &own)
            .arg(&file)
            .args(["--quiet", "--url", &url, "--pid", &server.pid().to_string(), "--out"])
            .arg(self.directory)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        files::read(&result).map_err(|_| String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    fn write(&self, name: &str, cells: &[Cell]) -> Result<(), String> {
        let has_cells = |system: &System| cells.iter().any(|cell| cell.system == *system);
        let systems: Vec<_> = self.systems.iter().copied().filter(has_cells).collect();
        let table = table::table(cells, &systems, self.args);
        println!("\n{table}");
        let json = serde_json::to_string_pretty(cells).map_err(|error| error.to_string())?;
        let page = table::page(cells, &systems, &table)?;
        let write = |file: &str, text: &str| {
            let path = self.directory.join(file);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        write(&format!("{name}.json"), &json)?;
        write(&format!("{name}.md"), &table)?;
        write(&format!("{name}.html"), &page)
    }
}

/// Whether one of these words names it, or none of them names any of its kind.
fn is_wanted<'a>(only: &[String], name: &str, mut kind: impl Iterator<Item = &'a str>) -> bool {
    let names = |name: &str| only.iter().any(|word| word == name);
    names(name) || !kind.any(names)
}
