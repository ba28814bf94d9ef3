//! A [`Socket`] as a stream of tokio's, TLS included.
//!
//! Owns: waiting for a socket on a thread that runs tokio. Must not know: what is said.
//!
//! Invariant: an other end that takes nothing for the stall time ends the stream with an error.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::socket::{Received, Socket};
use crate::metrics::{Counter, Counters};

/// Bytes read at once, ciphertext and plaintext together; more than a TLS record is long.
const READ_BYTES: usize = 40 * 1024;

/// See the module's head.
pub struct Pipe {
    socket: Socket,
    /// The same connection, as tokio watches it.
    watch: TcpStream,
    /// What was read; up to `at` it was taken.
    input: Vec<u8>,
    at: usize,
    /// Some of what was written waits in the session.
    is_held: bool,
    stall_time: Duration,
    stall: Pin<Box<Sleep>>,
    /// The thread's own.
    counters: Arc<Counters>,
}

impl Pipe {
    /// A stream that begins with `input`, of a socket no other poll watches. What it writes is counted with this thread's
    /// `counters`. Call it where tokio runs.
    ///
    /// # Errors
    /// The socket cannot be watched.
    pub fn new(
        socket: Socket,
        input: Vec<u8>,
        stall_time: Duration,
        counters: Arc<Counters>,
    ) -> io::Result<Pipe> {
        let watch = TcpStream::from_std(socket.as_fd().try_clone_to_owned()?.into())?;
        let stall = Box::pin(sleep(stall_time));
        Ok(Pipe { socket, watch, input, at: 0, is_held: false, stall_time, stall, counters })
    }

    /// Writes what the kernel takes, after what is held. Zero bytes: all that is held.
    fn poll_send(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let Poll::Ready(writable) = self.watch.poll_write_ready(cx) else {
                ready!(self.stall.as_mut().poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            };
            writable?;
            match self.try_send(piece) {
                Err(error) if is_passing(&error) => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn try_send(&mut self, piece: &[u8]) -> io::Result<usize> {
        let (mut sent, mut is_held) = (0, self.is_held);
        let result = self.watch.try_io(Interest::WRITABLE, || {
            self.counters.count(Counter::Writes);
            let written = self.socket.write(&[IoSlice::new(piece)])?;
            (sent, is_held) = (written.sent, written.is_held);
            self.counters.add(Counter::BytesOut, written.taken as u64);
            self.counters.add(Counter::HttpBytesOut, written.taken as u64);
            // A session that holds something has met a kernel that is full.
            match written.taken == 0 && written.is_held {
                true => Err(io::ErrorKind::WouldBlock.into()),
                false => Ok(written.taken),
            }
        });
        self.is_held = is_held;
        if sent > 0 {
            self.stall.as_mut().reset(Instant::now() + self.stall_time);
        }
        result
    }

    /// Reads once.
    fn try_receive(&mut self) -> io::Result<Received> {
        self.at = 0;
        self.input.resize(READ_BYTES, 0);
        let received = self.watch.try_io(Interest::READABLE, || self.socket.read(&mut self.input));
        let count = match received {
            Ok(Received::Bytes { count, .. }) => count,
            _ => 0,
        };
        self.input.truncate(count);
        received
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.at == this.input.len() {
            ready!(this.watch.poll_read_ready(cx))?;
            match this.try_receive() {
                Ok(Received::Bytes { .. }) => {}
                Ok(Received::End) => return Poll::Ready(Ok(())),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let count = target.remaining().min(this.input.len() - this.at);
        target.put_slice(&this.input[this.at..this.at + count]);
        this.at += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, piece)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.is_held {
            ready!(this.poll_send(cx, &[]))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        self.socket.finish();
        Poll::Ready(Ok(()))
    }
}
