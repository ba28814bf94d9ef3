use std::sync::Arc;

use super::*;
use crate::dam::batch::Limits;
use crate::dam::mesh::{Mesh, Peer, Route, Router};
use crate::dam::peer::{Name, PeerId};
use crate::dam::random::Random;

const LIMITS: Limits = Limits { message_units_max: 1 << 16, depth_max: 8 };

/// A router that hears frames from two peers in turn.
struct Hub {
    mesh: Arc<Mesh>,
    router: Router,
    peers: [Peer; 2],
    frames: usize,
}

impl Hub {
    fn new() -> Self {
        let mesh = Arc::new(Mesh::new(1 << 16, [7; 192], 1));
        let peers = [0, 1].map(|n| {
            let id = PeerId::new(n, 0);
            let seat = mesh.peers.join(id, Name::Id(&format!("peer{n}")));
            Peer { id, seat, is_dialled: false, pid: None }
        });
        let router = Router::new(mesh.clone(), LIMITS, 1);
        Hub { mesh, router, peers, frames: 0 }
    }

    /// So that it pays to look for them.
    fn hear_duplicates(&mut self) {
        (0..1_000).for_each(|_| drop(self.hear(r##"{"#":"often"}"##)));
    }

    /// What becomes of a frame, message by message.
    fn hear(&mut self, frame: &str) -> Vec<String> {
        self.frames += 1;
        let (from, mut routes) = (&mut self.peers[self.frames % 2], Vec::new());
        self.router.receive(frame.as_bytes(), from, &mut |route| {
            routes.push(match route {
                Route::Broadcast(message, _) | Route::Peer(_, message) => {
                    let mut text = Vec::new();
                    message.append_to(&mut text);
                    String::from_utf8(text).unwrap()
                }
                // It has a random id.
                Route::Reply(_) => "a reply".to_owned(),
                other => format!("{other:?}"),
            });
        });
        routes
    }

    fn is_known(&self, frame: &str) -> bool {
        self.is_known_from(frame).is_some()
    }

    /// How much of a text need not be parsed.
    fn is_known_from(&self, frame: &str) -> Option<usize> {
        let (keys, mut repeats) = (Keys::new([7; 192]), Repeats::default());
        repeats.saw_duplicate();
        Recall::new(&keys, &self.mesh.dedup, Foreseen::Nothing, &repeats).settled(frame.as_bytes())
    }
}

#[test]
fn the_id_that_a_text_begins_with_is_seen_in_its_start() {
    let keys = Keys::new([7; 192]);
    let is_abc =
        |start: &str| leading_key(start.as_bytes(), &keys).map(|key| key == keys.of(b"abc"));
    assert_eq!(is_abc(r##"{"#":"abc","put":{}}"##), Some(true));
    assert_eq!(is_abc(r##"{"#":"abc""##), Some(true), "what follows may not be there yet");
    assert_eq!(is_abc(r##"{"#":"x"}"##), Some(false));
    for none in
        ["", "[", r##"{"#":"abc"##, r##"{"#":5}"##, r##"{"#":"a\"b"}"##, r##"{"put":1,"#":"a"}"##]
    {
        assert_eq!(is_abc(none), None, "{none}");
    }
}

#[test]
fn copies_that_differ_in_what_relays_write_are_recognised() {
    let mut hub = Hub::new();
    hub.hear_duplicates();
    let first = r##"{"#":"a","put":{"x":[1,{}]},"ok":{"@":9,"/":1}}"##;
    assert_eq!(hub.hear(first).len(), 1);
    let settled = first.find(",\"ok").unwrap();
    for copy in [
        first,
        r##"{"#":"a","put":{"x":[1,{}]},"ok":{"@":8,"/":2},"><":"p,q"}"##,
        r##"{"#":"a","put":{"x":[1,{}]},"><":"p"}"##,
        r##"{"#":"a","put":{"x":[1,{}]} }"##,
    ] {
        assert_eq!(hub.is_known_from(copy), Some(settled), "{copy}");
        assert_eq!(hub.hear(copy), ["Drop(DuplicateId)"], "{copy}");
    }
    for other in [
        r##"{"#":"a","put":{"x":[1,[]]}}"##,
        r##"{"#":"a"}"##,
        r##"{"#":"b","put":{"x":[1,{}]}}"##,
        r##"{ "#":"a","put":{"x":[1,{}]}}"##,
    ] {
        assert!(!hub.is_known(other), "{other}");
    }
}

#[test]
fn what_follows_the_settled_part_is_parsed() {
    let mut hub = Hub::new();
    hub.hear_duplicates();
    hub.hear(r##"{"#":"a","x":1}"##);
    assert!(hub.is_known(r##"{"#":"a","x":1"##));
    let broken = ["a reply", "Drop(Refused(Broken))"];
    for text in [
        r##"{"#":"a","x":1"##,
        r##"{"#":"a","x":1]"##,
        r##"{"#":"a","x":1,"##,
        r##"{"#":"a","x":1,}"##,
        r##"{"#":"a","x":12}}"##,
        r##"{"#":"a","x":1}}"##,
        r##"{"#":"a","x":1,"><":p}"##,
        r##"[{"#":"a","x":1},{"#":"new"]"##,
    ] {
        assert_eq!(hub.hear(text), broken, "{text}");
    }
    assert_eq!(
        hub.hear(r##"{"#":"a","x":1,"#":"b"}"##),
        [r##"{"#":"a","x":1,"#":"b","><":"peer0,peer1"}"##]
    );
    assert_eq!(hub.hear(r##"{"#":"a","x":1,"\u0023":"b"}"##), ["Drop(DuplicateId)"], "b is known");
    assert_eq!(
        hub.hear(r##"[{"#":"a","x":1,"><":""},{"#":"c"},{"#":"a","x":1},5]"##),
        [
            "Drop(DuplicateId)",
            r##"{"#":"c","><":"peer0,peer1"}"##,
            "Drop(DuplicateId)",
            "Drop(Ignored(Element))"
        ]
    );
}

#[test]
fn only_what_may_stand_anywhere_and_is_short_enough_is_kept() {
    let mut hub = Hub::new();
    hub.hear_duplicates();
    let nested = |id: &str, depth: usize| {
        format!(r##"{{"#":"{id}","x":{}{}}}"##, "[".repeat(depth), "]".repeat(depth))
    };
    let (shallow, deep) = (nested("a", LIMITS.depth_max - 2), nested("b", LIMITS.depth_max - 1));
    assert_eq!((hub.hear(&shallow).len(), hub.hear(&deep).len()), (1, 1));
    assert!(hub.is_known(&shallow) && !hub.is_known(&deep), "in a batch it is too deep");
    assert_eq!(hub.hear(&format!("[{shallow}]")), ["Drop(DuplicateId)"]);
    assert_eq!(hub.hear(&format!("[{deep}]")), ["a reply", "Drop(Refused(TooDeep))"]);

    let long = |bytes: usize| format!(r##"{{"#":"{bytes}","x":"{}"}}"##, "x".repeat(bytes));
    let (short, long) = (long(SETTLED_BYTES_MAX - 20), long(SETTLED_BYTES_MAX));
    hub.hear(&short);
    hub.hear(&long);
    assert!(hub.is_known(&short) && !hub.is_known(&long));

    hub.hear(r##"{"#":"x","@":"often"}"##);
    hub.hear(r##"{"#":"?","dam":"hi"}"##);
    hub.hear(r##"{"x":1,"#":"late"}"##);
    assert!(!hub.is_known(r##"{"#":"x","@":"often"}"##), "an answer goes to one peer");
    assert!(!hub.is_known(r##"{"#":"?","dam":"hi"}"##), "a word between neighbours goes nowhere");
    assert!(!hub.is_known(r##"{"x":1,"#":"late"}"##));
}

#[test]
fn an_id_that_needs_to_be_refreshed_is_not_recognised() {
    let mut hub = Hub::new();
    hub.hear_duplicates();
    let text = r##"{"#":"a","get":{"#":"soul"}}"##;
    hub.hear(text);
    for age in 1..5 {
        assert!(hub.is_known(text));
        hub.mesh.dedup.expire(age * crate::dam::dedup::GENERATION_MS);
        assert!(!hub.is_known(text));
        assert_eq!(hub.hear(text), ["Drop(DuplicateId)"]);
    }
}

#[test]
fn nothing_is_kept_where_duplicates_are_rare() {
    let mut hub = Hub::new();
    assert_eq!(hub.hear(r##"{"#":"first"}"##).len(), 1);
    assert!(!hub.is_known(r##"{"#":"first"}"##));
    hub.hear_duplicates();
    let text = |id: u32| format!(r##"{{"#":"{id}"}}"##);
    let is_kept = |id: &u32| {
        hub.hear(&text(*id));
        hub.is_known(&text(*id))
    };
    let kept = (0..2 * MEMORY_MAX).filter(is_kept).count();
    assert!((1..=MEMORY_MAX as usize).contains(&kept), "{kept}");
}

/// A message that may be the copy of another, or nearly so, or broken.
fn message(random: &mut Random) -> String {
    let id = random.below(40);
    let body = random.pick(&[
        r##""put":{"x":1}"##,
        r##""put":{"x":1}"##,
        r##""put":{"x":1},"ok":{"@":3}"##,
        r##""get":{"#":"soul"}"##,
        r###""get":{"#":"soul"},"##":5"###,
        r##""@":"7","put":{}"##,
        r##""x":"\ud83d""##,
        r##""_":1,"x":[[[[[[]]]]]]"##,
    ]);
    let tail = random.pick(&[
        "",
        "",
        r##","><":"a""##,
        r##","ok":{"@":1,"/":2},"><":"a,b""##,
        r##","#":"39""##,
        r##","\u0023":"38""##,
        r##" , "><" : "x" "##,
        r##","><":[[[[[[]]]]]]"##,
        ",",
        "}",
    ]);
    format!(r##"{{"#":"{id}",{body}{tail}}}"##)
}

#[test]
fn what_is_recognised_is_what_would_be_dropped_anyway() {
    let (mut duplicates, mut others, mut recognised) = (0, 0, 0);
    for seed in 1..100 {
        let mut random = Random(seed * 0x9E37_79B9);
        let (mut with, mut without) = (Hub::new(), Hub::new());
        with.hear_duplicates();
        without.hear_duplicates();
        for round in 0..200 {
            let frame = match random.below(3) {
                0 => message(&mut random),
                _ => {
                    let messages: Vec<_> =
                        (0..random.below(6)).map(|_| message(&mut random)).collect();
                    format!("[{}]", messages.join(","))
                }
            };
            // No message begins with its id there, so nothing is recognised.
            let spaced = frame.replace(r##"{"#":""##, r##"{ "#":""##);
            let heard: Vec<_> =
                without.hear(&spaced).iter().map(|text| text.replace("{ ", "{")).collect();
            recognised += usize::from(with.is_known(&frame));
            assert_eq!(with.hear(&frame), heard, "seed {seed}, round {round}: {frame}");
            let count = heard.iter().filter(|route| *route == "Drop(DuplicateId)").count();
            (duplicates, others) = (duplicates + count, others + heard.len() - count);
        }
    }
    assert!(duplicates > 10_000 && others > 10_000, "{duplicates}, {others}");
    assert!(recognised > 500, "of single messages: {recognised}");
}
