//! What one reactor pushes: bounds, order, and what is copied.

use std::thread;
use std::time::Instant;

use mio::{Events, Poll, Token};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::dam::batch::Limits;
use crate::dam::mesh::{Mesh, Peer, Route, Router};
use crate::dam::peer::Name;
use crate::metrics::Metrics;

const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until `is_so`.
pub(super) fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come to that");
        thread::yield_now();
    }
}

/// Some lanes, the writers' ends of them, and the polls that their bells ring.
struct Rig {
    outbox: Outbox,
    placement: Arc<Placement>,
    queues: Vec<Receiver<Arc<Turn>>>,
    bells: Vec<Arc<Bell<Waker>>>,
    polls: Vec<Poll>,
    budget: Arc<Budget>,
    metrics: Metrics,
}

fn rig(writers: usize, turns_max: usize, bytes_max: usize) -> Rig {
    let (metrics, budget) = (Metrics::default(), Budget::new(bytes_max));
    let (mut lanes, mut queues, mut bells, mut polls) = (vec![], vec![], vec![], vec![]);
    for _ in 0..writers {
        let poll = Poll::new().unwrap();
        let (lane, queue, bell) = lane(turns_max, Waker::new(poll.registry(), Token(0)).unwrap());
        lanes.push(lane);
        queues.push(queue);
        bells.push(bell);
        polls.push(poll);
    }
    // Each has a peer.
    let placement = Arc::new(Placement::new(writers, 1));
    (0..writers).for_each(|writer| assert_eq!(placement.enter(), writer));
    let outbox = Outbox::new(lanes, placement.clone(), budget.clone(), metrics.for_thread());
    Rig { outbox, placement, queues, bells, polls, budget, metrics }
}

fn peer(writer: u8) -> PeerId {
    PeerId::new(1, writer)
}

/// What is said in the turns that wait, in order.
fn texts(queue: &Receiver<Arc<Turn>>) -> Vec<String> {
    queue.try_iter().flat_map(|turn| texts_of(&turn)).collect()
}

fn texts_of(turn: &Turn) -> Vec<String> {
    let text_of = |item: &Outbound| match item {
        Outbound::Send(_, Body::Small(range)) => {
            String::from_utf8(turn.text(range).to_vec()).unwrap()
        }
        other => panic!("{other:?}"),
    };
    turn.items().iter().map(text_of).collect()
}

/// Routes a frame and hands what comes of it to `outbox`.
fn receive(payload: &[u8], source: &Source<'_>, outbox: &mut Outbox) {
    let mesh = Arc::new(Mesh::new(1_000, [1; 192], 1));
    let limits = Limits { message_units_max: 10 << 20, depth_max: 100 };
    let mut router = Router::new(mesh.clone(), limits, 1);
    let id = peer(0);
    let seat = mesh.peers.join(id, Name::Id("a"));
    mesh.peers.join(peer(1), Name::Id("b"));
    let mut from = Peer { id, seat, is_dialled: false, pid: None };
    router.receive(payload, &mut from, &mut |route| match route {
        Route::Broadcast(message, except) => outbox.broadcast(&message, source, except),
        Route::Peer(to, message) => outbox.send(to, &message, source),
        _ => {}
    });
}

#[test]
fn a_turn_pays_for_what_it_holds_until_it_is_dropped() {
    let Rig { mut outbox, queues, budget, .. } = rig(2, 9, 1 << 20);
    let payload = format!(r##"{{"#":"m","x":"{}"}}"##, "x".repeat(50_000)).into_bytes();
    receive(&payload, &Source::borrowed(&payload), &mut outbox);
    outbox.say(peer(0), "{}");
    outbox.flush();
    let used = budget.used();
    assert!(used > 50_000, "{used}");
    let turns: Vec<_> = queues.iter().map(|queue| queue.try_recv().unwrap()).collect();
    assert!(Arc::ptr_eq(&turns[0], &turns[1]), "the writers share it");
    assert_eq!(budget.used(), used);
    drop(turns);
    assert_eq!(budget.used(), 0);
}

// The lanes

#[test]
fn a_full_lane_blocks_and_loses_nothing() {
    let Rig { mut outbox, queues, metrics, budget, .. } = rig(1, 1, 1 << 20);
    thread::scope(|scope| {
        scope.spawn(move || {
            for at in 0..500 {
                outbox.say(peer(0), &at.to_string());
                outbox.flush();
            }
        });
        wait_until(|| metrics.get(Counter::QueueWaits) > 0);
        assert_eq!(queues[0].len(), 1);
        let said: Vec<_> = queues[0].iter().flat_map(|turn| texts_of(&turn)).collect();
        assert_eq!(said, (0..500).map(|at: i32| at.to_string()).collect::<Vec<_>>());
    });
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_reactor_does_not_wait_for_a_writer_that_has_ended() {
    let Rig { mut outbox, queues, budget, .. } = rig(2, 1, 1_000_000);
    outbox.say(peer(0), "1");
    outbox.flush();
    let mut queues = queues.into_iter();
    thread::scope(|scope| {
        let first = queues.next();
        let reactor = scope.spawn(move || {
            for _ in 0..100 {
                outbox.say(peer(0), "2");
                outbox.flush();
            }
        });
        drop(first);
        reactor.join().unwrap();
    });
    assert_eq!(budget.used(), 0, "what waited for it is given back");
}

#[test]
fn only_writers_that_are_concerned_get_a_turn() {
    let Rig { mut outbox, queues, .. } = rig(3, 9, 1 << 20);
    outbox.flush();
    outbox.say(peer(2), "a");
    outbox.push(peer(0), Outbound::Close(peer(0)));
    outbox.flush();
    assert_eq!([0, 1, 2].map(|writer: usize| queues[writer].len()), [1, 0, 1]);
    outbox.push_to_all(Outbound::Drain(Duration::ZERO));
    outbox.flush();
    assert_eq!([0, 1, 2].map(|writer: usize| queues[writer].len()), [2, 1, 2]);
}

#[test]
fn a_writer_without_peers_is_not_woken_for_a_broadcast() {
    let Rig { mut outbox, placement, queues, .. } = rig(3, 9, 1 << 20);
    placement.leave(1);
    let payload = br##"{"#":"m","x":1}"##;
    receive(payload, &Source::borrowed(payload), &mut outbox);
    outbox.flush();
    assert_eq!([0, 1, 2].map(|writer: usize| queues[writer].len()), [1, 0, 1]);
    // What concerns it by itself comes with the broadcasts of the same turn.
    receive(payload, &Source::borrowed(payload), &mut outbox);
    outbox.push(peer(1), Outbound::Close(peer(1)));
    outbox.flush();
    assert_eq!([0, 1, 2].map(|writer: usize| queues[writer].len()), [2, 1, 2]);
    assert_eq!(placement.enter(), 1);
    receive(payload, &Source::borrowed(payload), &mut outbox);
    outbox.flush();
    assert_eq!([0, 1, 2].map(|writer: usize| queues[writer].len()), [3, 2, 3]);
}

#[test]
fn a_turn_ends_at_its_limits() {
    let Rig { mut outbox, queues, .. } = rig(1, 99, 1 << 30);
    let counts = |queue: &Receiver<Arc<Turn>>| -> Vec<usize> {
        queue.try_iter().map(|turn| turn.items().len()).collect()
    };
    (0..1_100).for_each(|_| outbox.say(peer(0), "{}"));
    assert_eq!(counts(&queues[0]), [512, 512]);
    outbox.flush();
    assert_eq!(counts(&queues[0]), [76]);
    let text = "x".repeat(10_000);
    (0..8).for_each(|_| outbox.say(peer(0), &text));
    outbox.flush();
    assert_eq!(counts(&queues[0]), [7, 1]);
    let payload = format!(r##"{{"#":"m","x":"{}"}}"##, "x".repeat(70_000)).into_bytes();
    outbox.say(peer(0), "{}");
    receive(&payload, &Source::borrowed(&payload), &mut outbox);
    assert_eq!(counts(&queues[0]), [2], "large messages count");
}

#[test]
fn order_is_kept_across_turns() {
    let Rig { mut outbox, queues, .. } = rig(2, 99, 1 << 30);
    let mut random = StdRng::seed_from_u64(3);
    let mut want = [Vec::new(), Vec::new()];
    for at in 0..3_000 {
        let text = format!("{at}{}", "x".repeat(random.random_range(0..300)));
        want[0].push(text.clone());
        outbox.say(peer(0), &text);
        if random.random_ratio(1, 50) {
            outbox.flush();
        }
    }
    outbox.flush();
    assert_eq!(texts(&queues[0]), want[0]);
    assert_eq!(texts(&queues[1]), want[1]);
}

// The bell

#[test]
fn a_bell_wakes_a_writer_that_sleeps_and_no_other() {
    let Rig { mut outbox, queues, bells, mut polls, .. } = rig(1, 99, 1 << 20);
    let (bell, poll, queue) = (&bells[0], &mut polls[0], &queues[0]);
    let mut events = Events::with_capacity(4);
    outbox.say(peer(0), "1");
    outbox.flush();
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.is_empty(), "it is awake");
    assert!(!bell.fall_asleep(|| !queue.is_empty()), "there is something to do");
    queue.try_recv().unwrap();
    assert!(bell.fall_asleep(|| !queue.is_empty()));
    outbox.say(peer(0), "2");
    outbox.flush();
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(!events.is_empty());
    bell.wake_up();
}

#[test]
fn no_push_is_missed_by_a_writer_that_falls_asleep() {
    let Rig { mut outbox, queues, bells, mut polls, .. } = rig(1, 3, 1 << 20);
    thread::scope(|scope| {
        scope.spawn(move || {
            for at in 0..3_000 {
                outbox.say(peer(0), &at.to_string());
                outbox.flush();
            }
        });
        let (mut events, mut next) = (Events::with_capacity(4), 0);
        while next < 3_000 {
            if bells[0].fall_asleep(|| !queues[0].is_empty()) {
                polls[0].poll(&mut events, Some(PATIENCE)).unwrap();
                assert!(!events.is_empty(), "it slept through push {next}");
            }
            bells[0].wake_up();
            for text in texts(&queues[0]) {
                assert_eq!(text, next.to_string());
                next += 1;
            }
        }
    });
}

#[test]
fn a_push_that_waited_for_room_is_not_slept_through() {
    let Rig { mut outbox, queues, bells, mut polls, metrics, .. } = rig(1, 1, 1 << 20);
    let (bell, poll, queue) = (&bells[0], &mut polls[0], &queues[0]);
    let mut events = Events::with_capacity(4);
    for round in 0..50 {
        thread::scope(|scope| {
            scope.spawn(|| {
                for text in ["in", "waits"] {
                    outbox.say(peer(0), text);
                    outbox.flush();
                }
            });
            wait_until(|| metrics.get(Counter::QueueWaits) > round);
            // There is room from here on: the second comes while the writer falls asleep.
            assert_eq!(texts_of(&queue.try_recv().unwrap()), ["in"]);
            let mut said = Vec::new();
            while said.is_empty() {
                if bell.fall_asleep(|| !queue.is_empty()) {
                    poll.poll(&mut events, Some(PATIENCE)).unwrap();
                    assert!(!events.is_empty(), "it slept through a push in round {round}");
                }
                bell.wake_up();
                said = texts(queue);
            }
            assert_eq!(said, ["waits"]);
        });
    }
}

// What is copied

/// The pieces of the large message in the one turn that waits.
fn large(queue: &Receiver<Arc<Turn>>) -> Vec<Bytes> {
    let turn = queue.try_recv().unwrap();
    let bodies = turn.items().iter().filter_map(|item| match item {
        Outbound::Broadcast(Body::Large(pieces), _) | Outbound::Send(_, Body::Large(pieces)) => {
            Some(pieces.to_vec())
        }
        _ => None,
    });
    bodies.flatten().collect()
}

fn message(id: u32, pad: usize) -> String {
    format!(r##"{{"#":"m{id}","><":"x","x":"{}"}}"##, "x".repeat(pad))
}

#[test]
fn a_large_message_is_slices_of_what_was_received() {
    let Rig { mut outbox, queues, .. } = rig(1, 9, 1 << 30);
    let text = message(1, 40_000);
    let payload = Bytes::from(text.clone().into_bytes());
    receive(&payload, &Source::owned(&payload), &mut outbox);
    outbox.flush();
    let pieces = large(&queues[0]);
    let whole = payload.as_ptr_range();
    let shared: usize =
        pieces.iter().filter(|piece| whole.contains(&piece.as_ptr())).map(Bytes::len).sum();
    assert_eq!(shared, text.len() - 3, "all but the old skip list");
    let joined = pieces.concat();
    assert_eq!(String::from_utf8(joined).unwrap(), text.replace(r#""x","x""#, r#""a,b","x""#));
}

#[test]
fn a_lent_frame_is_copied_once_for_all_its_large_messages() {
    let Rig { mut outbox, queues, .. } = rig(1, 9, 1 << 30);
    let payload = format!("[{},{}]", message(1, 25_000), message(2, 25_000)).into_bytes();
    let source = Source::borrowed(&payload);
    receive(&payload, &source, &mut outbox);
    outbox.flush();
    let copy = source.shared.get().unwrap().as_ptr_range();
    let pieces = large(&queues[0]);
    assert_eq!(pieces.iter().filter(|piece| copy.contains(&piece.as_ptr())).count(), 4);
}

#[test]
fn a_small_message_is_copied() {
    let Rig { mut outbox, queues, .. } = rig(1, 9, 1 << 30);
    let payload = Bytes::from(message(1, LARGE_MESSAGE_BYTES / 2).into_bytes());
    let source = Source::owned(&payload);
    receive(&payload, &source, &mut outbox);
    outbox.flush();
    let turn = queues[0].try_recv().unwrap();
    assert!(matches!(turn.items()[..], [Outbound::Broadcast(Body::Small(_), _)]));
}

#[test]
fn a_large_message_that_is_little_of_its_frame_does_not_hold_all_of_it() {
    let Rig { mut outbox, queues, .. } = rig(1, 9, 1 << 30);
    let text = message(1, 20_000);
    let payload = Bytes::from(format!("[{text},\"{}\"]", "x".repeat(500_000)).into_bytes());
    receive(&payload, &Source::owned(&payload), &mut outbox);
    outbox.flush();
    let pieces = large(&queues[0]);
    let whole = payload.as_ptr_range();
    assert!(pieces.iter().all(|piece| !whole.contains(&piece.as_ptr())));
    assert_eq!(pieces.concat(), text.replace(r#""x","x""#, r#""a,b","x""#).into_bytes());
}
