//! The map of the source is kept: who may name whom.

use std::fs;
use std::path::{Path, PathBuf};

/// The files of `src`, tests apart: path from `src` on, and the lines that are code.
fn sources() -> Vec<(String, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    let is_test = |path: &PathBuf| path.ends_with("tests.rs") || path.ends_with("oracle.rs");
    files.retain(|path| !is_test(path));
    files.iter().map(|path| (name(path), code(&fs::read_to_string(path).unwrap()))).collect()
}

/// The lines of a file that are code: no comments, nothing behind the start of its tests.
fn code(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.take_while(|line| !line.starts_with("mod tests {")).map(str::to_owned).collect()
}

/// Panics if a file that `is_bound` names one of `words`.
fn forbid(is_bound: impl Fn(&str) -> bool, words: &[&str]) {
    let files: Vec<_> = sources().into_iter().filter(|(file, _)| is_bound(file)).collect();
    assert!(!files.is_empty(), "the rule is about files that exist");
    for (file, lines) in files {
        for line in lines {
            let named = words.iter().find(|word| names(&line, word));
            assert!(named.is_none(), "src/{file} names {}: {line}", named.unwrap());
        }
    }
}

/// Whether a path in `line` has `module` as one of its parts: `super::writer::x`, `use writer;`,
/// `use super::{queue, writer}`.
fn names(line: &str, module: &str) -> bool {
    let is_import = line.trim_start().starts_with("use ");
    let is_path = |(before, after): (&str, &str)| before.ends_with("::") || after.starts_with("::");
    around_word(line, module).any(|around| is_import || is_path(around))
}

/// What is before and behind each `word` in `line`.
fn around_word<'a>(line: &'a str, word: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let around = line.match_indices(word).map(|(at, word)| (&line[..at], &line[at + word.len()..]));
    around.filter(move |(before, after)| !before.ends_with(is_part) && !after.starts_with(is_part))
}

#[test]
fn a_module_is_found_in_a_path_and_nowhere_else() {
    for line in ["use super::writer::Writer;", "use super::{queue, writer};", "writer::run(x)"] {
        assert!(names(line, "writer"), "{line}");
    }
    for line in ["peer.writer()", "let writer = 1;", "use super::underwriter;", "writers::x"] {
        assert!(!names(line, "writer"), "{line}");
    }
}

#[test]
fn ws_and_dam_know_neither_each_other_nor_net() {
    forbid(|file| file.starts_with("ws"), &["dam", "net", "config", "metrics"]);
    forbid(|file| file.starts_with("dam"), &["ws", "net", "config", "metrics"]);
}

#[test]
fn the_core_knows_no_sockets_threads_clocks_or_logs() {
    let words =
        ["mio", "socket2", "thread", "Instant", "SystemTime", "tracing", "crossbeam_channel"];
    forbid(|file| file.starts_with("ws") || file.starts_with("dam"), &words);
}

#[test]
fn reactors_and_writers_meet_only_in_the_queue() {
    let is_reading = |file: &str| file.starts_with("net/reactor") || file == "net/conn.rs";
    forbid(is_reading, &["writer", "coalesce", "remote"]);
    let is_writing = |file: &str| {
        ["net/writer", "net/coalesce", "net/remote"].iter().any(|start| file.starts_with(start))
    };
    forbid(is_writing, &["reactor", "conn", "http", "dial"]);
    let words = ["reactor", "conn", "writer", "coalesce", "remote"];
    forbid(|file| file.starts_with("net/queue"), &words);
}

#[test]
fn only_the_command_line_reads_arguments_and_environment() {
    for (file, lines) in sources() {
        let reads =
            |line: &&String| ["env::args", "env::var"].iter().any(|call| line.contains(call));
        let found = lines.iter().find(reads);
        assert!(found.is_none() || file == "cli.rs", "src/{file}: {}", found.unwrap());
    }
}

#[test]
fn unsafe_code_is_one_call_in_one_place() {
    let is_unsafe =
        |line: &String| around_word(line, "unsafe").any(|(_, after)| after.starts_with(' '));
    let calls = sources()
        .into_iter()
        .flat_map(|(file, lines)| lines.into_iter().filter(is_unsafe).map(move |_| file.clone()));
    assert_eq!(calls.collect::<Vec<_>>(), ["net/memory/give_back.rs"]);
}

#[test]
fn a_relay_is_used_by_main_alone() {
    forbid(|file| file.starts_with("net") && !file.starts_with("net/relay"), &["relay"]);
}
