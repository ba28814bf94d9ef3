use super::*;
use std::collections::HashMap;

/// A key that belongs into the bucket at `place` of 1000, and whose number tells it from others.
fn key(place: u64, number: u64) -> Key {
    let head = ((place << 32) / 1000 + 1) << 32 | number;
    Key([head, number])
}

fn from(peer: u64) -> Entry {
    Entry { via: Some(PeerId::new(peer, 0)), question: Question::NONE }
}

/// What [`Table`] is to do: from a key to its entry and generation.
#[derive(Default)]
struct Model {
    entries: HashMap<[u64; 2], (Entry, u32)>,
    now: u32,
}

impl Model {
    fn first(&mut self, key: Key, entry: Entry) -> bool {
        let known = self.entries.insert(key.0, (entry, self.now));
        if let Some((known, _)) = known {
            self.entries.insert(key.0, (known, self.now));
        }
        known.is_none()
    }

    fn rotate(&mut self) -> usize {
        let before = self.entries.len();
        let now = self.now;
        self.entries.retain(|_, (_, touched)| *touched == now);
        self.now += 1;
        before - self.entries.len()
    }
}

fn first(table: &mut Table, key: Key, entry: Entry) -> bool {
    match table.find(key) {
        Some(place) => table.touch(key, place),
        None => {
            table.insert(key, entry);
            return true;
        }
    }
    false
}

/// Random steps, with places so few that buckets overflow all the time.
fn compare(places: u64, numbers: u64, steps: u32, rotates_one_in: u64) {
    let (mut table, mut model) = (Table::default(), Model::default());
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for step in 0..steps {
        let key = key(next(places), next(numbers));
        match next(10) {
            0 if next(rotates_one_in) == 0 => assert_eq!(table.rotate(), model.rotate()),
            0 => {
                let known = table.find(key);
                assert_eq!(known.is_some(), model.entries.remove(&key.0).is_some());
                known.into_iter().for_each(|place| table.remove(place));
            }
            _ => {
                let entry = from(u64::from(step));
                assert_eq!(first(&mut table, key, entry), model.first(key, entry), "step {step}");
            }
        }
        assert_eq!(table.len(), model.entries.len());
        assert!(table.len() <= FILL_MAX * table.buckets.len());
    }
    for (key, (entry, _)) in &model.entries {
        let place = table.find(Key(*key)).expect("it is known");
        assert_eq!(table.entry(place), *entry);
    }
}

#[test]
fn it_does_what_a_plain_map_does() {
    compare(1, 300, 30_000, 50);
    compare(3, 100, 30_000, 20);
    compare(1000, 10, 60_000, 500);
    compare(1000, 1000, 30_000, 1000);
    compare(1000, 2, 30_000, 3);
}

#[test]
fn an_id_that_lies_far_from_home_is_found_as_long_as_it_lives() {
    let mut table = Table::default();
    let ids: Vec<_> = (0..50).map(|number| key(0, number)).collect();
    ids.iter().for_each(|id| assert!(first(&mut table, *id, from(1))));
    for _ in 0..10 {
        table.rotate();
        // Only the last is used, so all that made it go so far away are gone.
        assert!(!first(&mut table, ids[49], from(2)));
    }
    assert_eq!(table.len(), 1);
}

#[test]
fn ids_outlive_the_largest_number_of_a_generation() {
    let mut table = Table::default();
    table.resize(8);
    table.now = u32::MAX - 3;
    for number in 0..8 {
        assert!(first(&mut table, key(0, number), from(number)));
        assert!(number == 0 || table.find(key(0, number - 1)).is_some());
        assert!(number < 2 || table.find(key(0, number - 2)).is_none());
        table.rotate();
    }
    assert!(table.now < 10, "{}", table.now);
}

#[test]
fn a_table_in_steady_use_keeps_its_size() {
    let mut table = Table::default();
    let mut sizes = Vec::new();
    for generation in 0..20 {
        for number in 0..1000 {
            first(&mut table, key(number, generation), from(1));
        }
        table.rotate();
        sizes.push(table.room());
    }
    assert!(sizes[2..].iter().all(|size| *size == sizes[2]), "{sizes:?}");
    assert!(sizes[2] <= 2000 * 8 / 3 + 4 * WIDTH, "{sizes:?}");
}

#[test]
fn what_is_compared_is_one_cache_line() {
    assert_eq!(size_of::<Bucket>(), 128);
    assert_eq!(std::mem::offset_of!(Bucket, vias), 64);
}

#[test]
fn ids_that_differ_in_either_half_alone_are_told_apart() {
    let mut table = Table::default();
    for key in [Key([7, 7]), Key([7, 8]), Key([8, 7])] {
        assert!(first(&mut table, key, from(1)));
        assert!(!first(&mut table, key, from(2)));
    }
}
