//! More connections than a process may have files. The limit is the process's own, so this is its only test.
#![cfg(target_os = "linux")]

mod common;

use common::outcome_of;
use loadtest::message::Protocol;
use loadtest::scenario::Scenario;
use loadtest::server::{self, Server};
use rlimit::Resource;

/// Fewer than the connections below.
const FILES_MAX: u64 = 300;

#[test]
fn threads_with_tables_of_their_own_hold_more_connections_than_a_process_may_have_files() {
    let binary = server::relay_binary(None).unwrap();
    let logs = std::env::temp_dir().join(format!("loadtest-files-{}", std::process::id()));
    std::fs::create_dir_all(&logs).unwrap();
    let relays = server::start_relays(&binary, 3, &[], &[], &logs).unwrap();
    let (_, hard) = Resource::NOFILE.get().unwrap();
    Resource::NOFILE.set(FILES_MAX, hard).unwrap();

    let scenario = Scenario {
        senders: 1,
        receivers: 399,
        rate: 0.0,
        roll_call: 2,
        relays: 3,
        duration: 1.0,
        warmup: 0.0,
        settle: 5.0,
        ..Scenario::default()
    };
    let ports: Vec<_> = relays.iter().map(|relay| relay.port).collect();
    let pids: Vec<_> = relays.iter().map(Server::pid).collect();
    let outcome = outcome_of(scenario, &ports, Protocol::Dam, &pids);

    let generator = &outcome.generator;
    assert_eq!(generator.files_max, FILES_MAX);
    assert!(generator.file_tables > 1, "{generator:?}");
    assert_eq!((outcome.connections.count, outcome.connections.closed), (400, 0));
    assert_eq!(outcome.counts.received, 2 * 399);
    assert!(outcome.counts.is_clean(), "{:?}", outcome.counts);
    assert_eq!(outcome.server.unwrap().bytes_per_connection_each.len(), 3);
    drop(relays);
    std::fs::remove_dir_all(&logs).unwrap();
}
