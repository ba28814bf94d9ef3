//! Every setting as text: what it is and where it comes from.
//!
//! Owns: how settings are listed and printed. Must not know: what they do.

use std::fmt;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::peer_url::without_tokens;
use super::{Config, Origins};

/// What a setting that comes from nowhere says.
const DEFAULT: &str = "default";

/// What stands for the token, which is shown to nobody.
const HIDDEN: &str = "(hidden)";

/// A configuration, and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Each setting, in the order of `--help`.
    pub settings: Vec<Setting>,
}

/// One setting. Its display is a line of a configuration file.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The flag without its dashes.
    pub name: String,
    /// The value as text.
    pub value: String,
    /// `default`, `argument`, a variable, or a file and line.
    pub origin: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_bare = self.value.parse::<u64>().is_ok() || self.value.parse::<bool>().is_ok();
        let value = match is_bare {
            true => self.value.clone(),
            false => toml::Value::from(self.value.as_str()).to_string(),
        };
        write!(out, "{} = {value}", self.name)?;
        if self.origin != DEFAULT {
            write!(out, "  # {}", self.origin)?;
        }
        Ok(())
    }
}

/// Lists what `matches` says, with what `config` filled in.
pub(super) fn list(
    command: &clap::Command,
    matches: &ArgMatches,
    origins: &Origins,
    config: &Config,
) -> Vec<Setting> {
    let flags = command.get_arguments().filter_map(clap::Arg::get_long);
    let flags = flags.filter(|flag| *flag != "config");
    flags.map(|flag| setting(flag, matches, origins, config)).collect()
}

fn setting(flag: &str, matches: &ArgMatches, origins: &Origins, config: &Config) -> Setting {
    let id = flag.replace('-', "_");
    let by_port = flag == "listen" && matches.contains_id("port");
    let value = match flag {
        "listen" => config.listen[0].to_string(),
        "connections-max" => config.connections_max.to_string(),
        "token" if matches.contains_id("token") => HIDDEN.to_owned(),
        "peers" => without_tokens(&raw(matches, &id)),
        _ => raw(matches, &id),
    };
    let is_argument = by_port || matches.value_source(&id) == Some(ValueSource::CommandLine);
    let origin = origins.iter().find(|(name, _)| name == flag).map(|(_, origin)| origin.as_str());
    let origin = origin.unwrap_or(if is_argument { "argument" } else { DEFAULT });
    Setting { name: flag.to_owned(), value, origin: origin.to_owned() }
}

fn raw(matches: &ArgMatches, id: &str) -> String {
    let values = matches.get_raw(id).into_iter().flatten();
    values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",")
}
