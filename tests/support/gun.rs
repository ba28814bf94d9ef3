//! Gun.js peers under node, driven line by line (`tests/node/client.js`).

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::node::{self, Scratch, Version};
use super::process::Process;
use super::wait::{self, SOON};

/// A Gun.js peer in a process of its own.
pub struct Gun {
    process: Process,
    events: Events,
    last: u64,
    _scratch: Scratch,
}

/// One call of a callback, as the JSON text of its fields.
#[derive(Clone, Debug)]
pub struct Event(HashMap<String, Box<RawValue>>);

impl Event {
    /// The data; `None` where Gun called back with `undefined`, which means that it knows nothing.
    pub fn value(&self) -> Option<Value> {
        self.field("value")
    }

    /// The data as JSON text, for what a Rust string cannot hold.
    pub fn value_text(&self) -> Option<&str> {
        self.0.get("value").map(|text| text.get())
    }

    fn has_value(&self, text: &str) -> bool {
        let parsed = || serde_json::from_str::<Value>(text).ok();
        self.value_text() == Some(text) || parsed().is_some_and(|value| self.value() == Some(value))
    }

    /// `{"ok": …, "err": …}` of a put.
    pub fn ack(&self) -> Option<Value> {
        self.field("ack")
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.0.get(name).and_then(|text| serde_json::from_str(text.get()).ok())
    }
}

/// Everything a command calls back with.
pub struct Calls {
    what: String,
    number: u64,
    events: Events,
}

impl Calls {
    pub fn all(&self) -> Vec<Event> {
        self.events.lock().expect("events").get(&self.number).cloned().unwrap_or_default()
    }

    /// Waits for a call that `matches`, also among those already made.
    pub fn find(&self, matches: impl Fn(&Event) -> bool) -> Event {
        wait::until(format!("{} to call back", self.what), || self.all().into_iter().find(&matches))
    }

    /// Waits for this value.
    pub fn expect(&self, value: Value) {
        self.expect_text(&value.to_string());
    }

    /// Waits for this value, given as compact JSON text.
    pub fn expect_text(&self, value: &str) {
        let found = wait::poll(SOON, || {
            self.all().iter().any(|event| event.has_value(value)).then_some(())
        });
        let last = || self.all().last().map(|event| format!("{event:.500?}"));
        assert!(
            found.is_some(),
            "waited {SOON:?} for {} to give {value:.500}, last was {:?}",
            self.what,
            last()
        );
    }
}

impl Gun {
    /// A peer as a page runs it.
    pub fn browser(url: &str) -> Gun {
        Gun::browser_of(Version::Newest, url)
    }

    pub fn browser_of(version: Version, url: &str) -> Gun {
        Gun::start(version, "browser", url)
    }

    /// A peer as a page runs it, but without a storage: what it tells others is what it holds in memory.
    pub fn bare(url: &str) -> Gun {
        Gun::bare_of(Version::Newest, url)
    }

    pub fn bare_of(version: Version, url: &str) -> Gun {
        Gun::start(version, "bare", url)
    }

    /// A peer as `require('gun')` gives it under node. It dials when it first has to say something.
    pub fn server(url: &str) -> Gun {
        Gun::start(Version::Newest, "server", url)
    }

    /// A peer as a page runs it, which trusts the root certificate in a file besides the usual ones.
    pub fn browser_trusting(root: &Path, url: &str) -> Gun {
        Gun::start_trusting(Some(root), Version::Newest, "browser", url)
    }

    fn start(version: Version, kind: &str, url: &str) -> Gun {
        Gun::start_trusting(None, version, kind, url)
    }

    fn start_trusting(root: Option<&Path>, version: Version, kind: &str, url: &str) -> Gun {
        let node = node::ensure().expect("a test that starts a Gun peer asks for node first");
        let setup = json!({"gun": version.package(), "kind": kind, "peers": [url]});
        let name = format!("{kind} peer ({})", version.package());
        let (mut process, scratch) = node.run_trusting(root, name, "client.js", &setup);
        let events = Arc::default();
        file_events(process.stdout(), Arc::clone(&events));
        Gun { process, events, last: 0, _scratch: scratch }
    }

    pub fn put(&mut self, path: &[&str], value: Value) {
        self.command("put", json!({"path": path, "value": value}));
    }

    /// A put of a value given as JSON text.
    pub fn put_text(&mut self, path: &[&str], value: &str) {
        let n = self.last + 1;
        self.write(format!(r#"{{"n":{n},"op":"put","path":{},"value":{value}}}"#, json!(path)));
    }

    pub fn put_acknowledged(&mut self, path: &[&str], value: Value) -> Calls {
        self.command("put", json!({"path": path, "value": value, "ack": true}))
    }

    /// `count` puts of `key0`, `key1`, … in one turn of the peer's event loop.
    pub fn puts(&mut self, path: &[&str], count: usize) {
        self.command("puts", json!({"path": path, "count": count}));
    }

    pub fn set(&mut self, path: &[&str], value: Value) {
        self.command("set", json!({"path": path, "value": value}));
    }

    /// Puts a reference to the node at `to`.
    pub fn link(&mut self, path: &[&str], to: &[&str]) {
        self.command("link", json!({"path": path, "to": to}));
    }

    pub fn on(&mut self, path: &[&str]) -> Calls {
        self.command("on", json!({"path": path}))
    }

    pub fn map(&mut self, path: &[&str]) -> Calls {
        self.command("map", json!({"path": path}))
    }

    /// Reads once, with the patience of a peer on a slow network.
    pub fn once(&mut self, path: &[&str]) -> Event {
        self.command("once", json!({"path": path, "wait": 5000})).find(|_| true)
    }

    /// Waits until the peer is connected and has heard the relay's greeting.
    pub fn connected(&mut self) {
        wait::until("a Gun peer to be connected", || self.is_connected().then_some(()));
    }

    /// What this one puts, the other gets.
    pub fn talks_to(&mut self, other: &mut Gun) {
        self.connected();
        other.connected();
        let heard = other.on(&["mark"]);
        self.put(&["mark"], json!({"name": "Mark"}));
        heard.expect(json!({"name": "Mark"}));
    }

    pub fn is_connected(&mut self) -> bool {
        let peers = self.command("peers", json!({})).find(|_| true).value();
        let peers = peers.as_ref().and_then(Value::as_array).expect("a list of peers");
        peers.iter().any(|peer| peer["open"] == true && peer["pid"].is_string())
    }

    fn command(&mut self, op: &str, mut command: Value) -> Calls {
        command["op"] = op.into();
        command["n"] = (self.last + 1).into();
        self.write(command.to_string())
    }

    fn write(&mut self, line: String) -> Calls {
        self.last += 1;
        writeln!(self.process.stdin(), "{line}").expect("a Gun peer takes commands");
        Calls { what: format!("{line:.120}"), number: self.last, events: Arc::clone(&self.events) }
    }
}

type Events = Arc<Mutex<HashMap<u64, Vec<Event>>>>;

fn file_events(stdout: impl Read + Send + 'static, events: Events) {
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let event = Event(
                serde_json::from_str(&line).unwrap_or_else(|e| panic!("an event {line:.200}: {e}")),
            );
            let number = event.field("n").and_then(|n| n.as_u64()).expect("an event has a number");
            events.lock().expect("events").entry(number).or_default().push(event);
        }
    });
}
