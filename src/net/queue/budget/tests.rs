//! Threads that wait for a budget.

use std::thread;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::net::queue::tests::wait_until;

#[test]
fn a_budget_is_never_exceeded_and_everybody_gets_a_share() {
    const BYTES_MAX: usize = 1_000;
    let budget = Budget::new(BYTES_MAX);
    let used = AtomicUsize::new(0);
    thread::scope(|scope| {
        for seed in 0..4 {
            let (budget, used) = (&budget, &used);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed);
                for _ in 0..2_000 {
                    let bytes = random.random_range(1..600);
                    budget.take(bytes);
                    let now = used.fetch_add(bytes, Ordering::SeqCst) + bytes;
                    assert!(now <= BYTES_MAX, "{now}");
                    used.fetch_sub(bytes, Ordering::SeqCst);
                    budget.give_back(bytes);
                }
            });
        }
    });
    assert_eq!(budget.used(), 0);
    assert_eq!(budget.waiting.load(Ordering::SeqCst), 0);
}

#[test]
fn who_waits_for_a_budget_is_woken_when_there_is_enough() {
    let budget = Budget::new(100);
    assert!(!budget.take(60) && !budget.take(30));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| budget.take(50));
        wait_until(|| budget.waiting.load(Ordering::SeqCst) == 1);
        budget.give_back(30);
        assert!(!waiter.is_finished() && budget.used() == 60);
        budget.give_back(60);
        assert!(waiter.join().unwrap(), "it says that it waited");
    });
    assert_eq!(budget.used(), 50);
}

#[test]
fn a_lone_turn_may_be_larger_than_the_budget() {
    let budget = Budget::new(100);
    assert!(!budget.take(1_000));
    assert!(!budget.try_take(1));
    budget.give_back(1_000);
    assert!(budget.try_take(1));
}

#[test]
fn a_large_turn_is_not_passed_by_small_ones_for_ever() {
    let budget = Budget::new(100);
    assert!(!budget.take(50));
    thread::scope(|scope| {
        let large = scope.spawn(|| budget.take(90));
        wait_until(|| budget.waiting.load(Ordering::SeqCst) == 1);
        let small = scope.spawn(|| budget.take(10));
        wait_until(|| budget.waiting.load(Ordering::SeqCst) == 2);
        assert_eq!(budget.used(), 50, "the small one waits its turn");
        budget.give_back(50);
        assert!(large.join().unwrap() && small.join().unwrap());
    });
    assert_eq!(budget.used(), 100);
}
