//! What a run is about: who is linked with whom, and what goes wrong. Drawn from the seed.

use super::rng::Rng;

/// A memory of ids that is too small for what even these networks say.
const DEDUP_ENTRIES_FEW: usize = 16;

/// How relays are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One after the other.
    Chain,
    /// A chain whose ends are linked.
    Ring,
    /// Each relay but the first has dialled one that was there before.
    Tree,
    /// All have dialled the first.
    Star,
    /// Everyone with everyone.
    Mesh,
    /// A ring, each relay of which dials its neighbours on both sides.
    BothWays,
    /// A tree and as many links again between any two, with this many links per relay in all.
    Random(usize),
    /// A grid of this width, whose edges are joined.
    Torus(usize),
}

impl Topology {
    /// Who dials whom.
    pub fn links(self, relays: usize, rng: &mut Rng) -> Vec<(usize, usize)> {
        let all = 0..relays;
        let mut links: Vec<(usize, usize)> = match self {
            Topology::Chain => (1..relays).map(|r| (r, r - 1)).collect(),
            Topology::Ring => all.map(|r| (r, (r + 1) % relays)).collect(),
            Topology::Tree => (1..relays).map(|r| (r, rng.below(r))).collect(),
            Topology::Star => (1..relays).map(|r| (r, 0)).collect(),
            Topology::Mesh => all.flat_map(|r| (0..r).map(move |to| (r, to))).collect(),
            Topology::BothWays => {
                all.flat_map(|r| [(r, (r + 1) % relays), ((r + 1) % relays, r)]).collect()
            }
            Topology::Random(degree) => random(relays, degree, rng),
            Topology::Torus(width) => all.flat_map(|r| torus(r, width, relays)).collect(),
        };
        links.retain(|(from, to)| from != to);
        // A relay dials a URL once.
        let mut seen = std::collections::BTreeSet::new();
        links.retain(|link| seen.insert(*link));
        links
    }

    /// No message can come to a relay by two ways.
    fn is_tree(self) -> bool {
        matches!(self, Topology::Chain | Topology::Tree | Topology::Star)
    }
}

fn random(relays: usize, degree: usize, rng: &mut Rng) -> Vec<(usize, usize)> {
    let mut links: Vec<_> = (1..relays).map(|r| (r, rng.below(r))).collect();
    let mut seen: std::collections::BTreeSet<_> = links.iter().copied().collect();
    let wanted = (relays * degree / 2).min(relays * (relays - 1) / 2);
    while links.len() < wanted {
        let (a, b) = (rng.below(relays), rng.below(relays));
        let link = (a.max(b), a.min(b));
        if a != b && seen.insert(link) {
            links.push(link);
        }
    }
    links
}

fn torus(relay: usize, width: usize, relays: usize) -> [(usize, usize); 2] {
    let (row, column) = (relay / width, relay % width);
    let right = row * width + (column + 1) % width;
    [(relay, right), (relay, (relay + width) % relays)]
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For the reader of a replay.
    #[allow(dead_code)]
    pub topology: Topology,
    /// Who dials whom among the relays.
    pub links: Vec<(usize, usize)>,
    pub relays: usize,
    /// The relay of each client.
    pub clients: Vec<usize>,
    /// What each relay's memory of ids is made for.
    pub dedup_entries_max: usize,
    /// Links take this long at most, one way.
    pub delay_ms_max: u64,
    /// Messages said together may share a frame.
    pub has_batches: bool,
    /// Frames come to relays twice, now and then.
    pub has_duplicates: bool,
    /// A frame comes to a relay again and again, every few seconds.
    pub has_echoes_of_old: bool,
    /// In each round: how many messages clients say, and how many things go wrong.
    pub rounds: Vec<Round>,
}

/// Input and trouble for some seconds; then the network must fall silent.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Nothing happens for so long first.
    pub idle_ms: u64,
    pub length_ms: u64,
    pub messages: usize,
    pub troubles: usize,
}

impl Plan {
    /// A small run, different for each seed.
    pub fn draw(rng: &mut Rng) -> Plan {
        let topology = match rng.below(8) {
            0 => Topology::Chain,
            1 => Topology::Ring,
            2 => Topology::Tree,
            3 => Topology::Star,
            4 => Topology::Mesh,
            5 => Topology::BothWays,
            _ => Topology::Random(3),
        };
        let relays = 1 + rng.below(7);
        let mut links = topology.links(relays, rng);
        if rng.one_in(6) {
            let itself = rng.below(relays);
            links.push((itself, itself));
        }
        // A memory that is too small makes messages go round for ever where they can.
        let is_small = topology.is_tree() && rng.one_in(3);
        Plan {
            topology,
            links,
            relays,
            clients: (0..2 + rng.below(6)).map(|_| rng.below(relays)).collect(),
            dedup_entries_max: if is_small { DEDUP_ENTRIES_FEW } else { 10_000 },
            delay_ms_max: [2, 40, 180][rng.below(3)],
            has_batches: rng.one_in(2),
            has_duplicates: rng.one_in(2),
            has_echoes_of_old: rng.one_in(3),
            rounds: (0..2 + rng.below(2)).map(|_| Round::draw(rng)).collect(),
        }
    }

    /// Relays may forget what they heard a moment ago.
    pub fn has_small_memory(&self) -> bool {
        self.dedup_entries_max == DEDUP_ENTRIES_FEW
    }
}

impl Round {
    fn draw(rng: &mut Rng) -> Round {
        let troubles = if rng.one_in(2) { 0 } else { 1 + rng.below(5) };
        Round {
            idle_ms: if rng.one_in(2) { 0 } else { rng.ms(1, 40_000) },
            length_ms: [1, 500, 10_000][rng.below(3)],
            messages: 1 + rng.below(6),
            troubles,
        }
    }
}
