//! What the operating system knows of this process.
//!
//! Owns: those figures and where they are read. Must not know: the relay.

use serde::{Deserialize, Serialize};

/// Figures of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Processor time used, in user mode and in the kernel, in seconds.
    pub cpu_seconds: f64,
    /// Memory that is resident.
    pub resident_bytes: u64,
    /// Address space.
    pub virtual_bytes: u64,
    /// Open files and sockets.
    pub open_fds: u64,
    /// How many it may open.
    pub max_fds: u64,
    /// Threads.
    pub threads: u64,
    /// When it was started, in seconds since 1970.
    pub start_time_seconds: f64,
}

impl Process {
    /// This process; `None` where the system does not tell.
    #[cfg(target_os = "linux")]
    pub fn myself() -> Option<Process> {
        let process = procfs::process::Process::myself().ok()?;
        let stat = process.stat().ok()?;
        let ticks_per_second = procfs::ticks_per_second() as f64;
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second;
        Some(Process {
            cpu_seconds: seconds(stat.utime + stat.stime),
            resident_bytes: stat.rss * procfs::page_size(),
            virtual_bytes: stat.vsize,
            open_fds: process.fd_count().ok()? as u64,
            max_fds: rlimit::Resource::NOFILE.get_soft().ok()?,
            threads: stat.num_threads as u64,
            start_time_seconds: procfs::boot_time_secs().ok()? as f64 + seconds(stat.starttime),
        })
    }

    /// This process; `None` where the system does not tell.
    #[cfg(not(target_os = "linux"))]
    pub fn myself() -> Option<Process> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_threads_files_and_memory() {
        let me = Process::myself().expect("Linux tells");
        assert!(me.threads >= 1 && me.open_fds >= 3 && me.open_fds <= me.max_fds, "{me:?}");
        assert!(me.resident_bytes > 100_000 && me.resident_bytes < me.virtual_bytes, "{me:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - me.start_time_seconds;
        assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");
    }
}
