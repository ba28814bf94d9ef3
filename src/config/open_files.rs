//! How many files the process may open, and how many connections fit into that.
//!
//! Owns: the system's limit, and what the relay needs besides connections. Must not know: what is
//! opened when.

/// The most connections the relay takes when nobody names a number, however many files it may open.
const CONNECTIONS_MAX_DERIVED: usize = 1_000_000;
/// Files a relay needs besides its connections: logs, libraries, connections that are being refused.
const OPEN_FILES_RESERVED: usize = 64;
/// Files each thread needs: its poll, its waker, its listener.
const OPEN_FILES_PER_THREAD: usize = 4;
/// Files that answering requests for files needs: the files, each connection a second time, the thread's own.
const OPEN_FILES_OF_WWW: usize = 64 + 64 + 8;

/// What opens files besides connections.
pub struct Needs {
    /// Threads of the data path.
    pub threads: usize,
    /// Links to configured peers.
    pub peers: usize,
    /// Requests for files are answered.
    pub www: bool,
}

impl Needs {
    /// The connections that fit within `limit` files; at least one, so that the relay starts.
    pub fn connections_within(&self, limit: usize) -> usize {
        let www = if self.www { OPEN_FILES_OF_WWW } else { 0 };
        let others = OPEN_FILES_RESERVED + OPEN_FILES_PER_THREAD * self.threads + www + self.peers;
        limit.saturating_sub(others).clamp(1, CONNECTIONS_MAX_DERIVED)
    }
}

/// Raises the limit on open files as far as the system permits.
pub(crate) fn raise() {
    // A refusal is no fault: the limit that is in force is read afterwards.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

/// How many files the process may open.
pub fn limit() -> usize {
    // Where the limit cannot be read, the smallest that is usual.
    let soft = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024);
    usize::try_from(soft).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_the_files_that_nothing_else_needs() {
        let small = Needs { threads: 2, peers: 0, www: false };
        assert_eq!(small.connections_within(1024), 1024 - 64 - 2 * 4);
        let large = Needs { threads: 10, peers: 3, www: true };
        assert_eq!(large.connections_within(1024), 1024 - 64 - 10 * 4 - 3 - 136);
        assert_eq!(large.connections_within(100), 1, "it starts with what there is");
        assert_eq!(small.connections_within(usize::MAX), CONNECTIONS_MAX_DERIVED);
    }
}
