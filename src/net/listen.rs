//! Listening sockets: one for each reactor at each address.
//!
//! Owns: how they are made, and what an operator is told when they cannot be. Must not know: who
//! accepts from them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Type};

use crate::config::Config;

/// Connections the kernel holds until they are accepted. It has a limit of its own as well
/// (`net.core.somaxconn`).
const ACCEPT_BACKLOG: i32 = 4096;

/// A listening socket, and what is spoken there.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// TLS is spoken.
    pub is_tls: bool,
}

/// Listeners at all addresses, those of the public one first.
///
/// # Errors
/// An address cannot be listened on, and what to do about it.
pub fn everywhere(config: &Config) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for (address, is_tls) in config.listeners() {
        listeners.extend(anew(address, is_tls, config)?);
    }
    Ok(listeners)
}

/// New listeners at one of the addresses of `config`.
///
/// # Errors
/// It cannot be listened on, and what to do about it.
pub fn anew(address: SocketAddr, is_tls: bool, config: &Config) -> io::Result<Vec<Listener>> {
    let flag = if address == config.listen[0] { "--listen" } else { "--tls-listen" };
    let sockets = at(address, config.reactors).map_err(|error| explain(error, address, flag))?;
    Ok(sockets.into_iter().map(|socket| Listener { socket, is_tls }).collect())
}

/// The error of listening in words that help; `flag` is what chose the address.
pub fn explain(error: io::Error, listen: SocketAddr, flag: &str) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(": something else listens there; choose another with {flag}")
        }
        io::ErrorKind::PermissionDenied => {
            ": ports below 1024 need a privilege; try another".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => ": this machine does not have that address".to_owned(),
        _ => String::new(),
    };
    io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}{advice}"))
}

/// Where they listen, each address once, and whether TLS is spoken there.
pub fn places(listeners: &[Listener]) -> io::Result<Vec<(SocketAddr, bool)>> {
    let mut places = Vec::new();
    for Listener { socket, is_tls } in listeners {
        let place = (socket.local_addr()?, *is_tls);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok(places)
}

/// A listener for each reactor on the same address: the kernel spreads connections over them.
fn at(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    // A shared port would be shared with a relay that runs already: find out alone first.
    if address.port() != 0 {
        drop(listen(address, false)?);
    }
    let mut listeners: Vec<TcpListener> = Vec::new();
    while listeners.len() < count {
        // With port 0 the others need the port that the first one got.
        let address = listeners.first().map_or(Ok(address), TcpListener::local_addr)?;
        listeners.push(listen(address, true)?.into());
    }
    Ok(listeners)
}

fn listen(address: SocketAddr, is_shared: bool) -> io::Result<socket2::Socket> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    Ok(socket)
}
