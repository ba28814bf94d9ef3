//! What the server costs: CPU time, memory, threads and context switches of processes, read from
//! outside. Elsewhere than on Linux nothing can be told.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What processes have used up to now, and what they hold now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU seconds in the program.
    pub user_s: f64,
    /// CPU seconds in the kernel for it.
    pub system_s: f64,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// The most of it that there ever was.
    pub memory_bytes_max: u64,
    /// Threads.
    pub threads: u64,
    /// Times a thread waited for something.
    pub switches_voluntary: u64,
    /// Times a thread was made to wait for the CPU.
    pub switches_forced: u64,
}

impl Usage {
    /// CPU seconds.
    pub fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }

    /// What was used since; what is held stays.
    pub fn since(&self, before: &Usage) -> Usage {
        Usage {
            user_s: self.user_s - before.user_s,
            system_s: self.system_s - before.system_s,
            switches_voluntary: self.switches_voluntary.saturating_sub(before.switches_voluntary),
            switches_forced: self.switches_forced.saturating_sub(before.switches_forced),
            ..*self
        }
    }

    /// The sum of several processes; `None` when one cannot be read.
    pub fn of_all(pids: &[u32]) -> Option<Usage> {
        let each = Usage::of_each(pids)?;
        (!pids.is_empty()).then(|| Usage::sum(&each))
    }

    /// Each of several processes; `None` when one cannot be read.
    pub fn of_each(pids: &[u32]) -> Option<Vec<Usage>> {
        pids.iter().map(|pid| usage(*pid)).collect()
    }

    /// All together.
    pub fn sum(each: &[Usage]) -> Usage {
        each.iter().fold(Usage::default(), |mut sum, usage| {
            sum += *usage;
            sum
        })
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Usage) {
        self.user_s += more.user_s;
        self.system_s += more.system_s;
        self.memory_bytes += more.memory_bytes;
        self.memory_bytes_max += more.memory_bytes_max;
        self.threads += more.threads;
        self.switches_voluntary += more.switches_voluntary;
        self.switches_forced += more.switches_forced;
    }
}

#[cfg(target_os = "linux")]
fn usage(pid: u32) -> Option<Usage> {
    let process = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
    let (stat, status) = (process.stat().ok()?, process.status().ok()?);
    let ticks = procfs::ticks_per_second() as f64;
    let mut usage = Usage {
        user_s: stat.utime as f64 / ticks,
        system_s: stat.stime as f64 / ticks,
        memory_bytes: status.vmrss.unwrap_or(0) * 1024,
        memory_bytes_max: status.vmhwm.unwrap_or(0) * 1024,
        threads: status.threads,
        ..Usage::default()
    };
    // A thread may end while they are listed.
    for task in process.tasks().ok()?.flatten() {
        if let Ok(status) = task.status() {
            usage.switches_voluntary += status.voluntary_ctxt_switches.unwrap_or(0);
            usage.switches_forced += status.nonvoluntary_ctxt_switches.unwrap_or(0);
        }
    }
    Some(usage)
}

#[cfg(not(target_os = "linux"))]
fn usage(_: u32) -> Option<Usage> {
    None
}

/// The machine a run was made on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Name and release of the system.
    pub system: String,
    /// What the CPU calls itself.
    pub cpu: String,
    /// Cores this process may use.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Processes that wanted a core in the minute before.
    pub load: f64,
}

impl Machine {
    /// This machine, as far as it tells.
    pub fn this() -> Machine {
        let mut machine = Machine {
            system: std::env::consts::OS.to_owned(),
            cpu: std::env::consts::ARCH.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            ..Machine::default()
        };
        machine.ask_kernel();
        machine
    }

    #[cfg(target_os = "linux")]
    fn ask_kernel(&mut self) {
        use procfs::Current;

        let name = rustix::system::uname();
        self.system =
            format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy());
        if let Ok(info) = procfs::CpuInfo::current()
            && let Some(model) = info.model_name(0)
        {
            self.cpu = model.to_owned();
        }
        self.memory_bytes = procfs::Meminfo::current().map_or(0, |info| info.mem_total);
        self.load = procfs::LoadAverage::current().map_or(0.0, |load| f64::from(load.one));
    }

    #[cfg(not(target_os = "linux"))]
    fn ask_kernel(&mut self) {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let usage = Usage::of_all(&[std::process::id()]).unwrap();
        assert!(usage.memory_bytes > 0 && usage.threads > 0);
        assert_eq!(Usage::of_all(&[]), None);
    }
}
