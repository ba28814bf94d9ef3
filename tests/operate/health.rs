//! What a container's health check finds: a relay that serves is well, whatever it speaks and however full it is.

use std::process::{Command, Output};

use crate::certs::Authority;
use crate::support::peer::Peer;
use crate::support::relay::{Kind, Port, Relay, Setup};
use crate::support::wait;

fn health(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gunmetal"));
    command.arg("health").args(args).env_remove("PORT").env_remove("PEERS");
    command.envs(env.iter().copied()).output().expect("run gunmetal")
}

fn fault(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn assert_well(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// A relay and its check share an environment: these flags as variables.
fn variables(flags: &[String]) -> Vec<(String, String)> {
    let variable = |flag: &String| {
        let (name, value) = flag.trim_start_matches("--").split_once('=').expect("a value");
        (format!("GUNMETAL_{}", name.to_uppercase().replace('-', "_")), value.to_owned())
    };
    flags.iter().map(variable).collect()
}

/// Starts a relay without an operator's address, and checks it.
fn check_of(flags: &[String]) -> (Relay, impl Fn() -> Output + use<>) {
    let port = Port::reserve();
    let mut setup = Setup::new(Kind::Gunmetal).port(&port);
    setup.flags.extend(flags.iter().cloned());
    let mut env = variables(flags);
    env.push(("GUNMETAL_LISTEN".to_owned(), format!("127.0.0.1:{}", port.number)));
    env.push(("GUNMETAL_ADMIN".to_owned(), "off".to_owned()));
    let relay = setup.start();
    let check = move || {
        let _free = &port;
        health(&[], &env.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>())
    };
    (relay, check)
}

#[test]
fn a_relay_that_speaks_tls_only_is_well() {
    let authority = Authority::new();
    authority.install(&authority.issue());
    let (mut relay, check) = check_of(&authority.flags());
    assert_well(&check());
    relay.process.kill();
    assert!(fault(&check()).contains("not well: https://127.0.0.1:"));
}

#[test]
fn a_relay_that_expects_proxies_is_well() {
    let authority = Authority::new();
    authority.install(&authority.issue());
    let proxies = ["--trust=127.0.0.0/8", "--proxy-protocol=true"].map(str::to_owned);
    for flags in [proxies.to_vec(), [&proxies[..], &authority.flags()].concat()] {
        let (_relay, check) = check_of(&flags);
        assert_well(&check());
    }
}

#[test]
fn a_relay_that_is_full_is_well() {
    let full = "--connections-max=1".to_owned();
    let (relay, check) = check_of(std::slice::from_ref(&full));
    let mut peer = Peer::join(&relay, "AAAAAAAAA");
    assert!(Peer::try_connect(&relay.url()).is_none(), "it is full");
    assert_well(&check());
    assert_eq!(peer.fence().len(), 0);

    let authority = Authority::new();
    authority.install(&authority.issue());
    let (relay, check) = check_of(&[&authority.flags()[..], &[full]].concat());
    let url = crate::certs::url(relay.port);
    let _peer = Peer::try_connect_tls(&url, &authority.client()).expect("a peer");
    assert!(Peer::try_connect_tls(&url, &authority.client()).is_err(), "it is full");
    assert_well(&check());
}

#[test]
fn the_operators_address_is_asked_before_the_public_one() {
    let authority = Authority::new();
    let mut relay = authority.relay(&["--admin=127.0.0.1:0", "--connections-max=1"]);
    let admin = relay.admin().to_string();
    let public = format!("127.0.0.1:{}", relay.port);
    let _peer = Peer::try_connect_tls(&crate::certs::url(relay.port), &authority.client());
    let env = [("GUNMETAL_LISTEN", public.as_str()), ("GUNMETAL_ADMIN", admin.as_str())];
    assert_well(&health(&[], &env));
    relay.process.kill();
    let fault = fault(&health(&[], &env));
    for place in [format!("http://{admin}/livez: "), format!("http://{public}/healthz: ")] {
        assert!(fault.contains(&place), "{fault}");
    }
}

#[test]
fn a_public_address_answers_where_the_operators_does_not() {
    let port = Port::reserve();
    let relay = Setup::new(Kind::Gunmetal).port(&port).start();
    let (nobody, public) = (Port::reserve(), format!("127.0.0.1:{}", relay.port));
    let admin = format!("127.0.0.1:{}", nobody.number);
    assert_well(&health(&[], &[("GUNMETAL_LISTEN", &public), ("GUNMETAL_ADMIN", &admin)]));
}

#[test]
fn an_https_url_is_asked_over_tls_and_verified() {
    let authority = Authority::new();
    let relay = authority.relay(&[]);
    let url = format!("https://127.0.0.1:{}", relay.port);
    let roots = authority.root();
    assert_well(&health(&[&url, "--tls-roots", roots.to_str().expect("UTF-8")], &[]));
    let refused = fault(&health(&[&url, "--timeout=20"], &[]));
    assert!(refused.contains("certificate"), "{refused}");
    let plain = fault(&health(&[&format!("http://127.0.0.1:{}", relay.port)], &[]));
    assert!(plain.contains("status 400"), "{plain}");
}

#[test]
fn health_tells_a_relay_that_serves_from_one_that_does_not() {
    let port = Port::reserve();
    let listen = format!("127.0.0.1:{}", port.number);
    let env = [("GUNMETAL_LISTEN", listen.as_str()), ("GUNMETAL_ADMIN", "off")];
    assert!(fault(&health(&[], &env)).contains("not well: http://127.0.0.1:"));

    let mut relay = Setup::new(Kind::Gunmetal).port(&port).start();
    assert_well(&health(&[], &env));
    assert_well(&health(&[&format!("http://{listen}")], &[]));
    let other = fault(&health(&[&format!("http://{listen}/nothing")], &[]));
    assert!(other.contains("status 404"), "{other}");
    relay.process.kill();
    wait::until("the relay to be gone", || (!health(&[], &env).status.success()).then_some(()));
}

#[test]
fn health_ends_though_nobody_answers() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    assert!(fault(&health(&["--timeout=0.2", &url], &[])).contains("no answer"));
}
