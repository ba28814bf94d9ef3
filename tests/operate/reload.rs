//! Settings that change while the relay runs.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::node::Scratch;
use crate::support::peer::{Peer, unique};
use crate::support::process::Process;
use crate::support::wait;
use crate::{logged, start};

#[test]
fn a_reload_applies_what_it_can_and_says_what_it_cannot() {
    let scratch = Scratch::new();
    let path = scratch.0.join("gunmetal.toml");
    let file = path.to_str().expect("UTF-8");
    fs::write(&path, "connections-max = 2\nwriters = 2\n").unwrap();
    let (mut relay, url) = start(&["--config", file], &[]);
    let mut first = Peer::join_at(&url, "AAAAAAAAA");
    let mut second = Peer::join_at(&url, "BBBBBBBBB");
    assert!(Peer::try_connect(&url).is_none(), "two are the most");

    fs::write(&path, "connections-max = 3\nwriters = 1\nlog = 'debug'\n").unwrap();
    relay.signal("HUP");
    logged(&mut relay, "reload: done, 3 settings differ", 1);
    let log = relay.log();
    for line in [
        "reload: connections-max: 2 -> 3",
        "reload: log: info -> debug",
        "reload: writers: 2 -> 1 needs a new process",
    ] {
        assert!(log.contains(line), "{line} is missing");
    }
    let third = Peer::join_at(&url, "CCCCCCCCC");
    assert!(Peer::try_connect(&url).is_none(), "three are the most");
    assert_eq!(first.fence().len() + second.fence().len(), 0, "the others are still there");
    third.vanish();
    // A line of level debug, which was not logged before.
    logged(&mut relay, "closed: the peer hung up", 1);
}

#[test]
fn a_reload_of_a_wrong_file_changes_nothing() {
    let scratch = Scratch::new();
    let path = scratch.0.join("gunmetal.toml");
    fs::write(&path, "connections-max = 1\n").unwrap();
    let (mut relay, url) = start(&[], &[("GUNMETAL_CONFIG", path.to_str().expect("UTF-8"))]);
    let mut peer = Peer::join_at(&url, "AAAAAAAAA");
    fs::write(&path, "connections-max = 9\nlog = 'debug'\ngapp = 1\n").unwrap();
    relay.signal("HUP");
    logged(&mut relay, "reload: nothing is changed", 1);
    assert!(relay.log().contains("line 3: unknown key gapp; did you mean gap?"));
    assert!(Peer::try_connect(&url).is_none(), "one is still the most");
    assert_eq!(peer.fence().len(), 0);
}

#[test]
fn log_lines_can_be_json() {
    let (mut relay, _) = start(&["--log-format=json"], &[]);
    relay.signal("HUP");
    logged(&mut relay, "reload: done", 1);
    for line in relay.log().lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("a JSON object per line");
        assert!(object["level"].is_string() && object["message"].is_string(), "{line}");
    }
}

/// A file of settings, and a relay that was started with it.
struct Tuned {
    relay: Process,
    url: String,
    path: PathBuf,
    reloads: usize,
    scratch: Scratch,
}

impl Tuned {
    fn start(text: impl Fn(&Path) -> String) -> Tuned {
        let scratch = Scratch::new();
        let path = scratch.0.join("gunmetal.toml");
        fs::write(&path, text(&scratch.0)).unwrap();
        let (relay, url) = start(&["--config", path.to_str().expect("UTF-8")], &[]);
        Tuned { relay, url, path, reloads: 0, scratch }
    }

    /// Reloads with another file.
    fn tune(&mut self, text: &str) {
        fs::write(&self.path, text).unwrap();
        self.reload();
    }

    fn reload(&mut self) {
        self.reloads += 1;
        self.relay.signal("HUP");
        logged(&mut self.relay, "reload: done", self.reloads);
    }

    /// Whether a peer may join with this query.
    fn admits(&self, query: &str) -> bool {
        Peer::try_connect(&format!("{}{query}", self.url)).is_some()
    }
}

#[test]
fn a_token_is_changed_while_peers_stay() {
    let file = |scratch: &Path| scratch.join("token");
    let mut tuned = Tuned::start(|scratch| {
        fs::write(file(scratch), "first-token\n").unwrap();
        format!("token-file = '{}'\n", file(scratch).display())
    });
    let mut peer = Peer::join_at(&format!("{}?token=first-token", tuned.url), "AAAAAAAAA");
    assert!(!tuned.admits("?token=second-token"));
    fs::write(file(&tuned.scratch.0), "second-token\n").unwrap();
    tuned.reload();
    assert!(tuned.relay.log().contains("reload: token-file: another token is in it"));
    assert!(tuned.admits("?token=second-token") && !tuned.admits("?token=first-token"));
    assert_eq!(peer.fence().len(), 0, "who is inside stays");

    tuned.tune("token = 'third-token'\n");
    assert!(tuned.admits("?token=third-token") && !tuned.admits("?token=second-token"));
    assert!(!tuned.relay.log().contains("third-token"), "it is not shown");
    tuned.tune("");
    assert!(tuned.admits(""));
    // A token that cannot be one changes nothing.
    fs::write(&tuned.path, "token = 'short'\n").unwrap();
    tuned.relay.signal("HUP");
    logged(&mut tuned.relay, "reload: nothing is changed", 1);
    assert!(tuned.admits(""));
}

#[test]
fn who_may_come_in_is_changed_and_who_is_inside_counts() {
    let mut tuned = Tuned::start(|_| "address-connections-max = 2\n".to_owned());
    let mut inside =
        [Peer::join_at(&tuned.url, "AAAAAAAAA"), Peer::join_at(&tuned.url, "BBBBBBBBB")];
    assert!(!tuned.admits(""));
    tuned.tune("address-connections-max = 3\n");
    let third = Peer::join_at(&tuned.url, "CCCCCCCCC");
    assert!(!tuned.admits(""));
    // A proxy has no limit of its own; the client that it names has.
    tuned.tune("address-connections-max = 3\ntrust = '127.0.0.1'\n");
    let forwarded = |client: &str| status(&tuned.url, &format!("X-Forwarded-For: {client}\r\n"));
    assert_eq!(forwarded("127.0.0.1"), 101);
    assert_eq!(forwarded("192.0.2.1"), 101);
    tuned.tune("origins = 'https://a.example'\n");
    assert_eq!(status(&tuned.url, "Origin: https://b.example\r\n"), 403);
    assert_eq!(status(&tuned.url, "Origin: https://a.example\r\n"), 101);
    tuned.tune("accepts-per-second = 1\n");
    wait::until("too many in a second", || (!tuned.admits("")).then_some(()));
    tuned.tune("");
    assert!(tuned.admits(""));
    assert!(inside.iter_mut().all(|peer| peer.fence().is_empty()));
    third.vanish();
}

#[test]
fn how_much_a_peer_may_say_is_changed_for_those_who_are_connected() {
    let mut tuned = Tuned::start(|_| "admin = '127.0.0.1:0'\n".to_owned());
    let (mut a, mut b) =
        (Peer::join_at(&tuned.url, "AAAAAAAAA"), Peer::join_at(&tuned.url, "BBBBBBBBB"));
    let say = |a: &mut Peer, count: usize| {
        let ids: Vec<_> = (0..count).map(|_| unique("m")).collect();
        ids.iter().for_each(|id| a.say(json!({"#": id})));
        ids
    };
    let hear = |b: &mut Peer, ids: &[String]| {
        ids.iter().for_each(|id| assert_eq!(b.hear()["#"], id.as_str()));
    };
    let ids = say(&mut a, 200);
    hear(&mut b, &ids);
    tuned.tune("peer-messages-per-second = 5\n");
    // Ten seconds' worth may come at once; the rest waits to be read, and is not lost.
    let ids = say(&mut a, 100);
    hear(&mut b, &ids[..50]);
    tuned.tune("");
    hear(&mut b, &ids[50..]);
    let ids = say(&mut a, 200);
    hear(&mut b, &ids);
}

/// The status of an upgrade with this header line.
fn status(url: &str, header: &str) -> u16 {
    let address = url.split('/').nth(2).expect("an address");
    let mut stream = TcpStream::connect(address).expect("connect");
    let head = "GET /gun HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    write!(stream, "{head}{header}\r\n").expect("a request");
    stream.set_read_timeout(Some(wait::SOON)).expect("a timeout");
    let mut line = [0; 12];
    stream.read_exact(&mut line).expect("a status line");
    std::str::from_utf8(&line[9..]).expect("digits").parse().expect("a status")
}
