//! Variables that look like settings of this program and are none: a slip of the pen.
//!
//! Owns: which of them are worth a word, and the wording. Must not know: the process whose environment it is.

use std::ffi::{OsStr, OsString};

use clap::CommandFactory;

use super::file::nearest;
use super::flags::Flags;

const PREFIX: &str = "GUNMETAL_";

/// A line for each of `variables`, names and values, that begins as a setting does and is not among those there are.
/// What an orchestrator sets for a service called gunmetal is no slip, nor is what has no value.
pub fn unknown_variables(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let command = Flags::command();
    let flags: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let faults = variables.filter_map(|(name, value)| {
        let name = name.to_str()?;
        let flag = name.strip_prefix(PREFIX)?.to_lowercase().replace('_', "-");
        if value.is_empty() || flags.contains(&flag.as_str()) || is_of_service(name, &value) {
            return None;
        }
        let advice = match nearest(&flag, flags.iter().copied()) {
            // Gun's own relay has that one without the prefix.
            _ if flag == "port" => "did you mean PORT?".to_owned(),
            Some(known) => format!("did you mean {}?", variable(known)),
            None => "they are listed by `gunmetal --help`".to_owned(),
        };
        Some(format!("{name} is no setting and changes nothing; {advice}"))
    });
    let mut faults: Vec<_> = faults.collect();
    faults.sort_unstable();
    faults
}

fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_uppercase().replace('-', "_"))
}

/// Kubernetes tells every container where each service is: `GUNMETAL_SERVICE_HOST`, `GUNMETAL_PORT=tcp://…`,
/// `GUNMETAL_PORT_8765_TCP`; for a service called gunmetal-admin `GUNMETAL_ADMIN_SERVICE_HOST`, and so on.
fn is_of_service(name: &str, value: &OsStr) -> bool {
    let is_url = value.to_str().is_some_and(|value| value.contains("://"));
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"].iter().any(|part| name.contains(part))
        || name.ends_with("_PORT") && is_url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(variables: &[(&str, &str)]) -> Vec<String> {
        unknown_variables(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn a_slip_is_told_with_what_is_nearest() {
        let told = unknown(&[
            ("GUNMETAL_PORT", "8080"),
            ("GUNMETAL_BACKLOG_BYTE_MAX", "8M"),
            ("GUNMETAL_ZZZ", "1"),
        ]);
        let advice = ["did you mean GUNMETAL_BACKLOG_BYTES_MAX?", "did you mean PORT?", "--help"];
        assert_eq!(told.len(), advice.len());
        for (told, advice) in told.iter().zip(advice) {
            assert!(told.contains(advice), "{told}");
        }
    }

    #[test]
    fn what_means_something_or_is_somebody_elses_is_not_told() {
        let others = [
            ("GUNMETAL_CONFIG", "f"),
            ("GUNMETAL_TLS_CERT", "f"),
            ("GUNMETAL_ZZZ", ""),
            ("PATH", "/"),
            ("GUNMETAL_SERVICE_HOST", "10.0.0.1"),
            ("GUNMETAL_SERVICE_PORT_GUN", "8765"),
            ("GUNMETAL_PORT", "tcp://10.0.0.1:8765"),
            ("GUNMETAL_PORT_8765_TCP_ADDR", "10.0.0.1"),
            ("GUNMETAL_ADMIN_PORT", "tcp://10.0.0.1:9765"),
        ];
        assert_eq!(unknown(&others), Vec::<String>::new());
    }
}
