//! The relay as the first process of a container, which the kernel ends with it.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use crate::support::node;
use crate::support::peer::Peer;
use crate::support::process::Process;
use crate::support::relay::url;
use crate::{listening_port, logged};

/// Signals that are written to its input go to the first process, which is the relay.
const WITH_SIGNALS: &str =
    "exec 3<&0; (while read -r signal <&3; do kill -s $signal 1; done) & exec \"$@\"";
const OWN_PROCESSES: [&str; 5] = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child"];

/// Whether a process may have namespaces of its own here.
fn may_unshare() -> bool {
    let output = Command::new("unshare").args(OWN_PROCESSES).arg("true").output();
    let may = output.is_ok_and(|output| output.status.success());
    if !may {
        node::missing("unshare with user namespaces");
    }
    may
}

fn contained() -> (Process, String) {
    let mut command = Command::new("unshare");
    command.args(OWN_PROCESSES).args(["sh", "-c", WITH_SIGNALS, "sh"]);
    command.args([env!("CARGO_BIN_EXE_gunmetal"), "--listen=127.0.0.1:0"]);
    command.env_remove("PORT").env_remove("PEERS").env("GUNMETAL_ADMIN", "off");
    let mut relay = Process::spawn("gunmetal", &mut command);
    let port = relay.logged("its port", listening_port);
    (relay, url(port))
}

#[test]
fn the_first_process_of_a_container_refuses_an_upgrade_and_stops_as_any_other() {
    if !may_unshare() {
        return;
    }
    let (mut relay, url) = contained();
    let mut peer = Peer::connect_to(&url);
    writeln!(relay.stdin(), "USR2").expect("the shell reads");
    logged(&mut relay, "upgrade: not begun, this one goes on", 1);
    assert!(!relay.log().contains("is to take over"), "{}", relay.log());
    drop(Peer::connect_to(&url));

    writeln!(relay.stdin(), "TERM").expect("the shell reads");
    assert_eq!(peer.close_code(), Some(1012));
    assert_eq!(relay.exit_within(Duration::from_secs(20)).code(), Some(0));
}
