//! Relays that dial others, where gunmetal differs on purpose; and the shapes of frames, where it differs too.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, accept};

use crate::relays::{self, Options, Package, url};
use crate::support::peer::{Incoming, Peer, messages, unique};
use crate::support::relay::{Kind, Port, Relay, Setup};
use crate::support::wait::{self, SOON};

pub const DIFFERENCES: &[&str] = &[
    "links not up yet",
    "links that are down",
    "redialling",
    "links to itself",
    "mob",
    "spelling",
    "frames",
    "turns",
];

fn linked_gunmetal(peer: &str) -> Relay {
    Setup::new(Kind::Gunmetal).peer(peer).start()
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind any port");
    let port = listener.local_addr().expect("an address").port();
    (listener, url(port))
}

fn pair(port: u16) -> [Peer; 2] {
    ["AAAAAAAAA", "BBBBBBBBB"].map(|name| Peer::join_at(&url(port), name))
}

/// Whom the relay names in `><`.
fn named(a: &mut Peer, b: &mut Peer) -> String {
    let probe = unique("probe");
    a.say(json!({"#": probe}));
    loop {
        let heard = b.hear();
        if heard["#"] == probe.as_str() {
            return heard["><"].as_str().unwrap_or_default().to_owned();
        }
    }
}

#[test]
fn a_link_that_is_not_up_yet_is_not_named() {
    let Some(mesh) = Package::mesh() else { return };
    // It takes the connection and never answers.
    let (_listener, remote) = listener();
    let [mut a, mut b] = pair(mesh.linked_relay(0, &remote));
    assert_eq!(named(&mut a, &mut b), format!("{remote},AAAAAAAAA,BBBBBBBBB"));
    let relay = linked_gunmetal(&remote);
    let [mut a, mut b] = pair(relay.port);
    assert_eq!(named(&mut a, &mut b), "AAAAAAAAA,BBBBBBBBB");
}

#[test]
fn what_is_said_while_a_link_is_down_is_not_lost() {
    let Some(mesh) = Package::mesh() else { return };
    let (gun_listener, gun_remote) = listener();
    assert!(!survives(mesh.linked_relay(0, &gun_remote), &gun_listener, &gun_remote));
    let (our_listener, our_remote) = listener();
    let relay = linked_gunmetal(&our_remote);
    assert!(survives(relay.port, &our_listener, &our_remote));
}

/// Whether the remote hears, after it came back, what was said while it was away.
fn survives(port: u16, listener: &TcpListener, remote: &str) -> bool {
    let link = accepted(listener);
    let [mut a, mut b] = pair(port);
    wait::until("the link to be named", || named(&mut a, &mut b).contains(remote).then_some(()));
    drop(link);
    wait::until("the link to be missed", || {
        (!named(&mut a, &mut b).contains(remote)).then_some(())
    });
    a.say(json!({"#": "meanwhile"}));
    let mut link = accepted(listener);
    wait::until("the link to be back", || named(&mut a, &mut b).contains(remote).then_some(()));
    a.say(json!({"#": "last"}));
    let mut heard = Vec::new();
    while !heard.contains(&json!("last")) {
        let Message::Text(text) = link.read().expect("the link stays up") else { continue };
        let messages = messages(&text);
        heard.extend(
            messages
                .iter()
                .map(|text| serde_json::from_str::<Value>(text).expect("JSON")["#"].clone()),
        );
    }
    heard.contains(&json!("meanwhile"))
}

fn accepted(listener: &TcpListener) -> WebSocket<TcpStream> {
    let (stream, _) = listener.accept().expect("a link");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    accept(stream).expect("an upgrade")
}

#[test]
fn a_relay_that_is_down_is_dialled_for_ever() {
    let Some(mesh) = Package::mesh() else { return };
    let [gun, ours] =
        [listener(), listener()].map(|(listener, remote)| (count_dials(listener), remote));
    mesh.linked_relay(0, &gun.1);
    let _relay = linked_gunmetal(&ours.1);
    wait::until("a third dial", || (ours.0.load(Ordering::SeqCst) >= 3).then_some(()));
    // Gun's dials are two seconds apart, so there is no third to come.
    thread::sleep(Duration::from_secs(4));
    assert_eq!(gun.0.load(Ordering::SeqCst), 2);
}

/// Takes connections and ends them at once.
fn count_dials(listener: TcpListener) -> &'static AtomicUsize {
    let count: &'static AtomicUsize = Box::leak(Box::default());
    thread::spawn(move || {
        listener.incoming().for_each(|_| {
            count.fetch_add(1, Ordering::SeqCst);
        })
    });
    count
}

#[test]
fn a_relay_does_not_stay_linked_to_itself() {
    let Some(mesh) = Package::mesh() else { return };
    let port = Port::reserve();
    let number = port.number;
    let myself = url(number);
    // node does not share a port.
    drop(port);
    let [mut a, mut b] = pair(mesh.linked_relay(number, &myself));
    let names = named(&mut a, &mut b);
    assert!(names.starts_with(&myself) && names.split(',').count() == 4, "{names}");
    a.say(json!({"#": "once"}));
    assert_eq!(b.hear()["#"], "once");

    let port = Port::reserve();
    let _relay = Setup::new(Kind::Gunmetal).port(&port).peer(port.url()).start();
    let [mut a, mut b] = pair(port.number);
    wait::until("the link to be gone", || {
        (named(&mut a, &mut b) == "AAAAAAAAA,BBBBBBBBB").then_some(())
    });
}

#[test]
fn nobody_is_sent_away_and_nothing_dialled_because_a_peer_says_so() {
    let Some(mesh) = Package::mesh() else { return };
    let (listener, remote) = listener();
    let mob = json!({"dam": "mob", "#": "m1", "peers": {&remote: {}}});
    let relay = relays::gunmetal(Options::default());
    let mut peer = Peer::connect_to(&relay.url());
    peer.hear();
    peer.say(mob.clone());
    assert!(peer.fence().is_empty());
    let mut peer = Peer::connect_to(&url(mesh.relay(Options::default())));
    peer.hear();
    peer.say(mob);
    assert!(matches!(peer.receive(), Incoming::Close(_) | Incoming::Ended));
    // Only the second was obeyed, so whoever dials is Gun.
    accepted(&listener);
    listener.set_nonblocking(true).expect("no waiting");
    assert!(listener.accept().is_err());
}

#[test]
fn numbers_and_keys_are_spelled_as_they_came() {
    let Some(mesh) = Package::mesh() else { return };
    let said = r##"{"b":1.0,"#":"a1","2":-0,"1":1e2,"b":"\u0041","c":1e400}"##;
    let relay = relays::gunmetal(Options::default());
    let [theirs, ours] = [mesh.relay(Options::default()), relay.port].map(|port| {
        let [mut a, mut b] = pair(port);
        a.say_text(said);
        b.hear_text()
    });
    assert_eq!(theirs, r##"{"1":100,"2":0,"b":"A","#":"a1","c":null,"><":"AAAAAAAAA,BBBBBBBBB"}"##);
    assert_eq!(ours, said.replace('}', r##","><":"AAAAAAAAA,BBBBBBBBB"}"##));
}

#[test]
fn messages_said_at_once_need_not_begin_with_a_frame_of_one() {
    let Some(mesh) = Package::mesh() else { return };
    let relay = relays::gunmetal(Options::default());
    let [mut a, mut b] = pair(relay.port);
    assert_eq!(frames_of_five(&mut a, &mut b), [5]);
    let [mut a, mut b] = pair(mesh.relay(Options::default()));
    // For a millisecond after the last thing it was told, a batch for B is open.
    wait::until("a frame of one", || (frames_of_five(&mut a, &mut b) == [1, 4]).then_some(()));
}

/// How many messages are in each frame of what was said at once.
fn frames_of_five(a: &mut Peer, b: &mut Peer) -> Vec<usize> {
    a.say(json!([(); 5].map(|()| json!({"#": unique("m")}))));
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 5 {
        let Incoming::Text(frame) = b.receive() else { panic!("a frame") };
        sizes.push(messages(&frame).len());
    }
    sizes
}

#[test]
fn a_long_batch_is_not_overtaken() {
    let Some(mesh) = Package::mesh() else { return };
    let relay = relays::gunmetal(Options::default());
    let [theirs, ours] = [mesh.relay(Options::default()), relay.port].map(|port| {
        let [mut a, mut b] = pair(port);
        // A falsy element ends a turn of Gun's; the rest of the batch inside comes after the one around it.
        a.say_text(r##"["[{\"#\":\"a1\"},0,{\"#\":\"a2\"}]",{"#":"a3"}]"##);
        [(); 3].map(|()| b.hear()["#"].as_str().expect("an id").to_owned())
    });
    assert_eq!(
        (theirs, ours),
        (["a1", "a3", "a2"].map(str::to_owned), ["a1", "a2", "a3"].map(str::to_owned))
    );
}
