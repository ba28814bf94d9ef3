//! What a connection with TLS costs the relay, by the kernel's own account.

use gunmetal::net::memory::{CONNECTION_BYTES, SESSION_BYTES};

use crate::certs::Authority;
use crate::join;
use crate::support::peer::Peer;

const COUNT: usize = 300;

#[test]
fn a_peer_with_tls_costs_no_more_than_it_is_counted_for() {
    let authority = Authority::new();
    let mut relay = authority.relay(&["--admin", "127.0.0.1:0"]);
    let trust = authority.client();
    let admin = relay.admin();
    let resident = || {
        let stream = std::net::TcpStream::connect(admin).expect("connect to the admin");
        let text = crate::support::http::get(stream, "/metrics").body;
        let figure =
            |name| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let figure = |name| figure(name).expect(name).parse::<f64>().expect("a number");
        (figure("process_resident_memory_bytes"), figure("gunmetal_memory_held_bytes"))
    };
    let join = |range: std::ops::Range<usize>| -> Vec<Peer> {
        range.map(|i| join(&relay, &trust, &format!("PEER{i:05}"))).collect()
    };
    // What the process needs for its first connections, whoever they are.
    let mut first = join(0..50);
    let before = resident();
    let mut peers = join(50..50 + COUNT);
    let idle = resident();
    // Each begins a record that could be the longest, and does not end it.
    let begun = [&[0x17, 3, 3, 0x40, 0x11][..], &[7; 16_000]].concat();
    peers.iter_mut().for_each(|peer| peer.send_raw(&begun));
    // Whoever speaks after that is read after that.
    for peer in &mut first {
        peer.fence();
    }
    let after = resident();
    let each = |more: f64| more / COUNT as f64;
    let (cost, counted) = (each(after.0 - before.0), each(after.1 - before.1));
    let idle_cost = each(idle.0 - before.0);
    eprintln!(
        "an idle peer costs {idle_cost} bytes, with a record begun {cost}, counted are {counted}"
    );
    let promised = (CONNECTION_BYTES + SESSION_BYTES) as f64;
    assert!(cost < promised, "{cost} bytes");
    assert!(counted >= promised, "{counted} bytes");
}
