//! A child process whose output is kept, shown when its test fails, and which never outlives the test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::wait;

pub struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `command` with stdin and stdout piped and stderr collected.
    pub fn spawn(name: impl Into<String>, command: &mut Command) -> Process {
        Process::spawn_with(name, command, Stdio::piped())
    }

    /// The same with another stdin.
    pub fn spawn_with(name: impl Into<String>, command: &mut Command, stdin: Stdio) -> Process {
        let name = name.into();
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|e| panic!("start {name} ({command:?}): {e}"));
        let log = Arc::default();
        collect(child.stderr.take().expect("piped"), Arc::clone(&log));
        Process { name, child, log }
    }

    pub fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().expect("piped")
    }

    /// Hands out stdout, once.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("stdout is taken once")
    }

    pub fn log(&self) -> String {
        self.log.lock().expect("log").clone()
    }

    /// Waits for a log line that `parse` accepts.
    pub fn logged<T>(&mut self, what: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        wait::until(format!("{} to log {what}", self.name), || {
            let found = self.log().lines().find_map(&parse);
            assert!(found.is_some() || !self.ended(), "{} ended without logging {what}", self.name);
            found
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn ended(&mut self) -> bool {
        self.status().is_some()
    }

    pub fn exit_within(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name.clone();
        wait::until_within(limit, format!("{name} to end"), || self.status())
    }

    /// Sends a signal (`"TERM"`), which the standard library does not do but every shell does.
    pub fn signal(&self, signal: &str) {
        let script = format!("kill -s {signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.is_ok_and(|status| status.success()), "send {signal} to {}", self.name);
    }

    /// Ends the process at once.
    pub fn kill(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait for a child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("---- log of {}:\n{}----", self.name, self.log());
        }
    }
}

fn collect(source: impl Read + Send + 'static, log: Arc<Mutex<String>>) {
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            log.lock().expect("log").push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}
