use super::*;

/// Parses `args` in the environment `env`.
fn config(args: &[&str], env: &[(&str, &str)]) -> Result<Config, String> {
    let lookup = |name: &str| {
        env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    };
    Config::parse_from(std::iter::once(&"gunmetal").chain(args), lookup)
        .map_err(|error| error.to_string())
}

fn listen(args: &[&str], env: &[(&str, &str)]) -> String {
    config(args, env).unwrap().listen[0].to_string()
}

fn peers(args: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    config(args, env).unwrap().peers.into_iter().map(|peer| peer.name).collect()
}

fn fault(args: &[&str], env: &[(&str, &str)]) -> String {
    config(args, env).unwrap_err()
}

#[test]
fn defaults_are_guns() {
    let config = config(&[], &[]).unwrap();
    assert_eq!(config.listen, ["0.0.0.0:8765".parse().unwrap()]);
    assert_eq!(config.message_bytes_max, 90_000_000);
    assert_eq!(config.batch_bytes_max, 9000);
    assert_eq!(config.batch_gap, Duration::ZERO);
    assert_eq!(config.peers, []);
    assert!(config.reactors >= 1 && config.writers >= 1 && config.connections_max >= 1);
    assert!(config.connections_max < config.open_files_max);
}

#[test]
fn flag_wins_over_own_variable_over_guns_variable_over_default() {
    let (own, guns) = (("GUNMETAL_LISTEN", "127.0.0.1:2"), ("PORT", "3"));
    assert_eq!(listen(&["--listen", "127.0.0.1:1"], &[own, guns]), "127.0.0.1:1");
    assert_eq!(listen(&["1"], &[own, guns]), "0.0.0.0:1");
    assert_eq!(listen(&[], &[own, guns]), "127.0.0.1:2");
    assert_eq!(listen(&[], &[guns]), "0.0.0.0:3");
    assert_eq!(listen(&[], &[("PORT", "")]), "0.0.0.0:8765");

    let (own, guns) = (("GUNMETAL_PEERS", "ws://own/gun"), ("PEERS", "ws://guns/gun"));
    assert_eq!(peers(&["--peers", "ws://flag/gun"], &[own, guns]), ["ws://flag/gun"]);
    assert_eq!(peers(&[], &[own, guns]), ["ws://own/gun"]);
    assert_eq!(peers(&[], &[guns]), ["ws://guns/gun"]);
}

#[test]
fn what_is_neither_a_port_nor_a_command_is_told_so() {
    for text in ["status", "65536"] {
        let fault = fault(&[text], &[]);
        assert!(fault.contains("neither a port (0 to 65535) nor one of the commands"), "{fault}");
    }
}

#[test]
fn every_flag_is_a_variable() {
    let command = Flags::command();
    let flags = command.get_arguments().filter_map(clap::Arg::get_long);
    for flag in flags.filter(|flag| *flag != "config") {
        let variable = format!("GUNMETAL_{}", flag.replace('-', "_").to_uppercase());
        let sample = match flag {
            // It needs another flag; see `a_proxy_header_is_believed_of_somebody`.
            "proxy-protocol" => continue,
            "profile" => "public",
            "origins" => "https://sample.example",
            "trust" => "10.0.0.0/8",
            "token" => "sample-token",
            "token-file" => concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
            "peer-bytes-per-second" => "9M",
            "listen" | "tls-listen" | "admin" => "127.0.0.1:9",
            "peers" => "ws://sample/gun",
            "log" => "debug",
            "log-format" => "json",
            "head-bytes-max" => "9K",
            "memory-max" => "900M",
            size if size.ends_with("-bytes-max") => "9M",
            count if count.ends_with("-max") => "9999",
            _ => "9",
        };
        // TLS needs both of its files, whichever of them is given another way.
        let pair = ["--tls-cert=c", "--tls-key=k"];
        let is_other = |arg: &&str| !arg.starts_with(&format!("--{flag}="));
        let others: Vec<_> = pair.into_iter().filter(is_other).collect();
        let by_variable = config(&others, &[(&variable, sample)]).unwrap();
        let by_flag = format!("--{flag}={sample}");
        let args: Vec<_> = others.into_iter().chain([&*by_flag]).collect();
        assert_eq!(by_variable, config(&args, &[]).unwrap(), "{flag}");
        assert_ne!(by_variable, config(&pair, &[]).unwrap(), "{flag} changes nothing");
    }
}

#[test]
fn an_empty_list_of_peers_means_none() {
    let guns = ("PEERS", "ws://guns/gun");
    assert_eq!(peers(&["--peers="], &[guns]), [""; 0]);
    assert_eq!(peers(&[], &[("GUNMETAL_PEERS", ""), guns]), [""; 0]);
}

#[test]
fn port_and_listen_exclude_each_other_on_the_command_line_only() {
    assert!(fault(&["8080", "--listen", "127.0.0.1:1"], &[]).contains("cannot be used with"));
    assert_eq!(listen(&["8080"], &[("GUNMETAL_LISTEN", "127.0.0.1:1")]), "0.0.0.0:8080");
    assert_eq!(listen(&["--listen", "127.0.0.1:1"], &[("PORT", "8080")]), "127.0.0.1:1");
}

#[test]
fn an_error_names_the_variable_at_fault() {
    let fault_of = |name, value| fault(&[], &[("GUNMETAL_GAP", "5"), (name, value)]);
    assert!(
        fault_of("GUNMETAL_REACTORS", "many").contains("GUNMETAL_REACTORS: invalid value 'many'")
    );
    assert!(fault_of("PORT", "http").contains("environment variable PORT"));
    assert!(fault_of("PEERS", "ftp://a/gun").contains("unknown scheme ftp"));
    assert!(!fault(&["--gap", "x"], &[("GUNMETAL_GAP", "x")]).contains("environment"));
    assert!(
        config(&["--gap", "1"], &[("GUNMETAL_GAP", "x")]).is_ok(),
        "the flag made the variable irrelevant"
    );
}

#[test]
fn sizes_take_suffixes_and_stay_in_range() {
    let backlog = |value: &str| {
        config(&["--backlog-bytes-max", value], &[]).map(|config| config.backlog_bytes_max)
    };
    assert_eq!(backlog("70000"), Ok(70_000));
    assert_eq!(backlog("64K"), Ok(65_536));
    assert_eq!(backlog("2m"), Ok(2 << 20));
    assert_eq!(backlog("1G"), Ok(1 << 30));
    for wrong in ["", "K", "1T", "-1", "1.5M", "1K", "5G", "99999999999G"] {
        assert!(backlog(wrong).is_err(), "{wrong}");
    }
    assert!(backlog("1K").unwrap_err().contains("from 64K to 4G"));
}

#[test]
fn times_take_fractions_and_zero_turns_pings_off() {
    let config = config(&["--ping-interval=0", "--stall-timeout=0.5"], &[]).unwrap();
    assert_eq!(config.ping_interval, None);
    assert_eq!(config.stall_timeout, Duration::from_millis(500));
    for wrong in ["-1", "NaN", "inf", "x", "4000", "0"] {
        assert!(
            fault(&[&format!("--pong-timeout={wrong}")], &[]).contains("--pong-timeout"),
            "{wrong}"
        );
    }
}

#[test]
fn a_peer_url_is_taken_apart() {
    let parts = |url: &str| {
        let peer = PeerUrl::parse(url).unwrap();
        assert_eq!(peer.name, url);
        (peer.host, peer.port, peer.path_and_query, peer.host_header)
    };
    let expect = |host: &str, port, path: &str, header: &str| {
        (host.into(), port, path.into(), header.into())
    };
    assert_eq!(
        parts("ws://a.example:8765/gun"),
        expect("a.example", 8765, "/gun", "a.example:8765")
    );
    assert_eq!(parts("HTTP://a.example"), expect("a.example", 80, "/", "a.example"));
    assert_eq!(parts("ws://[::1]:9/gun?a=b#c"), expect("::1", 9, "/gun?a=b", "[::1]:9"));
    assert_eq!(parts("wss://a.example/gun"), expect("a.example", 443, "/gun", "a.example"));
    assert_eq!(parts("https://a.example:80/"), expect("a.example", 80, "/", "a.example:80"));
    assert_eq!(parts("ws://10.0.0.1?x"), expect("10.0.0.1", 80, "/?x", "10.0.0.1"));
}

#[test]
fn a_wrong_peer_is_named_with_its_fault() {
    for (url, expected) in [
        ("wss://a_!/gun", "a_! is no name a certificate can have"),
        ("ftp://a/gun", "unknown scheme ftp"),
        ("a.example:8765", "not a URL"),
        ("ws://", "names no host"),
        ("ws://:80/gun", "names no host"),
        ("ws://a:0/gun", "not a port"),
        ("ws://a:99999/gun", "not a port"),
        ("ws://::1/gun", "names no host"),
        ("ws://[::1/gun", "not closed"),
        ("ws://[a]/gun", "not an IPv6 address"),
        ("ws://me:secret@a/gun", "user name"),
        ("ws://a/g n", "printable ASCII"),
    ] {
        let fault = fault(&[&format!("--peers=ws://good/gun,{url}")], &[]);
        assert!(fault.contains(expected) && fault.contains(&format!("{url:?}")), "{url}: {fault}");
    }
}

#[test]
fn a_relay_listed_twice_is_dialled_once_and_the_list_is_bounded() {
    let list = "ws://a:80/gun, http://A/gun,,ws://b/gun,";
    assert_eq!(peers(&["--peers", list], &[]), ["ws://a:80/gun", "ws://b/gun"]);
    let list =
        |count: usize| (0..count).map(|at| format!("ws://h{at}/gun")).collect::<Vec<_>>().join(",");
    assert_eq!(peers(&["--peers", &list(PEERS_MAX)], &[]).len(), PEERS_MAX);
    assert!(fault(&["--peers", &list(PEERS_MAX + 1)], &[]).contains("99 is the most"));
}

#[test]
fn the_start_lines_say_what_is_in_force() {
    let config =
        config(&["--peers=ws://a/gun", "--ping-interval=0", "--connections-max=10000000"], &[])
            .unwrap();
    let bound = [("127.0.0.1:4567".parse().unwrap(), false)];
    let lines = Config { open_files_max: 1024, ..config }.start_lines(&bound).join("\n");
    for part in [
        "gunmetal 0.",
        "127.0.0.1:4567",
        "reactors",
        "backlog 4M",
        "ping off",
        "ulimit",
        "peer: ws://a/gun",
    ] {
        assert!(lines.contains(part), "{part} is missing in:\n{lines}");
    }
}

#[test]
fn the_start_lines_say_when_and_how_fast_a_stop_closes_peers() {
    for (flags, words) in [
        (&[][..], "; drain: at once, over 3s"),
        (&["--drain-delay=5", "--drain-time=1.5"][..], "; drain: after 5s, over 1.5s"),
        (&["--drain-time=0"][..], "; drain: at once, all together"),
    ] {
        let lines = config(flags, &[]).unwrap().start_lines(&[]);
        assert!(lines.iter().any(|line| line.ends_with(words)), "{words} in no line of {lines:?}");
    }
}

#[test]
fn help_shows_every_flag_under_a_heading() {
    Flags::command().debug_assert();
    let help = fault(&["--help"], &[("GUNMETAL_GAP", "wrong")]);
    for part in [
        "PORT",
        "Network:",
        "Threads:",
        "Limits:",
        "Times:",
        "Log:",
        "[default: 4M]",
        "/gun",
        "PEERS",
    ] {
        assert!(help.contains(part), "{part} is missing in:\n{help}");
    }
}

#[test]
fn the_library_default_listens_on_a_free_loopback_port() {
    assert_eq!(Config::default().listen, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(Config::for_tests().writers, 2);
}

#[test]
fn tls_needs_both_files_and_is_plain_beside_its_own_address() {
    let listeners = |args: &[&str], env: &[(&str, &str)]| {
        let config = config(args, env).unwrap();
        config.listeners().iter().map(|(at, tls)| format!("{at} {tls}")).collect::<Vec<_>>()
    };
    let pair = ["--tls-cert=c", "--tls-key=k"];
    assert_eq!(listeners(&[], &[]), ["0.0.0.0:8765 false"]);
    assert_eq!(listeners(&pair, &[]), ["0.0.0.0:8765 true"]);
    assert_eq!(listeners(&[], &[("HTTPS_CERT", "c"), ("HTTPS_KEY", "k")]), ["0.0.0.0:8765 true"]);
    assert_eq!(
        listeners(&[pair[0], pair[1], "--tls-listen=127.0.0.1:9"], &[]),
        ["0.0.0.0:8765 false", "127.0.0.1:9 true"]
    );
    assert!(fault(&["--tls-cert=c"], &[]).contains("--tls-cert needs the private key"));
    assert!(fault(&[], &[("HTTPS_KEY", "k")]).contains("--tls-key needs the certificate"));
    assert!(fault(&["--tls-listen=127.0.0.1:9"], &[]).contains("--tls-listen needs a certificate"));
}

#[test]
fn a_profile_is_a_set_of_defaults() {
    let of_address = |args: &[&str], env: &[(&str, &str)]| {
        config(args, env).unwrap().admission.address_connections_max.map_or(0, u64::from)
    };
    assert_eq!(of_address(&[], &[]), 0);
    assert_eq!(of_address(&["--profile", "public"], &[]), 100);
    assert_eq!(of_address(&[], &[("GUNMETAL_PROFILE", "public")]), 100);
    let flag = "--address-connections-max=7";
    let variable = ("GUNMETAL_ADDRESS_CONNECTIONS_MAX", "7");
    assert_eq!(of_address(&["--profile=public", flag], &[]), 7);
    assert_eq!(of_address(&[flag], &[("GUNMETAL_PROFILE", "public")]), 7);
    assert_eq!(of_address(&["--profile=public"], &[variable]), 7);
    assert_eq!(of_address(&["--profile=public", "--address-connections-max=0"], &[]), 0);
    assert!(fault(&["--profile=private"], &[]).contains("[possible values: open, public]"));
}

#[test]
fn a_proxy_header_is_believed_of_somebody() {
    assert!(fault(&["--proxy-protocol"], &[]).contains("needs --trust"));
    let env = [("GUNMETAL_PROXY_PROTOCOL", "true"), ("GUNMETAL_TRUST", "10.0.0.1, fd00::/8")];
    let admission = config(&[], &env).unwrap().admission;
    assert!(admission.proxy_protocol);
    assert_eq!(admission.trust, ["10.0.0.1/32".parse().unwrap(), "fd00::/8".parse().unwrap()]);
    assert!(fault(&["--trust=10.0.0.0/33"], &[]).contains("10.0.0.0/8 or an address"));
    assert!(fault(&["--origins=a.example"], &[]).contains("SCHEME://HOST"));
}

#[test]
fn a_token_is_never_shown() {
    let secret = "my secret";
    let fault = fault(&["--token", secret], &[]);
    assert!(fault.contains("--token: a token is 8 to 512") && !fault.contains(secret), "{fault}");
    let config = config(&["--token=top-secret"], &[]).unwrap();
    assert!(config.admission.token.as_ref().unwrap().is(b"top-secret"));
    let shown = format!("{config:?} {}", config.start_lines(&[]).join("\n"));
    assert!(!shown.contains("top-secret") && shown.contains("with the token only"), "{shown}");
}

#[test]
fn a_token_of_another_relay_is_no_part_of_its_name() {
    let peer = PeerUrl::parse("ws://a/gun?x=1&token=top-secret&y").unwrap();
    assert_eq!(peer.name, "ws://a/gun?x=1&token=hidden&y");
    assert_eq!(peer.path_and_query, "/gun?x=1&token=top-secret&y");
    let fault = fault(&["--peers=ftp://a/gun?token=top-secret"], &[]);
    assert!(!fault.contains("top-secret"), "{fault}");
}

#[test]
fn what_grows_with_the_memory_follows_it_unless_it_is_given() {
    let config = |args: &[&str]| config(args, &[]).unwrap();
    let small = config(&["--memory-max=256M"]);
    assert_eq!((small.memory_max, small.queue_bytes_max), (256 << 20, 32 << 20));
    assert_eq!(small.dedup_entries_max, (32 << 20) / DEDUP_ENTRY_BYTES);
    let large = config(&["--memory-max=64G"]);
    assert_eq!((large.queue_bytes_max, large.dedup_entries_max), (256 << 20, 2_000_000));
    let given = config(&["--memory-max=256M", "--queue-bytes-max=2M", "--dedup-entries-max=1000"]);
    assert_eq!((given.queue_bytes_max, given.dedup_entries_max), (2 << 20, 1000));
    assert!(config(&[]).memory_max >= 64 << 20);
}

#[test]
fn the_queues_and_the_ids_leave_half_of_the_memory_to_peers() {
    let is_valid = |args: &[&str]| config(args, &[]).is_ok();
    assert!(is_valid(&["--memory-max=64M", "--queue-bytes-max=24M"]));
    // Of the memory of this machine as well.
    let most = ["--queue-bytes-max=64G", "--dedup-entries-max=1000000000"];
    let has_room =
        config(&[], &[]).unwrap().memory_max / 2 >= (64 << 30) + 1_000_000_000 * DEDUP_ENTRY_BYTES;
    assert_eq!(is_valid(&most), has_room);
    let queue = fault(&["--memory-max=64M", "--queue-bytes-max=25M"], &[]);
    assert!(queue.contains("--queue-bytes-max (25M)"), "{queue}");
    assert!(queue.contains("half of --memory-max (64M)"), "{queue}");
    let ids = fault(&["--memory-max=256M", "--dedup-entries-max=1500000"], &[]);
    assert!(ids.contains("--dedup-entries-max (1500000, which take 138M)"), "{ids}");
    let variable = [("GUNMETAL_MEMORY_MAX", "64M"), ("GUNMETAL_QUEUE_BYTES_MAX", "1G")];
    assert!(fault(&[], &variable).contains("--memory-max (64M)"));
}

#[test]
fn threads_leave_a_quarter_of_the_memory_to_peers() {
    let many = ["--memory-max=128M", "--reactors=64", "--writers=64"];
    let told = fault(&many, &[]);
    assert!(told.contains("64 --reactors, 64 --writers take 1M each"), "{told}");
    assert!(told.contains("--memory-max (128M) has room for 52 threads"), "{told}");
    assert!(config(&["--memory-max=1G", "--reactors=64", "--writers=64"], &[]).is_ok());
    let tls = ["--tls-cert=c", "--tls-key=k", "--tls-threads=64"];
    let few = ["--memory-max=96M", "--reactors=1", "--writers=1"];
    assert!(config(&[&few[..], &tls[2..]].concat(), &[]).is_ok(), "without TLS there are none");
    let told = fault(&[&few[..], &tls].concat(), &[]);
    assert!(told.contains("1 --writers and 64 --tls-threads"), "{told}");
    // Where nobody named a number there are no more than fit, however many cores there are.
    let least = ["--memory-max=64M", "--queue-bytes-max=24M"];
    let least = config(&[&least[..], &tls[..2]].concat(), &[]).unwrap();
    assert!(least.reactors + least.writers + least.tls_threads <= 4);
}
