//! The command line. The parameters of a scenario are flags as well; their list is in
//! [`scenario`](crate::scenario).

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::scenario::{DEFAULT, PARAMETERS, PRESETS, Scenario};
use crate::threshold::Threshold;

const ABOUT: &str = "Drives a relay that speaks DAM, counts every copy and times it";
const AFTER_HELP: &str = "\
Without --url a relay is started, and stopped at the end. Without a scenario it is fanout.

Exit codes: 0 all is well, 1 it could not be done, 2 a copy was lost, duplicated, reordered, echoed or \
corrupted, a peer was closed or the server ended, 3 a threshold was crossed, 4 INVALID: the generator was \
the limit.

Thresholds compare p50 p90 p99 p99.9 max raw-p50 raw-p99 raw-max opening-p99 (us, ms, s), lost duplicated \
reordered echoed corrupted closed failed, delivered and per-cpu (a second, a CPU second; k, M), cores, \
memory and per-connection (B, KiB, MiB, GiB), attack-p50 and attack-p99 (times that before the attack).";

const VERSUS_HELP: &str = "\
What is missing is left out, and said. Gun comes from npm, the broadcaster is built when cargo starts this; nats-server \
and rod are taken from PATH: apt-get install nats-server, cargo install rod --version 0.2.4.

Columns that have to be named: gunmetal (as many threads as it likes), gunmetal-2-cores (two reactors, two writers, two \
cores, of which the generator needs one as well where there are no more), gunmetal-1-1-2-cores (one of each there), floor-per-wake-up-grown (the bytes a relay of \
Gun has to add are written as well).";

/// The command line.
#[derive(Parser, Debug)]
#[command(name = "loadtest", version, about = ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of a run.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// A run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// How a scenario is run.
#[derive(Args, Debug, Clone)]
pub struct RunArgs {
    /// A preset's name, or a TOML file
    #[arg(value_name = "SCENARIO", default_value = DEFAULT)]
    pub scenario: String,
    /// The server, instead of a relay that is started: ws://HOST:PORT/gun; several with commas
    #[arg(long, value_name = "URL,URL", value_delimiter = ',')]
    pub url: Vec<String>,
    /// Processes of the server on this machine, to read what they use
    #[arg(long, value_name = "PID,PID", value_delimiter = ',', requires = "url")]
    pub pid: Vec<u32>,
    /// The --admin address of the relay, to ask what it uses; also of another machine
    #[arg(
        long,
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        requires = "url",
        conflicts_with = "pid"
    )]
    pub admin: Vec<String>,
    /// The relay to start, instead of the one built beside this program
    #[arg(long, value_name = "PATH")]
    pub relay: Option<PathBuf>,
    /// A further argument for the relay that is started; may be repeated
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub relay_arg: Vec<String>,
    /// Where the results go
    #[arg(long, value_name = "DIRECTORY", default_value = "target/loadtest")]
    pub out: PathBuf,
    /// What must not be: p99>5ms,lost>0
    #[arg(long, value_name = "THRESHOLDS", default_value = "", value_parser = Threshold::parse_all)]
    pub fail_if: Thresholds,
    /// Print nothing but what went wrong
    #[arg(long)]
    pub quiet: bool,
}

/// A list that clap takes as one value.
pub type Thresholds = std::vec::Vec<Threshold>;

/// What else there is to do.
#[derive(Subcommand, Debug)]
pub enum Action {
    /// What the kernel allows here: bytes in, bytes out, nothing else
    Floor(SideArgs),
    /// gunmetal beside Gun, NATS, rod and a broadcaster, in interleaved rounds
    #[command(after_help = VERSUS_HELP)]
    Versus(SideArgs),
    /// Two results of runs, or of versus, side by side
    Compare {
        /// A result.json
        before: PathBuf,
        /// Another
        after: PathBuf,
    },
    /// The scenarios and their parameters
    Scenarios,
    /// The server of `floor`
    #[command(hide = true)]
    FloorServer {
        /// Where to listen, on this machine
        port: u16,
        /// Length of a message
        message_bytes: usize,
        /// Write once for all that a wake-up brought
        #[arg(long)]
        coalesce: bool,
        /// Length of the answers to who spoke first
        #[arg(long)]
        answer_bytes: Option<usize>,
        /// What others say than who spoke first is a repetition
        #[arg(long)]
        repeats: bool,
        /// Bytes that are written behind each message
        #[arg(long, default_value_t = 0)]
        grown_by: usize,
    },
    /// The server of `floor` that lets connections in
    #[command(hide = true)]
    AcceptServer {
        /// Where to listen, on this machine
        port: u16,
    },
}

/// How systems are compared.
#[derive(Args, Debug, Clone)]
pub struct SideArgs {
    /// Rounds; in each, every system (a column) does every work (a row) once
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// Seconds that are measured each time
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    pub seconds: f64,
    /// Messages in flight, where the row does not say another number
    #[arg(long, value_name = "COUNT", default_value_t = 256)]
    pub window: u32,
    /// Only these rows: 1-to-10, ask, connect and so on, as the table has them
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub rows: Vec<String>,
    /// Only these columns: gunmetal-1-1, nats and so on, as the table has them
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// The relay to start, instead of the one built beside this program
    #[arg(long, value_name = "PATH")]
    pub relay: Option<PathBuf>,
    /// Where the results go
    #[arg(long, value_name = "DIRECTORY", default_value = "target/loadtest")]
    pub out: PathBuf,
}

/// The command, with a flag for each parameter of a scenario.
fn command() -> Command {
    let flags = PARAMETERS.iter().map(|(name, unit, help)| {
        let flag = Arg::new(*name).long(*name).value_name(unit.value_name()).help(*help);
        flag.help_heading("Parameters of the scenario")
    });
    Cli::command().args(flags)
}

/// Parameters that were given, and their values.
pub type Overrides = Vec<(&'static str, String)>;

/// What was asked for, with the parameters that were given.
///
/// # Errors
/// It is not to be understood, or it is a question for the help.
pub fn parse() -> Result<(Cli, Overrides), clap::Error> {
    let matches = command().try_get_matches()?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok((cli, overrides(&matches)))
}

fn overrides(matches: &ArgMatches) -> Overrides {
    let given = |name: &'static str| Some((name, matches.get_one::<String>(name)?.clone()));
    PARAMETERS.iter().filter_map(|(name, ..)| given(name)).collect()
}

/// The list that `loadtest scenarios` prints.
pub fn list_scenarios() -> String {
    let mut list = String::from("Scenarios:\n");
    for (name, text) in PRESETS {
        let about = Scenario::parse(text, &[]).map(|scenario| scenario.about).unwrap_or_default();
        list.push_str(&format!("  {name:<12} {about}\n"));
    }
    list.push_str("\nParameters, as flags or in a TOML file:\n");
    for (name, _, help) in PARAMETERS {
        list.push_str(&format!("  --{name:<12} {help}\n"));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn parameters_are_flags() {
        let matches = command()
            .try_get_matches_from(["loadtest", "chat", "--rate", "50", "--size=2K"])
            .unwrap();
        let overrides = overrides(&matches);
        assert_eq!(overrides, [("size", "2K".to_owned()), ("rate", "50".to_owned())]);
        assert_eq!(Cli::from_arg_matches(&matches).unwrap().run.scenario, "chat");
    }
}
