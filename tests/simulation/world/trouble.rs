//! What goes wrong, and what must be in order again when all is quiet.

use std::rc::Rc;

use gunmetal::dam::peer::FewPeers;

use super::super::link::Node;
use super::super::relay::{Port, Relay};
use super::World;

impl World {
    pub(super) fn trouble(&mut self) {
        let relay = self.rng.below(self.relays.len());
        match self.rng.below(6) {
            0..=2 => {
                let link = self.rng.below(self.links.len());
                self.cut(link);
            }
            3 => self.restart(relay),
            _ => self.jump(relay),
        }
    }

    /// The machine stands still: its clock is ahead when it goes on, by up to a minute.
    fn jump(&mut self, relay: usize) {
        let ms = self.rng.ms(1, 60_000);
        let hears_first = self.rng.one_in(2);
        self.count("clocks moved");
        self.log(|_| format!("relay {relay} stands still for {ms} ms"));
        self.shadow.lose_memory(relay);
        self.relays[relay].stall(ms, hears_first, self.now_ms);
    }

    /// All a relay knew is gone; it dials again after a while, and so do the others.
    fn restart(&mut self, relay: usize) {
        self.count("relays restarted");
        self.log(|_| format!("relay {relay} restarts"));
        self.shadow.lose_link(relay);
        for link in 0..self.links.len() {
            if self.links[link].ends.contains(&Node::Relay(relay)) {
                self.cut(link);
            }
        }
        self.relay_lives[relay] += 1;
        let mut new = Relay::new(self.plan.dedup_entries_max, self.fault, &mut self.rng);
        new.start(self.now_ms);
        for link in 0..self.links.len() {
            if self.links[link].ends[0] == Node::Relay(relay) && !self.links[link].is_given_up {
                self.peers[link][0] = Some(new.expect(link));
                self.links[link].is_joined[0] = false;
            }
        }
        self.relays[relay] = new;
    }

    pub(super) fn check_dedup(&mut self, relay: usize) {
        let len = self.relays[relay].mesh.dedup.len();
        if len > 2 * self.plan.dedup_entries_max {
            self.shadow.fail(format!("relay {relay} remembers {len} ids"));
        }
    }

    /// At rest a relay lists those who are connected, under the names they have, and no others.
    pub(super) fn check_tables(&mut self) {
        let mut names: Vec<Rc<str>> = self.links.iter().map(|link| link.url.clone()).collect();
        names.extend(self.clients.iter().map(|client| client.pid.clone()));
        names.extend(self.relays.iter().map(|relay| relay.mesh.pid.as_str().into()));
        for relay in 0..self.relays.len() {
            self.check_dedup(relay);
            let it = &self.relays[relay];
            let up = || it.ports.values().filter(|port| port.peer.is_some());
            let (near, ports) = (it.peers().near(), up().count());
            if near != ports {
                self.shadow.fail(format!("relay {relay} has {ports} peers and lists {near}"));
                return;
            }
            for name in &names {
                let mut found = FewPeers::new();
                it.peers().find(name.as_bytes(), &mut found);
                let has_name = |port: &&Port| port.names.contains(name);
                if found.len() != up().filter(has_name).count() {
                    let found = format!("relay {relay} finds {found:?} under {name}");
                    return self.shadow.fail(found);
                }
            }
        }
    }
}
