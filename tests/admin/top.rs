//! `gunmetal top`: what a relay tells of itself, in a terminal.

use std::net::SocketAddr;
use std::process::{Command, Output};

use gunmetal::top::picture::Picture;
use gunmetal::top::table::SORTS;
use gunmetal::top::{Watch, screen};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use crate::support::peer::Peer;
use crate::support::relay::{Kind, Relay, Setup};
use crate::support::wait;
use crate::watched;

fn top(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gunmetal"));
    command.arg("top").args(args).env_remove("PORT").envs(env.iter().copied());
    command.output().expect("run gunmetal top")
}

/// The lines of a screen.
fn screen(admin: SocketAddr, seen: Picture, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    let (sort, seen) = (seen.sort, Ok(seen));
    terminal.draw(|frame| screen::draw(frame, admin, sort, &seen)).expect("draw");
    let cells = terminal.backend().buffer().content().chunks(width.into());
    let line = |cells: &[ratatui::buffer::Cell]| {
        cells.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
    };
    cells.map(line).collect()
}

/// A relay with everything: links up and down, a slow reader, duplicates, a peer that left, one that was turned away.
struct Scene {
    _relay: Relay,
    admin: SocketAddr,
    _other: Relay,
    alice: Peer,
    bob: Peer,
    _slow: Peer,
    said: u32,
}

impl Scene {
    fn new() -> Scene {
        let other = Setup::new(Kind::Gunmetal).start();
        let mut relay = Setup::new(Kind::Gunmetal)
            .peer(other.url())
            .peer("ws://127.0.0.1:1/gun")
            .flags(&["--admin=127.0.0.1:0", "--writers=1", "--backlog-bytes-max=64M"])
            .flags(&["--stall-timeout=600", "--origins=https://app.example"])
            .start();
        let admin = relay.admin();
        let [alice, mut bob, slow] =
            ["ALICE0000", "BOB000000", "SLOW00000"].map(|name| Peer::join(&relay, name));
        Peer::join(&relay, "GONE00000").vanish();
        let answer = crate::support::http::request(
            relay.connect(),
            &[
                "GET /gun HTTP/1.1",
                "Host: a",
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
                "Origin: https://evil.example",
            ],
        );
        assert_eq!(answer.status, 403);
        bob.fence();
        let mut scene =
            Scene { _relay: relay, admin, _other: other, alice, bob, _slow: slow, said: 0 };
        (0..20).for_each(|_| scene.say(1_000_000));
        wait::until("the link and those that left to be known", || {
            let peers = crate::json(admin, "/peers.json");
            let link = crate::json(admin, "/stats.json")["links"][0]["is_up"] == true;
            (link && peers["left"][0]["pid"] == "GONE00000").then_some(())
        });
        scene
    }

    /// A message that bob hears, twice.
    fn say(&mut self, bytes: usize) {
        let id = format!("m{}", self.said);
        let message = json!({"#": id, "x": "x".repeat(bytes)});
        self.said += 1;
        self.alice.say(message.clone());
        assert_eq!(self.bob.hear()["#"], id);
        self.alice.say(message);
        self.alice.fence();
    }
}

/// What is in lines wherever the relay is looked at.
fn has_all_an_operator_needs(lines: &[String], admin: SocketAddr) {
    let line = |start: &str| {
        let line = lines.iter().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("{start:?} begins no line of {lines:#?}")).clone()
    };
    let has = |start: &str, parts: &[&str]| {
        let line = line(start);
        parts.iter().for_each(|part| assert!(line.contains(part), "{part:?} in {line:?}"));
    };
    has("gunmetal ", &[&format!(" at {admin}, pid "), ", up ", ", ready"]);
    has("peers 3 in, 1 out; connections 4 of ", &["; memory held "]);
    has("in ", &[" messages/s, ", "/s; out ", " copies/s, "]);
    has("delay p50 ", &[", p99 ", ", worst ", "s, over "]);
    has("waiting: ", &["M for 1 slow peers, worst ", " of 64.0M; ", " for writers"]);
    has("busy: ", &["writer-0 ", " %, reactor-0 ", " %, reactor-1 "]);
    has("process: ", &[" of a core, ", "M resident, files "]);
    has("dropped: duplicate id ", &[]);
    has("ended: ", &["hung up 1", "plain HTTP answered 1"]);
    has("turned away: origin 1", &[]);
    has("links, 1 of 2 up: DOWN ws://127.0.0.1:1/gun, opened 0×; up ws://127.0.0.1:", &[]);
    has("SLOW00000  127.0.0.1:", &["M"]);
    has("GONE00000  127.0.0.1:", &["the peer hung up"]);
}

#[test]
fn top_shows_what_an_operator_needs_on_80_by_24() {
    let mut scene = Scene::new();
    let mut watch = Watch::new(scene.admin);
    let first = screen(scene.admin, watch.look(0).expect("a relay"), 80, 24);
    assert!(first.contains(&"in, out: known at the next look".to_owned()), "{first:#?}");
    (0..10).for_each(|_| scene.say(10));
    let lines = screen(scene.admin, watch.look(0).expect("a relay"), 80, 24);
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
    has_all_an_operator_needs(&lines, scene.admin);
    assert!(!lines.iter().any(|line| line.starts_with("in 0 ")), "there was traffic: {lines:#?}");
    assert!(
        lines.iter().any(|line| line.starts_with("dropped: duplicate id ") && line.contains("/s)"))
    );
    assert!(lines[23].starts_with("q quit | sort: [p pending], "), "{lines:#?}");
    let peers = lines.iter().skip_while(|line| !line.starts_with("PEER ")).nth(1);
    assert!(
        peers.is_some_and(|line| line.starts_with("SLOW00000 ")),
        "most waits for it: {lines:#?}"
    );
}

#[test]
fn each_key_sorts_as_the_relay_does() {
    let mut scene = Scene::new();
    let mut watch = Watch::new(scene.admin);
    for (sort, (_, order, _)) in SORTS.iter().enumerate() {
        scene.say(10);
        let picture = watch.look(sort).expect("a relay");
        let told = crate::json(scene.admin, &format!("/peers.json?sort={order}"));
        let shown = screen(scene.admin, picture, 80, 24);
        let first = shown.iter().skip_while(|line| !line.starts_with("PEER ")).nth(1);
        let first =
            first.expect("a peer").split(' ').next().expect("a name").trim_start_matches('>');
        let leads = told["peers"][0]["pid"].as_str().expect("a name");
        // What a peer had in the last second may have changed since.
        assert!(first == leads || *order == "rate", "{order}: {first} before {leads}");
        match *order {
            "pending" => assert_eq!(first, "SLOW00000"),
            "messages_in" | "bytes_in" => assert_eq!(first, "ALICE0000"),
            _ => {}
        }
    }
}

#[test]
fn top_prints_it_all_once() {
    let mut scene = Scene::new();
    let admin = scene.admin.to_string();
    for args in [&["--once", "--admin", &admin][..], &["--admin", &admin]] {
        scene.say(10);
        let told = top(args, &[]);
        assert_eq!(told.status.code(), Some(0), "{told:?}");
        let text = String::from_utf8(told.stdout).expect("UTF-8");
        assert!(!text.contains('\u{1b}'), "plain text: {text}");
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        has_all_an_operator_needs(&lines, scene.admin);
        for start in ["PEER       ADDRESS  ", "LEFT       ADDRESS  ", ">"] {
            assert!(lines.iter().any(|line| line.starts_with(start)), "{start} in {text}");
        }
    }
    let told = top(&["--once"], &[("GUNMETAL_ADMIN", &admin)]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
}

#[test]
fn top_of_an_idle_relay_is_short() {
    let (_relay, admin) = watched(&[]);
    let told = top(&["--once", "--admin", &admin.to_string()], &[]);
    let text = String::from_utf8(told.stdout).expect("UTF-8");
    for line in ["delay: nothing was relayed lately", "peers 0 in, 0 out; connections 0 of "] {
        assert!(text.contains(line), "{line} in {text}");
    }
    for head in ["dropped:", "ended:", "turned away:", "links", "LEFT"] {
        assert!(!text.contains(head), "{head} in {text}");
    }
}
