//! Proxies in front of the relay: nginx, HAProxy and Caddy as `deploy/` says to configure them.

#[path = "tls/certs.rs"]
#[allow(dead_code)] // No certificate changes here.
mod certs;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use certs::Authority;
use support::gun::Gun;
use support::http;
use support::node::{self, Scratch};
use support::process::Process;
use support::relay::{Kind, Port, Relay, Setup};
use support::wait::{self, SOON};

/// Where the snippets say the relay listens, and its certificate's name and authority where it speaks TLS.
const RELAY: &str = "127.0.0.1:8765";
const RELAY_TLS: &str = "10.0.0.2:8443";
const RELAY_NAME: &str = "relay.example";
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// An address that only the client of a proxy has.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);

/// A proxy that runs, and the relay behind it.
struct Proxied {
    relay: Relay,
    port: Port,
    proxy: Process,
    _scratch: Scratch,
}

/// How a proxy is run: its package's program, the file it is configured by, and what that needs around it.
struct Proxy {
    program: &'static str,
    snippet: &'static str,
    /// The line that says where it listens, and where the port goes.
    listens: [&'static str; 2],
    around: fn(&str) -> String,
    arguments: &'static [&'static str],
    relay_flags: &'static [&'static str],
    /// Whether it speaks TLS to the relay.
    has_tls: bool,
}

const NGINX: Proxy = Proxy {
    program: "nginx",
    snippet: "nginx.conf",
    listens: ["listen 80;", "listen 127.0.0.1:PORT;"],
    around: |snippet| {
        format!(
            "daemon off;\nmaster_process off;\npid pid;\nevents {{}}\nhttp {{\naccess_log off;\n{snippet}\n}}\n"
        )
    },
    arguments: &["-e", "stderr", "-p", ".", "-c", "proxy.conf"],
    relay_flags: &["--trust=127.0.0.1"],
    has_tls: false,
};

const HAPROXY: Proxy = Proxy {
    program: "haproxy",
    snippet: "haproxy.cfg",
    listens: ["bind :80 ", "bind 127.0.0.1:PORT "],
    around: |snippet| format!("global\n    maxconn 1000\n{snippet}"),
    arguments: &["-db", "-f", "proxy.conf"],
    relay_flags: &["--trust=127.0.0.1", "--proxy-protocol"],
    has_tls: false,
};

const CADDY: Proxy = Proxy {
    program: "caddy",
    snippet: "Caddyfile",
    listens: ["relay.example {", "http://:PORT {\n\tbind 127.0.0.1"],
    // Without its own admin port, and without names that only a public relay has.
    around: |snippet| format!("{{\n\tadmin off\n\tauto_https off\n}}\n{snippet}"),
    arguments: &["run", "--config", "proxy.conf", "--adapter", "caddyfile"],
    relay_flags: &["--trust=127.0.0.1"],
    has_tls: false,
};

const NGINX_TLS: Proxy = Proxy { snippet: "nginx-tls.conf", has_tls: true, ..NGINX };

const HAPROXY_TLS: Proxy = Proxy { snippet: "haproxy-tls.cfg", has_tls: true, ..HAPROXY };

/// The same, with the older version of the PROXY header, as the snippet says is possible.
const HAPROXY_TLS_V1: Proxy = Proxy {
    around: |snippet| {
        assert!(snippet.contains(" send-proxy-v2 check "), "{snippet}");
        (HAPROXY.around)(&snippet.replace(" send-proxy-v2 check ", " send-proxy check "))
    },
    ..HAPROXY_TLS
};

impl Proxy {
    /// Starts it, and a relay behind it that it trusts. `None` where there is nothing to test with.
    fn start(&self) -> Option<Proxied> {
        let authority = Authority::new();
        self.start_trusting(&authority, &authority)
    }

    /// The same, with the authority that the proxy trusts and the one that the relay is of.
    fn start_trusting(&self, trusted: &Authority, relays: &Authority) -> Option<Proxied> {
        if !Kind::under_test().is_gunmetal() {
            return None;
        }
        let Some(program) = find(self.program) else {
            node::missing(self.program);
            return None;
        };
        let flags = [self.relay_flags, &["--admin", "127.0.0.1:0"]].concat();
        let relay = match self.has_tls {
            true => relays.relay(&flags),
            false => Setup::new(Kind::Gunmetal).flags(&flags).start(),
        };
        let (port, scratch) = (Port::reserve(), Scratch::new());
        let configured = self.configured(port.number, relay.port, trusted);
        fs::write(scratch.0.join("proxy.conf"), configured).expect("write the configuration");
        let mut command = Command::new(program);
        command.args(self.arguments).current_dir(&scratch.0);
        command.env("XDG_DATA_HOME", &scratch.0).env("XDG_CONFIG_HOME", &scratch.0);
        let mut proxy = Process::spawn(self.program, &mut command);
        wait::until("the proxy to listen", || {
            assert!(!proxy.ended(), "{} ended: {}", self.program, proxy.log());
            TcpStream::connect((Ipv4Addr::LOCALHOST, port.number)).ok()
        });
        Some(Proxied { relay, port, proxy, _scratch: scratch })
    }

    /// The snippet as it is shipped, but for the ports; with TLS, also but for the relay's name and authority.
    fn configured(&self, port: u16, relay: u16, trusted: &Authority) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(self.snippet);
        let mut text = fs::read_to_string(path).expect("the snippet");
        let [listens, with_port] = self.listens;
        let relay = format!("127.0.0.1:{relay}");
        let mut here = vec![(listens, with_port.replace("PORT", &port.to_string()))];
        match self.has_tls {
            true => here.extend([
                (RELAY_TLS, relay),
                (RELAY_NAME, "localhost".to_owned()),
                (ROOTS, trusted.root().display().to_string()),
            ]),
            false => here.push((RELAY, relay)),
        }
        for (shipped, here) in here {
            assert!(text.contains(shipped), "{} says {shipped}", self.snippet);
            text = text.replace(shipped, &here);
        }
        (self.around)(&text)
    }
}

impl Proxied {
    /// Real Gun clients talk through the proxy, and the relay knows who its clients are.
    fn serves_gun_and_names_clients(mut self) {
        let url = self.port.url();
        let (mut alice, mut bob) = (Gun::browser(&url), Gun::browser(&url));
        alice.talks_to(&mut bob);

        let client = self.upgraded_from(CLIENT);
        let admin = self.relay.admin();
        let told = wait::until("the client to be told by its own address", || {
            let look = TcpStream::connect(admin).expect("connect to the admin");
            let told: Value = serde_json::from_str(&http::get(look, "/peers.json").body).ok()?;
            let is_client = |peer: &Value| {
                let address: SocketAddr = peer["address"].as_str()?.parse().ok()?;
                (address.ip() == CLIENT).then_some(())
            };
            told["peers"].as_array()?.iter().find_map(is_client).map(|()| told.clone())
        });
        assert_eq!(told["total"], 3, "two Gun clients and one by hand: {told}");
        drop(client);
        let page = http::get(self.connect_from(CLIENT), "/healthz");
        assert_eq!((page.status, page.body.as_str()), (200, "ok\n"));
    }

    /// A proxy that does not know the relay's authority keeps clients from it.
    fn keeps_clients_from_the_relay(mut self, fault: &str) {
        let mut client = self.connect_from(CLIENT);
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("ask");
        client.set_read_timeout(Some(SOON)).expect("a read timeout");
        let mut answer = [0; 12];
        // HAProxy closes, perhaps with a reset; nginx answers 502.
        let read = client.read(&mut answer).unwrap_or(0);
        assert!(read == 0 || &answer == b"HTTP/1.1 502", "{answer:?}");
        self.proxy.logged(fault, |line| line.contains(fault).then_some(()));
    }

    fn connect_from(&self, address: Ipv4Addr) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("socket");
        socket.bind(&SocketAddr::from((address, 0)).into()).expect("bind an address");
        let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number));
        socket.connect(&proxy.into()).expect("connect to the proxy");
        socket.into()
    }

    fn upgraded_from(&self, address: Ipv4Addr) -> TcpStream {
        let mut stream = self.connect_from(address);
        let request = "GET /gun HTTP/1.1\r\nHost: relay.example\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Version: 13\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("ask for a WebSocket");
        stream.set_read_timeout(Some(SOON)).expect("a read timeout");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("a status line");
        assert_eq!(&status, b"HTTP/1.1 101");
        stream
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Daemons are not on everybody's path.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/bin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn test(proxy: &Proxy) {
    if node::ensure().is_none() {
        return;
    }
    if let Some(proxied) = proxy.start() {
        proxied.serves_gun_and_names_clients();
    }
}

#[test]
fn behind_nginx() {
    test(&NGINX);
}

#[test]
fn behind_haproxy() {
    test(&HAPROXY);
}

#[test]
fn behind_caddy() {
    test(&CADDY);
}

#[test]
fn behind_nginx_with_tls_to_the_relay() {
    test(&NGINX_TLS);
}

#[test]
fn behind_haproxy_with_tls_to_the_relay() {
    test(&HAPROXY_TLS);
}

#[test]
fn behind_haproxy_with_tls_to_the_relay_and_version_1_of_the_header() {
    test(&HAPROXY_TLS_V1);
}

/// The snippets verify: with the certificate of another authority nobody gets through.
#[test]
fn a_relay_of_another_authority_is_not_spoken_to() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let faults = [(NGINX_TLS, "certificate verify error"), (HAPROXY_TLS, "SSL handshake failure")];
    for (proxy, fault) in faults {
        if let Some(proxied) = proxy.start_trusting(&trusted, &other) {
            proxied.keeps_clients_from_the_relay(fault);
        }
    }
}
