//! The program: arguments in, exit code out.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use loadtest::args::{self, Action, Cli, RunArgs};
use loadtest::files::Kind;
use loadtest::floor::{Orders, Others};
use loadtest::message::Protocol;
use loadtest::plan::{Plan, Target};
use loadtest::run::{self, Found, Stage, Watch};
use loadtest::scenario::Scenario;
use loadtest::server::{self, Server};
use loadtest::source::{self, Source};
use loadtest::{compare, files, floor, table, versus};

/// Enough files for a hundred thousand connections and more.
const OPEN_FILES: u64 = 1 << 20;

fn main() -> ExitCode {
    raise_open_files();
    let (cli, overrides) = match args::parse() {
        Ok(asked) => asked,
        Err(error) => return explain(&error),
    };
    let result = server::stop_on_signals().map_err(|error| error.to_string());
    match result.and_then(|()| act(cli, &overrides)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The help, or what was wrong with the arguments. clap would end with 2, which says that copies were lost.
fn explain(error: &clap::Error) -> ExitCode {
    // Nobody listens when the output is closed.
    let _closed = error.print();
    if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// As many files as the system permits; a privileged process may raise even the hard limit.
fn raise_open_files() {
    if rlimit::setrlimit(rlimit::Resource::NOFILE, OPEN_FILES, OPEN_FILES).is_err() {
        // A refusal is no fault: a run that needs more files says so.
        let _refused = rlimit::increase_nofile_limit(u64::MAX);
    }
}

fn act(cli: Cli, overrides: &[(&str, String)]) -> Result<u8, String> {
    match cli.action {
        None => run_scenario(&cli.run, overrides),
        Some(Action::Floor(args)) => floor::measure(&args).map(|()| 0),
        Some(Action::Versus(args)) => versus::measure(&args).map(|()| 0),
        Some(Action::Compare { before, after }) => {
            print!("{}", side_by_side(&before, &after)?);
            Ok(0)
        }
        Some(Action::Scenarios) => {
            print!("{}", args::list_scenarios());
            Ok(0)
        }
        Some(Action::FloorServer {
            port,
            message_bytes,
            coalesce,
            answer_bytes,
            repeats,
            grown_by,
        }) => {
            let others = match answer_bytes {
                Some(answer_bytes) => Others::Answer(answer_bytes),
                None if repeats => Others::Drop,
                None => Others::PassOn,
            };
            served(floor::serve(port, Orders { message_bytes, coalesce, others, grown_by }))
        }
        Some(Action::AcceptServer { port }) => served(floor::accept::serve(port)),
    }
}

/// Two results of the same kind.
fn side_by_side(before: &Path, after: &Path) -> Result<String, String> {
    match (files::kind(before)?, files::kind(after)?) {
        (Kind::Run, Kind::Run) => Ok(compare::compare(&files::read(before)?, &files::read(after)?)),
        (Kind::Versus, Kind::Versus) => {
            Ok(versus::compare(&files::read_json(before)?, &files::read_json(after)?))
        }
        _ => Err(
            "one is the result of a run, the other of versus or floor: they have nothing in common"
                .to_owned(),
        ),
    }
}

fn served(result: std::io::Result<()>) -> Result<u8, String> {
    result.map(|()| 0).map_err(|error| error.to_string())
}

fn run_scenario(args: &RunArgs, overrides: &[(&str, String)]) -> Result<u8, String> {
    let scenario = Scenario::parse(&Scenario::text_of(&args.scenario)?, overrides)?;
    let directory = args.out.join(&scenario.name);
    std::fs::create_dir_all(&directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    let servers = start(args, &scenario, &directory)?;
    let (targets, protocol) = targets(args, &servers)?;
    let sources = sources(args, &servers)?;
    let plan = Arc::new(Plan::new(scenario, targets, protocol));
    let found = watched(&plan, sources, args)?;
    files::write(&found, &directory).map_err(|error| error.to_string())?;
    say(&found, &directory, args.quiet);
    Ok(found.outcome.verdict.exit_code())
}

/// Starts the relays of a scenario, unless a server was named.
fn start(args: &RunArgs, scenario: &Scenario, logs: &Path) -> Result<Vec<Server>, String> {
    if !args.url.is_empty() {
        return Ok(Vec::new());
    }
    let binary = server::relay_binary(args.relay.as_deref())?;
    server::start_relays(&binary, scenario.relays as usize, &args.relay_arg, &[], logs)
}

/// Where it is read what the servers use. What was named has to be there.
fn sources(args: &RunArgs, servers: &[Server]) -> Result<Vec<Source>, String> {
    if !servers.is_empty() {
        return Ok(servers.iter().map(|server| Source::Process(server.pid())).collect());
    }
    let admins = args.admin.iter().map(|address| Source::admin(address));
    let sources: Vec<_> = args.pid.iter().copied().map(Source::Process).chain(admins).collect();
    source::read_each(&sources).map(|_| sources)
}

fn targets(args: &RunArgs, servers: &[Server]) -> Result<(Vec<Target>, Protocol), String> {
    if args.url.is_empty() {
        let targets = servers.iter().map(|server| Target::local(server.port)).collect();
        return Ok((targets, Protocol::Dam));
    }
    let parsed: Result<Vec<_>, _> = args.url.iter().map(|url| Target::parse(url)).collect();
    let (targets, protocols): (Vec<_>, Vec<_>) = parsed?.into_iter().unzip();
    match protocols.iter().all(|protocol| *protocol == protocols[0]) {
        true => Ok((targets, protocols[0])),
        false => Err("all URLs must be of one kind".to_owned()),
    }
}

fn watched(plan: &Arc<Plan>, sources: Vec<Source>, args: &RunArgs) -> Result<Found, String> {
    let bar = if args.quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
    let style = ProgressStyle::with_template("{bar:20} {pos}/{len} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let target = match args.url.is_empty() {
        true => "a relay of its own".to_owned(),
        false => args.url.join(","),
    };
    let mut tell = |stage| tell(&bar, stage, args.quiet);
    let watch = Watch { sources, target, thresholds: args.fail_if.clone(), tell: &mut tell };
    let found = run::run(plan, watch);
    bar.finish_and_clear();
    found
}

fn tell(bar: &ProgressBar, stage: Stage, is_quiet: bool) {
    match stage {
        Stage::Opening(open, total) => {
            bar.set_length(total);
            bar.set_position(open);
            bar.set_message("connections");
        }
        Stage::Second(second, number, total) => {
            bar.set_length(total as u64);
            bar.set_position(number as u64);
            bar.set_message("seconds");
            if !is_quiet {
                let line = format!("{number:>4} s  {}", table::second_line(&second));
                // Where there is no terminal there is no bar, and the lines are all there is.
                if bar.is_hidden() { println!("{line}") } else { bar.println(line) }
            }
        }
        Stage::Draining => bar.set_message("waiting for what is on its way"),
    }
}

fn say(found: &Found, directory: &Path, is_quiet: bool) {
    if is_quiet {
        if found.outcome.verdict.exit_code() != 0 {
            eprintln!("{}", table::verdict(&found.outcome));
        }
        return;
    }
    println!("{}", table::table(&found.outcome));
    println!("{}", directory.join("report.html").display());
}
