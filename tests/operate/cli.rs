//! Subcommands.

use std::fs;
use std::process::{Command, Output};

use crate::support::node::Scratch;
use crate::support::relay::Port;

fn gunmetal(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gunmetal"));
    command.args(args).env_remove("PORT").env_remove("PEERS").envs(env.iter().copied());
    command.output().expect("run gunmetal")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn check_prints_a_file_that_means_the_same() {
    let scratch = Scratch::new();
    let file = |name: &str| scratch.0.join(name).to_str().expect("UTF-8").to_owned();
    let (first, second) = (file("first.toml"), file("second.toml"));
    fs::write(&first, "gap = 7\nbacklog-bytes-max = '8M'\npeers = ['ws://127.0.0.1:1/gun']\n")
        .unwrap();
    let printed = gunmetal(&["check", "--config", &first, "--writers=2"], &[("GUNMETAL_GAP", "9")]);
    assert!(printed.status.success(), "{printed:?}");
    let printed = text(&printed.stdout);
    assert!(printed.contains("gap = 9  # environment variable GUNMETAL_GAP\n"), "{printed}");
    let origin = format!("backlog-bytes-max = \"8M\"  # {first}, line 2\n");
    assert!(printed.contains(&origin), "{printed}");
    assert!(printed.contains("writers = 2  # argument\n"), "{printed}");

    fs::write(&second, &printed).unwrap();
    let again = gunmetal(&["check"], &[("GUNMETAL_CONFIG", &second)]);
    assert!(again.status.success(), "{again:?}");
    let settings = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.split("  #").next().unwrap().to_owned());
        lines.collect()
    };
    assert_eq!(settings(&text(&again.stdout)), settings(&printed));
}

#[test]
fn check_refuses_what_the_relay_would_refuse() {
    let scratch = Scratch::new();
    let path = scratch.0.join("wrong.toml");
    let file = path.to_str().expect("UTF-8");
    for (text_of_file, fault) in [
        (
            "gap = 1\nbacklog-byte-max = 3\n",
            "line 2: unknown key backlog-byte-max; did you mean backlog-bytes-max?",
        ),
        ("\ngap = 5000\n", "line 2: invalid value '5000' for '--gap <MS>'"),
        ("gap = ", "line 1: "),
        ("log = 'what=ever=this'", "line 1: "),
    ] {
        fs::write(&path, text_of_file).unwrap();
        for args in [&["check", "--config", file][..], &["--config", file]] {
            let refused = gunmetal(args, &[]);
            assert_eq!(refused.status.code(), Some(2), "{refused:?}");
            let said = text(&refused.stderr);
            assert!(said.contains(fault) && said.contains(file), "{text_of_file:?}: {said}");
        }
    }
    let refused = gunmetal(&["check", "--config", "/nowhere/at.all"], &[]);
    assert!(text(&refused.stderr).contains("/nowhere/at.all cannot be read"), "{refused:?}");
}

#[test]
fn check_refuses_a_certificate_that_the_relay_would_refuse() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.0.join(name).to_str().expect("UTF-8").to_owned();
    let pairs = ["one", "other"].map(|name| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a pair");
        let (cert, key) = (path(&format!("{name}-cert.pem")), path(&format!("{name}-key.pem")));
        fs::write(&cert, made.cert.pem()).expect("write");
        fs::write(&key, made.signing_key.serialize_pem()).expect("write");
        (cert, key)
    });
    let check =
        |cert: &str, key: &str| gunmetal(&["check", "--tls-cert", cert, "--tls-key", key], &[]);
    let [(cert, key), (_, other_key)] = &pairs;
    assert!(check(cert, key).status.success());
    for (key, fault) in [
        (other_key.as_str(), "the key does not belong to the certificate"),
        ("/nowhere/key.pem", "cannot read /nowhere/key.pem"),
    ] {
        let refused = check(cert, key);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let said = text(&refused.stderr);
        assert!(
            said.starts_with("error: ") && said.contains(fault) && refused.stdout.is_empty(),
            "{refused:?}"
        );
    }
}

#[test]
fn check_refuses_roots_and_directories_that_the_relay_would_refuse() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.0.join(name).to_str().expect("UTF-8").to_owned();
    let (roots, dir) = (path("roots.pem"), path("www"));
    fs::write(&roots, "no certificate").unwrap();
    let link = "--peers=wss://relay.example/gun";
    for (flags, fault) in [
        (&[link, "--tls-roots=/nowhere/roots.pem"][..], "cannot read /nowhere/roots.pem"),
        (&[link, &format!("--tls-roots={roots}")], "no root certificates were found"),
        (&[&format!("--www={dir}")], "no directory that can be served"),
    ] {
        for command in [&["check"][..], &["--listen=127.0.0.1:0", "--admin=off"]] {
            let refused = gunmetal(&[command, flags].concat(), &[]);
            let said = text(&refused.stderr);
            assert!(!refused.status.success() && said.contains(fault), "{refused:?}");
        }
    }
    let root = rcgen::generate_simple_self_signed(["a".to_owned()]).expect("a root");
    fs::write(&roots, root.cert.pem()).unwrap();
    fs::create_dir(&dir).unwrap();
    let checked = gunmetal(&["check", link, "--tls-roots", &roots, "--www", &dir], &[]);
    assert!(checked.status.success(), "{checked:?}");
    // Roots that nobody needs are not looked at, as at start.
    assert!(gunmetal(&["check", "--tls-roots=/nowhere/roots.pem"], &[]).status.success());
}

#[test]
fn top_says_that_no_relay_answers() {
    let port = Port::reserve();
    let admin = format!("127.0.0.1:{}", port.number);
    let told = gunmetal(&["top", "--once", "--admin", &admin], &[]);
    assert_eq!(told.status.code(), Some(1), "{told:?}");
    let fault = text(&told.stderr);
    assert!(fault.contains(&format!("no relay answers at http://{admin}/")), "{fault}");
    let told = gunmetal(&["top"], &[("GUNMETAL_ADMIN", "off")]);
    assert_eq!(told.status.code(), Some(1), "{told:?}");
}

#[test]
fn a_variable_that_is_no_setting_is_told_and_does_no_harm() {
    let slip = [("GUNMETAL_STALL_TIMEOUTS", "7")];
    let advice = "did you mean GUNMETAL_STALL_TIMEOUT?";
    let checked = gunmetal(&["check"], &slip);
    assert!(checked.status.success() && text(&checked.stderr).contains(advice), "{checked:?}");
    let (mut relay, _) = crate::start(&[], &slip);
    crate::logged(&mut relay, advice, 1);
}

#[test]
fn log_lines_that_nobody_watches_have_no_colours() {
    for format in ["text", "json"] {
        let (relay, _) = crate::start(&["--log-format", format], &[]);
        let log = relay.log();
        assert!(log.contains("gunmetal") && !log.contains('\u{1b}'), "{log:?}");
    }
}
