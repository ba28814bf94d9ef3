//! RFC 6455: control frames, fragments, faults.

use std::net::Shutdown;

use serde_json::json;
use tungstenite::{Bytes, Message};

use crate::support::peer::{Incoming, Peer, without_skip};
use crate::support::relay::{Kind, Relay};
use crate::support::wait;
use crate::{NOTHING, heard_of, ids, trio};

const FIN_TEXT: u8 = 0x81;
const FIN_CONTINUATION: u8 = 0x80;
const TEXT: u8 = 0x01;
const CONTINUATION: u8 = 0x00;

/// The bytes of a masked frame, with these first eight bits.
pub fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = header(first, 0x80, payload.len() as u64);
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn header(first: u8, masked: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(masked | length as u8),
        126..=0xffff => {
            header.push(masked | 126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(masked | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header
}

/// Sends these bytes on a connection of their own and returns the code it is closed with; the relay goes on.
fn close_code_after(bytes: &[u8]) -> Option<u16> {
    let (relay, [mut a, mut b, _c]) = trio();
    let mut bad = Peer::join(&relay, "BADBADBAD");
    bad.send_raw(bytes);
    let code = bad.close_code();
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
    code
}

#[test]
fn a_ping_is_answered_by_a_pong_with_its_payload() {
    let (_relay, [mut a, mut b, _c]) = trio();
    for payload in [&b""[..], b"hello", &[0xff; 125]] {
        a.send(Message::Ping(Bytes::copy_from_slice(payload)));
        let Incoming::Pong(answer) = a.receive() else { panic!("a ping is answered by a pong") };
        assert_eq!(answer, payload);
    }
    a.send(Message::Pong(Bytes::from_static(b"nobody asked")));
    assert_eq!(a.fence(), NOTHING);
    assert_eq!(heard_of(&mut b, &mut a), NOTHING);
}

#[test]
fn a_close_is_answered_with_its_code() {
    let relay = Relay::start(&[]);
    for code in [1000, 1001, 4000] {
        let mut peer = Peer::join(&relay, "AAAAAAAAA");
        peer.close(code);
        assert_eq!(peer.close_code(), Some(code));
        assert!(matches!(peer.receive(), Incoming::Ended), "the relay ends the connection too");
    }
}

#[test]
fn what_was_said_before_the_end_is_heard() {
    let (relay, [_a, mut b, _c]) = trio();
    let close = client_frame(0x88, &1000_u16.to_be_bytes());
    let unmasked = [&header(FIN_TEXT, 0, 2)[..], b"{}"].concat();
    for (id, end) in [("close", close), ("fault", unmasked), ("hang-up", Vec::new())] {
        let mut peer = Peer::join(&relay, "DDDDDDDDD");
        let message = json!({"#": id, "put": {"x": 1}}).to_string();
        peer.send_raw(&[client_frame(FIN_TEXT, message.as_bytes()), end].concat());
        peer.tcp().shutdown(Shutdown::Write).expect("say no more");
        assert_eq!(b.hear()["#"], id);
    }
}

#[test]
fn an_error_before_a_fault_is_still_answered() {
    let relay = Relay::start(&[]);
    let mut peer = Peer::join(&relay, "AAAAAAAAA");
    let unmasked = [&header(FIN_TEXT, 0, 2)[..], b"{}"].concat();
    peer.send_raw(&[client_frame(FIN_TEXT, b"{broken"), unmasked].concat());
    assert_eq!(peer.hear()["err"], "DAM JSON parse error.");
    assert_eq!(peer.close_code(), Some(1002));
}

#[test]
fn a_message_in_fragments_is_joined() {
    let (_relay, [mut a, mut b, _c]) = trio();
    let text = json!({"#": "m1", "x": "in pieces ☃"}).to_string();
    // The cut goes through the snowman, and control frames come in between.
    let cut = text.find('☃').expect("a snowman") + 1;
    a.send_raw(&client_frame(TEXT, &text.as_bytes()[..4]));
    a.send_raw(&client_frame(0x89, b"ping"));
    assert!(matches!(a.receive(), Incoming::Pong(payload) if payload == b"ping"));
    a.send_raw(&client_frame(CONTINUATION, &text.as_bytes()[4..cut]));
    a.send_raw(&client_frame(CONTINUATION, b""));
    a.send_raw(&client_frame(FIN_CONTINUATION, &text.as_bytes()[cut..]));
    assert_eq!(without_skip(b.hear()), json!({"#": "m1", "x": "in pieces ☃"}));
}

#[test]
fn a_frame_may_come_byte_by_byte_and_many_in_one_segment() {
    let (_relay, [mut a, mut b, _c]) = trio();
    for byte in client_frame(FIN_TEXT, br##"{"#":"slow"}"##) {
        a.send_raw(&[byte]);
    }
    let many: Vec<u8> = (0..100)
        .flat_map(|i| client_frame(FIN_TEXT, json!({"#": format!("m{i}")}).to_string().as_bytes()))
        .collect();
    a.send_raw(&many);
    let heard = heard_of(&mut b, &mut a);
    assert_eq!(ids(&heard)[..2], ["slow", "m0"]);
    assert_eq!(heard.len(), 101);
}

#[test]
fn what_the_relay_sends_is_not_masked_and_not_compressed() {
    use std::io::Read;
    let (_relay, [mut a, mut b, _c]) = trio();
    a.say(json!({"#": "m1"}));
    b.tcp().set_read_timeout(Some(wait::SOON)).expect("a read timeout");
    let mut first = [0; 3];
    b.tcp().read_exact(&mut first).expect("a frame");
    assert_eq!((first[0], first[1] & 0x80, first[2]), (FIN_TEXT, 0, b'{'));
}

#[test]
fn an_unmasked_frame_is_a_protocol_error() {
    let mut bytes = header(FIN_TEXT, 0, 2);
    bytes.extend(b"{}");
    assert_eq!(close_code_after(&bytes), Some(1002));
}

#[test]
fn reserved_opcodes_and_bits_are_protocol_errors() {
    for first in [0x83, 0x8b, 0xc1, 0xa1, 0x91] {
        assert_eq!(close_code_after(&client_frame(first, b"{}")), Some(1002), "{first:#x}");
    }
}

#[test]
fn fragments_out_of_turn_are_protocol_errors() {
    assert_eq!(
        close_code_after(&client_frame(FIN_CONTINUATION, b"{}")),
        Some(1002),
        "nothing to continue"
    );
    let interrupted = [client_frame(TEXT, b"{"), client_frame(FIN_TEXT, b"{}")].concat();
    assert_eq!(close_code_after(&interrupted), Some(1002), "a message inside of a message");
    assert_eq!(close_code_after(&client_frame(0x09, b"ping")), Some(1002), "a ping in fragments");
    assert_eq!(
        close_code_after(&client_frame(0x89, &[0; 126])),
        Some(1002),
        "a ping that is too long"
    );
}

#[test]
fn text_that_is_not_utf8_is_an_error() {
    for payload in
        [&b"{\"#\":\"\xff\"}"[..], b"{\"\xc3(\":1}", b"\xed\xa0\xbd", b"\xc0\x80", b"{\xe2\x98"]
    {
        assert_eq!(close_code_after(&client_frame(FIN_TEXT, payload)), Some(1007), "{payload:x?}");
    }
}

#[test]
fn fragments_that_join_to_no_utf8_are_an_error() {
    for rest in [&b"\xff\"}"[..], b"\xe2\x98", b"\x83\"}"] {
        let mut frames = client_frame(TEXT, b"{\"#\":\"");
        frames.extend(client_frame(FIN_CONTINUATION, rest));
        assert_eq!(close_code_after(&frames), Some(1007), "{rest:x?}");
    }
}

#[test]
fn an_announced_frame_beyond_every_limit_is_too_big() {
    let mut bytes = header(FIN_TEXT, 0x80, 1 << 40);
    bytes.extend([0; 4]);
    bytes.extend(b"{\"#\":\"never comes to its end\"");
    assert_eq!(close_code_after(&bytes), Some(1009));
}

#[test]
fn fragments_that_add_up_beyond_every_limit_are_too_big() {
    if !Kind::under_test().is_gunmetal() {
        return;
    }
    let relay = Relay::start(&["--message-bytes-max", "100000"]);
    let mut peer = Peer::join(&relay, "BADBADBAD");
    let part = vec![b'x'; 50_000];
    let mut stream = peer.tcp().try_clone().expect("a second handle");
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        // Endless, and cut off by the relay.
        let _ = stream.write_all(&client_frame(TEXT, &part));
        while stream.write_all(&client_frame(CONTINUATION, &part)).is_ok() {}
    });
    assert!(
        matches!(peer.close_code(), Some(1009) | None),
        "it is closed, by a code that may be lost in a reset"
    );
    peer.vanish();
    writer.join().expect("the writer ends");
}
