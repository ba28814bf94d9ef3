//! Certificates that change under live peers.

use std::fs;
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::json;

use crate::certs::Authority;
use crate::support::peer::{Peer, unique};
use crate::support::relay::Relay;
use crate::support::wait;
use crate::{connect, join};

const PEERS: usize = 1000;

/// Everybody hears what one of them says, and nobody is missing.
fn all_hear(speaker: &mut Peer, crowd: &mut [Peer]) {
    let id = unique("to all");
    speaker.say(json!({"#": id, "x": 1}));
    for peer in crowd {
        peer.heard_before(&id);
    }
}

/// The certificate that a new connection is shown, once it is a peer.
fn shown(relay: &Relay, trust: &Arc<ClientConfig>) -> Vec<u8> {
    let mut peer = connect(relay, trust);
    assert_eq!(peer.hear()["dam"], "?");
    peer.certificate()
}

#[test]
fn certificates_change_under_a_thousand_peers_and_none_is_dropped() {
    let _as_far_as_permitted = rlimit::increase_nofile_limit(8192);
    let authority = Authority::new();
    let trust = authority.client();
    let old = authority.issue();
    authority.install(&old);
    let mut relay = authority.setup(&["--ping-interval=0"]).start();
    let mut speaker = join(&relay, &trust, "AAAAAAAAA");
    let mut crowd: Vec<_> = (0..PEERS).map(|_| connect(&relay, &trust)).collect();
    all_hear(&mut speaker, &mut crowd);
    assert_eq!(shown(&relay, &trust), old.der);

    // The files change: that is noticed, in whatever order they come.
    let new = authority.issue();
    fs::write(authority.cert_file(), &new.cert).expect("write the certificate");
    all_hear(&mut speaker, &mut crowd);
    fs::write(authority.key_file(), &new.key).expect("write the key");
    wait::until("the new certificate to be shown", || {
        all_hear(&mut speaker, &mut crowd);
        (shown(&relay, &trust) == new.der).then_some(())
    });

    // A broken pair, by request: the old one stays, and it is said.
    fs::write(authority.key_file(), "broken").expect("write the key");
    relay.process.signal("HUP");
    relay.process.logged("that it keeps the old certificate", |line| {
        (line.contains("the new certificate is not used") && line.contains("no private key"))
            .then_some(())
    });
    assert_eq!(shown(&relay, &trust), new.der);
    all_hear(&mut speaker, &mut crowd);

    // And a good one, by request.
    let newest = authority.issue();
    authority.install(&newest);
    relay.process.signal("HUP");
    wait::until("the newest certificate to be shown", || {
        (shown(&relay, &trust) == newest.der).then_some(())
    });
    all_hear(&mut speaker, &mut crowd);
    assert_eq!(speaker.certificate(), old.der);
    assert!(!relay.process.ended());
}

#[test]
fn a_hang_up_signal_without_tls_ends_nothing() {
    let mut relay = Relay::start(&[]);
    relay.process.signal("HUP");
    relay.process.logged("that it was done", |line| line.contains("reload: done").then_some(()));
    assert_eq!(Peer::connect(&relay).hear()["dam"], "?");
}
