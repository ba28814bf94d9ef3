use super::*;
use std::sync::atomic::AtomicUsize;

fn keys() -> Keys {
    Keys::new([7; 192])
}

fn from(peer: u64) -> Entry {
    Entry { via: Some(PeerId::new(peer, 0)), question: Question::NONE }
}

#[test]
fn an_id_is_first_once() {
    let dedup = Dedup::new(1000);
    let key = keys().of(b"a");
    assert!(dedup.first(key, from(1)));
    assert!(!dedup.first(key, from(2)));
    let via = dedup.with(key, |entry| (After::Keep, entry.via)).unwrap();
    assert_eq!(via, Some(PeerId::new(1, 0)), "a duplicate never changes the source");
    dedup.forget(key);
    assert!(dedup.first(key, from(2)));
}

#[test]
fn an_id_lives_9_to_18_seconds_after_its_last_touch() {
    for touched in (0..GENERATION_MS).step_by(500) {
        let dedup = Dedup::new(1000);
        let key = keys().of(b"a");
        dedup.first(key, from(1));
        let mut died = None;
        for now in (0..40_000).step_by(500) {
            dedup.expire(now);
            if now == touched {
                assert!(dedup.seen(key));
            }
            let known = dedup.with(key, |_| (After::Keep, ())).is_some();
            if !known && died.is_none() {
                died = Some(now);
            }
        }
        let age = died.expect("it is forgotten") - touched;
        assert!((9_000..=18_000).contains(&age), "touched at {touched}, lived {age} ms");
    }
}

#[test]
fn a_touch_every_five_seconds_keeps_an_id_for_ever() {
    let dedup = Dedup::new(1000);
    let key = keys().of(b"a");
    dedup.first(key, from(1));
    for now in (0..200_000).step_by(500) {
        dedup.expire(now);
        if now % 5_000 == 0 {
            assert!(dedup.seen(key), "forgotten at {now} ms");
        }
    }
}

#[test]
fn a_look_without_use_does_not_keep_an_id() {
    let dedup = Dedup::new(1000);
    let key = keys().of(b"a");
    dedup.first(key, from(1));
    for now in (0..=18_000).step_by(500) {
        dedup.expire(now);
        dedup.with(key, |_| (After::Keep, ()));
    }
    assert!(dedup.is_empty());
}

#[test]
fn a_change_is_kept_wherever_the_entry_lies() {
    let dedup = Dedup::new(1000);
    let key = keys().of(b"a");
    dedup.first(key, Entry { via: None, question: Question::OPEN });
    let hash = Question::with_hash(b"12", 0);
    for rotation in 0..4 {
        dedup.with(key, |entry| {
            entry.question = if rotation % 2 == 0 { hash } else { Question::OPEN };
            (After::Refresh, ())
        });
        dedup.rotate();
        let held = dedup.with(key, |entry| (After::Keep, entry.question.has_hash()));
        assert_eq!(held, Some(rotation % 2 == 0));
        assert_eq!(dedup.len(), 1);
    }
}

#[test]
fn a_full_table_gives_up_the_older_generation_and_counts_it() {
    let (dedup, keys) = (Dedup::new(1_000), keys());
    for id in 0..100_000u32 {
        assert!(dedup.first(keys.of(&id.to_le_bytes()), from(1)));
        assert!(dedup.len() <= 1_500, "{} entries", dedup.len());
    }
    assert!(dedup.evicted_early() > 90_000);
    let newest = keys.of(&99_999u32.to_le_bytes());
    assert!(dedup.seen(newest));
}

#[test]
fn memory_is_given_back_after_a_spike() {
    let (dedup, keys) = (Dedup::new(1 << 20), keys());
    for id in 0..200_000u32 {
        dedup.first(keys.of(&id.to_le_bytes()), from(1));
    }
    for seconds in 0..60 {
        dedup.expire(seconds * 1_000);
    }
    let room = dedup.sum(Table::room);
    assert!(room < 10_000, "room for {room} entries is kept");
}

#[test]
fn a_pair_is_no_plain_concatenation() {
    let keys = keys();
    assert_ne!(keys.of_pair(b"ab", b"c"), keys.of_pair(b"a", b"bc"));
    assert_ne!(keys.of_pair(b"ab", b"12"), keys.of(b"ab12"));
}

#[test]
fn of_many_threads_exactly_one_is_first_and_its_source_is_kept() {
    const IDS: usize = 2_000;
    const THREADS: u64 = 8;
    let (dedup, keys) = (Dedup::new(1 << 20), keys());
    let winners: Vec<_> = (0..IDS).map(|_| AtomicUsize::new(0)).collect();
    let winner_of: Vec<_> = (0..IDS).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 1..=THREADS {
            let (dedup, keys, winners, winner_of) = (&dedup, &keys, &winners, &winner_of);
            scope.spawn(move || {
                for id in 0..IDS {
                    if dedup.first(keys.of(&id.to_le_bytes()), from(thread)) {
                        winners[id].fetch_add(1, Ordering::Relaxed);
                        winner_of[id].store(thread, Ordering::Relaxed);
                    }
                    // One rotation forgets nothing: entries change maps under the others.
                    if thread == 1 && id == IDS / 2 {
                        let _rotating = dedup.rotation.lock();
                        dedup.rotate();
                    }
                    if id % 7 == 0 {
                        dedup.seen(keys.of(&(id / 2).to_le_bytes()));
                    }
                }
            });
        }
    });
    for id in 0..IDS {
        assert_eq!(winners[id].load(Ordering::Relaxed), 1, "id {id}");
        let key = keys.of(&id.to_le_bytes());
        let via = dedup.with(key, |entry| (After::Keep, entry.via)).unwrap();
        assert_eq!(via, Some(PeerId::new(winner_of[id].load(Ordering::Relaxed), 0)));
    }
}

#[test]
fn an_id_is_kept_for_nine_seconds_however_late_the_table_is_aged() {
    for pause in [9_000, 18_000, 3_600_000] {
        let dedup = Dedup::new(1000);
        let key = keys().of(b"a");
        dedup.expire(1);
        // Nothing is heard for a long time, then an id, and only then the table is aged.
        dedup.first(key, from(1));
        dedup.expire(pause);
        dedup.expire(pause + GENERATION_MS - 1);
        let is_known = dedup.with(key, |_| (After::Keep, ())).is_some();
        assert!(is_known, "forgotten at once after {pause} ms");
    }
}

#[test]
fn ids_that_fit_live_9_seconds_though_a_generation_was_full() {
    let (dedup, keys) = (Dedup::new(1_000), keys());
    for id in 0..600u32 {
        dedup.first(keys.of(&id.to_le_bytes()), from(1));
    }
    assert_eq!(dedup.evicted_early(), 0);
    dedup.expire(9_000);
    assert_eq!(dedup.len(), 600, "aged when they were not old");
    dedup.expire(18_000);
    dedup.expire(27_000);
    assert!(dedup.is_empty());
}

#[test]
fn fetching_changes_nothing_and_waits_for_nobody() {
    let (dedup, keys) = (Dedup::new(1_000), keys());
    let ids: Vec<_> = (0..500u32).map(|id| keys.of(&id.to_le_bytes())).collect();
    let fetch = |ids: &[Key]| dedup.fetch(&ids.iter().copied().map(Some).collect::<Vec<_>>(), true);
    fetch(&ids);
    assert!(dedup.is_empty());
    ids[..250].iter().for_each(|id| assert!(dedup.first(*id, from(1))));
    let held = dedup.shards[ids[0].shard()].lock();
    fetch(&[ids[0], ids[0], ids[1], ids[400]]);
    drop(held);
    fetch(&ids);
    assert_eq!(dedup.len(), 250);
    assert!(ids.iter().enumerate().all(|(index, id)| dedup.first(*id, from(2)) == (index >= 250)));
}
