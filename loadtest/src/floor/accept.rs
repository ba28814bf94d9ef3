//! The kernel's limit for letting connections in: one epoll thread that accepts, reads the request and
//! writes a ready-made answer to the opening handshake.
//!
//! Owns: that server. It looks at nothing but whether the request is over.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::{LISTENER, listen, wait};

const READ_BYTES: usize = 16 << 10;
/// The answer to the key of RFC 6455, section 1.3, which is the one that the swarm sends.
const ANSWER: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Serves for ever.
///
/// # Errors
/// The port cannot be listened on, or the system lacks files.
pub fn serve(port: u16) -> io::Result<()> {
    let (poll, listener) = listen(port)?;
    let mut door = Door { poll, listener, all: Vec::new(), free: Vec::new() };
    let mut events = Events::with_capacity(1024);
    loop {
        wait(&mut door.poll, &mut events)?;
        for event in &events {
            match event.token() {
                LISTENER => door.accept()?,
                Token(place) => door.receive(place),
            }
        }
    }
}

struct Door {
    poll: Poll,
    listener: TcpListener,
    all: Vec<Option<TcpStream>>,
    /// Places of those that are gone.
    free: Vec<usize>,
}

impl Door {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // One that left before it was let in.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let place = self.free.pop().unwrap_or(self.all.len());
            if place == self.all.len() {
                self.all.push(None);
            }
            self.poll.registry().register(&mut stream, Token(place), Interest::READABLE)?;
            self.all[place] = Some(stream);
        }
    }

    fn receive(&mut self, place: usize) {
        let Some(stream) = self.all.get_mut(place).and_then(Option::as_mut) else { return };
        let mut room = [0; READ_BYTES];
        loop {
            match stream.read(&mut room) {
                Ok(read) if room[..read].ends_with(b"\r\n\r\n") => {
                    // A new socket has room for it, unless it is gone, which the next read tells.
                    let _gone = stream.write(ANSWER);
                }
                Ok(read) if read > 0 => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.all[place] = None;
        self.free.push(place);
    }
}
