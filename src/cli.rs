//! What the program was asked to do: to serve, or one of the subcommands.
//!
//! Owns: the subcommands and their arguments. Must not know: how they are carried out. Settings are
//! [`config`]'s.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Command, CommandFactory, FromArgMatches};

use crate::config::{self, Config, Flags, Loaded};
use crate::health::Place;

mod randomness;

/// Set for a process that takes over from the one that starts it, to the way in which it gets its listening sockets.
pub const SUCCESSOR: &str = "GUNMETAL_SUCCESSOR";
/// The sockets are the old process's own.
pub const OWN_SOCKETS: &str = "own-sockets";
/// The sockets are the service manager's, who decided where they are.
pub const FIXED_SOCKETS: &str = "fixed-sockets";

/// Whether this process takes over from the one that started it.
pub fn is_successor() -> bool {
    std::env::var_os(SUCCESSOR).is_some()
}

/// Whether the listening sockets it gets then are the service manager's.
pub fn has_fixed_sockets() -> bool {
    std::env::var_os(SUCCESSOR).is_some_and(|value| value == FIXED_SOCKETS)
}

/// Set for the same, to where the process that starts it lets its operator look, or to `off`.
pub const ADMIN_BEFORE: &str = "GUNMETAL_SUCCESSOR_ADMIN";

/// Whether the process that this one takes over from may hold this address for its operator.
pub fn may_hold_admin(address: SocketAddr) -> bool {
    let before = std::env::var_os(ADMIN_BEFORE);
    let before = before.and_then(|text| text.to_str()?.parse::<SocketAddr>().ok());
    is_successor() && before.is_some_and(|before| before.port() == address.port())
}

/// Of each variable of this process that looks like a setting and is none, what to tell the operator.
pub fn unknown_variables() -> Vec<String> {
    let own = [SUCCESSOR, ADMIN_BEFORE];
    let others = std::env::vars_os().filter(|(name, _)| !own.iter().any(|own| name == own));
    config::unknown_variables(others)
}

/// Whether the operator wants no colours on any terminal: <https://no-color.org>.
pub fn are_colours_unwanted() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// How this process was started: the program as it was named, and its arguments.
pub fn own_command() -> (PathBuf, Vec<OsString>) {
    let mut args = std::env::args_os();
    (args.next().unwrap_or_default().into(), args.collect())
}

/// What to do.
#[derive(Debug)]
pub enum Order {
    /// `gunmetal [PORT]`: run the relay.
    Serve(Box<Loaded>),
    /// `gunmetal check`: print the settings that would be in force. That they are valid is known.
    Check(Box<Loaded>),
    /// `gunmetal health [URL]`: ask a relay whether it is well.
    Health(Health),
    /// `gunmetal top`: show a relay in the terminal.
    Top(Top),
}

/// Arguments of `gunmetal top`.
#[derive(Args, Debug)]
pub struct Top {
    /// The relay's --admin address [default: that of a relay with this environment, 127.0.0.1:9765 unless it says otherwise]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<SocketAddr>,
    /// Print one plain table and exit
    #[arg(long)]
    pub once: bool,
}

impl Top {
    /// Where to ask; `None`: a relay with this environment has no such place.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }
}

/// Arguments of `gunmetal health`.
#[derive(Args, Debug)]
pub struct Health {
    /// Where to ask: http://HOST:PORT or https://HOST [default: the relay that this environment would start, its
    /// operator's address first]
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Root certificates that an https:// URL is verified against [default: the system's]
    #[arg(long, value_name = "FILE", requires = "url")]
    tls_roots: Option<PathBuf>,
    /// Time for the whole answer
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = config::seconds(0.1..=60.0))]
    pub timeout: Duration,
    /// The relay of this environment, where no URL is given.
    #[arg(skip)]
    own: Option<Box<Config>>,
}

impl Health {
    /// Where to ask, one place after the other until one answers.
    ///
    /// # Errors
    /// The URL is none.
    pub fn places(&self) -> Result<Vec<Place>, String> {
        match &self.url {
            Some(url) => Ok(vec![Place::named(url, self.tls_roots.clone())?]),
            None => {
                Ok(self.own.as_ref().map(|config| Place::of_own_relay(config)).unwrap_or_default())
            }
        }
    }
}

impl Order {
    /// Reads the arguments and the environment of this process, and the configuration file; prints the fault and
    /// exits when one is wrong.
    ///
    /// Raises the limit on open files first, because `connections_max` follows from it. Exits as well where the system
    /// gives no random bytes.
    pub fn from_args() -> Order {
        // The first hash table is made while flags are read.
        if let Err(fault) = randomness::check() {
            clap::Error::raw(ErrorKind::Io, fault + "\n").exit();
        }
        config::raise_open_files();
        let env = |name: &str| std::env::var_os(name);
        Order::parse_from(std::env::args_os(), env).unwrap_or_else(|error| error.exit())
    }

    /// Reads the settings of this process again, as when it was started.
    ///
    /// # Errors
    /// As [`Config::parse_from`].
    pub fn read_settings() -> Result<Loaded, clap::Error> {
        Config::load(std::env::args_os(), |name| std::env::var_os(name))
    }

    /// Reads `args` (the program's name first) and the environment that `env` looks up.
    ///
    /// # Errors
    /// As [`Config::parse_from`].
    pub fn parse_from(
        args: impl IntoIterator<Item = impl Into<OsString>>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Order, clap::Error> {
        let mut args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let matches = command().try_get_matches_from(&args)?;
        match matches.subcommand() {
            Some(("check", _)) => {
                // No flag may stand before a subcommand, so that it is the first argument.
                args.remove(1);
                Ok(Order::Check(Config::load(args, env)?.into()))
            }
            Some(("health", given)) => {
                let mut health = Health::from_arg_matches(given)?;
                if health.url.is_none() {
                    health.own = Some(Config::parse_from(["gunmetal"], env)?.into());
                }
                Ok(Order::Health(health))
            }
            Some(("top", given)) => {
                let mut top = Top::from_arg_matches(given)?;
                if top.admin.is_none() {
                    top.admin = Config::parse_from(["gunmetal"], env)?.admin.address();
                }
                Ok(Order::Top(top))
            }
            _ => Ok(Order::Serve(Config::load(args, env)?.into())),
        }
    }
}

/// The command line with its subcommands.
fn command() -> Command {
    let check = Flags::command().name("check").after_help("");
    let top = Top::augment_args(Command::new("top"));
    let health = Health::augment_args(Command::new("health"));
    Flags::command()
        .args_conflicts_with_subcommands(true)
        .subcommand(check.about(
            "Check the settings and print what would be in force; exit code 2 if one is wrong",
        ))
        .subcommand(
            health.about("Ask a running relay whether it is well; exit code 0 if it is, 1 if not"),
        )
        .subcommand(top.about("Show a running relay and its peers in the terminal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(args: &[&str], env: &[(&str, &str)]) -> Result<Order, String> {
        let lookup = |name: &str| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        let args = std::iter::once(&"gunmetal").chain(args);
        Order::parse_from(args, lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_subcommand_the_relay_runs() {
        command().debug_assert();
        let Order::Serve(loaded) = order(&["8080", "--gap", "5"], &[]).unwrap() else { panic!() };
        assert_eq!(loaded.config.listen[0].port(), 8080);
        assert!(matches!(order(&[], &[]), Ok(Order::Serve(_))));
    }

    #[test]
    fn check_takes_the_flags_of_the_relay() {
        let env = [("GUNMETAL_WRITERS", "3")];
        let Ok(Order::Check(loaded)) = order(&["check", "8080", "--gap=5"], &env) else { panic!() };
        let lines: Vec<_> = loaded.settings.iter().map(ToString::to_string).collect();
        for line in [
            "listen = \"0.0.0.0:8080\"  # argument",
            "gap = 5  # argument",
            "writers = 3  # environment variable GUNMETAL_WRITERS",
            "log = \"info\"",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line} is not in {lines:#?}");
        }
        assert!(order(&["check", "--gap=x"], &[]).unwrap_err().contains("--gap"));
        assert!(order(&["--gap=5", "check"], &[]).is_err());
    }

    #[test]
    fn health_asks_the_relay_of_this_environment() {
        let places = |args: &[&str], env: &[(&str, &str)]| match order(args, env) {
            Ok(Order::Health(health)) => {
                let places = health.places().unwrap();
                places.iter().map(|place| place.url.name.clone()).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        let livez = "http://127.0.0.1:9765/livez";
        assert_eq!(places(&["health"], &[]), [livez, "http://127.0.0.1:8765/healthz"]);
        assert_eq!(places(&["health"], &[("PORT", "9")])[1], "http://127.0.0.1:9/healthz");
        let listen = ("GUNMETAL_LISTEN", "[::]:7");
        let off = ("GUNMETAL_ADMIN", "off");
        assert_eq!(places(&["health"], &[listen, off]), ["http://[::1]:7/healthz"]);
        let admin = ("GUNMETAL_ADMIN", "0.0.0.0:5");
        assert_eq!(places(&["health"], &[admin])[0], "http://127.0.0.1:5/livez");
        let tls = [("HTTPS_CERT", "c"), ("HTTPS_KEY", "k"), off];
        assert_eq!(places(&["health"], &tls), ["https://127.0.0.1:8765/healthz"]);
        let beside = ("GUNMETAL_TLS_LISTEN", "0.0.0.0:443");
        let both = [tls[0], tls[1], off, beside];
        assert_eq!(places(&["health"], &both), ["http://127.0.0.1:8765/healthz"]);
        assert_eq!(places(&["health", "http://a:1"], &[listen]), ["http://a:1"]);
        assert!(order(&["health", "--tls-roots=r"], &[]).is_err());
    }

    #[test]
    fn help_names_the_subcommands() {
        let help = order(&["--help"], &[]).unwrap_err();
        assert!(help.contains("check") && help.contains("health"), "{help}");
    }
}
