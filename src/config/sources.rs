//! Where settings come from, and which source wins.
//!
//! Owns: the order of flags, variables, file and profile, and errors that name the one at fault. Must
//! not know: what a setting means; each goes through the parser of its flag.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory};

use super::admission::Profile;
use super::file::File;
use super::flags::Flags;
use super::peer_url;

/// Where a setting comes from that no argument gives: the flag without its dashes, and the variable or the line.
pub type Origins = Vec<(String, String)>;

/// Parses `args`, then adds each flag that only the environment or the file gives, one by one, so that an error has
/// one culprit.
pub fn matches_with_environment(
    mut args: Vec<OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<(ArgMatches, Origins), clap::Error> {
    let command = Flags::command();
    let on_command_line = command.clone().try_get_matches_from(&args)?;
    let given = |id: &str| on_command_line.value_source(id) == Some(ValueSource::CommandLine);
    let path = on_command_line.get_one::<PathBuf>("config").cloned();
    let path = path.or_else(|| environment_value("config", &env).map(|(_, path)| path.into()));
    let file = path.map(|path| File::read(&path, &command)).transpose()?.unwrap_or_default();
    let mut origins = Origins::new();
    let mut matches = on_command_line.clone();
    for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
        let id = flag.replace('-', "_");
        if given(&id) || id == "listen" && given("port") {
            continue;
        }
        let from_env = environment_value(&id, &env)
            .map(|(variable, value)| (format!("environment variable {variable}"), value));
        let Some((origin, value)) = from_env.or_else(|| file.value(flag)) else {
            continue;
        };
        let mut arg = OsString::from(format!("--{flag}="));
        arg.push(value);
        args.insert(1, arg);
        matches =
            command.clone().try_get_matches_from(&args).map_err(|error| blame(&origin, &error))?;
        origins.push((flag.to_owned(), origin));
    }
    let matches = add_profile(&command, args, matches, &mut origins)?;
    Ok((matches, origins))
}

/// Adds what the profile says about flags that nothing else gives.
fn add_profile(
    command: &clap::Command,
    mut args: Vec<OsString>,
    matches: ArgMatches,
    origins: &mut Origins,
) -> Result<ArgMatches, clap::Error> {
    let defaults = matches.get_one::<Profile>("profile").map_or(&[][..], |it| it.defaults());
    let is_given = |flag: &str| {
        let source = matches.value_source(&flag.replace('-', "_"));
        source == Some(ValueSource::CommandLine)
    };
    for (flag, value) in defaults.iter().filter(|(flag, _)| !is_given(flag)) {
        args.insert(1, format!("--{flag}={value}").into());
        origins.push(((*flag).to_owned(), "profile".to_owned()));
    }
    command.clone().try_get_matches_from(&args)
}

/// The variable that stands in for a flag, and its value. Empty counts as not set, except for the list of peers,
/// where it means none.
fn environment_value(
    id: &str,
    env: impl Fn(&str) -> Option<OsString>,
) -> Option<(String, OsString)> {
    let own = format!("GUNMETAL_{}", id.to_uppercase());
    if let Some(value) = env(&own).filter(|value| id == "peers" || !value.is_empty()) {
        return Some((own, value));
    }
    let guns = match id {
        "listen" => "PORT",
        "peers" => "PEERS",
        "tls_cert" => "HTTPS_CERT",
        "tls_key" => "HTTPS_KEY",
        _ => return None,
    };
    let mut value = env(guns).filter(|value| !value.is_empty())?;
    if id == "listen" {
        let port = std::mem::replace(&mut value, format!("{}:", Ipv4Addr::UNSPECIFIED).into());
        value.push(port);
    }
    Some((guns.to_owned(), value))
}

fn blame(origin: &str, error: &clap::Error) -> clap::Error {
    let text = error.to_string();
    let text = text.trim_start_matches("error: ").lines().next().unwrap_or_default();
    fault(format!("{origin}: {text}"))
}

/// An error about a value, for an operator to read.
pub fn fault(text: String) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, text + "\n")
}

/// The error without the tokens in URLs of peers, which it quotes.
pub fn without_tokens(error: clap::Error) -> clap::Error {
    let text = error.to_string();
    if !text.contains("token=") || error.kind() != ErrorKind::ValueValidation {
        return error;
    }
    let text = text.trim_start_matches("error: ");
    clap::Error::raw(ErrorKind::ValueValidation, peer_url::without_tokens(text))
}
