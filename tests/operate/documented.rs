//! What README.md, docs/operate.md and `deploy/` say of flags, variables and defaults, beside what the program says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Flags of other programs, by the program.
const FOREIGN: [(&str, &[&str]); 9] = [
    ("cargo", &["--release", "--no-deps", "--open", "--workspace", "--locked", "--target"]),
    ("systemctl, sysctl", &["--kill-whom", "--signal", "--now", "--system"]),
    ("docker run", &["--cap-drop", "--group-add", "--init", "--name", "--read-only", "--restart"]),
    ("docker run", &["--rm", "--stop-timeout", "--sysctl", "--ulimit"]),
    ("podman build", &["--format"]),
    ("Dockerfile", &["--from", "--interval", "--timeout", "--start-period"]),
    ("apt-get", &["--no-install-recommends"]),
    ("certbot", &["--nginx"]),
    ("loadtest", &["--url"]),
];

fn gunmetal(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gunmetal"));
    command.args(args).env_remove("PORT").env_remove("PEERS");
    let output = command.output().expect("run gunmetal");
    assert!(output.status.success(), "gunmetal {args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// What operators read: path and text.
fn read_by_operators() -> Vec<(PathBuf, String)> {
    let files = |folder: &str| {
        let entries = fs::read_dir(root().join(folder)).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file())
    };
    let pages = ["README.md", "docs/operate.md"].map(|page| root().join(page));
    let paths = pages.into_iter().chain(files("deploy")).chain(files("deploy/socket"));
    paths.map(|path| (path.clone(), fs::read_to_string(path).expect("text"))).collect()
}

/// The words that begin with `start`, as far as they go on with what `goes_on` accepts.
fn words<'a>(text: &'a str, start: &str, goes_on: fn(char) -> bool) -> BTreeSet<&'a str> {
    let is_inside = |at: usize| text[..at].ends_with(|c: char| goes_on(c) || c == '-');
    let found = text.match_indices(start).filter(|(at, _)| !is_inside(*at));
    let word = |(at, _): (usize, &str)| {
        let rest = &text[at + start.len()..];
        let end = rest.find(|c: char| !goes_on(c)).unwrap_or(rest.len());
        text[at..at + start.len() + end].trim_end_matches('-')
    };
    found.map(word).filter(|word| word.len() > start.len()).collect()
}

fn flags(text: &str) -> BTreeSet<&str> {
    words(text, "--", |c| c.is_ascii_lowercase() || c == '-')
}

/// The relay's flags as `--help` lists them, and the default of each that has one in short.
fn listed() -> BTreeMap<String, Option<String>> {
    let help = gunmetal(&["--help"]);
    let items = help.split("\n      --").skip(1).map(|item| {
        let name: String =
            item.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        // Wrapped lines are one.
        let item = item.split_whitespace().collect::<Vec<_>>().join(" ");
        let default = item.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
        (format!("--{name}"), default.map(|(default, _)| default.to_owned()))
    });
    items.collect()
}

#[test]
fn every_flag_that_operators_read_of_exists() {
    let helps = [&["--help"][..], &["health", "--help"], &["top", "--help"]].map(gunmetal);
    let known: BTreeSet<_> = helps.iter().flat_map(|help| flags(help)).collect();
    let foreign: BTreeSet<_> =
        FOREIGN.iter().flat_map(|(_, flags)| flags.iter().copied()).collect();
    let mut count = 0;
    for (path, text) in read_by_operators() {
        for flag in flags(&text) {
            let exists = known.contains(flag) || foreign.contains(flag);
            assert!(exists, "{}: there is no {flag}", path.display());
            count += 1;
        }
    }
    assert!(count > 90, "{count} flags were looked at");
}

#[test]
fn every_variable_that_operators_read_of_exists() {
    let listed = listed();
    for (path, text) in read_by_operators() {
        let variables = words(&text, "GUNMETAL_", |c| c.is_ascii_uppercase() || c == '_');
        for variable in variables {
            let name = variable.trim_start_matches("GUNMETAL_").to_lowercase().replace('_', "-");
            let exists = listed.contains_key(&format!("--{name}"));
            assert!(exists, "{}: there is no {variable}", path.display());
        }
    }
}

/// Rows of README's table of flags: the flags of the first column, the default of the second.
fn table(readme: &str) -> Vec<(BTreeSet<&str>, &str)> {
    let (_, after) = readme.split_once("| flag | default | meaning |").expect("the table");
    let rows = after.lines().skip(2).take_while(|line| line.starts_with('|'));
    let columns = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    columns.map(|columns| (flags(columns[0]), columns[1])).collect()
}

#[test]
fn the_table_in_the_readme_has_every_flag_and_its_default() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let table = table(&readme);
    let described: BTreeSet<_> =
        table.iter().flat_map(|(flags, _)| flags.iter().copied()).collect();
    let listed = listed();
    for (flag, default) in &listed {
        assert!(described.contains(flag.as_str()), "README has no {flag}");
        // A switch is off.
        let Some(default) = default.as_deref().map(|text| text.replace("false", "off")) else {
            continue;
        };
        let told = table.iter().find(|(flags, _)| flags.contains(flag.as_str())).expect("a row").1;
        let told = told.replace('`', "");
        let is_told = told
            .strip_prefix(&default)
            .is_some_and(|rest| !rest.starts_with(char::is_alphanumeric));
        // Said in other words.
        let is_the_systems = default.starts_with("the system's") && told == "the system's";
        assert!(is_told || is_the_systems, "{flag} is {default:?} by --help, {told:?} by README");
    }
    assert_eq!(described.len(), listed.len(), "{described:?}");
}

#[test]
fn the_table_in_the_readme_has_the_values_of_the_public_profile() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let check = gunmetal(&["check", "--profile=public"]);
    let set = check.lines().filter_map(|line| line.strip_suffix("  # profile"));
    let mut count = 0;
    for line in set {
        let (name, value) = line.split_once(" = ").expect("a setting");
        let row =
            table(&readme).into_iter().find(|(flags, _)| flags.contains(&*format!("--{name}")));
        let told = row.expect("a row").1;
        assert_eq!(told, format!("0: no limit; public: {}", value.trim_matches('"')), "{name}");
        count += 1;
    }
    assert_eq!(count, 5, "{check}");
}
