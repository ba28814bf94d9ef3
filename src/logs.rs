//! Log lines: where they go, in which form, and which of them.
//!
//! Owns: the subscriber of this process. Must not know: who logs what.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::cli;
use crate::config::{Config, LogFormat};

/// Changes the filter while the process runs.
type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send>;

/// See the module's head.
pub struct Logs {
    set_filter: SetFilter,
}

impl Logs {
    /// Writes log lines to standard error from now on. To be called once.
    pub fn start(config: &Config) -> Logs {
        let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_target(false);
        let builder = builder.with_ansi(is_coloured());
        let set_filter: SetFilter = match config.log_format {
            LogFormat::Text => {
                let builder = builder.with_env_filter(filter(config)).with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                Box::new(move |filter| handle.reload(filter))
            }
            LogFormat::Json => {
                let builder = builder.json().flatten_event(true).with_target(true);
                let builder = builder.with_env_filter(filter(config)).with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                Box::new(move |filter| handle.reload(filter))
            }
        };
        Logs { set_filter }
    }

    /// Logs what `config` asks for from now on.
    pub fn reload(&self, config: &Config) {
        if let Err(error) = (self.set_filter)(filter(config)) {
            tracing::error!("the log filter stays as it is: {error}");
        }
    }
}

/// Colours are for people who watch: journals, `docker logs` and files get plain text.
fn is_coloured() -> bool {
    io::stderr().is_terminal() && !cli::are_colours_unwanted()
}

/// The filter, which was checked when it was read.
fn filter(config: &Config) -> EnvFilter {
    EnvFilter::try_new(&config.log).unwrap_or_else(|_| EnvFilter::new("info"))
}
