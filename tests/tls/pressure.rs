//! Connections with TLS when the memory is full, which a test can bring about at any moment.

use std::io::{Read, Write};
use std::net::TcpStream;

use gunmetal::config::Config;
use gunmetal::metrics::Counter;
use gunmetal::net::memory::Held;
use gunmetal::net::relay::Relay;
use rustls::{ClientConnection, StreamOwned};

use crate::certs::{Authority, url};
use crate::hostile::counted;
use crate::support::peer::Peer;
use crate::support::wait::{self, SOON};

/// Fills the memory but for so much, or that much more than there is.
fn fill(relay: &Relay, left: isize) -> Held {
    let memory = relay.view().memory().of_all();
    let (held, max) = (relay.view().memory().held(), relay.view().memory().held_max());
    Held::new(&memory, (max - held).saturating_add_signed(-left))
}

#[test]
fn who_ends_its_handshake_when_the_memory_is_full_is_told_so() {
    let authority = Authority::new();
    let relay = counted(&authority, Config::for_tests());
    let stream = TcpStream::connect(relay.address()).expect("connect");
    wait::until("it to be taken in", || (relay.view().open_connections() == 1).then_some(()));
    let full = fill(&relay, -100_000);
    let name = "localhost".try_into().expect("a name");
    let client = ClientConnection::new(authority.client(), name).expect("a client");
    let mut stream = StreamOwned::new(client, stream);
    stream.sock.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a whole answer");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("memory"), "{answer}");
    assert_eq!(relay.count(Counter::RejectedMemory), 1);
    drop((full, stream));
    wait::until("all to be given back", || (relay.view().memory().held() == 0).then_some(()));
}

#[test]
fn peers_that_hold_half_a_record_each_go_when_the_memory_is_full_and_others_stay() {
    const COUNT: usize = 60;
    let authority = Authority::new();
    let relay = counted(&authority, Config { ping_interval: None, ..Config::for_tests() });
    let (url, trust) = (url(relay.address().port()), authority.client());
    let join = |name: &str| Peer::try_connect_tls(&url, &trust).expect("connect").named(name);
    let mut quiet = ["AAAAAAAAA", "BBBBBBBBB"].map(join);
    let mut half: Vec<_> = (0..COUNT).map(|number| join(&format!("HALF{number:05}"))).collect();
    let begun = [&[0x17, 3, 3, 0x40, 0x11][..], &[7; 16_000]].concat();
    // Half of what they say is too much. With its record each gives back what its session counts.
    let full = fill(&relay, (COUNT * begun.len() / 2) as isize);
    half.iter_mut().for_each(|peer| peer.send_raw(&begun));
    let gone = || relay.count(Counter::ClosedMemory);
    wait::until("a quarter of them to go", || (gone() >= COUNT as u64 / 4).then_some(()));
    for peer in &mut quiet {
        assert_eq!(peer.fence().len(), 0, "it is still there");
    }
    assert!(gone() <= COUNT as u64 / 2, "no more than have to: {}", gone());
    drop((full, half, quiet));
    wait::until("all to be given back", || (relay.view().memory().held() == 0).then_some(()));
}
