//! A thread that serves HTTP, apart from those that read and write for peers.
//!
//! It runs hyper on a tokio runtime of this one thread. What it serves is a [`Handler`], which answers
//! from memory and does not wait.
//!
//! Owns: the runtime, its listeners and connections, and their limits. Must not know: what is served.
//!
//! Invariant: at most [`CONNECTIONS_MAX`] connections for each listener, each of a bounded life, with
//! heads of a bounded size; further ones wait in the kernel.

use std::convert::Infallible;
use std::fs::File;
use std::future::pending;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Connections served at a time, for each listener.
pub const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;
/// For a request's head to arrive, also on a connection that is kept open for the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is asked to end after this long, whatever it does.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// Then it has this long for the response that is being sent.
const LAST_RESPONSE_TIME: Duration = Duration::from_secs(10);
/// Threads that wait for files, of each HTTP thread that reads some.
const FILE_THREADS_MAX: usize = 4;
/// How long accepting pauses when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers requests, at once and from memory; bodies of requests are not read.
pub trait Handler: Send + Sync + 'static {
    /// The answer to a request.
    fn answer(&self, request: Request<()>) -> Response<Full<Bytes>>;
}

/// A running thread. It ends with the process.
pub struct HttpThread {
    runtime: Handle,
}

impl HttpThread {
    /// Starts a thread that has nothing to serve yet.
    ///
    /// # Errors
    /// The process may not have another thread or poll.
    pub fn start(name: &str) -> io::Result<HttpThread> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(FILE_THREADS_MAX)
            .build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || runtime.block_on(pending::<()>()))?;
        Ok(HttpThread { runtime: handle })
    }

    /// Does this besides.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Serves what connects to `listener`, from now on and until the result is closed.
    ///
    /// # Errors
    /// The listener cannot be watched.
    pub fn serve(&self, listener: TcpListener, handler: Arc<dyn Handler>) -> io::Result<Serving> {
        listener.set_nonblocking(true)?;
        let _runtime = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(Serving(self.runtime.spawn(accept_all(listener, handler)).abort_handle()))
    }
}

/// A listener that is served.
#[derive(Debug)]
pub struct Serving(AbortHandle);

impl Serving {
    /// Accepts no more, and closes the listener. Connections that are open go on.
    pub fn close(&self) {
        self.0.abort();
    }
}

/// A file that is open for nothing. When the process may open no more, its place is for somebody who wants to know why.
#[derive(Clone, Default)]
struct Spare(Arc<Mutex<Option<File>>>);

impl Spare {
    /// Has one, if the system gives it.
    fn keep(&self) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            *file = File::open("/dev/null").ok();
        }
    }

    /// Gives it up. Says whether there was one.
    fn give(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

async fn accept_all(listener: tokio::net::TcpListener, handler: Arc<dyn Handler>) {
    let (places, spare) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Spare::default());
    spare.keep();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (handler, spare) = (handler.clone(), spare.clone());
                tokio::spawn(async move {
                    serve_connection(stream, handler).await;
                    spare.keep();
                    drop(place);
                });
            }
            Err(_) if spare.give() => {}
            Err(error) => {
                tracing::debug!(%error, "cannot accept an HTTP connection");
                sleep(ACCEPT_PAUSE).await;
                spare.keep();
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, handler: Arc<dyn Handler>) {
    let service = service_fn(move |request: Request<_>| {
        let response = handler.answer(request.map(drop));
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How a connection ends is its client's business: it has its answers or hung up.
    if timeout(CONNECTION_TIME_MAX, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ended = timeout(LAST_RESPONSE_TIME, connection).await;
    }
}
