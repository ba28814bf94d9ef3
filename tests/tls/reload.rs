//! Certificates that change under live peers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::json;

use crate::certs::Authority;
use crate::support::node::Scratch;
use crate::support::peer::{Peer, unique};
use crate::support::relay::{Kind, Relay, Setup};
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

/// Runs `deploy/certbot-hook` as certbot does after it renewed a certificate, for a relay that reads its pair in `to`.
fn renewed(lineage: &Path, to: &Path) {
    let group = Command::new("id").arg("-g").output().expect("run id");
    let status = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/certbot-hook"))
        .env("RENEWED_LINEAGE", lineage)
        .env("CERTIFICATE", "relay.test")
        .env("TO", to)
        .env("GROUP", String::from_utf8_lossy(&group.stdout).trim())
        .status();
    assert!(status.expect("run the hook").success());
}

#[test]
fn a_certificate_that_certbot_renewed_is_shown_and_nobody_is_dropped() {
    let (authority, scratch) = (Authority::new(), Scratch::new());
    let trust = authority.client();
    let (to, live) = (scratch.0.join("gunmetal"), scratch.0.join("live"));
    fs::create_dir_all(&to).expect("a folder");
    let renew = |name: &str| {
        let pair = authority.issue();
        let lineage = live.join(name);
        fs::create_dir_all(&lineage).expect("a folder");
        fs::write(lineage.join("fullchain.pem"), &pair.cert).expect("write the certificate");
        fs::write(lineage.join("privkey.pem"), &pair.key).expect("write the key");
        renewed(&lineage, &to);
        pair
    };
    let old = renew("relay.test");
    let flag = |name: &str, file: &str| format!("--{name}={}", to.join(file).display());
    let flags = [flag("tls-cert", "fullchain.pem"), flag("tls-key", "privkey.pem")];
    let flags = flags.each_ref().map(|flag| flag.as_str());
    let mut relay = Setup::new(Kind::Gunmetal).flags(&flags).start();
    let [mut a, mut b] = ["A", "B"].map(|name| join(&relay, &trust, &name.repeat(9)));
    assert_eq!(shown(&relay, &trust), old.der);
    renew("other.test");
    let new = renew("relay.test");
    wait::until("the new certificate to be shown", || {
        let shown = shown(&relay, &trust);
        assert!(shown == old.der || shown == new.der, "not that of another name");
        (shown == new.der).then_some(())
    });
    a.say(json!({"#": "m1"}));
    assert_eq!(b.hear()["#"], "m1");
    assert!(!relay.process.ended() && !relay.process.log().contains("is not used"));
}

#[test]
fn a_hang_up_signal_without_tls_ends_nothing() {
    let mut relay = Relay::start(&[]);
    relay.process.signal("HUP");
    relay.process.logged("that it was done", |line| line.contains("reload: done").then_some(()));
    assert_eq!(Peer::connect(&relay).hear()["dam"], "?");
}
