//! What other threads want of a reactor.
//!
//! Owns: the list of it. Must not know: who wants it, how it is done.

use std::net::TcpStream as StdTcpStream;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;
use mio::net::TcpListener;

use super::Reactor;
use crate::config::Config;
use crate::net::conn::Link;
use crate::net::handshake::Secured;
use crate::net::session::Session;
use crate::net::socket::Ending;

/// Something other threads want of a reactor.
pub enum Command {
    /// Serve this connection to a configured peer. The bytes followed its upgrade response.
    Adopt(StdTcpStream, Option<Box<Session>>, Vec<u8>, Arc<Link>),
    /// Serve this connection, which counts as open already.
    Welcome(Secured),
    /// Accept from this listener too; whether TLS is spoken there.
    Listen(TcpListener, bool),
    /// Serve this connection to the process that this one takes over from.
    JoinPredecessor(StdTcpStream),
    /// Serve this connection to the process that takes over from this one.
    JoinSuccessor(StdTcpStream, Arc<Link>),
    /// What may change while the relay runs is from now on as here.
    Reload(Arc<Config>),
    /// Show that the loop turns.
    Probe(Sender<()>),
    /// Accept no more; who is in the middle of a request may finish it.
    StopAccepting,
    /// Accept no more, and end when no connection is left or this time has come.
    Stop(Instant),
}

impl Reactor {
    pub(super) fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Adopt(stream, session, early, link) => {
                    self.adopt(stream, session, early, link);
                }
                Command::Welcome(secured) => self.welcome_secured(secured),
                Command::Listen(listener, is_tls) => self.listen(listener, is_tls),
                Command::JoinPredecessor(stream) => self.join_predecessor(stream),
                Command::JoinSuccessor(stream, link) => self.join_successor(stream, link),
                Command::Reload(config) => self.reload(config),
                Command::Probe(alive) => {
                    // There is room for all the answers; who asked may have given up.
                    let _answered = alive.try_send(());
                }
                Command::StopAccepting => self.stop_accepting(),
                Command::Stop(ends) => self.stop(ends),
            }
        }
    }

    fn reload(&mut self, config: Arc<Config>) {
        self.admission = self.shared.admission();
        for (_, conn) in &mut self.conns {
            conn.ration(&config.admission, self.now);
        }
        self.config = config;
    }

    fn stop(&mut self, ends: Instant) {
        self.ends = Some(ends);
        self.stop_accepting();
        let others = self.conns.iter().filter(|(_, conn)| conn.peer().is_none());
        let others: Vec<_> = others.map(|(index, _)| index).collect();
        for index in others {
            self.remove(index, Ending::Stopping);
        }
    }
}
