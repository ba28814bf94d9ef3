//! Who can talk to whom: Gun's own clients, relays among each other, plain and TLS on one relay.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::certs::{Authority, url};
use crate::support::gun::Gun;
use crate::support::peer::Peer;
use crate::support::process::Process;
use crate::support::relay::{self, Kind, Setup};
use crate::support::{node, wait};
use crate::{connect, join};

#[test]
fn guns_own_clients_share_data_by_wss() {
    if node::ensure().is_none() {
        return;
    }
    let authority = Authority::new();
    let relay = authority.relay(&[]);
    let [mut alice, mut bob] =
        [(); 2].map(|()| Gun::browser_trusting(&authority.root(), &url(relay.port)));
    alice.talks_to(&mut bob);
}

#[test]
fn a_gun_client_that_does_not_trust_the_authority_stays_away() {
    if node::ensure().is_none() {
        return;
    }
    let authority = Authority::new();
    let mut relay = authority.relay(&["--log=debug"]);
    let mut alice = Gun::browser(&url(relay.port));
    relay
        .process
        .logged("a failed handshake", |line| line.contains("TLS handshake failed").then_some(()));
    assert!(!alice.is_connected());
}

#[test]
fn relays_are_linked_by_wss() {
    let authority = Authority::new();
    let far = authority.relay(&[]);
    let roots = format!("--tls-roots={}", authority.root().display());
    let near = Setup::new(Kind::Gunmetal).flags(&[&roots]).peer(url(far.port)).start();
    let mut a = join(&far, &authority.client(), "AAAAAAAAA");
    let mut b = Peer::join(&near, "BBBBBBBBB");
    // What is said before the link is up is not for the other side.
    wait::until("the link to be up", || {
        b.say(json!({"#": crate::support::peer::unique("probe"), "x": 1}));
        a.fence().iter().any(|message| message["x"] == 1).then_some(())
    });
    a.say(json!({"#": "from the far side", "x": 2}));
    assert_eq!(b.hear()["#"], "from the far side");
    let large = "x".repeat(2 << 20);
    b.say(json!({"#": "large", "x": large}));
    assert_eq!(a.heard_before("large").iter().filter(|message| message["x"] != 1).count(), 0);
}

#[test]
fn a_link_to_a_stranger_is_refused_and_says_why() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let far = stranger.relay(&[]);
    let roots = format!("--tls-roots={}", authority.root().display());
    let mut near = Setup::new(Kind::Gunmetal).flags(&[&roots]).peer(url(far.port)).start();
    let line = near
        .process
        .logged("the failure", |line| line.contains("cannot be opened").then(|| line.to_owned()));
    assert!(line.contains("TLS with the peer failed: invalid peer certificate"), "{line}");
}

#[test]
fn a_link_by_wss_to_a_plain_relay_is_refused_and_says_why() {
    let authority = Authority::new();
    let far = Setup::new(Kind::Gunmetal).start();
    let roots = format!("--tls-roots={}", authority.root().display());
    let mut near = Setup::new(Kind::Gunmetal).flags(&[&roots]).peer(url(far.port)).start();
    let line = near
        .process
        .logged("the failure", |line| line.contains("cannot be opened").then(|| line.to_owned()));
    assert!(line.contains("TLS with the peer failed"), "{line}");
}

#[test]
fn plain_and_tls_are_served_side_by_side() {
    let authority = Authority::new();
    let mut relay = authority.relay(&["--tls-listen=127.0.0.1:0"]);
    let port: u16 = relay.process.logged("its TLS port", |line| {
        line.split_once("Gun peers at wss://127.0.0.1:")?.1.split('/').next()?.parse().ok()
    });
    let mut plain = Peer::join_at(&relay::url(relay.port), "AAAAAAAAA");
    let secure = Peer::try_connect_tls(&url(port), &authority.client()).expect("connect by wss");
    let mut secure = secure.named("BBBBBBBBB");
    plain.say(json!({"#": "to TLS", "x": 1}));
    assert_eq!(secure.hear()["#"], "to TLS");
    secure.say(json!({"#": "to plain", "x": 1}));
    assert_eq!(plain.hear()["#"], "to plain");
}

#[test]
fn tls_1_2_is_spoken_and_http_1_1_is_chosen() {
    let authority = Authority::new();
    let relay = authority.relay(&[]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let trust = authority.client();
        let provider = trust.crypto_provider().clone();
        let mut roots = rustls::RootCertStore::empty();
        use rustls::pki_types::pem::PemObject;
        let root = rustls::pki_types::CertificateDer::from_pem_file(authority.root());
        roots.add(root.expect("the root")).expect("a root");
        let mut trust = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        trust.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut peer = connect(&relay, &trust.into());
        assert_eq!(peer.hear()["dam"], "?");
        assert_eq!(peer.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(peer.tls().protocol_version(), Some(version.version));
    }
}

#[test]
fn a_relay_with_a_pair_that_does_not_fit_does_not_start() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(), authority.issue());
    authority.install(&one);
    std::fs::write(authority.key_file(), other.key).expect("write the key");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gunmetal"));
    command.args(authority.flags()).args(["--listen", "127.0.0.1:0"]);
    let mut process = Process::spawn("gunmetal", &mut command);
    assert!(!process.exit_within(Duration::from_secs(20)).success());
    wait::until("the reason to be logged", || {
        process.log().contains("the key does not belong to the certificate").then_some(())
    });
}

#[test]
fn a_relay_that_stops_says_goodbye_by_tls_too() {
    let authority = Authority::new();
    let mut relay = authority.relay(&["--drain-time=0.1"]);
    let mut peer = join(&relay, &authority.client(), "AAAAAAAAA");
    let _shaking = relay.connect();
    relay.process.signal("TERM");
    assert_eq!(peer.close_code(), Some(1012));
    assert!(relay.process.exit_within(Duration::from_secs(20)).success());
}
