//! What the operating system knows of this process.
//!
//! Owns: those figures and where they are read. Must not know: the relay.

#[cfg(target_os = "linux")]
use nix::sys::resource::{UsageWho, getrusage};
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
    /// Times a thread gave up its core, as it had to wait for something.
    #[serde(default)]
    pub switches_voluntary: u64,
    /// Times a thread had its core taken away.
    #[serde(default)]
    pub switches_forced: u64,
}

impl Process {
    /// This process; `None` where the system does not tell.
    #[cfg(target_os = "linux")]
    pub fn myself() -> Option<Process> {
        let process = procfs::process::Process::myself().ok()?;
        let stat = process.stat().ok()?;
        let ticks_per_second = procfs::ticks_per_second() as f64;
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second;
        // Those of threads that have ended are among them, so these never shrink.
        let used = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        Some(Process {
            cpu_seconds: seconds(stat.utime + stat.stime),
            resident_bytes: stat.rss * procfs::page_size(),
            virtual_bytes: stat.vsize,
            open_fds: process.fd_count().ok()? as u64,
            max_fds: rlimit::Resource::NOFILE.get_soft().ok()?,
            threads: stat.num_threads as u64,
            start_time_seconds: procfs::boot_time_secs().ok()? as f64 + seconds(stat.starttime),
            switches_voluntary: used.voluntary_context_switches() as u64,
            switches_forced: used.involuntary_context_switches() as u64,
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
        // A hundred times one of the two waits for the other.
        let (give, take) = std::sync::mpsc::sync_channel(0);
        let thread = std::thread::spawn(move || take.iter().count());
        (0..100).for_each(|number| give.send(number).unwrap());
        drop(give);
        assert_eq!(thread.join().unwrap(), 100);
        let later = Process::myself().expect("Linux tells");
        assert!(later.switches_voluntary > me.switches_voluntary, "{later:?}");
        assert!(later.switches_forced >= me.switches_forced);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - me.start_time_seconds;
        assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");
    }
}
