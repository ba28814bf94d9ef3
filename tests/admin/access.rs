//! Where the admin listens, and who is answered.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use crate::support::http;
use crate::support::peer::Peer;
use crate::support::relay::{Kind, Setup};
use crate::{get, watched};

const PATHS: [&str; 8] =
    ["/", "/page.js", "/page.css", "/metrics", "/livez", "/readyz", "/stats.json", "/peers.json"];

#[test]
fn only_get_and_head_are_answered() {
    let (_relay, admin) = watched(&[]);
    let ask = |line: &str| {
        http::request(TcpStream::connect(admin).expect("connect"), &[line, "Host: localhost"])
    };
    for path in PATHS {
        let head = ask(&format!("HEAD {path} HTTP/1.1"));
        assert_eq!((head.status, &*head.body), (200, ""), "{path}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT"] {
            let answer = ask(&format!("{method} {path} HTTP/1.1"));
            assert!([400, 405].contains(&answer.status), "{method} {path}: {}", answer.status);
        }
        assert_eq!(ask(&format!("POST {path} HTTP/1.1")).header("allow"), "GET, HEAD");
    }
    assert_eq!(get(admin, "/nothing").status, 404);
}

#[test]
fn a_page_of_another_name_learns_nothing() {
    let (_relay, admin) = watched(&[]);
    for path in PATHS {
        let ask = |lines: &[&str]| {
            let line = format!("GET {path} HTTP/1.1");
            http::request(TcpStream::connect(admin).expect("connect"), &[&[&*line], lines].concat())
        };
        for host in ["Host: evil.example", "Host: evil.example:9765", "Host: 10.1.2.3", "Host:"] {
            let answer = ask(&[host]);
            assert_eq!(answer.status, 403, "{path} {host}: {}", answer.body);
        }
        let other_site =
            ["Host: localhost", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"];
        assert_eq!(ask(&other_site).status, 403, "{path}");
        let answer = ask(&["Host: localhost:9765", "Origin: https://evil.example"]);
        assert_eq!(answer.status, 200, "{path}");
        let is_cors = |name: &&String| name.starts_with("access-control");
        assert_eq!(answer.headers.keys().find(is_cors), None, "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
    }
}

#[test]
fn nothing_of_it_is_on_the_public_port() {
    let (relay, _) = watched(&[]);
    for path in ["/metrics", "/livez", "/stats.json", "/peers.json", "/page.js"] {
        assert_eq!(http::get(relay.connect(), path).status, 404, "{path}");
    }
}

#[test]
fn the_usual_place_may_be_taken_and_the_relay_starts_all_the_same() {
    // Whether this is refused or not: then somebody is there.
    let _taken = TcpListener::bind("127.0.0.1:9765");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gunmetal"));
    command.args(["--listen", "127.0.0.1:0"]).env_remove("PORT").env_remove("PEERS");
    let mut process =
        crate::support::process::Process::spawn("gunmetal", command.env_remove("GUNMETAL_ADMIN"));
    let port = process.logged("its port", |line| {
        let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
        rest.split(',').next()?.parse::<u16>().ok()
    });
    process.logged("a loud warning", |line| {
        line.contains("NO METRICS").then(|| assert!(line.contains("127.0.0.1:9765"), "{line}"))
    });
    Peer::join_at(&crate::support::relay::url(port), "AAAAAAAAA");
}

#[test]
fn a_place_that_was_asked_for_and_is_taken_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind any port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_gunmetal"))
        .args(["--listen", "127.0.0.1:0", "--admin", &address])
        .output()
        .expect("run gunmetal");
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains(&address) && message.contains("--admin"), "{message}");
    assert!(!message.contains("panicked"), "{message}");
}

#[test]
fn off_means_off() {
    let relay = Setup::new(Kind::Gunmetal).flags(&["--admin", "off"]).start();
    let mut peer = Peer::join(&relay, "AAAAAAAAA");
    peer.fence();
    assert!(!relay.process.log().contains("admin"), "{}", relay.process.log());
}

#[test]
fn an_address_that_others_can_reach_is_warned_about() {
    let mut relay = Setup::new(Kind::Gunmetal).flags(&["--admin", "0.0.0.0:0"]).start();
    relay.process.logged("a warning", |line| {
        (line.contains("WARN") && line.contains("whoever can reach")).then_some(())
    });
    let admin = relay.admin();
    let stream = TcpStream::connect(("127.0.0.1", admin.port())).expect("connect");
    let answer = http::request(stream, &["GET /livez HTTP/1.1", "Host: relay.example"]);
    assert_eq!(answer.status, 200, "any name may lead to it");
}

#[test]
fn more_connections_than_it_serves_wait_and_end() {
    let (_relay, admin) = watched(&[]);
    // As many as it serves, which say nothing; another is served when those have timed out.
    let idle: Vec<_> = (0..64).map(|_| TcpStream::connect(admin).expect("connect")).collect();
    assert_eq!(get(admin, "/livez").status, 200);
    drop(idle);
}
