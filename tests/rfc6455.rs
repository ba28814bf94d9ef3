//! RFC 6455 in rows, numbered as the cases of the Autobahn test suite, with data of our own.
//!
//! The suite talks to a server that echoes. A relay does not: a text is shown by a second peer that hears it, a
//! binary message by nothing that happens. So a text case carries its payload inside of a message, in a frame of the
//! length the case is about. Left out are the cases about compression (12 and 13), which is never negotiated, and the
//! longest of the cases about limits (9).

mod support;

#[path = "rfc6455/cases.rs"]
mod cases;
#[path = "rfc6455/frames.rs"]
mod frames;
#[path = "rfc6455/handshake.rs"]
mod handshake;
#[path = "rfc6455/run.rs"]
mod run;
#[path = "rfc6455/utf8.rs"]
mod utf8;

use support::relay::Relay;

#[test]
fn every_row_is_answered_as_the_rfc_says() {
    let relay = Relay::start(&[]);
    let mut failures = run::failures(&relay, cases::all());
    failures.extend(handshake::failures(&relay));
    assert!(failures.is_empty(), "{} rows failed:\n{}", failures.len(), failures.join("\n"));
}
