//! `X-Forwarded-For`: who the client behind one or more proxies is.
//!
//! Owns: the walk over the list, and whom to believe. Must not know: requests, sockets.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Proxies that are believed, as networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted(Vec<IpNet>);

impl Trusted {
    /// These networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Trusted(networks)
    }

    /// Whether this address is believed.
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request that came from `sender`: each proxy appends whom it heard, so the
    /// list is walked from its end for as long as the one who wrote an entry is trusted. An entry
    /// that is no address ends the walk.
    pub fn client(&self, sender: SocketAddr, forwarded_for: &str) -> SocketAddr {
        let mut client = sender;
        for entry in forwarded_for.rsplit(',') {
            if !self.holds(client.ip()) {
                break;
            }
            let Some(before) = address_in(entry.trim()) else { break };
            client = before;
        }
        client
    }
}

/// An address as proxies write it, with a port or without.
fn address_in(entry: &str) -> Option<SocketAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let alone = bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, 0));
    let address = alone.or_else(|_| entry.parse::<SocketAddr>()).ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(sender: &str, list: &str) -> String {
        let networks = ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"];
        let trusted = Trusted::new(networks.iter().map(|text| text.parse().unwrap()).collect());
        trusted.client(SocketAddr::new(sender.parse().unwrap(), 9), list).ip().to_string()
    }

    #[test]
    fn the_walk_ends_at_the_first_who_is_not_trusted() {
        assert_eq!(client("10.0.0.1", "192.0.2.7"), "192.0.2.7");
        assert_eq!(client("10.0.0.1", "192.0.2.7, 10.9.9.9, fd00::5"), "192.0.2.7");
        assert_eq!(
            client("10.0.0.1", "1.1.1.1, 192.0.2.7 ,10.2.2.2"),
            "192.0.2.7",
            "not a forgery"
        );
        assert_eq!(client("192.0.2.7", "1.1.1.1"), "192.0.2.7", "a stranger is not asked");
        assert_eq!(client("::ffff:10.0.0.1", "192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn a_list_of_trusted_ones_leads_to_its_first() {
        assert_eq!(client("10.0.0.1", "10.0.0.3, 10.0.0.2"), "10.0.0.3");
        assert_eq!(client("10.0.0.1", ""), "10.0.0.1");
    }

    #[test]
    fn an_entry_may_have_a_port_or_be_nonsense() {
        assert_eq!(client("10.0.0.1", "192.0.2.7:4711"), "192.0.2.7");
        assert_eq!(client("10.0.0.1", "[2001:db8::7]:4711"), "2001:db8::7");
        assert_eq!(client("10.0.0.1", "[2001:db8::7]"), "2001:db8::7");
        assert_eq!(client("10.0.0.1", "2001:db8::7"), "2001:db8::7");
        assert_eq!(client("10.0.0.1", "::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(client("10.0.0.1", "192.0.2.7, unknown, 10.0.0.2"), "10.0.0.2");
    }
}
