//! The configuration file: TOML, whose keys are the long names of the flags.
//!
//! Owns: which keys there are, how a TOML value becomes the text of a flag, and at which line. Must not know: what a
//! value means; it goes through the parser of its flag.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::sources::fault;

/// A longer file is none of ours, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// From this likeness on an unknown key is taken for a slip, from 0 to 1 (Jaro).
const LIKENESS_MIN: f64 = 0.7;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct File {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: String,
    value: String,
    /// The file and the line, for errors.
    origin: String,
}

impl File {
    /// Reads a file. `command` tells which keys there are.
    ///
    /// # Errors
    /// It cannot be read, is too long, is not TOML, or has a key or a kind of value that no flag has.
    pub fn read(path: &Path, command: &clap::Command) -> Result<File, clap::Error> {
        let name = path.display().to_string();
        let text = text_of(path)
            .map_err(|error| fault(format!("configuration file {name} cannot be read: {error}")))?;
        File::parse(&name, &text, command).map_err(fault)
    }

    fn parse(name: &str, text: &str, command: &clap::Command) -> Result<File, String> {
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            format!("{name}, line {line}: {}", error.message())
        })?;
        let mut entries = Vec::new();
        for (key, value) in table.get_ref() {
            let origin = format!("{name}, line {}", line_of(text, key.span().start));
            let key = key.get_ref().as_ref();
            if !keys(command).any(|known| known == key) {
                return Err(format!("{origin}: {}", unknown(key, command)));
            }
            let value = flag_value(value.get_ref())
                .ok_or_else(|| format!("{origin}: {key} cannot be a {}", kind(value.get_ref())))?;
            entries.push(Entry { key: key.to_owned(), value, origin });
        }
        Ok(File { entries })
    }

    /// Where the file gives this flag, and its value.
    pub fn value(&self, flag: &str) -> Option<(String, OsString)> {
        let entry = self.entries.iter().find(|entry| entry.key == flag)?;
        Some((entry.origin.clone(), entry.value.clone().into()))
    }
}

/// The text of a file that an operator names.
///
/// # Errors
/// It cannot be read, is longer than 1 MiB, or is not UTF-8.
pub(super) fn text_of(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("it is longer than 1 MiB"));
    }
    Ok(text)
}

/// The keys a file may have: the flags, but for the one that names the file.
fn keys(command: &clap::Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter_map(clap::Arg::get_long).filter(|flag| *flag != "config")
}

fn unknown(key: &str, command: &clap::Command) -> String {
    match nearest(key, keys(command)) {
        Some(known) => format!("unknown key {key}; did you mean {known}?"),
        None => format!("unknown key {key}; the keys are the flags in `gunmetal --help`"),
    }
}

/// Which of the `known` names an unknown one may be a slip of.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |known: &str| strsim::jaro(name, known);
    let nearest = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    nearest.filter(|known| likeness(known) >= LIKENESS_MIN)
}

/// The text a flag would have; a list is joined by commas.
fn flag_value(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(is) => Some(is.to_string()),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> =
                items.iter().map(|item| flag_value(item.get_ref())).collect();
            items.map(|items| items.join(","))
        }
        _ => None,
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Table(_) => "table",
        DeValue::Datetime(_) => "date",
        DeValue::Array(_) => "list of such values",
        _ => "number of another base than ten",
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Flags;
    use super::*;

    fn parse(text: &str) -> Result<File, String> {
        File::parse("f.toml", text, &Flags::command())
    }

    #[test]
    fn values_are_texts_of_flags() {
        let text = "gap = 5\nstall-timeout = 0.5\nbacklog-bytes-max = '8M'\npeers = ['ws://a/gun', 'ws://b/gun']";
        let file = parse(text).unwrap();
        let value = |flag: &str| file.value(flag).unwrap();
        assert_eq!(value("gap"), ("f.toml, line 1".to_owned(), "5".into()));
        assert_eq!(value("stall-timeout").1, "0.5");
        assert_eq!(value("backlog-bytes-max").1, "8M");
        assert_eq!(value("peers"), ("f.toml, line 4".to_owned(), "ws://a/gun,ws://b/gun".into()));
        assert_eq!(file.value("writers"), None);
    }

    #[test]
    fn faults_name_the_line() {
        let fault = |text: &str| parse(text).unwrap_err();
        let near = "f.toml, line 2: unknown key backlog-byte-max; did you mean backlog-bytes-max?";
        assert_eq!(fault("gap = 1\nbacklog-byte-max = 1"), near);
        assert!(fault("stall_timeout = 1").ends_with("did you mean stall-timeout?"));
        assert!(fault("zzz = 1").contains("`gunmetal --help`"));
        assert!(fault("config = 'x'").contains("unknown key config"));
        assert!(fault("\n\ngap = ").starts_with("f.toml, line 3: "));
        assert!(fault("gap = 1\ngap = 2").starts_with("f.toml, line 2: "));
        assert_eq!(fault("[gap]\na = 1"), "f.toml, line 1: gap cannot be a table");
        assert!(fault("gap = 0x10").contains("another base"));
        assert!(fault("gap = 2020-01-01").contains("cannot be a date"));
    }
}
