//! gunmetal beside what people use instead, and above the floor.
//!
//! Owns: the rounds, and what a cell of the table is made of. Rounds are interleaved, so that what else
//! this machine does hits all alike; each figure is a median with its spread. Every cell is a run of
//! this program in a process of its own. Where `taskset` is found and there are cores enough, server
//! and generator have a core each; a server with two cores shares one of them with the generator where
//! there are no more.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde::Serialize;

use crate::args::SideArgs;
use crate::clock;
use crate::outcome::Outcome;
use crate::process::{self, Machine};
use crate::scenario::Scenario;
use crate::server::{Server, prefixed};
use crate::{files, stock};
pub use compare::{Kept, compare};
use rows::{Figure, ROWS, Row};
use systems::Programs;
pub use systems::System;

mod compare;
mod pins;
mod rows;
mod systems;
mod table;

/// What one round found of one system and work.
#[derive(Clone, Debug, Serialize)]
struct Cell {
    row: &'static str,
    system: System,
    round: u32,
    figures: Vec<(Figure, Option<f64>)>,
    /// Deliveries a second.
    delivered: f64,
    /// CPU seconds of the server a second.
    cores: f64,
    verdict: String,
}

/// The content of `result.json`.
#[derive(Serialize)]
struct Comparison<'a> {
    machine: Machine,
    /// The source revision of the tree this was started in, if it is known.
    commit: Option<String>,
    /// When it ended, in seconds since 1970.
    ended_unix_s: u64,
    /// What each system says it is.
    versions: BTreeMap<&'static str, String>,
    rounds: u32,
    seconds: f64,
    window: u32,
    /// Medians and spreads.
    lines: &'a [table::Line],
    cells: &'a [Cell],
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
/// Nothing could be measured, or a row or column has no such name.
pub fn measure_systems(args: &SideArgs, name: &str, systems: &[System]) -> Result<(), String> {
    let names: Vec<_> = systems.iter().map(|system| system.name()).collect();
    let columns = chosen(&args.columns, &names)?;
    let rows = chosen(&args.rows, &ROWS.iter().map(|row| row.name).collect::<Vec<_>>())?;
    let is_wanted = |system: &System| match args.columns.is_empty() {
        true => system.is_usual(),
        false => columns.contains(&system.name()),
    };
    let systems: Vec<_> = systems.iter().copied().filter(is_wanted).collect();
    let is_meant = |row: &&Row| match args.rows.is_empty() {
        true => row.is_usual,
        false => rows.contains(&row.name),
    };
    let rows: Vec<_> = ROWS.iter().filter(is_meant).collect();

    let directory = args.out.join(name);
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let directory = directory.canonicalize().map_err(|error| error.to_string())?;
    let field = Field::new(args, &directory, systems);
    let cells = field.rounds(&rows);
    if cells.is_empty() {
        return Err("nothing could be measured".to_owned());
    }
    field.write(&cells)
}

/// What these words name; without words everything.
fn chosen<'a>(words: &[String], names: &[&'a str]) -> Result<Vec<&'a str>, String> {
    let named = |word: &String| {
        let name = names.iter().find(|name| slug(name) == slug(word));
        let all = || names.iter().map(|name| slug(name)).collect::<Vec<_>>().join(", ");
        name.copied().ok_or_else(|| format!("{word} is none of {}", all()))
    };
    match words.is_empty() {
        true => Ok(names.to_vec()),
        false => words.iter().map(named).collect(),
    }
}

/// A name as one writes it on a command line: `gunmetal 1+1` is `gunmetal-1-1`.
fn slug(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

fn line(cell: &Cell) -> String {
    let figure = |(figure, value): &(Figure, Option<f64>)| {
        let value = value.map_or("?".to_owned(), |value| figure.write(value));
        format!("{value} {}", figure.unit())
    };
    let figures: Vec<_> = cell.figures.iter().map(figure).collect();
    let (row, system, figures) = (cell.row, cell.system.name(), figures.join(", "));
    let verdict = cell.verdict.replace('\n', "; ");
    format!("round {}, {row}, {system}: {figures}; {:.2} cores; {verdict}", cell.round, cell.cores)
}

/// What all cells share.
struct Field<'a> {
    args: &'a SideArgs,
    directory: &'a Path,
    systems: Vec<System>,
    programs: Programs,
    /// Cores of this machine that processes can be put on; 0: they cannot.
    cores: usize,
}

impl<'a> Field<'a> {
    fn new(args: &'a SideArgs, directory: &'a Path, systems: Vec<System>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = stock::find("taskset").map_or(0, |_| cores);
        let programs = Programs::find(&systems, args.relay.as_deref(), directory);
        Field { args, directory, systems, programs, cores }
    }

    fn rounds(&self, rows: &[&'static Row]) -> Vec<Cell> {
        let mut cells = Vec::new();
        for round in 1..=self.args.rounds {
            for row in rows {
                let able = self.systems.iter().filter(|system| system.can(row));
                for system in able.filter(|system| self.programs.has(**system)) {
                    match self.cell(row, *system, round) {
                        Ok(cell) => {
                            println!("{}", line(&cell));
                            cells.push(cell);
                        }
                        Err(why) => {
                            println!("round {round}, {}, {}: {why}", row.name, system.name());
                        }
                    }
                }
            }
        }
        cells
    }

    fn scenario(&self, row: &Row, system: System) -> Result<Scenario, String> {
        let mut parameters = vec![
            ("window", self.args.window.to_string()),
            ("duration", self.args.seconds.to_string()),
            ("warmup", "0.5".to_owned()),
            ("threads", "1".to_owned()),
            ("subscribe", system.needs_subscriptions().to_string()),
        ];
        parameters.extend(row.scenario.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut scenario = Scenario::parse("", &parameters)?;
        scenario.name = "cell".to_owned();
        Ok(scenario)
    }

    fn cell(&self, row: &'static Row, system: System, round: u32) -> Result<Cell, String> {
        let scenario = self.scenario(row, system)?;
        let [pin, generator_pin] = pins::pins(system.cores(), self.cores);
        let server = self.programs.start(system, row, &scenario, &pin, self.directory)?;
        let url = system.url(row, server.port);
        let outcome = self.drive(&url, &scenario, &server, &generator_pin)?;
        Ok(Cell {
            row: row.name,
            system,
            round,
            figures: row.figures.iter().map(|figure| (*figure, figure.of(&outcome))).collect(),
            delivered: outcome.rates.delivered,
            cores: outcome.server.as_ref().map_or(0.0, |server| server.cores),
            verdict: crate::table::verdict(&outcome),
        })
    }

    /// Runs this program against a server.
    fn drive(
        &self,
        url: &str,
        scenario: &Scenario,
        server: &Server,
        pin: &[String],
    ) -> Result<Outcome, String> {
        let file = self.directory.join("cell.toml");
        let text = toml::to_string(scenario).map_err(|error| error.to_string())?;
        fs::write(&file, text).map_err(|error| error.to_string())?;
        let result = self.directory.join("cell/result.json");
        // What an earlier cell left must not be taken for this one's.
        let _absent = fs::remove_file(&result);
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let output = prefixed(pin, &own)
            .arg(&file)
            .args(["--quiet", "--url", url, "--pid", &server.pid().to_string(), "--out"])
            .arg(self.directory)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        files::read(&result).map_err(|_| String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    fn write(&self, cells: &[Cell]) -> Result<(), String> {
        let lines = table::lines(cells);
        let text = table::table(&lines, self.args);
        println!("\n{text}");
        let comparison = Comparison {
            machine: Machine::this(),
            commit: process::commit(),
            ended_unix_s: clock::unix_s(),
            versions: self.programs.versions(&self.systems),
            rounds: self.args.rounds,
            seconds: self.args.seconds,
            window: self.args.window,
            lines: &lines,
            cells,
        };
        let json = serde_json::to_string_pretty(&comparison).map_err(|error| error.to_string())?;
        let page = table::page(&lines, &text)?;
        for (file, text) in [("result.json", &json), ("table.md", &text), ("report.html", &page)] {
            let path = self.directory.join(file);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        println!("{}", self.directory.join("report.html").display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_scenario_that_somebody_can_do() {
        let args = SideArgs {
            rounds: 1,
            seconds: 1.0,
            window: 16,
            rows: Vec::new(),
            columns: Vec::new(),
            relay: None,
            out: "out".into(),
        };
        let field = Field {
            args: &args,
            directory: Path::new("."),
            systems: System::ALL.to_vec(),
            programs: Programs::default(),
            cores: 0,
        };
        for row in ROWS {
            assert!(field.scenario(row, System::Gunmetal).is_ok(), "{}", row.name);
            assert!(System::Gunmetal.can(row) && System::Gun.can(row));
            let floors = System::FLOORS.iter().filter(|floor| floor.can(row)).count();
            let is_throughput = row.figures.iter().any(|figure| figure.is_throughput());
            assert!(floors > 0 || !is_throughput, "{} stands beside no floor", row.name);
        }
    }

    #[test]
    fn rows_and_columns_are_named_as_in_the_table_or_as_one_word() {
        let names = System::ALL.map(System::name);
        let words = ["gunmetal-1-1".to_owned(), "NATS".to_owned()];
        assert_eq!(chosen(&words, &names).unwrap(), ["gunmetal 1+1", "NATS"]);
        assert_eq!(chosen(&[], &names).unwrap().len(), names.len());
        let fault = chosen(&["natz".to_owned()], &names).unwrap_err();
        assert!(fault.contains("floor-per-wake-up"), "{fault}");
    }
}
