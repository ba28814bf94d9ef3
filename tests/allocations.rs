//! What a message costs the allocator: nothing. A turn and a batch cost a few allocations, however many
//! messages they hold.

#[path = "../benches/common/mod.rs"]
mod common;

use std::hint::black_box;

use allocation_counter::measure;
use common::hub::Hub;
use common::turns::{self, add_broadcasts, turn_of_puts};
use gunmetal::dam::dedup::FETCH_MAX;
use gunmetal::net::coalesce::Coalescer;
use gunmetal::ws::frame::{self, Opcode};
use gunmetal::ws::reader::{Event, FrameReader, Role};
use smallvec::SmallVec;

const MESSAGES: u64 = 1_000;

/// Frames of these texts, as a client sends them.
fn frames(text: fn(u64) -> String, ids: std::ops::Range<u64>) -> Vec<u8> {
    let framed = |id| frame::masked(Opcode::Text, &[text(id).as_bytes()], [1, 2, 3, 4]);
    ids.map(framed).collect::<Vec<_>>().concat()
}

/// Reads and routes frames of a peer. Returns how many texts there were.
fn hear(hub: &mut Hub, peer: usize, input: &mut [u8]) -> u64 {
    let mut reader = FrameReader::new(Role::Server, 1 << 20);
    let (mut at, mut texts) = (0, 0);
    let starts: SmallVec<[_; FETCH_MAX]> = reader.peek(input, 0).take(FETCH_MAX).collect();
    hub.router.foresee(starts.iter().map(|(start, _)| &start[..]));
    while let Some(event) = reader.next(input, &mut at).expect("the frames are good") {
        let Event::Text(text) = event else { panic!("it is no text") };
        black_box(hub.hear(peer, text.as_str()));
        texts += 1;
    }
    texts
}

/// Allocations of a thousand messages, from frames to routes, when the memory of ids has been filled and
/// has grown old a few times.
fn allocations(peer: usize, text: fn(u64) -> String, asked: bool, is_known: bool) -> u64 {
    let mut hub = Hub::new(10);
    for generation in 0..4 {
        // More ids than below, so that no part of the table has to grow.
        let first = 20 * MESSAGES * (generation + 1);
        let ids = first..first + 5 * MESSAGES;
        hear(&mut hub, 3, &mut frames(common::get, ids.clone()));
        hear(&mut hub, 1, &mut frames(common::put, ids.clone()));
        hear(&mut hub, 1, &mut frames(common::answer, ids));
        hub.mesh.dedup.expire((generation + 1) * 9_000);
    }
    let ids = 10 * MESSAGES..11 * MESSAGES;
    if asked {
        hear(&mut hub, 3, &mut frames(common::get, ids.clone()));
    }
    if is_known {
        hear(&mut hub, 4, &mut frames(text, ids.clone()));
    }
    let mut input = frames(text, ids);
    let counted = measure(|| assert_eq!(hear(&mut hub, peer, &mut input), MESSAGES));
    counted.count_total
}

#[test]
fn a_message_allocates_nothing_from_its_frame_to_its_route() {
    assert_eq!(allocations(1, common::put, false, false), 0, "data");
    assert_eq!(allocations(1, common::get, false, false), 0, "a question");
    assert_eq!(allocations(1, common::answer, true, false), 0, "an answer");
    assert_eq!(allocations(1, common::put, false, true), 0, "what was heard before");
}

#[test]
fn a_turn_allocates_the_same_however_many_messages_it_holds() {
    let allocations = |messages: u64| {
        let (mut ends, puts) = (turns::ends(), (0..messages).map(common::put).collect::<Vec<_>>());
        (0..3).for_each(|_| drop(ends.turn(&puts)));
        measure(|| drop(black_box(ends.turn(&puts)))).count_total
    };
    assert_eq!(allocations(10), allocations(200));
    assert!(allocations(200) <= 4, "{}", allocations(200));
}

#[test]
fn a_batch_allocates_the_same_however_many_messages_it_holds() {
    let allocations = |messages: u64, exceptions: usize| {
        let mut batch = Coalescer::new(9_000, Default::default());
        let turn = turn_of_puts(messages);
        let mut encode = || {
            add_broadcasts(&mut batch, &turn, |index| index < exceptions);
            let marks = batch.encode();
            for (_, marks) in marks.by_slot() {
                black_box(batch.cut_for(marks, false));
            }
            black_box(batch.shared());
            batch.clear(marks);
        };
        (0..3).for_each(|_| encode());
        measure(encode).count_total
    };
    assert_eq!(allocations(10, 0), allocations(200, 0));
    assert!(allocations(200, 0) <= 4, "{}", allocations(200, 0));
    assert_eq!(allocations(200, 1), allocations(200, 10));
}
