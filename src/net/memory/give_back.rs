//! A thread that has the allocator give freed memory back to the system when much of it has become free.
//!
//! glibc keeps what was freed below anything that is still in use, and a spike of peers, ids or backlogs leaves a little
//! that is in use everywhere. `malloc_trim` gives back every page that is free, wherever it lies: of the 20 MiB of 15,000
//! idle peers that went, 15 stay without it and 5 with it (PERF.md has more). It holds up who allocates meanwhile, 39 ms in
//! all for 141 MiB of ids, so that it is called on the ebb only, and not from a thread that reads or writes.
//!
//! Owns: when that is. Must not know: what is held, which limits there are.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::Memory;
use crate::config::DEDUP_ENTRY_BYTES;
use crate::dam::mesh::Mesh;

/// Between two looks at what is held.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Less is not worth the call, in bytes.
const LITTLE_BYTES: usize = 4 << 20;

/// What was held since memory was given back.
#[derive(Debug, Default)]
struct Tide {
    most: usize,
    /// When somebody looked last.
    before: usize,
}

impl Tide {
    /// So much is held now: says whether memory is to be given back. That is when most of it has been freed and it
    /// does not become much less any more.
    fn has_turned(&mut self, held: usize) -> bool {
        self.most = self.most.max(held);
        let is_out = self.most > LITTLE_BYTES && held < self.most / 4;
        let has_turned = is_out && held + LITTLE_BYTES / 4 >= self.before;
        self.before = held;
        if has_turned {
            self.most = held;
        }
        has_turned
    }
}

/// Starts the thread, where the allocator is one that needs it. It ends by itself when the relay is gone.
///
/// # Errors
/// The system has no thread for it.
pub fn start(memory: &Arc<Memory>, mesh: &Arc<Mesh>) -> io::Result<()> {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return Ok(());
    }
    let (memory, mesh) = (Arc::downgrade(memory), Arc::downgrade(mesh));
    let held = move || {
        let ids = mesh.upgrade()?.dedup.len();
        Some(memory.upgrade()?.held() + ids * DEDUP_ENTRY_BYTES)
    };
    thread::Builder::new().name("give-back".to_owned()).spawn(move || run(held))?;
    Ok(())
}

fn run(held: impl Fn() -> Option<usize>) {
    let mut tide = Tide::default();
    while let Some(held) = held() {
        if tide.has_turned(held) {
            let start = Instant::now();
            trim();
            tracing::debug!(micros = start.elapsed().as_micros(), held, "freed memory given back");
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no safe wrapper is kept up; the figures are in the module's head")]
fn trim() {
    // SAFETY: it takes no pointer, touches free memory only, and may be called by any thread at any time
    // (malloc_trim(3): MT-Safe).
    let _had_some = unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    /// After which of these amounts, in MiB, memory is given back.
    fn turns(held: &[usize]) -> Vec<usize> {
        let mut tide = Tide::default();
        (0..held.len()).filter(|index| tide.has_turned(held[*index] << 20)).collect()
    }

    #[test]
    fn memory_is_given_back_after_a_spike_and_once() {
        assert_eq!(turns(&[1, 100, 100, 60, 24, 10, 3, 3, 3, 3]), [7]);
        assert_eq!(turns(&[1, 100, 0, 0, 0, 100, 0, 0]), [3, 7]);
        assert_eq!(turns(&[100, 20, 20, 20, 4, 4, 4]), [2, 5]);
    }

    #[test]
    fn what_is_little_or_still_in_use_is_left_alone() {
        let none: [usize; 0] = [];
        assert_eq!(turns(&[0, 4, 0, 0, 0]), none);
        assert_eq!(turns(&[10, 100, 60, 40, 60, 100, 30, 30]), none);
        assert_eq!(turns(&[10, 100, 24, 40, 24, 40]), none);
    }
}
