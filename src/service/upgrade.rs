//! A new process of the program takes over, and no connection is refused.
//!
//! Owns: starting the new process, what the two tell each other, and the sockets that go from one to the other. Must
//! not know: how either serves.
//!
//! The two talk over a Unix socket pair, which is the new one's standard input:
//!
//! 1. The old process starts the program anew, with its own arguments, and sends its listening sockets and one end of
//!    a private TCP connection.
//! 2. The new one prepares all that can fail: settings, addresses, certificate, threads. It takes that connection for a
//!    peer, and says `prepared`.
//! 3. The old one takes its end for a peer, and says `linked`: what is said by peers of either reaches those of both.
//! 4. The new one accepts connections, and says `serving`.
//! 5. The old one accepts no more, closes its peers with 1012, that connection last, and ends.
//!
//! Both hold the same listening sockets, so that connections which wait in them are served by whoever is there. If
//! anything fails before step 4 the old process goes on as if nothing had been, and after it nothing can. If the old
//! one is told to stop meanwhile, the new one is ended.
//!
//! Which program runs is decided by how this process was started, never by a peer.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::cli;
use crate::config::THREADS_MAX;
use crate::net::relay::Relay;

/// For each step of the new process; it must load itself in that time.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// Sockets that are passed at most: two listeners per reactor, one of them for TLS, and the private connection.
const SOCKETS_MAX: usize = 2 * THREADS_MAX + 1;
/// What the words below and the sockets are introduced with; a program of another version may not know them.
const GREETING: u8 = 1;
const PREPARED: u8 = b'p';
const LINKED: u8 = b'l';
const SERVING: u8 = b's';

/// An upgrade that is under way, which can be called off.
#[derive(Clone, Debug, Default)]
pub struct Attempt(Arc<Mutex<Progress>>);

#[derive(Debug, Default)]
struct Progress {
    /// The new process, until it has ended, and what the two talk over.
    successor: Option<(Child, UnixStream)>,
    is_called_off: bool,
}

impl Attempt {
    /// Ends the new process: it is not to outlive this one. If it serves already, it drains, as this one does.
    pub fn call_off(&self) {
        let mut progress = self.lock();
        progress.is_called_off = true;
        if let Some((child, control)) = &progress.successor {
            // It has not been waited for, so that the id is its own. Errors say that it has ended.
            let _ended = kill_process(Pid::from_child(child), Signal::TERM);
            let _ended = control.shutdown(Shutdown::Both);
        }
    }

    fn begin(&self, child: Child, control: &UnixStream) -> io::Result<()> {
        let control = control.try_clone();
        let mut progress = self.lock();
        let (mut child, fault) = match control {
            Ok(control) if !progress.is_called_off => {
                progress.successor = Some((child, control));
                return Ok(());
            }
            Ok(_) => (child, broken("it is called off")),
            Err(error) => (child, error),
        };
        end(&mut child);
        Err(fault)
    }

    fn end(&self) {
        if let Some((mut child, _)) = self.lock().successor.take() {
            end(&mut child);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a new process has to know of the one before it.
#[derive(Clone, Copy, Debug)]
pub struct Estate {
    /// The service manager chose where it listens.
    pub are_fixed: bool,
    /// Where its operator looks, which is free when it has gone.
    pub admin: Option<SocketAddr>,
}

/// Starts a new process and returns when it serves.
///
/// # Errors
/// It does not. It was ended, and nothing has changed.
pub fn start_successor(relay: &Relay, estate: Estate, attempt: &Attempt) -> io::Result<()> {
    let (mut control, theirs) = UnixStream::pair()?;
    control.set_read_timeout(Some(STEP_TIMEOUT))?;
    control.set_write_timeout(Some(STEP_TIMEOUT))?;
    let child = spawn(theirs, estate)?;
    tracing::info!("upgrade: process {} is to take over", child.id());
    attempt.begin(child, &control)?;
    let served = hand_over(relay, &mut control);
    if served.is_err() {
        attempt.end();
    }
    served
}

/// The process that this one takes over from.
#[derive(Debug)]
pub struct Predecessor {
    control: UnixStream,
    link: TcpStream,
}

impl Predecessor {
    /// Meets it, and gets its listening sockets.
    ///
    /// # Errors
    /// It is not there or does not do its part.
    pub fn meet() -> io::Result<(Predecessor, Vec<TcpListener>)> {
        let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        control.set_read_timeout(Some(STEP_TIMEOUT))?;
        control.set_write_timeout(Some(STEP_TIMEOUT))?;
        let mut sockets = receive(&control)?;
        let link = TcpStream::from(sockets.pop().ok_or_else(|| broken("no sockets came"))?);
        link.set_nonblocking(true)?;
        let listeners: Vec<_> = sockets.into_iter().map(TcpListener::from).collect();
        match listeners.is_empty() {
            true => Err(broken("no listening sockets came")),
            false => Ok((Predecessor { control, link }, listeners)),
        }
    }

    /// Joins `relay` with the other one. What fails from now on costs that one nothing yet.
    ///
    /// # Errors
    /// It does not do its part.
    pub fn join(self, relay: &Relay) -> io::Result<Joined> {
        let Predecessor { mut control, link } = self;
        if !relay.join_predecessor(link, STEP_TIMEOUT) {
            return Err(broken("the relay does not turn"));
        }
        control.write_all(&[PREPARED])?;
        expect(&mut control, LINKED)?;
        Ok(Joined(control))
    }
}

/// The process before this one, whose peers hear those of this one.
#[derive(Debug)]
pub struct Joined(UnixStream);

impl Joined {
    /// This process serves: the other one may go, so that nothing may fail any more.
    pub fn release(mut self) {
        if let Err(error) = self.0.write_all(&[SERVING]) {
            tracing::warn!("upgrade: the process before this one is gone already: {error}");
        }
    }
}

fn hand_over(relay: &Relay, control: &mut UnixStream) -> io::Result<()> {
    let (ours, theirs) = private_connection()?;
    let listeners = relay.listeners()?;
    let sockets = listeners.iter().map(AsFd::as_fd).chain([theirs.as_fd()]);
    send(control, &sockets.collect::<Vec<_>>())?;
    drop(theirs);
    expect(control, PREPARED)?;
    if !relay.join_successor(ours, STEP_TIMEOUT)? {
        return Err(broken("this process is too busy"));
    }
    control.write_all(&[LINKED])?;
    expect(control, SERVING)
}

/// Runs the program as this process was run. A path that was named is used again, so that what it leads to now is what
/// runs; a program that was found in `PATH` is run from where it was found.
fn spawn(stdin: UnixStream, estate: Estate) -> io::Result<Child> {
    let (name, args) = cli::own_command();
    let program = match name.components().count() > 1 {
        true => name.clone(),
        false => fs::read_link("/proc/self/exe")?,
    };
    let how = if estate.are_fixed { cli::FIXED_SOCKETS } else { cli::OWN_SOCKETS };
    let admin = estate.admin.map_or("off".to_owned(), |address| address.to_string());
    let mut command = Command::new(&program);
    command
        .args(args)
        .stdin(Stdio::from(OwnedFd::from(stdin)))
        .env(cli::SUCCESSOR, how)
        .env(cli::ADMIN_BEFORE, admin);
    // These were for this process alone.
    for name in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(name);
    }
    command.spawn().map_err(|error| {
        io::Error::new(error.kind(), format!("{} cannot be started: {error}", program.display()))
    })
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ended = child.kill();
    let _status = child.wait();
}

/// Two ends of a TCP connection, which nobody else can have come in between.
fn private_connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    loop {
        let (theirs, address) = listener.accept()?;
        if address == ours.local_addr()? {
            return Ok((ours, theirs));
        }
    }
}

/// Sends the greeting with these sockets.
fn send(control: &UnixStream, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(broken("there are too many listening sockets"));
    }
    let greeting = [GREETING];
    rustix::net::sendmsg(control, &[IoSlice::new(&greeting)], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

/// Receives the greeting and the sockets that come with it.
fn receive(control: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut greeting = [0];
    let mut into = [IoSliceMut::new(&mut greeting)];
    let received = rustix::net::recvmsg(
        control,
        &mut into,
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(|error| {
        broken(&format!("no process hands over here ({error}); do not set {}", cli::SUCCESSOR))
    })?;
    if received.bytes == 0 || greeting != [GREETING] {
        return Err(broken("the other process is of a version that this one does not know"));
    }
    let mut sockets = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            sockets.extend(passed);
        }
    }
    Ok(sockets)
}

fn expect(control: &mut UnixStream, word: u8) -> io::Result<()> {
    let mut said = [0];
    match control.read_exact(&mut said) {
        Ok(()) if said == [word] => Ok(()),
        Ok(()) => Err(broken("the other process says something else than expected")),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(broken("the other process has ended; its log says why"))
        }
        Err(error) => Err(broken(&format!("the other process does not answer: {error}"))),
    }
}

fn broken(text: &str) -> io::Error {
    io::Error::other(format!("upgrade: {text}"))
}
