//! What a service manager is told, and sockets that come from it.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::start;
use crate::support::peer::{Peer, unique};
use crate::support::process::Process;
use crate::support::relay::url;
use crate::support::wait::SOON;
use crate::upgrade::Successor;

/// A service manager's end.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn new() -> Manager {
        // The path of a socket is short, so that it cannot be in the test's own directory.
        let name = std::env::temp_dir().join(unique("gunmetal-notify-"));
        let socket = UnixDatagram::bind(&name).expect("bind a path");
        socket.set_read_timeout(Some(SOON)).expect("a timeout");
        Manager { socket, name: name.to_str().expect("UTF-8").to_owned() }
    }

    /// The next message that has this line.
    fn told(&self, line: &str) -> String {
        loop {
            let mut buffer = [0; 4096];
            let count = self.socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{line}: {e}"));
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if text.lines().any(|found| found == line) {
                return text;
            }
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.name);
    }
}

#[test]
fn the_service_manager_is_told_what_the_relay_does() {
    let manager = Manager::new();
    let env = [("NOTIFY_SOCKET", manager.name.as_str()), ("WATCHDOG_USEC", "400000")];
    let (mut relay, _) = start(&[], &env);
    let ready = manager.told("READY=1");
    assert!(ready.contains("STATUS=serving Gun peers at 127.0.0.1:"), "{ready}");
    for _ in 0..3 {
        manager.told("WATCHDOG=1");
    }
    relay.signal("HUP");
    let reloading = manager.told("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.told("READY=1");
    relay.signal("TERM");
    let stopping = manager.told("STOPPING=1");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=13000000"), "{stopping}");
    assert_eq!(relay.exit_within(Duration::from_secs(20)).code(), Some(0));
}

#[test]
fn a_listening_socket_of_the_service_manager_is_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\" 3<&0 </dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_gunmetal"), "--reactors=2"]);
    command.env_remove("PORT").env_remove("PEERS");
    // A connection that waits since before the relay runs.
    let early = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let stdin = Stdio::from(OwnedFd::from(listener));
    let mut relay = Process::spawn_with("gunmetal", &mut command, stdin);
    relay.logged("its port", |line| {
        line.contains(&format!("listening on 127.0.0.1:{port}")).then_some(())
    });
    assert_eq!(crate::support::http::get(early, "/healthz").status, 200);
    let mut peer = Peer::join_at(&url(port), "AAAAAAAAA");
    assert_eq!(peer.fence().len(), 0);
    // It stays where it is in an upgrade, though the settings name another place.
    relay.signal("USR2");
    let _successor = Successor::of(&mut relay);
    assert_eq!(peer.close_code(), Some(1012));
    assert_eq!(relay.exit_within(SOON).code(), Some(0));
    assert_eq!(Peer::join_at(&url(port), "BBBBBBBBB").fence().len(), 0);
}
