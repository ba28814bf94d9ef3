//! Which listening sockets a process accepts from: new ones, those of a socket unit, those of the process before it.
//!
//! Owns: which socket is for which of the addresses that are configured, and what is spoken there. Must not know: how
//! sockets come from one process to another, who accepts from them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::config::Config;
use crate::net::listen::{self, Listener};

/// Sockets, and who chose where they are.
#[derive(Debug)]
pub struct Sockets {
    /// What to accept from, at the public address first.
    pub listeners: Vec<Listener>,
    /// The service manager did: they stay there, whatever is configured.
    pub are_fixed: bool,
}

impl Sockets {
    /// Those of a socket unit, or new ones.
    ///
    /// # Errors
    /// An address cannot be listened on, and what to do about it.
    pub fn open(config: &Config) -> io::Result<Sockets> {
        let mut passed = listenfd::ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            sockets.extend(passed.take_tcp_listener(index)?);
        }
        if sockets.is_empty() {
            return Ok(Sockets { listeners: listen::everywhere(config)?, are_fixed: false });
        }
        tracing::info!("listening sockets come from the service manager");
        Sockets::inherit(sockets, true, config)
    }

    /// Those that were passed, and new ones where none is for an address that is configured.
    ///
    /// # Errors
    /// An address cannot be listened on, and what to do about it.
    pub fn inherit(
        sockets: Vec<TcpListener>,
        are_fixed: bool,
        config: &Config,
    ) -> io::Result<Sockets> {
        let mut groups = by_address(sockets)?;
        let mut listeners = Vec::new();
        for (address, is_tls) in config.listeners() {
            let sockets = match are_fixed {
                true => take_role(&mut groups, address, is_tls, config),
                false => take_at(&mut groups, address),
            };
            if sockets.is_empty() {
                listeners.extend(listen::anew(address, is_tls, config).map_err(advise)?);
            }
            listeners.extend(sockets.into_iter().map(|socket| Listener { socket, is_tls }));
        }
        for (address, _) in groups {
            tracing::warn!(
                "{address} is not configured any more: nothing listens there from now on"
            );
        }
        Ok(Sockets { listeners, are_fixed })
    }
}

/// Sockets at one address.
type Group = (SocketAddr, Vec<TcpListener>);

/// In the order in which they came.
fn by_address(sockets: Vec<TcpListener>) -> io::Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for socket in sockets {
        let address = socket.local_addr()?;
        match groups.iter_mut().find(|(known, _)| *known == address) {
            Some((_, group)) => group.push(socket),
            None => groups.push((address, vec![socket])),
        }
    }
    Ok(groups)
}

/// Those at this address; where any port will do, the first that are left.
fn take_at(groups: &mut Vec<Group>, wanted: SocketAddr) -> Vec<TcpListener> {
    let is_there = |address: &SocketAddr| {
        *address == wanted || wanted.port() == 0 && address.ip() == wanted.ip()
    };
    let index = groups.iter().position(|(address, _)| is_there(address));
    index.map_or_else(Vec::new, |index| groups.remove(index).1)
}

/// All that are for plain connections, or for TLS. Where both are spoken, the port of `--tls-listen` is for TLS; if
/// nothing is at that port, all but the first are.
fn take_role(
    groups: &mut Vec<Group>,
    wanted: SocketAddr,
    is_tls: bool,
    config: &Config,
) -> Vec<TcpListener> {
    let beside = config.tls.as_ref().and_then(|tls| tls.listen);
    let has_port = |address: &SocketAddr| beside.is_some_and(|at| at.port() == address.port());
    let is_known = groups.iter().any(|(address, _)| has_port(address));
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for (index, (address, sockets)) in groups.drain(..).enumerate() {
        let is_mine = match beside {
            None => true,
            // The plain ones were taken before.
            Some(_) if is_tls => true,
            Some(_) if is_known => !has_port(&address),
            Some(_) => index == 0,
        };
        if !is_mine {
            left.push((address, sockets));
            continue;
        }
        if wanted.port() != 0 && wanted != address {
            tracing::warn!("listening sockets were passed at {address}; {wanted} is configured");
        }
        taken.extend(sockets);
    }
    *groups = left;
    taken
}

fn advise(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::AddrInUse {
        return error;
    }
    let hint = "if it is the process before this one, at another address of the same port, restart instead";
    io::Error::new(io::ErrorKind::AddrInUse, format!("{error} ({hint})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: [&str; 2] = ["--tls-cert=c", "--tls-key=k"];

    fn socket() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// Where listeners are, and whether for TLS.
    fn places(
        sockets: Vec<TcpListener>,
        are_fixed: bool,
        flags: &[&str],
    ) -> Vec<(SocketAddr, bool)> {
        let args = ["gunmetal", "--reactors=2"].iter().chain(flags);
        let config = Config::parse_from(args, |_| None).unwrap();
        let sockets = Sockets::inherit(sockets, are_fixed, &config).unwrap();
        listen::places(&sockets.listeners).unwrap()
    }

    fn copy(sockets: &[&TcpListener]) -> Vec<TcpListener> {
        sockets.iter().map(|socket| socket.try_clone().unwrap()).collect()
    }

    #[test]
    fn an_address_decides_what_a_socket_of_the_process_before_is_for() {
        let ((a, at_a), (b, at_b)) = (socket(), socket());
        let (plain, tls) = (format!("--listen={at_a}"), format!("--tls-listen={at_b}"));
        let [cert, key] = PAIR;
        let both = [cert, key, &plain, &tls];
        // In whatever order they come, and whatever the first one was for.
        for sockets in [[&a, &b], [&b, &a]] {
            assert_eq!(places(copy(&sockets), false, &both), [(at_a, false), (at_b, true)]);
        }
        assert_eq!(places(copy(&[&a, &b]), false, &[&plain]), [(at_a, false)]);
        assert_eq!(places(copy(&[&a, &a]), false, &[cert, key, &plain]), [(at_a, true)]);
        let any = [cert, key, "--listen=127.0.0.1:0", "--tls-listen=127.0.0.1:0"];
        assert_eq!(places(copy(&[&a, &b]), false, &any), [(at_a, false), (at_b, true)]);
    }

    #[test]
    fn an_address_where_nothing_listened_gets_new_sockets() {
        let (a, at_a) = socket();
        let plain = format!("--listen={at_a}");
        let flags = [PAIR[0], PAIR[1], &plain, "--tls-listen=127.0.0.1:0"];
        for are_fixed in [false, true] {
            let found = places(copy(&[&a]), are_fixed, &flags);
            assert_eq!((found.len(), found[0], found[1].1), (2, (at_a, false), true));
        }
    }

    #[test]
    fn sockets_of_the_service_manager_stay_where_they_are() {
        let ((a, at_a), (b, at_b)) = (socket(), socket());
        let elsewhere = "--listen=127.0.0.1:1";
        assert_eq!(places(copy(&[&a, &b]), true, &[elsewhere]), [(at_a, false), (at_b, false)]);
        let [cert, key] = PAIR;
        let all_tls = places(copy(&[&a, &b]), true, &[cert, key, elsewhere]);
        assert_eq!(all_tls, [(at_a, true), (at_b, true)]);
        let port = format!("--tls-listen=0.0.0.0:{}", at_a.port());
        let by_port = places(copy(&[&a, &b]), true, &[cert, key, elsewhere, &port]);
        assert_eq!(by_port, [(at_b, false), (at_a, true)]);
        let by_order = [cert, key, elsewhere, "--tls-listen=127.0.0.1:2"];
        assert_eq!(places(copy(&[&a, &b]), true, &by_order), [(at_a, false), (at_b, true)]);
    }
}
