//! What processes cost: CPU time, memory, threads and context switches; and the machine they run on. Where
//! it is read is in [`source`](crate::source).

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What processes have used up to now, and what they hold now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU seconds in the program.
    pub user_s: f64,
    /// CPU seconds in the kernel for it.
    pub system_s: f64,
    /// CPU seconds of which it is not known where they were spent.
    #[serde(default)]
    pub either_s: f64,
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
        self.user_s + self.system_s + self.either_s
    }

    /// What was used since; what is held stays.
    pub fn since(&self, before: &Usage) -> Usage {
        Usage {
            // A process that was started anew begins at nothing.
            user_s: (self.user_s - before.user_s).max(0.0),
            system_s: (self.system_s - before.system_s).max(0.0),
            either_s: (self.either_s - before.either_s).max(0.0),
            switches_voluntary: self.switches_voluntary.saturating_sub(before.switches_voluntary),
            switches_forced: self.switches_forced.saturating_sub(before.switches_forced),
            ..*self
        }
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
        self.either_s += more.either_s;
        self.memory_bytes += more.memory_bytes;
        self.memory_bytes_max += more.memory_bytes_max;
        self.threads += more.threads;
        self.switches_voluntary += more.switches_voluntary;
        self.switches_forced += more.switches_forced;
    }
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

/// The revision of the source tree around the current directory; `-dirty` behind it says that files were
/// changed since.
pub fn commit() -> Option<String> {
    let describe = ["describe", "--always", "--dirty", "--exclude", "*"];
    let git = std::process::Command::new("git").args(describe).output().ok()?;
    let text = String::from_utf8(git.stdout).ok()?;
    git.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_since_is_never_less_than_nothing() {
        let before = Usage { user_s: 3.0, switches_forced: 9, memory_bytes: 5, ..Usage::default() };
        let after = Usage { user_s: 1.0, system_s: 2.0, memory_bytes: 7, ..Usage::default() };
        let used = after.since(&before);
        assert_eq!((used.cpu_s(), used.switches_forced, used.memory_bytes), (2.0, 0, 7));
    }
}
