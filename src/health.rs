//! Asking a relay from outside whether it is well: what a container's health check runs.
//!
//! Owns: where to ask, one request to each place, and what its answer means. Must not know: the relay's own side of it.
//!
//! The relay of this machine is asked at its operator's address, which tells most and is open however full the relay
//! is. That address may be off, or have been taken when the relay started: then its public one is asked.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::config::{Config, PeerUrl};
use crate::tls::trust;

/// The longest head of an answer that is looked at, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines of an answer.
const HEADERS_MAX: usize = 64;
/// The relay is not well, whatever another place would say.
const UNWELL: u16 = 503;
/// What a connection from a proxy begins with that speaks for itself.
const PROXY_HEADER: &[u8] = b"PROXY UNKNOWN\r\n";

/// Somewhere to ask.
#[derive(Clone, Debug)]
pub struct Place {
    /// What is asked for there.
    pub url: PeerUrl,
    /// Who is expected there, if it speaks TLS.
    identity: Identity,
    /// A connection from one of these begins with a PROXY header.
    proxies: Vec<IpNet>,
}

/// Whom TLS is to show.
#[derive(Clone, Debug)]
enum Identity {
    /// The host of the URL, by these roots, or the system's.
    Proved(Option<PathBuf>),
    /// Whoever is there: it is this machine.
    Own,
}

impl Place {
    /// The relay at `url`, whose path is `/healthz` where it names none.
    ///
    /// # Errors
    /// It is no URL.
    pub fn named(url: &str, roots: Option<PathBuf>) -> Result<Place, String> {
        let mut url = PeerUrl::parse(url)?;
        if url.path_and_query == "/" {
            url.path_and_query = "/healthz".to_owned();
        }
        Ok(Place { url, identity: Identity::Proved(roots), proxies: Vec::new() })
    }

    /// Where the relay of this machine with this configuration can be asked, the best place first.
    pub fn of_own_relay(config: &Config) -> Vec<Place> {
        // Nobody knows which port a relay got that asked for any.
        let admin = config.admin.address().filter(|address| address.port() != 0);
        let (public, is_tls) = config.listeners()[0];
        let scheme = if is_tls { "https" } else { "http" };
        let proxies = match config.admission.proxy_protocol {
            true => config.admission.trust.clone(),
            false => Vec::new(),
        };
        let admin = admin.and_then(|address| Place::own("http", address, "livez", Vec::new()));
        admin.into_iter().chain(Place::own(scheme, public, "healthz", proxies)).collect()
    }

    fn own(scheme: &str, address: SocketAddr, path: &str, proxies: Vec<IpNet>) -> Option<Place> {
        let url = format!("{scheme}://{}/{path}", reachable(address));
        let url = PeerUrl::parse(&url).ok()?;
        Some(Place { url, identity: Identity::Own, proxies })
    }

    fn tls(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        if !self.url.is_tls {
            return Ok(None);
        }
        let config = match &self.identity {
            Identity::Own => trust::own_relay_config(),
            Identity::Proved(roots) => trust::client_config(roots.as_deref()),
        };
        config.map(Some).map_err(|error| error.to_string())
    }

    /// The status of the answer, from the first address that takes a connection.
    fn status(&self, end: Instant) -> Result<u16, String> {
        let tls = self.tls()?;
        self.ask(tls, end).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
            _ => error.to_string(),
        })
    }

    fn ask(&self, tls: Option<Arc<ClientConfig>>, end: Instant) -> io::Result<u16> {
        let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut failure = io::Error::other("the name has no address");
        for address in (self.url.host.as_str(), self.url.port).to_socket_addrs()? {
            let mut stream = match TcpStream::connect_timeout(&address, left()) {
                Ok(stream) => stream,
                Err(error) => {
                    failure = error;
                    continue;
                }
            };
            stream.set_write_timeout(Some(left()))?;
            stream.set_read_timeout(Some(left()))?;
            let own = stream.local_addr()?.ip().to_canonical();
            if self.proxies.iter().any(|network| network.contains(&own)) {
                stream.write_all(PROXY_HEADER)?;
            }
            let Some(tls) = tls else { return self.request(stream) };
            let name = ServerName::try_from(self.url.host.clone()).map_err(io::Error::other)?;
            let tls = ClientConnection::new(tls, name).map_err(io::Error::other)?;
            return self.request(StreamOwned::new(tls, stream));
        }
        Err(failure)
    }

    fn request(&self, mut stream: impl Read + Write) -> io::Result<u16> {
        let (path, host) = (&self.url.path_and_query, &self.url.host_header);
        // In one piece: a TLS record for each would be many.
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        read_status(&mut stream)
    }
}

/// How a relay that listens there is reached from its own machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.is_ipv4() {
            true => Ipv4Addr::LOCALHOST.into(),
            false => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Asks one place after the other until one has an answer. Ends within `limit`, name lookups included.
///
/// # Errors
/// Why the relay is not known to be well, as a sentence.
pub fn ask(places: Vec<Place>, limit: Duration) -> Result<(), String> {
    let (sender, answer) = mpsc::channel();
    let start = Instant::now();
    // A name lookup cannot be given a limit, but it can be left behind.
    thread::spawn(move || sender.send(ask_in_turn(&places, start, limit)));
    answer.recv_timeout(limit).unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

fn ask_in_turn(places: &[Place], start: Instant, limit: Duration) -> Result<(), String> {
    let mut faults = Vec::new();
    for (index, place) in places.iter().enumerate() {
        // Each gets an equal part of the time, and what those before it left.
        let part = limit * (index as u32 + 1) / places.len() as u32;
        let (name, answer) = (&place.url.name, place.status(start + part));
        match &answer {
            Ok(200) => return Ok(()),
            Ok(status) => faults.push(format!("{name} answers with status {status}")),
            Err(fault) => faults.push(format!("{name}: {fault}")),
        }
        if answer == Ok(UNWELL) {
            break;
        }
    }
    Err(faults.join("; "))
}

fn read_status(stream: &mut impl Read) -> io::Result<u16> {
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while head.len() < HEAD_BYTES_MAX {
        let count = stream.read(&mut part)?;
        if count == 0 {
            break;
        }
        head.extend_from_slice(&part[..count]);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let is_whole = response.parse(&head).map_err(io::Error::other)?.is_complete();
        if let (true, Some(status)) = (is_whole, response.code) {
            return Ok(status);
        }
    }
    Err(io::Error::other("the answer is not HTTP"))
}
