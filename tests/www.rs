//! Files of `--www`, through the relay process.

#[path = "tls/certs.rs"]
#[allow(dead_code)]
mod certs;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rustls::{ClientConnection, StreamOwned};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use certs::Authority;
use support::browser::{self, Browser};
use support::gun::Gun;
use support::http::{self, Answer};
use support::node::{self, Scratch};
use support::peer::Peer;
use support::relay::{Kind, Relay, Setup};
use support::wait;

/// As many requests as are answered at a time.
const CONNECTIONS_MAX: usize = gunmetal::net::web::CONNECTIONS_MAX;
/// Of one address.
const ADDRESS_CONNECTIONS_MAX: usize = gunmetal::net::web::ADDRESS_CONNECTIONS_MAX;

fn start(dir: &Path, flags: &[&str]) -> Relay {
    let dir = dir.to_str().expect("UTF-8");
    Setup::new(Kind::Gunmetal).flags(&["--www", dir]).flags(flags).start()
}

/// A directory with a few files, inside one with a secret.
fn site() -> Scratch {
    let scratch = Scratch::new();
    let dir = scratch.0.join("www");
    fs::create_dir_all(dir.join("sub/.git")).unwrap();
    fs::write(scratch.0.join("secret.txt"), "secret").unwrap();
    fs::write(dir.join("app.js"), "let answer = 42;\n").unwrap();
    fs::write(dir.join("sub/index.html"), "<p>sub ☃</p>").unwrap();
    fs::write(dir.join(".env"), "secret").unwrap();
    fs::write(dir.join("sub/.git/config"), "secret").unwrap();
    symlink("../secret.txt", dir.join("link.txt")).unwrap();
    symlink("..", dir.join("up")).unwrap();
    symlink(".env", dir.join("env.txt")).unwrap();
    symlink("app.js", dir.join("same.js")).unwrap();
    scratch
}

fn ask(relay: &Relay, method: &str, path: &str, headers: &[&str]) -> Answer {
    let line = format!("{method} {path} HTTP/1.1");
    http::request(relay.connect(), &[&[line.as_str(), "Host: 127.0.0.1"], headers].concat())
}

fn get(relay: &Relay, path: &str) -> Answer {
    ask(relay, "GET", path, &[])
}

#[test]
fn a_file_comes_with_its_type_and_only_when_it_is_new() {
    let site = site();
    let relay = start(&site.0.join("www"), &[]);
    let file = get(&relay, "/app.js?version=1");
    assert_eq!((file.status, file.body.as_str()), (200, "let answer = 42;\n"));
    for (name, value) in [
        ("content-type", "text/javascript; charset=utf-8"),
        ("content-length", "17"),
        ("access-control-allow-origin", "*"),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("connection", "close"),
    ] {
        assert_eq!(file.header(name), value, "{name}");
    }
    assert_eq!(get(&relay, "/same.js").body, file.body, "a link that stays inside");

    let head = ask(&relay, "HEAD", "/app.js", &[]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), "17");

    for (name, validator) in [("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")] {
        assert_ne!(file.header(validator), "", "{validator}");
        let line = format!("{name}: {}", file.header(validator));
        let same = ask(&relay, "GET", "/app.js", &[&line]);
        assert_eq!((same.status, same.body.as_str()), (304, ""), "{line}");
    }
    fs::write(site.0.join("www/app.js"), "let answer = 'another';\n").unwrap();
    let line = format!("If-None-Match: {}", file.header("etag"));
    assert_eq!(ask(&relay, "GET", "/app.js", &[&line]).body, "let answer = 'another';\n");

    let part = ask(&relay, "GET", "/app.js", &["Range: bytes=4-9"]);
    assert_eq!((part.status, part.body.as_str()), (206, "answer"));
    assert_eq!(part.header("content-range"), "bytes 4-9/24");
}

#[test]
fn nothing_is_seen_but_files_of_the_directory() {
    let site = site();
    let pipe = site.0.join("www/pipe");
    assert!(Command::new("mkfifo").arg(pipe).status().expect("mkfifo").success());
    let relay = start(&site.0.join("www"), &[]);
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2e%2fsecret.txt",
        "/sub/../../secret.txt",
        "/sub/..%2f..%2fsecret.txt",
        "/..%5csecret.txt",
        "/link.txt",
        "/up/secret.txt",
        "/env.txt",
        "/.env",
        "/%2eenv",
        "/sub/.git/config",
        "/sub/%2egit/config",
        "//app.js",
        "//sub",
        "/app.js/",
        "/app.js%00.html",
        "/%ff",
        "/pipe",
        "/nothing",
    ] {
        for method in ["GET", "HEAD"] {
            let answer = ask(&relay, method, path, &[]);
            assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
            assert!(!answer.body.contains("secret\n") && answer.body != "secret", "{answer:?}");
        }
    }
    assert!(get(&relay, "/nothing").body.contains("This is a relay for Gun"));
    // A directory has an index or nothing.
    assert_eq!(get(&relay, "/sub").header("location"), "/sub/");
    let index = get(&relay, "/sub/");
    assert_eq!((index.status, index.body.as_str()), (200, "<p>sub ☃</p>"));
    assert_eq!(index.header("content-type"), "text/html; charset=utf-8");
    fs::remove_file(site.0.join("www/sub/index.html")).unwrap();
    assert_eq!(get(&relay, "/sub/").status, 404);
}

#[test]
fn the_relays_own_answers_stay() {
    let site = site();
    let relay = start(&site.0.join("www"), &[]);
    for name in ["gun", "healthz"] {
        fs::write(site.0.join("www").join(name), "a file").unwrap();
    }
    assert_eq!(get(&relay, "/healthz").body, "ok\n");
    assert_eq!(get(&relay, "/gun").status, 426);
    assert_eq!(ask(&relay, "POST", "/app.js", &[]).status, 405);
    assert_eq!(ask(&relay, "OPTIONS", "/app.js", &[]).status, 204);
    assert!(
        get(&relay, "/").body.contains("<h1>gunmetal</h1>"),
        "the page until there is an index"
    );
    fs::write(site.0.join("www/index.html"), "my app").unwrap();
    assert_eq!(get(&relay, "/").body, "my app");
    let summary = ask(&relay, "GET", "/", &["Accept: application/json"]);
    assert!(summary.body.contains("\"name\":\"gunmetal\""), "{summary:?}");

    let [mut a, mut b] = ["AAAAAAAAA", "BBBBBBBBB"].map(|name| Peer::join(&relay, name));
    a.say(json!({"#": "m1", "put": {"x": 1}}));
    assert_eq!(b.hear()["#"], "m1");
}

#[test]
fn a_relay_without_a_directory_does_not_start() {
    let site = site();
    for wrong in ["missing", "www/app.js"] {
        let dir = site.0.join(wrong);
        let mut command = Command::new(env!("CARGO_BIN_EXE_gunmetal"));
        command.args(["--listen", "127.0.0.1:0", "--admin", "off", "--www"]).arg(&dir);
        let output = command.env_remove("PORT").env_remove("PEERS").output().expect("run gunmetal");
        let log = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains(&format!("--www {}: no directory", dir.display())), "{log}");
    }
}

/// More than the kernel holds for a connection.
fn big_text() -> String {
    (0..4_000_000).map(|number| format!("{number:07}\n")).collect()
}

#[test]
fn a_big_file_comes_whole_in_plain_and_through_tls() {
    let site = site();
    let text = big_text();
    fs::write(site.0.join("www/big.txt"), &text).unwrap();
    let dir = site.0.join("www");
    let answer = get(&start(&dir, &[]), "/big.txt");
    assert_eq!(answer.status, 200);
    assert!(answer.body == text, "{} of {} bytes", answer.body.len(), text.len());

    let authority = Authority::new();
    let relay = authority.relay(&["--www", dir.to_str().unwrap()]);
    let fetch = |path: &str| {
        let name = "localhost".try_into().expect("a name");
        let client = ClientConnection::new(authority.client(), name).expect("a client");
        let mut stream = StreamOwned::new(client, relay.connect());
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("ask");
        let mut answer = String::new();
        // It ends with a close_notify, or this is an error.
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let answer = fetch("/big.txt");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(body == text, "{} of {} bytes", body.len(), text.len());
    assert!(fetch("/nothing").starts_with("HTTP/1.1 404 "));
}

/// Asks for a file that is too big to be sent to somebody who reads nothing; returns when its answer has begun.
fn hold(mut stream: TcpStream) -> TcpStream {
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").expect("ask");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

fn site_with_endless_file() -> Scratch {
    let site = site();
    let file = fs::File::create(site.0.join("www/endless")).expect("a file");
    file.set_len(1 << 30).expect("a hole");
    site
}

/// A connection from another address of this machine.
fn connect_from(relay: &Relay, last: u8) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from(([127, 0, 0, last], 0));
    socket.bind(&from.into()).expect("an address of the loopback network");
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], relay.port)).into()).expect("connect");
    socket.into()
}

#[test]
fn an_address_that_holds_its_places_keeps_files_from_nobody_else() {
    let site = site_with_endless_file();
    let mut relay = start(&site.0.join("www"), &["--stall-timeout=600", "--admin=127.0.0.1:0"]);
    let mut held: Vec<_> = (0..ADDRESS_CONNECTIONS_MAX).map(|_| hold(relay.connect())).collect();
    for _ in 0..3 {
        let refused = get(&relay, "/app.js");
        assert_eq!((refused.status, refused.header("retry-after")), (429, "1"), "{refused:?}");
    }
    relay.process.logged("who was turned away", |line| {
        line.contains("turned away: your address asks for too many files").then_some(())
    });
    let ask =
        |last: u8| http::request(connect_from(&relay, last), &["GET /app.js HTTP/1.1", "Host: a"]);
    for last in 2..10 {
        assert_eq!(ask(last).status, 200, "127.0.0.{last}");
    }
    let admin = relay.admin();
    assert_eq!(stats(admin)["counters"]["rejected_address_www"], 3);
    held.pop();
    wait::until("a place that is free again", || {
        (get(&relay, "/app.js").status == 200).then_some(())
    });
}

#[test]
fn a_proxy_that_is_trusted_has_no_limit_of_an_address() {
    let site = site_with_endless_file();
    let relay = start(&site.0.join("www"), &["--stall-timeout=600", "--trust=127.0.0.1"]);
    let _held: Vec<_> = (0..ADDRESS_CONNECTIONS_MAX).map(|_| hold(relay.connect())).collect();
    assert_eq!(get(&relay, "/app.js").status, 200, "of nobody it names");
    let named = |client: &str| {
        let line = format!("X-Forwarded-For: {client}");
        ask(&relay, "GET", "/app.js", &[&line]).status
    };
    assert_eq!(named("10.0.0.1"), 200);
}

#[test]
fn further_requests_get_503_and_peers_do_not_notice() {
    let site = site_with_endless_file();
    let relay = start(&site.0.join("www"), &["--stall-timeout=600"]);
    let from = |place: usize| connect_from(&relay, 2 + (place / ADDRESS_CONNECTIONS_MAX) as u8);
    let mut held: Vec<_> = (0..CONNECTIONS_MAX).map(|place| hold(from(place))).collect();
    let refused = get(&relay, "/app.js");
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{refused:?}");
    assert_eq!(get(&relay, "/healthz").status, 200);
    let [mut a, mut b] = ["AAAAAAAAA", "BBBBBBBBB"].map(|name| Peer::join(&relay, name));
    a.say(json!({"#": "m1", "put": {"x": 1}}));
    assert_eq!(b.hear()["#"], "m1");
    held.pop();
    wait::until("a place that is free again", || {
        (get(&relay, "/app.js").status == 200).then_some(())
    });
}

/// What the operator sees.
fn stats(admin: SocketAddr) -> serde_json::Value {
    let stream = TcpStream::connect(admin).expect("connect to the admin");
    let host = format!("Host: {admin}");
    let stats = http::request(stream, &["GET /stats.json HTTP/1.1", &host]).body;
    serde_json::from_str(&stats).expect("JSON")
}

#[test]
fn every_byte_of_an_answer_is_counted() {
    let site = site();
    fs::write(site.0.join("www/big.txt"), big_text()).unwrap();
    let mut relay = start(&site.0.join("www"), &["--admin=127.0.0.1:0"]);
    let admin = relay.admin();
    let mut sent = 0;
    // A file, none, an answer of the relay's own, and one that is no HTTP.
    for request in ["GET /big.txt HTTP/1.1", "GET /none HTTP/1.1", "GET /healthz HTTP/1.1", "?"] {
        let mut stream = relay.connect();
        write!(stream, "{request}\r\nHost: a\r\n\r\n").expect("ask");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 "), "{request}");
        sent += answer.len() as u64;
        wait::until(format!("{sent} bytes after {request}"), || {
            let counted = stats(admin)["counters"]["bytes_out"].as_u64().expect("a number");
            assert!(counted <= sent, "{counted} of {sent} bytes after {request}");
            (counted == sent).then_some(())
        });
    }
}

#[test]
fn a_connection_is_counted_until_its_file_is_sent() {
    let site = site_with_endless_file();
    let mut relay = start(
        &site.0.join("www"),
        &["--address-connections-max=2", "--admin=127.0.0.1:0", "--stall-timeout=600"],
    );
    let admin = relay.admin();
    let open = || stats(admin)["connections"].as_u64().expect("a number");
    let held = [hold(relay.connect()), hold(relay.connect())];
    assert_eq!(open(), 2);
    assert_eq!(get(&relay, "/app.js").status, 429);
    drop(held);
    wait::until("no connection", || (open() == 0).then_some(()));
    for _ in 0..5 {
        wait::until("the file", || (get(&relay, "/app.js").status == 200).then_some(()));
    }
    wait::until("no connection", || (open() == 0).then_some(()));
}

#[test]
fn who_takes_nothing_is_cut_off() {
    let site = site_with_endless_file();
    let mut relay = start(&site.0.join("www"), &["--stall-timeout=1", "--log=debug"]);
    let _held = hold(relay.connect());
    relay.process.logged("the end of the answer", |line| {
        line.contains("a request for a file was not answered whole").then_some(())
    });
}

#[test]
fn a_reload_of_the_stall_timeout_reaches_the_next_answer() {
    let site = site_with_endless_file();
    let file = site.0.join("gunmetal.toml");
    fs::write(&file, "stall-timeout = 600").expect("write the settings");
    let flags = ["--config", file.to_str().expect("UTF-8"), "--log=debug"];
    let mut relay = start(&site.0.join("www"), &flags);
    fs::write(&file, "stall-timeout = 1").expect("write the settings");
    relay.process.signal("HUP");
    relay.process.logged("the reload", |line| line.contains("reload: done").then_some(()));
    let _held = hold(relay.connect());
    relay.process.logged("the end of the answer", |line| {
        line.contains("a request for a file was not answered whole").then_some(())
    });
}

#[test]
fn a_page_loads_gun_from_the_relay_and_talks_through_it() {
    let Some(node) = node::ensure() else { return };
    let Some(chromium) = browser::find() else { return };
    let site = Scratch::new();
    fs::write(site.0.join("gun.js"), node.gun_js()).unwrap();
    let page = "<!doctype html><script src=\"gun.js\"></script><script>\
        const gun = Gun([location.origin + '/gun']);\
        gun.get('room').get('node').on(text => gun.get('room').get('page').put('heard ' + text));\
        </script>";
    fs::write(site.0.join("index.html"), page).unwrap();
    let relay = start(&site.0, &[]);
    let mut peer = Gun::browser(&relay.url());
    peer.connected();
    let from_the_page = peer.on(&["room", "page"]);
    peer.put(&["room", "node"], json!("hello 😀"));
    let _browser = Browser::open(chromium, &format!("http://127.0.0.1:{}/", relay.port));
    from_the_page.expect(json!("heard hello 😀"));
}
