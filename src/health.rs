//! Asking a relay from outside whether it is well, over plain HTTP: what a container's health check runs.
//!
//! Owns: one request and what its answer means. Must not know: the relay's own side of it.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::PeerUrl;

/// The longest head of an answer that is looked at, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines of an answer.
const HEADERS_MAX: usize = 64;

/// Asks `url`, whose path is `/healthz` where it names none. Ends within `limit`, name lookup included.
///
/// # Errors
/// Why the relay is not known to be well, as a sentence.
pub fn ask(url: &str, limit: Duration) -> Result<(), String> {
    let mut url = PeerUrl::parse(url)?;
    if url.path_and_query == "/" {
        url.path_and_query = "/healthz".to_owned();
    }
    let (sender, answer) = mpsc::channel();
    let end = Instant::now() + limit;
    // A name lookup cannot be given a limit, but it can be left behind.
    thread::spawn(move || sender.send(status(&url, end)));
    match answer.recv_timeout(limit) {
        Ok(Ok(200)) => Ok(()),
        Ok(Ok(status)) => Err(format!("the answer has status {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

/// The status of the answer, from the first address that takes a connection.
fn status(url: &PeerUrl, end: Instant) -> std::io::Result<u16> {
    let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut failure = std::io::Error::other("the name has no address");
    for address in (url.host.as_str(), url.port).to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&address, left()) {
            Ok(stream) => stream,
            Err(error) => {
                failure = error;
                continue;
            }
        };
        stream.set_write_timeout(Some(left()))?;
        stream.set_read_timeout(Some(left()))?;
        let (path, host) = (&url.path_and_query, &url.host_header);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        return read_status(&mut stream);
    }
    Err(failure)
}

fn read_status(stream: &mut impl Read) -> std::io::Result<u16> {
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while head.len() < HEAD_BYTES_MAX {
        let count = stream.read(&mut part)?;
        if count == 0 {
            break;
        }
        head.extend_from_slice(&part[..count]);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let is_whole = response.parse(&head).map_err(std::io::Error::other)?.is_complete();
        if let (true, Some(status)) = (is_whole, response.code) {
            return Ok(status);
        }
    }
    Err(std::io::Error::other("the answer is not HTTP"))
}
