//! What the fuzz targets do with an input. Also compiled into `tests/corpus.rs`, which replays the corpus.
//!
//! Each function panics when a promise of the parser is broken; what the parser makes of the input is its own business.

use std::sync::Arc;

use gunmetal::dam::batch::{Heard, Limits, Parser};
use gunmetal::dam::mesh::{Mesh, Peer, Route, Router};
use gunmetal::dam::message::{Message, Rewrite};
use gunmetal::dam::peer::{Name, PeerId};
use gunmetal::ws::reader::{Event, FrameReader, Role};
use gunmetal::ws::upgrade::{self, HeadLimits};

const LIMITS: Limits = Limits { message_units_max: 1 << 16, depth_max: 100 };
const READER_BYTES_MAX: usize = 1 << 12;
const TEXT_BYTES_MAX: usize = 1 << 11;

/// A frame's text into messages, and each message as it is forwarded: valid again, with the changes made.
pub fn frame(data: &[u8]) {
    // The reader hands out nothing but UTF-8.
    let Ok(text) = std::str::from_utf8(data) else { return };
    let new = Rewrite { id: Some(b"\"I\""), skip: Some(b"\"S\""), ok: Some(b"{}") };
    let mut forwarded = Vec::new();
    Parser::new(LIMITS).hear(text.as_bytes(), &mut |heard| {
        let Heard::Message(message) = heard else { return };
        if let Some(start) = message.start {
            assert_eq!(
                &data[start..start + message.text.len()],
                message.text,
                "the text lies where it is said to lie"
            );
        }
        forwarded.push(rewritten(message, &new));
    });
    for text in forwarded {
        assert_eq!(heard_ids(&text), [b"I"], "{}", String::from_utf8_lossy(&text));
    }
}

fn rewritten(message: &Message<'_>, new: &Rewrite<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    message.append(new, &mut text);
    assert_eq!(text.len(), message.rewritten_len(new), "the length is known beforehand");
    text
}

fn heard_ids(text: &[u8]) -> Vec<Vec<u8>> {
    let mut ids = Vec::new();
    // What is added to a text at the limit is over it.
    let limits = Limits { message_units_max: usize::MAX, ..LIMITS };
    Parser::new(limits).hear(text, &mut |heard| match heard {
        Heard::Message(message) => ids.push(message.id.text().to_vec()),
        other => panic!("what is forwarded is a message, not {other:?}"),
    });
    ids
}

/// Frames, one to a line, said in turn by three peers.
pub fn router(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mesh = Arc::new(Mesh::new(1 << 10, [7; 192], 1));
    let mut router = Router::new(Arc::clone(&mesh), LIMITS, 2);
    let mut peers = [0, 1, 2].map(|n| {
        let id = PeerId::new(n, 0);
        let seat = mesh.peers.join(id, Name::Id(&format!("peer{n}")));
        Peer { id, seat, is_dialled: false, pid: None }
    });
    for (turn, frame) in text.lines().enumerate() {
        let from = &mut peers[turn % 3];
        let source = from.id;
        router.receive(frame.as_bytes(), from, &mut |route| match route {
            Route::Broadcast(message, except) => {
                assert!(except.contains(&source), "nothing is said back to its source");
                let mut text = Vec::new();
                message.append_to(&mut text);
                heard_ids(&text);
            }
            Route::Peer(to, _) => assert_ne!(to, source, "nothing is said back to its source"),
            Route::Reply(text) => assert_eq!(heard_ids(text.as_bytes()).len(), 1),
            Route::Drop(_) | Route::Itself => {}
        });
    }
}

/// The head of an HTTP request, whole and cut short.
pub fn upgrade(data: &[u8]) {
    let limits = HeadLimits { head_bytes_max: 512, headers_max: 8 };
    let Ok(Some(request)) = upgrade::parse(data, &limits) else { return };
    assert!(request.head_bytes <= data.len().min(limits.head_bytes_max));
    let head = &data[..request.head_bytes];
    assert!(
        matches!(upgrade::parse(&head[..head.len() - 1], &limits), Ok(None)),
        "a head ends with its last byte"
    );
    if let Some(Ok(upgrade)) = &request.upgrade {
        let answer = upgrade::accept(upgrade);
        assert!(answer.ends_with(b"\r\n\r\n"));
        let ends = answer.windows(4).filter(|end| end == b"\r\n\r\n").count();
        assert_eq!(ends, 1, "an answer is one answer");
    }
}

/// WebSocket frames: the first byte says which end reads and how the rest is cut into pieces. The events do not depend on
/// the cut.
pub fn reader(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else { return };
    let role = if how & 1 == 0 { Role::Server } else { Role::Client };
    let piece = usize::from(how >> 1).max(1);
    assert_eq!(events(role, data, piece), events(role, data, data.len().max(1)));
}

fn events(role: Role, data: &[u8], piece: usize) -> Vec<String> {
    let mut reader = FrameReader::new(role, READER_BYTES_MAX).skipping_texts_over(TEXT_BYTES_MAX);
    let mut events = Vec::new();
    for piece in data.chunks(piece) {
        let mut input = piece.to_vec();
        let mut at = 0;
        loop {
            match reader.next(&mut input, &mut at) {
                Ok(Some(event)) => events.push(brief(&event)),
                Ok(None) => break,
                Err(error) => {
                    events.push(format!("{error:?}"));
                    return events;
                }
            }
        }
        assert!(
            reader.held_bytes() <= READER_BYTES_MAX + 1024,
            "memory follows what arrived, up to the limit"
        );
    }
    events
}

fn brief(event: &Event<'_>) -> String {
    match event {
        Event::Text(payload) => format!("text {:?}", payload.as_str()),
        other => format!("{other:?}"),
    }
}
