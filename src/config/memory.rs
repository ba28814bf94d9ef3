//! How much memory the relay may have when nobody says: what the system gives this process; and
//! whether it is enough when somebody does.
//!
//! Owns: reading the limits of control groups and the size of the machine, and what part of the
//! memory the other limits and the threads may take. Must not know: what is held for peers.

use std::fs;
use std::path::Path;

use super::{BASE_BYTES, DEDUP_ENTRY_BYTES, THREAD_BYTES};

/// Where neither is told, in bytes.
const FALLBACK_BYTES: u64 = 1 << 30;

/// The memory that is promised unless a flag says otherwise, in bytes: three quarters of what the system gives. The rest
/// is for the kernel's buffers of our sockets and for whatever else lives here.
pub(super) fn derived() -> u64 {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).as_deref().and_then(total_bytes);
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(limit_files).filter_map(|path| {
        // A number, or `max`.
        read(Path::new(&path))?.trim().parse::<u64>().ok()
    });
    limits.chain(machine).min().unwrap_or(FALLBACK_BYTES) / 4 * 3
}

/// Checks that the queues and the remembered ids, full, leave half of `memory_max` to peers. What they get unless somebody
/// says otherwise always does.
///
/// # Errors
/// They do not; it says how much they may take, for an operator to read.
pub(super) fn check(
    memory_max: usize,
    is_given: bool,
    queue_bytes_max: usize,
    dedup_entries_max: usize,
) -> Result<(), String> {
    let dedup_bytes = dedup_entries_max.saturating_mul(DEDUP_ENTRY_BYTES);
    if queue_bytes_max.saturating_add(dedup_bytes) <= memory_max / 2 {
        return Ok(());
    }
    let (source, remedy) = source_and_remedy(is_given);
    Err(format!(
        "--queue-bytes-max ({}M) and --dedup-entries-max ({dedup_entries_max}, which take {}M) are together more \
         than half of --memory-max ({}M{source}): lower them, or {remedy}",
        mib(queue_bytes_max),
        mib(dedup_bytes),
        mib(memory_max)
    ))
}

/// How many threads leave a quarter of `memory_max` to peers, with the queues and the remembered ids full.
pub(super) fn threads_within(
    memory_max: usize,
    queue_bytes_max: usize,
    dedup_entries_max: usize,
) -> usize {
    let dedup_bytes = dedup_entries_max.saturating_mul(DEDUP_ENTRY_BYTES);
    let others = BASE_BYTES.saturating_add(queue_bytes_max).saturating_add(dedup_bytes);
    (memory_max / 4 * 3).saturating_sub(others) / THREAD_BYTES
}

/// What an operator is told who asked for more than `fit` threads.
pub(super) fn too_many_threads(
    (reactors, writers, tls_workers): (usize, usize, usize),
    fit: usize,
    memory_max: usize,
    is_given: bool,
) -> String {
    let (source, remedy) = source_and_remedy(is_given);
    let tls = match tls_workers {
        0 => String::new(),
        count => format!(" and {count} --tls-threads"),
    };
    format!(
        "{reactors} --reactors, {writers} --writers{tls} take {}M each, and --memory-max ({}M{source}) has room for {fit} \
         threads if a quarter of it is to be left for peers: ask for fewer, or {remedy}",
        THREAD_BYTES >> 20,
        mib(memory_max)
    )
}

/// Where the memory comes from, and what to do when it is not enough.
fn source_and_remedy(is_given: bool) -> (&'static str, &'static str) {
    match is_given {
        true => ("", "raise that"),
        false => {
            (", three quarters of what the system gives", "give this relay more with --memory-max")
        }
    }
}

fn mib(bytes: usize) -> usize {
    bytes.div_ceil(1 << 20)
}

/// `MemTotal` of `/proc/meminfo`.
fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The files that may hold a limit for a line of `/proc/self/cgroup`: its group's and those of the
/// groups around it, which hold as well. `0::/a/b` is of version 2, `4:memory:/a/b` of version 1.
fn limit_files(line: &str) -> Vec<String> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (root, file) = match fields.next() {
        Some("") => ("/sys/fs/cgroup", "memory.max"),
        Some(kinds) if kinds.split(',').any(|kind| kind == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = Path::new(fields.next().unwrap_or_default());
    let shown = |group: &Path| format!("{root}/{}/{file}", group.display()).replace("//", "/");
    group.ancestors().map(|group| shown(group.strip_prefix("/").unwrap_or(group))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_all_groups_around_hold() {
        assert_eq!(
            limit_files("0::/system.slice/relay.service"),
            [
                "/sys/fs/cgroup/system.slice/relay.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        let v1 = limit_files("4:cpu,memory:/a");
        assert_eq!(v1[0], "/sys/fs/cgroup/memory/a/memory.limit_in_bytes");
        assert_eq!(v1[1], "/sys/fs/cgroup/memory/memory.limit_in_bytes");
        assert!(limit_files("3:cpuset:/a").is_empty() && limit_files("").is_empty());
    }

    #[test]
    fn who_asks_for_too_much_is_told_whose_memory_it_is() {
        let fault = |is_given| check(512 << 20, is_given, 256 << 20, 1000).unwrap_err();
        assert!(fault(true).ends_with("(512M): lower them, or raise that"));
        let derived = "(512M, three quarters of what the system gives): lower them, or give this relay more with";
        assert!(fault(false).contains(derived), "{}", fault(false));
        let least = DEDUP_ENTRY_BYTES * 1000;
        assert_eq!(check(512 << 20, false, (256 << 20) - least, 1000), Ok(()));
    }

    #[test]
    fn the_machine_has_so_much() {
        assert_eq!(
            total_bytes("MemTotal:       24682416 kB\nMemFree: 1 kB\n"),
            Some(24682416 << 10)
        );
        assert_eq!(total_bytes("nothing"), None);
        assert!(derived() > 0);
    }
}
