//! Connections that ask for a file: from where their reactor hands them over to their end.
//!
//! hyper reads the request, which has been read already, once more and writes the answer; the
//! connection ends with it, as after every plain answer. So each request comes through a reactor, and
//! none gets round the gate.
//!
//! Owns: their number, of all and of an address, their time, their thread. Must not know: what is served, requests' meaning.
//!
//! Invariant: at most `CONNECTIONS_MAX` connections, `ADDRESS_CONNECTIONS_MAX` of one address, each for
//! `RESPONSE_TIME_MAX` at most.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::admission::Rejection;
use super::admission::crowd::network_of;
use super::http;
use super::pipe::Pipe;
use super::socket::{Ending, Socket};
use crate::http_thread::HttpThread;
use crate::metrics::{Counter, Counters};
use crate::www::Site;

/// Requests for files answered at a time.
pub const CONNECTIONS_MAX: usize = 64;
/// Of them, of one address, so that nobody who reads slowly keeps files from all others. A browser has six connections.
pub const ADDRESS_CONNECTIONS_MAX: usize = 8;
/// Memory that each is counted with, in bytes: buffers of the stream, of hyper, of TLS and of the file.
pub const CONNECTION_BYTES: usize = 192 * 1024;
/// For a whole answer.
const RESPONSE_TIME_MAX: Duration = Duration::from_secs(600);
/// Bytes hyper holds of a request, or of an answer: as many unless a longer head is allowed.
const BUFFER_BYTES: usize = 16 * 1024;

/// A connection with a request for a file.
pub struct Visitor {
    /// Known to no poll.
    pub socket: Socket,
    /// What it said: the whole head.
    pub request: Vec<u8>,
    /// The answer if there is no such file.
    pub otherwise: Vec<u8>,
    /// The limits in force when it came.
    pub limits: Limits,
    /// What is dropped when it ends.
    pub stay: Box<dyn Send>,
}

/// How an answer is bounded.
#[derive(Clone, Copy)]
pub struct Limits {
    /// How long the visitor may take nothing of it.
    pub stall_timeout: Duration,
    /// Bytes the head of the request may have.
    pub head_bytes_max: usize,
}

/// See the module's head.
pub struct Web {
    thread: HttpThread,
    site: Site,
    places: Arc<Places>,
    /// The thread's own.
    counters: Arc<Counters>,
}

/// How many are being answered.
#[derive(Debug, Default)]
struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// A place for one connection, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    /// Whose places are counted.
    network: Option<IpAddr>,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, network: Option<IpAddr>) -> Result<Place, Rejection> {
        let mut taken = self.lock();
        if taken.count >= CONNECTIONS_MAX {
            return Err(Rejection::Files);
        }
        if let Some(network) = network {
            let of_network = taken.by_network.entry(network).or_default();
            if *of_network >= ADDRESS_CONNECTIONS_MAX {
                return Err(Rejection::AddressFiles);
            }
            *of_network += 1;
        }
        taken.count += 1;
        Ok(Place { places: self.clone(), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.count -= 1;
        let Some(network) = self.network else { return };
        if let Some(of_network) = taken.by_network.get_mut(&network) {
            *of_network -= 1;
            if *of_network == 0 {
                taken.by_network.remove(&network);
            }
        }
    }
}

/// Why hyper is not to answer.
#[derive(Debug)]
enum NoFile {
    Absent,
    Broken(io::Error),
}

impl std::fmt::Display for NoFile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoFile::Absent => out.write_str("there is no such file"),
            NoFile::Broken(error) => write!(out, "the file cannot be read: {error}"),
        }
    }
}

impl Error for NoFile {}

/// The files of `dir`.
///
/// # Errors
/// There is no such directory, for an operator to read.
pub fn open_site(dir: &Path) -> io::Result<Site> {
    Site::open(dir).map_err(|error| {
        let text = format!("--www {}: no directory that can be served: {error}", dir.display());
        io::Error::other(text)
    })
}

impl Web {
    /// Starts the thread that serves the files of `dir`.
    ///
    /// # Errors
    /// There is no such directory, or the process may not have another thread.
    pub fn start(dir: &Path, counters: Arc<Counters>) -> io::Result<Arc<Web>> {
        Ok(Arc::new(Web {
            site: open_site(dir)?,
            thread: HttpThread::start("www")?,
            places: Arc::default(),
            counters,
        }))
    }

    /// A place for one connection of this address; `None`: of a proxy, which has no limit of an address.
    ///
    /// # Errors
    /// All places are taken, or those for one address.
    pub fn place(&self, address: Option<SocketAddr>) -> Result<Place, Rejection> {
        self.places.take(address.map(|address| network_of(address.ip())))
    }

    /// Serves a connection, which has a place.
    pub fn serve(self: &Arc<Self>, visitor: Visitor) {
        self.thread.spawn(self.clone().see_off(visitor));
    }

    async fn see_off(self: Arc<Self>, visitor: Visitor) {
        let Visitor { socket, request, otherwise, limits, stay } = visitor;
        let address = socket.address;
        let answer = self.respond(socket, request, &otherwise, limits);
        let answered = timeout(RESPONSE_TIME_MAX, answer).await;
        let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Err(error) = &answered {
            self.counters.count(Counter::WwwFailures);
            tracing::debug!(%address, %error, "a request for a file was not answered whole");
        }
        self.counters.count(Counter::Closed);
        self.counters.count(Ending::Http.counter());
        drop(stay);
    }

    async fn respond(
        &self,
        socket: Socket,
        request: Vec<u8>,
        otherwise: &[u8],
        limits: Limits,
    ) -> io::Result<()> {
        let mut pipe = Pipe::new(socket, request, limits.stall_timeout, self.counters.clone())?;
        let service = service_fn(|request: Request<hyper::body::Incoming>| async {
            match self.site.answer(request).await {
                Ok(Some(response)) => Ok(response),
                Ok(None) => Err(NoFile::Absent),
                Err(error) => Err(NoFile::Broken(error)),
            }
        });
        let connection = http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(BUFFER_BYTES.max(limits.head_bytes_max))
            .serve_connection(TokioIo::new(&mut pipe), service);
        // hyper writes nothing when there is no answer, and leaves the stream as it is.
        match connection.await {
            Ok(()) => return Ok(()),
            Err(error) => match error.source().and_then(|cause| cause.downcast_ref()) {
                Some(NoFile::Absent) => pipe.write_all(otherwise).await?,
                Some(NoFile::Broken(cause)) => {
                    tracing::debug!(%cause, "a file cannot be read");
                    self.counters.count(Counter::WwwFailures);
                    pipe.write_all(&http::file_failed()).await?;
                }
                None => return Err(io::Error::other(error)),
            },
        }
        pipe.shutdown().await
    }
}
