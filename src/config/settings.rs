//! Every setting as text: what it is, where it comes from, what a change of it needs.
//!
//! Owns: how settings are listed, printed and compared, and which of them a running relay can change. Must not know:
//! what they do.

use std::fmt;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::sources::Origins;
use super::{Config, peer_url};

/// What a setting that comes from nowhere says.
const DEFAULT: &str = "default";
/// Settings that are never shown.
const SECRETS: [&str; 1] = ["token"];
/// Settings that a reload applies, as `Config::reloaded` does. Any other one needs a new process.
pub const RELOADABLE: [&str; 22] = [
    "connections-max",
    "gap",
    "backlog-bytes-max",
    "head-bytes-max",
    "handshake-timeout",
    "ping-interval",
    "pong-timeout",
    "stall-timeout",
    "drain-delay",
    "drain-time",
    "profile",
    "origins",
    "token",
    "token-file",
    "trust",
    "proxy-protocol",
    "accepts-per-second",
    "address-accepts-per-second",
    "address-connections-max",
    "peer-messages-per-second",
    "peer-bytes-per-second",
    "log",
];

/// A configuration, and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Each setting, in the order of `--help`.
    pub settings: Vec<Setting>,
}

/// What a reload makes of one setting that is not what it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// `gap: 0 -> 5`.
    pub text: String,
    /// A running relay can change it.
    pub is_reloadable: bool,
}

impl Loaded {
    /// Takes over from `new` what a running relay can change, and lists all that differs.
    pub fn reload(&mut self, new: &Loaded) -> Vec<Change> {
        let mut changes = Vec::new();
        for (old, new) in self.settings.iter_mut().zip(&new.settings) {
            if old.value == new.value {
                continue;
            }
            let is_reloadable = RELOADABLE.contains(&old.name.as_str());
            let text = format!("{}: {} -> {}", old.name, old.shown(), new.shown());
            changes.push(Change { text, is_reloadable });
            if is_reloadable {
                *old = new.clone();
            }
        }
        let is_token = |change: &Change| change.text.starts_with("token");
        if self.config.admission.token != new.config.admission.token
            && !changes.iter().any(is_token)
        {
            let text = "token-file: another token is in it".to_owned();
            changes.push(Change { text, is_reloadable: true });
        }
        self.config = self.config.reloaded(&new.config);
        changes
    }
}

impl Config {
    /// This configuration with what a running relay can change as in `new`: see [`RELOADABLE`].
    fn reloaded(&self, new: &Config) -> Config {
        Config {
            connections_max: new.connections_max,
            batch_gap: new.batch_gap,
            backlog_bytes_max: new.backlog_bytes_max,
            head_bytes_max: new.head_bytes_max,
            handshake_timeout: new.handshake_timeout,
            ping_interval: new.ping_interval,
            pong_timeout: new.pong_timeout,
            stall_timeout: new.stall_timeout,
            drain_delay: new.drain_delay,
            drain_time: new.drain_time,
            admission: new.admission.clone(),
            log: new.log.clone(),
            ..self.clone()
        }
    }
}

/// One setting. Its display is a line of a configuration file.
#[derive(Clone, PartialEq)]
pub struct Setting {
    /// The flag without its dashes.
    pub name: String,
    /// The value as text; `None`: not set. Not for logs: see [`shown`](Self::shown).
    value: Option<String>,
    /// `default`, `argument`, `profile`, a variable, or a file and line.
    pub origin: String,
}

impl Setting {
    /// The value, unless it is a secret.
    pub fn shown(&self) -> String {
        match &self.value {
            None => "not set".to_owned(),
            Some(_) if SECRETS.contains(&self.name.as_str()) => "(hidden)".to_owned(),
            Some(value) => peer_url::without_tokens(value),
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.shown();
        if self.value.as_ref() != Some(&shown) {
            write!(out, "# {}: {shown}", self.name)?;
        } else if shown.parse::<u64>().is_ok() || shown.parse::<bool>().is_ok() {
            write!(out, "{} = {shown}", self.name)?;
        } else {
            write!(out, "{} = {}", self.name, toml::Value::from(shown))?;
        }
        match self.origin.as_str() {
            DEFAULT => Ok(()),
            origin => write!(out, "  # {origin}"),
        }
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
        "listen" => Some(config.listen[0].to_string()),
        "connections-max" => Some(config.connections_max.to_string()),
        _ => raw(matches, &id),
    };
    let is_argument = by_port || matches.value_source(&id) == Some(ValueSource::CommandLine);
    let origin = origins.iter().find(|(name, _)| name == flag).map(|(_, origin)| origin.as_str());
    let origin = origin.unwrap_or(if is_argument { "argument" } else { DEFAULT });
    Setting { name: flag.to_owned(), value, origin: origin.to_owned() }
}

fn raw(matches: &ArgMatches, id: &str) -> Option<String> {
    let values = matches.get_raw(id)?.map(|value| value.to_string_lossy());
    Some(values.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str]) -> Loaded {
        Config::load(std::iter::once(&"gunmetal").chain(args), |_| None).unwrap()
    }

    #[test]
    fn a_reload_takes_over_what_can_be_changed_and_lists_the_rest() {
        let mut now = load(&["--connections-max=9", "--gap=1", "--writers=2"]);
        let changes = now.reload(&load(&[
            "--connections-max=9",
            "--gap=5",
            "--writers=3",
            "--stall-timeout=1",
        ]));
        let texts: Vec<_> = changes.iter().map(|it| (it.text.as_str(), it.is_reloadable)).collect();
        let expected =
            [("writers: 2 -> 3", false), ("gap: 1 -> 5", true), ("stall-timeout: 10 -> 1", true)];
        assert_eq!(texts, expected);
        assert_eq!(
            now.config,
            load(&["--connections-max=9", "--gap=5", "--writers=2", "--stall-timeout=1"]).config
        );
        let again = now.reload(&load(&[
            "--connections-max=9",
            "--gap=5",
            "--writers=3",
            "--stall-timeout=1",
        ]));
        assert_eq!(again.len(), 1, "what needs a new process is told again");
    }

    #[test]
    fn each_reloadable_setting_is_taken_over_and_no_other() {
        let samples = |name: &str| match name {
            "head-bytes-max" => "9K",
            "backlog-bytes-max" => "9M",
            "peer-bytes-per-second" => "1M",
            "connections-max" => "77",
            "profile" => "public",
            "origins" => "https://a.example",
            "token" => "0123456789",
            // Its first line will do.
            "token-file" => concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
            "trust" => "10.0.0.0/8",
            "proxy-protocol" => "true",
            "log" => "debug",
            _ => "9",
        };
        for name in RELOADABLE {
            let flag = format!("--{name}={}", samples(name));
            let base = if name == "proxy-protocol" { &["--trust=10.0.0.0/7"][..] } else { &[] };
            let (mut now, new) = (load(base), load(&[base, &[&flag]].concat()));
            assert_ne!(now.config, new.config, "{flag} changes nothing");
            // A profile changes five others as well.
            let count = if name == "profile" { 6 } else { 1 };
            assert_eq!(now.reload(&new).len(), count, "{flag}");
            assert_eq!(now, new, "{flag}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let loaded = load(&["--token=0123456789", "--peers=ws://a/gun?token=0123456789"]);
        assert!(!format!("{:?}", loaded.settings).contains("0123456789"), "{loaded:?}");
    }
}
