//! What a relay says of its configuration when it starts.
//!
//! Owns: the wording. Must not know: where the settings come from.

use std::net::SocketAddr;

use super::values::{MIB, Size};
use super::{Config, Tls};

impl Config {
    /// What a relay says when it starts; `bound` is where it listens in fact, and whether in TLS.
    pub fn start_lines(&self, bound: &[(SocketAddr, bool)]) -> Vec<String> {
        let mut lines = vec![format!("gunmetal {}", env!("CARGO_PKG_VERSION"))];
        lines.extend(bound.iter().map(|(address, is_tls)| {
            let scheme = if *is_tls { "wss" } else { "ws" };
            format!("listening on {address}, Gun peers at {scheme}://{address}/gun")
        }));
        if let Some(Tls { files, .. }) = &self.tls {
            let (cert, key) = (files.cert.display(), files.key.display());
            lines.push(format!("TLS: certificate {cert}, key {key}"));
        }
        lines.extend(self.www.iter().map(|dir| format!("files: {}", dir.display())));
        lines.push(format!("threads: {} reactors, {} writers", self.reactors, self.writers));
        lines.push(self.limits_line());
        lines.push(self.times_line());
        lines.extend(self.admission.start_line());
        if self.connections_max > self.open_files_max {
            lines.push(format!(
                "connections-max {} cannot be reached: this process may open {} files (see `ulimit -n`)",
                self.connections_max, self.open_files_max
            ));
        }
        lines.extend(self.peers.iter().map(|peer| format!("peer: {}", peer.name)));
        lines
    }

    fn limits_line(&self) -> String {
        let size = |bytes: usize| Size(bytes as u64);
        format!(
            "limits: memory {}, connections {}, message {}, depth {}, backlog {}, queue {} turns and {}, head {}, remembered ids {}",
            Size(self.memory_max as u64 / MIB * MIB),
            self.connections_max,
            size(self.message_bytes_max),
            self.message_depth_max,
            size(self.backlog_bytes_max),
            self.queue_turns_max,
            size(self.queue_bytes_max),
            size(self.head_bytes_max),
            self.dedup_entries_max
        )
    }

    fn times_line(&self) -> String {
        let ping = self.ping_interval.map_or("off".to_owned(), |interval| format!("{interval:?}"));
        format!(
            "times: handshake {:?}, ping {ping}, pong {:?}, stall {:?}, gap {}ms; drain: {}",
            self.handshake_timeout,
            self.pong_timeout,
            self.stall_timeout,
            self.batch_gap.as_millis(),
            self.drain_words()
        )
    }

    /// When a relay that is told to stop begins to close its peers, and how fast.
    fn drain_words(&self) -> String {
        let (delay, time) = (self.drain_delay, self.drain_time);
        let begins =
            if delay.is_zero() { "at once".to_owned() } else { format!("after {delay:?}") };
        let pace =
            if time.is_zero() { "all together".to_owned() } else { format!("over {time:?}") };
        format!("{begins}, {pace}")
    }
}
