//! How many messages travel for each one said, in large networks at rest, against the fewest
//! possible.
//!
//! The fewest for a broadcast are `relays - 1` between relays, as every relay but the first must
//! hear it from another, and one for each client: from the one that says it and to all others.

use std::fmt;
use std::time::Instant;

use super::plan::{Plan, Topology};
use super::relay::Fault;
use super::rng::Rng;
use super::world::World;

/// Short, so that along the longest chain an answer is back before its question is forgotten.
const DELAY_MS_MAX: u64 = 4;

/// How large the networks are.
#[derive(Clone, Copy)]
pub struct Size {
    pub relays: usize,
    pub clients: usize,
    /// Messages to every client, and as many questions with one answer each.
    pub messages: usize,
}

/// What a network did for the messages said in it.
pub struct Row {
    pub name: &'static str,
    pub size: Size,
    pub relay_links: usize,
    /// Of broadcasts, on links between relays, and on all.
    pub between_relays: u64,
    pub on_all: u64,
    /// Of answers, and how many the shortest way would take.
    pub answer_hops: u64,
    pub answer_hops_least: u64,
    pub seconds: f64,
}

pub const HEAD: &str = "\
| topology | relays | links between relays | clients | broadcasts | messages between relays, each | fewest | ratio | if `><` were ignored | messages on all links, each | fewest | ratio | links an answer crosses | shortest |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|";

/// Builds a network of this kind, with clients all over it, and measures.
pub fn measure(name: &'static str, topology: Topology, size: Size, seed: u64) -> Row {
    let started = Instant::now();
    let mut rng = Rng::new(seed);
    let links = topology.links(size.relays, &mut rng);
    let clients = (0..size.clients).map(|_| rng.below(size.relays)).collect();
    let plan = Plan {
        topology,
        links,
        relays: size.relays,
        clients,
        dedup_entries_max: 10_000,
        delay_ms_max: DELAY_MS_MAX,
        has_batches: false,
        has_duplicates: false,
        has_echoes_of_old: false,
        rounds: Vec::new(),
    };
    let mut world = World::new(plan, Fault::None, rng);
    world.connect();
    let mut row = Row {
        name,
        size,
        relay_links: world.plan.links.len(),
        between_relays: 0,
        on_all: 0,
        answer_hops: 0,
        answer_hops_least: 0,
        seconds: 0.0,
    };
    for _ in 0..size.messages {
        row.say(&mut world);
        row.ask(&mut world);
    }
    let failure = world.shadow.failure.take();
    assert_eq!(failure, None, "{name}, seed {seed}, step {}", world.step);
    row.seconds = started.elapsed().as_secs_f64();
    row
}

impl Row {
    fn say(&mut self, world: &mut World) {
        let before = carried(world);
        let message = world.say_plainly();
        let after = carried(world);
        self.between_relays += after.0 - before.0;
        self.on_all += after.1 - before.1;
        assert_eq!(world.shadow.arrivals(message), self.size.clients - 1, "{}", self.name);
    }

    fn ask(&mut self, world: &mut World) {
        let question = world.say_plainly();
        let before = carried(world);
        let (answer, hops_least) = world.answer_plainly(question);
        self.answer_hops += carried(world).1 - before.1;
        self.answer_hops_least += hops_least;
        assert_eq!(world.shadow.arrivals(answer), 1, "{}", self.name);
    }

    /// The fewest messages between relays that a broadcast takes.
    pub fn between_relays_least(&self) -> u64 {
        self.size.relays as u64 - 1
    }

    /// Messages between relays when each says everything to all but the source.
    pub fn between_relays_blind(&self) -> u64 {
        2 * self.relay_links as u64 - self.between_relays_least()
    }
}

/// Messages carried so far between relays, and by all links.
fn carried(world: &World) -> (u64, u64) {
    let (relays, clients) = world.links.split_at(world.plan.links.len());
    let sum = |links: &[super::link::Link]| links.iter().map(|link| link.messages).sum::<u64>();
    (sum(relays), sum(relays) + sum(clients))
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.size.messages as f64;
        let each = |sum: u64| sum as f64 / said;
        let least = self.between_relays_least();
        let all_least = least + self.size.clients as u64;
        write!(
            f,
            "| {} | {} | {} | {} | {} | {:.1} | {least} | {:.4} | {} | {:.1} | {all_least} | {:.4} | {:.1} | {:.1} |",
            self.name,
            self.size.relays,
            self.relay_links,
            self.size.clients,
            self.size.messages,
            each(self.between_relays),
            each(self.between_relays) / least as f64,
            self.between_relays_blind(),
            each(self.on_all),
            each(self.on_all) / all_least as f64,
            each(self.answer_hops),
            each(self.answer_hops_least),
        )
    }
}
