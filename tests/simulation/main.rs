//! The sans-I/O core in simulated networks of relays and clients.
//!
//! A seed makes a whole run: topology, delays, what clients say, what goes wrong. The relays are
//! the real `Mesh` and `Router`; the network, the clients and the time are not. A [`shadow`] model
//! checks every delivery. See `docs/simulation.md`.
//!
//! To replay a failure with every step printed:
//! `SIM_SEED=17 cargo test --test simulation one_seed -- --nocapture`.

mod link;
mod plan;
mod relay;
mod rng;
mod scale;
mod shadow;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use plan::{Plan, Topology};
use relay::Fault;
use rng::Rng;
use scale::{HEAD, Size};
use shadow::Tally;
use world::World;

const SEEDS: u64 = 1_000;

/// Runs a seed. Returns what happened, or what is wrong and where.
fn run(seed: u64, fault: Fault, is_loud: bool) -> Result<Tally, String> {
    let mut rng = Rng::new(seed);
    let plan = Plan::draw(&mut rng);
    if is_loud {
        println!("{plan:#?}");
    }
    let rounds = plan.rounds.clone();
    let mut world = World::new(plan, fault, rng);
    world.is_loud = is_loud;
    world.connect();
    for round in rounds {
        if world.shadow.failure.is_none() {
            world.round(round);
        }
    }
    match world.shadow.failure.take() {
        Some(wrong) => Err(format!("seed {seed}, step {}: {wrong}", world.step)),
        None => {
            let owed = world.shadow.owed() as u64;
            world.tally.insert("messages owed without reserve", owed);
            Ok(world.tally)
        }
    }
}

/// Runs seeds on all cores. Returns the sum of what happened, or the first failure found.
fn run_many(seeds: u64) -> Result<Tally, String> {
    let next = AtomicU64::new(0);
    let worker = || -> Result<Tally, String> {
        let mut sum = Tally::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return Ok(sum);
            }
            for (what, count) in run(seed, Fault::None, false)? {
                *sum.entry(what).or_default() += count;
            }
        }
    };
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut sum = Tally::new();
        for worker in workers {
            for (what, count) in worker.join().expect("a run does not panic")? {
                *sum.entry(what).or_default() += count;
            }
        }
        Ok(sum)
    })
}

#[test]
fn every_seed_delivers_what_is_owed_and_nothing_else() {
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS);
    let tally = run_many(seeds).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{seeds} seeds: {tally:#?}");
    // A simulation in which nothing happens proves nothing.
    for what in ["links cut", "relays restarted", "clocks moved", "frames repeated", "frames held"]
    {
        assert!(tally.get(what) > Some(&(seeds / 20)), "too few {what}");
    }
    let said = tally["messages said"] + tally["answers said"];
    assert!(tally["messages owed without reserve"] > said / 3, "too many reserves");
}

#[test]
fn one_seed_is_replayed_step_by_step() {
    let seed = std::env::var("SIM_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let tallies = [(); 2].map(|()| run(seed.unwrap_or(7), Fault::None, seed.is_some()));
    let [first, second] = tallies.map(|tally| tally.unwrap_or_else(|wrong| panic!("{wrong}")));
    assert_eq!(first, second, "a seed is a run");
}

/// With `SIM_SCALE=1`, and better `--release`, large networks, and a table of what they did.
#[test]
fn a_broadcast_costs_at_most_one_message_per_link_and_way() {
    let is_large = std::env::var_os("SIM_SCALE").is_some();
    let small = Size { relays: 16, clients: 60, messages: 3 };
    let large = Size { relays: 1_000, clients: 100_000, messages: 20 };
    let size = if is_large { large } else { small };
    let width = if is_large { 40 } else { 4 };
    println!("{HEAD}");
    for (name, topology) in [
        ("chain", Topology::Chain),
        ("star", Topology::Star),
        ("tree", Topology::Tree),
        ("ring", Topology::Ring),
        ("ring, each dials both neighbours", Topology::BothWays),
        ("grid, edges joined", Topology::Torus(width)),
        ("random, 4 links per relay", Topology::Random(4)),
        ("random, 8 links per relay", Topology::Random(8)),
        ("full mesh", Topology::Mesh),
    ] {
        // A full mesh of many relays is half a million links: a few messages tell all about it.
        let messages = if topology == Topology::Mesh { 3 } else { size.messages };
        let row = scale::measure(name, topology, Size { messages, ..size }, 1);
        println!("{row}");
        eprintln!("{name}: {:.1} s", row.seconds);
        let least = row.between_relays_least() * messages as u64;
        let most = row.between_relays_blind() * messages as u64;
        assert!((least..=most).contains(&row.between_relays), "{name}");
        if row.relay_links + 1 == size.relays {
            assert_eq!(row.between_relays, least, "{name} has one way to everywhere");
        }
    }
}

/// The check that would pass for relays with this fault checks nothing.
fn is_found(fault: Fault, within: u64, by: &str) {
    let found = (0..within).find_map(|seed| run(seed, fault, false).err());
    let found = found.unwrap_or_else(|| panic!("{fault:?} is not found in {within} seeds"));
    println!("{fault:?}: {found}");
    assert!(found.contains(by), "{fault:?} is found as something else: {found}");
}

#[test]
fn relays_that_forget_at_once_are_found() {
    is_found(Fault::NoMemory, 20, "0 times, not 1");
}

#[test]
fn relays_that_echo_are_found() {
    is_found(Fault::Echo, 5, "back to its source");
}

#[test]
fn relays_that_broadcast_answers_are_found() {
    is_found(Fault::FloodedAnswer, 10, "who had not asked");
}

#[test]
fn relays_that_ignore_skip_lists_are_found() {
    is_found(Fault::IgnoredSkip, 50, "who has the message");
}

#[test]
fn relays_that_do_not_refresh_ids_are_found() {
    is_found(Fault::NoRefresh, 300, "forgot it after");
}

#[test]
fn relays_that_leave_a_peer_out_are_found() {
    is_found(Fault::Deaf, 10, "never got it");
}

#[test]
fn relays_that_keep_gone_peers_are_found() {
    is_found(Fault::GhostPeer, 20, "and lists");
}

#[test]
fn relays_that_change_data_are_found() {
    is_found(Fault::LostField, 10, "it arrived as");
}
