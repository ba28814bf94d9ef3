//! Who takes part in a run: which connection has which role, which relay and which thread.
//!
//! Connections are numbered: senders, receivers, twins, stalled peers, guests. The number of a sender
//! is its source in stamps. Must not know sockets.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::clock::Clock;
use crate::message::{Exchange, Protocol, Style};
use crate::pace;
use crate::scan::Expected;
use crate::scenario::Scenario;

/// A server to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The value of the `Host` header.
    pub host: String,
    /// Path and query.
    pub path: String,
}

impl Target {
    /// The target of a `ws://` (or `http://`, `nats://`, `tcp://`) URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<(Target, Protocol), String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("{url} is no URL"))?;
        let protocol = match scheme {
            "ws" | "http" => Protocol::Dam,
            "nats" => Protocol::Nats,
            "tcp" => Protocol::Raw,
            other => return Err(format!("{other}:// is not supported, ws:// is")),
        };
        let (host, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/gun"),
        };
        let with_port = match host.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
            _ => format!("{host}:80"),
        };
        let mut addresses =
            with_port.to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
        let address = addresses.next().ok_or_else(|| format!("{host} has no address"))?;
        Ok((Target { address, host: host.to_owned(), path: path.to_owned() }, protocol))
    }

    /// A relay that listens on a port of this machine.
    pub fn local(port: u16) -> Target {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Target { address, host: address.to_string(), path: "/gun".to_owned() }
    }
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends, and receives what others send.
    Sender,
    /// Receives, and answers what it is to answer.
    Receiver,
    /// Says again what this sender says.
    Twin(u32),
    /// Reads nothing.
    Stalled,
    /// Comes and goes.
    Guest,
}

/// Everything the threads of a run share and none changes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The parameters.
    pub scenario: Scenario,
    /// Where to connect.
    pub targets: Vec<Target>,
    /// What messages look like.
    pub style: Style,
    /// What received ones must look like.
    pub expected: Expected,
    /// The room of each sender.
    pub rooms: Vec<u32>,
    /// The time of the run.
    pub clock: Clock,
    /// Threads of the generator.
    pub threads: usize,
    /// Whether each thread has a table of open files, and with it a limit on them, of its own.
    pub has_own_files: bool,
    /// The limit on open files of a process.
    pub files_max: u64,
}

/// Files of a thread that are no connections, at most: what the process had open when it started.
const OTHER_FILES: u64 = 256;

impl Plan {
    /// A plan with fresh secrets.
    pub fn new(scenario: Scenario, targets: Vec<Target>, protocol: Protocol) -> Plan {
        let secret = rand::random();
        let style = Style { protocol, exchange: scenario.exchange, size: scenario.size, secret };
        let mut plan = Plan {
            targets,
            style,
            expected: Expected { secret, fillers: style.fillers() },
            rooms: pace::rooms(scenario.senders, scenario.rooms, scenario.zipf),
            clock: Clock::new(),
            threads: scenario.threads(),
            has_own_files: false,
            files_max: rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX),
            scenario,
        };
        plan.spread_files();
        plan
    }

    /// More connections than a process may have files are spread over threads with tables of their own.
    fn spread_files(&mut self) {
        let each = self.files_max.saturating_sub(OTHER_FILES).max(1);
        let connections = u64::from(self.connections());
        if connections > each && cfg!(target_os = "linux") {
            self.has_own_files = true;
            self.threads = self.threads.max(connections.div_ceil(each) as usize);
        }
    }

    /// Peers whose copies are counted.
    pub fn peers(&self) -> u32 {
        self.scenario.senders + self.scenario.receivers
    }

    /// Connections that are there from the start: all but guests.
    pub fn residents(&self) -> u32 {
        self.first_stalled() + self.scenario.stalled
    }

    /// Those of them that one of several servers has.
    pub fn residents_of(&self, target: usize) -> u32 {
        let target = &self.targets[target % self.targets.len()];
        (0..self.residents()).filter(|index| self.target(*index) == target).count() as u32
    }

    /// All connections.
    pub fn connections(&self) -> u32 {
        self.residents() + self.guests()
    }

    /// Places for those that come and go: as many as are there at a time, and some that are leaving.
    fn guests(&self) -> u32 {
        if self.scenario.rush > 0 {
            return self.scenario.rush;
        }
        let present = self.scenario.churn * self.scenario.stay;
        if present == 0.0 { 0 } else { (present * 1.5) as u32 + 8 * self.threads as u32 }
    }

    fn first_stalled(&self) -> u32 {
        self.peers() + self.scenario.senders * (self.scenario.repeat - 1)
    }

    /// What a connection does.
    pub fn role(&self, index: u32) -> Role {
        if index < self.scenario.senders {
            Role::Sender
        } else if index < self.peers() {
            Role::Receiver
        } else if index < self.first_stalled() {
            Role::Twin((index - self.peers()) % self.scenario.senders)
        } else if index < self.residents() {
            Role::Stalled
        } else {
            Role::Guest
        }
    }

    /// The thread of a connection; that of a twin is its sender's.
    pub fn thread(&self, index: u32) -> usize {
        match self.role(index) {
            Role::Twin(of) => of as usize % self.threads,
            _ => index as usize % self.threads,
        }
    }

    /// The relay of a connection; those of a sender and its twins differ where there are several.
    pub fn target(&self, index: u32) -> &Target {
        let number = match self.role(index) {
            Role::Twin(of) => of + 1 + (index - self.peers()) / self.scenario.senders,
            _ => index,
        };
        &self.targets[number as usize % self.targets.len()]
    }

    /// The peer that answers a source.
    pub fn answerer(&self, source: u32) -> Option<u32> {
        if self.scenario.exchange == Exchange::Post || self.scenario.receivers == 0 {
            return None;
        }
        Some(self.scenario.senders + source % self.scenario.receivers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(scenario: Scenario, relays: u16) -> Plan {
        let targets = (0..relays).map(|n| Target::local(9000 + n)).collect();
        Plan::new(scenario, targets, Protocol::Dam)
    }

    #[test]
    fn roles_follow_each_other() {
        let scenario = Scenario {
            senders: 2,
            receivers: 3,
            repeat: 3,
            stalled: 1,
            churn: 2.0,
            ..Scenario::default()
        };
        let plan = plan(scenario, 1);
        let roles: Vec<_> = (0..plan.residents()).map(|index| plan.role(index)).collect();
        use Role::*;
        let expected = [
            Sender,
            Sender,
            Receiver,
            Receiver,
            Receiver,
            Twin(0),
            Twin(1),
            Twin(0),
            Twin(1),
            Stalled,
        ];
        assert_eq!(roles, expected);
        assert_eq!(plan.role(plan.residents()), Guest);
    }

    #[test]
    fn a_twin_speaks_to_another_relay() {
        let scenario = Scenario { senders: 4, receivers: 6, repeat: 3, ..Scenario::default() };
        let plan = plan(scenario, 3);
        for index in plan.peers()..plan.residents() {
            let Role::Twin(of) = plan.role(index) else { panic!("no twin") };
            assert_ne!(plan.target(index), plan.target(of));
            assert_eq!(plan.thread(index), plan.thread(of));
        }
    }

    #[test]
    fn urls_are_understood() {
        let (target, protocol) = Target::parse("ws://127.0.0.1:8765/gun?x").unwrap();
        assert_eq!((target.address.port(), &*target.path), (8765, "/gun?x"));
        assert_eq!(protocol, Protocol::Dam);
        assert_eq!(Target::parse("ws://127.0.0.1").unwrap().0.address.port(), 80);
        for wrong in ["127.0.0.1:8765", "wss://127.0.0.1/gun"] {
            assert!(Target::parse(wrong).is_err());
        }
    }
}
