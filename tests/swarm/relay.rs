//! The relay under test: a process, and what the kernel tells about it.
//!
//! Owns: starting, stopping, reading `/proc`. Must not know: what is sent to it.
#![allow(dead_code)] // Each test binary uses its part.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use super::deadline::Deadline;

/// Time for the relay to say where it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A relay process. Dropping it kills it.
pub struct Relay {
    process: Child,
    address: SocketAddr,
}

impl Relay {
    /// A relay on a free port, with these flags.
    pub fn start(flags: &[&str]) -> Relay {
        Relay::start_with(flags, &[])
    }

    /// The same, with these environment variables.
    pub fn start_with(flags: &[&str], environment: &[(&str, &str)]) -> Relay {
        let mut process = Command::new(env!("CARGO_BIN_EXE_gunmetal"))
            .args(["--listen", "127.0.0.1:0", "--drain-time", "0"])
            .args(flags)
            .env("GUNMETAL_ADMIN", "off")
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the relay's binary can be run");
        let addresses = read_log(process.stderr.take().expect("it was piped"));
        match addresses.recv_timeout(START_TIMEOUT) {
            Ok(address) => Relay { process, address },
            Err(error) => {
                let _gone = process.kill();
                panic!("waited for the relay to say where it listens: {error}");
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it to stop, and checks that it ends well: no thread of it has panicked.
    pub fn stop(mut self) {
        self.assert_runs();
        let told = Command::new("kill").args(["-TERM", &self.pid()]).status();
        assert!(told.expect("`kill` can be run").success(), "the relay is gone");
        let deadline = Deadline::new("the relay's end after SIGTERM");
        loop {
            if let Some(status) = self.process.try_wait().expect("it is a child of this process") {
                return assert!(status.success(), "the relay ended with {status}");
            }
            deadline.check(String::new);
            thread::yield_now();
        }
    }

    /// Fails if it has ended.
    pub fn assert_runs(&mut self) {
        let ended = self.process.try_wait().expect("it is a child of this process");
        assert!(ended.is_none(), "the relay has ended: {ended:?}");
    }

    /// Its process id.
    pub fn pid(&self) -> String {
        self.process.id().to_string()
    }

    /// Memory it uses, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.rollup("Rss:")
    }

    /// Memory that is its own alone, in bytes.
    pub fn private_bytes(&self) -> u64 {
        self.rollup("Private_Dirty:")
    }

    /// Memory that is no part of a file, in bytes.
    pub fn anonymous_bytes(&self) -> u64 {
        self.rollup("Anonymous:")
    }

    /// The most memory it ever used, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect(line) * 1024
    }

    /// Files it has open.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the relay runs").count()
    }

    fn rollup(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let rollup = fs::read_to_string(path).expect("the relay runs");
        let line = rollup.lines().find_map(|line| line.strip_prefix(key)).expect(key);
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect(line);
        kib * 1024
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Errors say that it has ended and was waited for.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// Reads the log to its end, so that the relay never waits for it. Tells where the relay listens.
fn read_log(log: ChildStderr) -> Receiver<SocketAddr> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some(address) = address_in(&line) {
                // An error says that nobody waits any more.
                let _late = sender.send(address);
            } else if line.contains("panicked") || line.contains("WARN") {
                eprintln!("relay: {line}");
            }
        }
    });
    receiver
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split([',', ' ']).next()?.parse().ok()
}
