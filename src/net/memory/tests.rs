//! What is counted, and which thread closes its worst peer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::gauge::ALLOCATION_BYTES;
use super::keeper::{EVICTED_BYTES_MIN, TELL_TIMEOUT};
use super::*;

fn memory(memory_max: usize) -> Arc<Memory> {
    Arc::new(Memory::new(&Config { memory_max, dedup_entries_max: 1000, ..Config::for_tests() }))
}

#[test]
fn pressure_rises_and_falls_with_what_is_held() {
    let memory = memory(256 << 20);
    let (gauge, max) = (memory.of_reactor(1), memory.held_max());
    assert!(max > 150 << 20 && max < 192 << 20, "{max}");
    assert_eq!(memory.pressure(), Pressure::None);
    let high = Held::new(&gauge, max / 10 * 9);
    assert_eq!(memory.pressure(), Pressure::High);
    let rest = Held::new(&memory.of_writer(1, 2), max / 5);
    assert_eq!(memory.pressure(), Pressure::Full);
    drop(high);
    assert_eq!(memory.pressure(), Pressure::None);
    drop(rest);
    assert_eq!(memory.held(), 0);
}

#[test]
fn handshakes_have_a_part_of_the_memory_and_no_more() {
    let memory = memory(256 << 20);
    let max = memory.held_max();
    let mut held = Held::new(memory.of_handshakes(), max / 8);
    assert!(memory.has_room_for_handshakes());
    assert_eq!(memory.held(), max / 8);
    held.grow(1);
    assert!(!memory.has_room_for_handshakes());
    drop(held);
    let others = Held::new(&memory.of_all(), max / 10 * 9);
    assert!(!memory.has_room_for_handshakes());
    drop(others);
    assert_eq!(memory.held(), 0);
}

#[test]
fn shared_memory_counts_once_and_until_its_last_slice_is_gone() {
    let gauge = Arc::default();
    let whole = counted(vec![7; 1000], 1000, &gauge);
    let slices = [whole.slice(..10), whole.slice(990..), whole.clone()];
    assert_eq!(gauge.held(), 1000 + ALLOCATION_BYTES);
    drop((whole, slices[0].clone()));
    assert_eq!(gauge.held(), 1000 + ALLOCATION_BYTES);
    drop(slices);
    assert_eq!(gauge.held(), 0);
}

#[test]
fn the_thread_with_the_worst_peer_closes_it() {
    let memory = memory(64 << 20);
    let keeper = |gauge| Keeper::new(memory.clone(), gauge);
    let (mut one, mut other) = (keeper(memory.of_reactor(0)), keeper(memory.of_writer(0, 2)));
    let (rung, now) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let bell = rung.clone();
    memory.set_alarm(move || {
        bell.fetch_add(1, Ordering::Relaxed);
    });
    assert!(!one.look(now) && !other.look(now));
    let held = Held::new(one.gauge(), memory.held_max());
    assert!(one.look(now) && one.look(now) && other.look(now));
    assert_eq!(rung.load(Ordering::Relaxed), 1, "all are woken once");
    assert!(!one.is_to_go(10_000, now), "the others have not told");
    assert!(!other.is_to_go(50_000, now));
    for quiet in [memory.of_reactor(1), memory.of_writer(1, 2)] {
        assert!(!keeper(quiet).is_to_go(0, now));
    }
    assert!(!one.is_to_go(10_000, now), "the other's is far worse");
    assert!(other.is_to_go(50_000, now));
    assert!(one.is_to_go(30_000, now), "as bad as any");
    assert!(!one.is_to_go(EVICTED_BYTES_MIN - 1, now), "as good as nobody");
    drop(held);
    assert!(!other.look(now) && !one.look(now));
    assert_eq!(one.due(now), None);
    let held = Held::new(one.gauge(), memory.held_max());
    assert!(one.look(now) && !one.is_to_go(10_000, now), "a new shortage, nobody has told");
    let late = now + TELL_TIMEOUT;
    assert!(!one.is_to_go(10_000, late), "the other's was far worse");
    assert!(one.is_to_go(60_000, late));
    assert_eq!(rung.load(Ordering::Relaxed), 2);
    drop(held);
}
