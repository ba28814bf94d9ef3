//! The relays to dial: their URLs, taken apart.
//!
//! Owns: what a peer URL may be, and what counts as the same relay. Must not know: flags, the environment.

use std::net::Ipv6Addr;

/// Outbound peers; each has a thread of its own.
pub const PEERS_MAX: usize = 99;

/// One relay to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerUrl {
    /// The URL as given, scheme included, but for a token: the peer's name in logs and on the wire.
    pub name: String,
    /// The host, without the brackets of an IPv6 address.
    pub host: String,
    /// The port; 80 when the URL names none.
    pub port: u16,
    /// What follows the host, at least `/`.
    pub path_and_query: String,
    /// The value of the `Host` header.
    pub host_header: String,
}

impl PeerUrl {
    /// Takes a URL apart; the error says what is wrong with it.
    pub fn parse(url: &str) -> Result<PeerUrl, String> {
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a URL is printable ASCII, anything else must be encoded".to_owned());
        }
        let (scheme, rest) = url.split_once("://").ok_or("not a URL; write ws://HOST:PORT/gun")?;
        match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => {}
            "wss" | "https" => return Err("TLS links are not supported yet".to_owned()),
            _ => return Err(format!("unknown scheme {scheme}; write ws://HOST:PORT/gun")),
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = host_and_port(authority)?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(PeerUrl {
            name: without_tokens(url),
            path_and_query: format!("{slash}{path}"),
            host_header: host_header(&host, port),
            host,
            port,
        })
    }

    fn same_target(&self, other: &PeerUrl) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
            && self.port == other.port
            && self.path_and_query == other.path_and_query
    }
}

/// The list of `--peers`; a type of its own because an empty value means none.
#[derive(Debug, Clone)]
pub(super) struct Peers(pub Vec<PeerUrl>);

impl Peers {
    /// Takes the list apart; a relay listed twice counts once.
    pub fn parse(list: &str) -> Result<Peers, String> {
        let mut peers = Vec::<PeerUrl>::new();
        for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let peer = PeerUrl::parse(entry)
                .map_err(|fault| format!("peer {:?}: {fault}", without_tokens(entry)))?;
            if !peers.iter().any(|known| known.same_target(&peer)) {
                peers.push(peer);
            }
        }
        if peers.len() > PEERS_MAX {
            return Err(format!("{} peers are listed, {PEERS_MAX} is the most", peers.len()));
        }
        Ok(Peers(peers))
    }
}

/// The text with what it says behind `token=` hidden, in each URL of it.
pub(super) fn without_tokens(text: &str) -> String {
    const NAME: &str = "token=";
    let mut parts = text.split(NAME);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_end = |c: char| "&#,'\"".contains(c) || c.is_whitespace();
        let rest = &part[part.find(is_end).unwrap_or(part.len())..];
        shown.extend([NAME, "hidden", rest]);
    }
    shown
}

fn host_and_port(authority: &str) -> Result<(String, u16), String> {
    if authority.contains('@') {
        return Err("a user name in a URL is not supported".to_owned());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) =
                bracketed.split_once(']').ok_or("the bracket of the IPv6 address is not closed")?;
            host.parse::<Ipv6Addr>().map_err(|_| format!("{host} is not an IPv6 address"))?;
            (host, port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if host.is_empty() {
        return Err("it names no host".to_owned());
    }
    if port.is_empty() {
        return Ok((host.to_owned(), 80));
    }
    let number = port
        .strip_prefix(':')
        .and_then(|digits| digits.parse::<u16>().ok())
        .filter(|&port| port > 0);
    let number = number.ok_or_else(|| format!("{port} is not a port from 1 to 65535"))?;
    Ok((host.to_owned(), number))
}

fn host_header(host: &str, port: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == 80 { host } else { format!("{host}:{port}") }
}
