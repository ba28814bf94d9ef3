//! A system that gives no random bytes.

use std::process::Command;

use crate::support::node;

/// Runs the program after the first argument with the system call of that number unknown: perl is on every Debian, and a
/// filter of system calls needs no rights. `prctl` is the second one's number.
const WITHOUT_CALL: &str = r#"
    my ($call, $prctl) = (shift, shift);
    my $filter = pack("SCCL" x 4,
        0x20, 0, 0, 0,                  # the number of the call
        0x15, 0, 1, $call,              # is it that one?
        0x06, 0, 0, 0x00050000 | 38,    # ENOSYS
        0x06, 0, 0, 0x7fff0000);        # any other is permitted
    my $program = pack("S x6 P", 4, $filter);
    syscall($prctl, 38, 1, 0, 0, 0) == 0 or die "no new privileges: $!";
    syscall($prctl, 22, 2, $program) == 0 or die "seccomp: $!";
    exec @ARGV or die "exec: $!";
"#;

/// The relay with `getrandom` unknown, as on an old kernel, after a shell command.
fn old_kernel(prepare: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg(format!("{prepare}; exec perl -e \"$@\"")).args(["sh", WITHOUT_CALL]);
    let calls = [libc::SYS_getrandom, libc::SYS_prctl];
    command.args(calls.map(|number| number.to_string()));
    command.args([env!("CARGO_BIN_EXE_gunmetal"), "--listen=127.0.0.1:0"]);
    command.env_remove("PORT").env_remove("PEERS").env("GUNMETAL_ADMIN", "off");
    command
}

/// Whether a process may have namespaces of its own here.
fn may_unshare() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "true"]);
    let may = command.output().is_ok_and(|output| output.status.success());
    if !may {
        node::missing("unshare with user namespaces");
    }
    may
}

#[test]
fn without_random_bytes_the_relay_says_what_is_missing() {
    if !may_unshare() {
        return;
    }
    // An empty /dev, but for what perl wants; what the relay writes to are pipes of this test.
    let empty = "mount -t tmpfs none /dev && touch /dev/null";
    let output = old_kernel(empty).output().expect("run the relay");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("permit the system call getrandom, or provide /dev/urandom"), "{said}");
}

#[test]
fn without_the_system_call_the_device_is_enough() {
    if !may_unshare() {
        return;
    }
    let mut relay = crate::support::process::Process::spawn("gunmetal", &mut old_kernel("true"));
    relay.logged("its port", crate::listening_port);
    relay.kill();
}
