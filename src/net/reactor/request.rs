//! What a connection says before it is a peer: whom a proxy speaks for, and its HTTP request.
//!
//! Owns: who the client is, and where its request leads: to the mesh, to files, to a response. Must
//! not know: what the responses say ([`http`]), what a peer says.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Reactor;
use super::shared::Opened;
use crate::config::Config;
use crate::metrics::Counter;
use crate::net::admission::crowd::Pass;
use crate::net::admission::{Rejection, proxy};
use crate::net::conn::Stage;
use crate::net::http::{self, About, Answer};
use crate::net::memory::Held;
use crate::net::web::{self, Limits, Visitor, Web};
use crate::ws::upgrade::{self, HeadLimits, Request};

impl Reactor {
    /// Hears whom a proxy speaks for, then the client itself.
    pub(super) fn hear_proxy(&mut self, index: usize, mut input: Vec<u8>) {
        let header = match proxy::parse(&input) {
            Ok(Some(header)) => header,
            Ok(None) => {
                self.conns[index].stage = Stage::Proxy(input);
                return;
            }
            Err(proxy::NoHeader) => return self.reject(index, Rejection::NoProxyHeader),
        };
        self.conns[index].stage = Stage::Head(Vec::new());
        let client = header.client.unwrap_or(self.conns[index].socket.address);
        if let Err(rejection) = self.name(index, client) {
            return self.reject(index, rejection);
        }
        self.hear(index, &mut input[header.bytes..]);
    }

    /// A proxy says that the connection is of `client`.
    pub(super) fn name(&mut self, index: usize, client: SocketAddr) -> Result<(), Rejection> {
        // A proxy behind this one has still to tell for whom it speaks.
        if self.admission.speaks_for_another(client) {
            self.conns[index].name_client(client);
            return Ok(());
        }
        self.enter(index, client)
    }

    /// The connection turns out to be of `client`.
    fn enter(&mut self, index: usize, client: SocketAddr) -> Result<(), Rejection> {
        let conn = &mut self.conns[index];
        conn.name_client(client);
        if conn.may_only_ask().is_some() {
            return Ok(());
        }
        conn.pass = self.admission.enter(client, self.now)?;
        Ok(())
    }

    /// Answers a connection that may not come in.
    pub(super) fn reject(&mut self, index: usize, rejection: Rejection) {
        self.note_refusal(rejection, self.conns[index].socket.address);
        self.respond(index, &http::reject(rejection));
    }

    /// Hears a request, once it is whole.
    pub(super) fn hear_head(&mut self, index: usize, head: Vec<u8>) {
        let request = match upgrade::parse(&head, &HeadLimits::new(self.config.head_bytes_max)) {
            Ok(Some(request)) => request,
            Ok(None) => {
                self.conns[index].stage = Stage::Head(head);
                return;
            }
            Err(error) => {
                self.counters.count(Counter::RejectedHead);
                return self.respond(index, &http::refuse(&error));
            }
        };
        if let Some(rejection) = self.conns[index].may_only_ask()
            && !http::is_health_check(&request)
        {
            return self.reject(index, rejection);
        }
        let sender = self.conns[index].socket.address;
        if self.admission.speaks_for_another(sender) {
            let client = self.admission.client(sender, &request);
            if let Err(rejection) = self.enter(index, client) {
                return self.reject(index, rejection);
            }
        }
        self.answer(index, &request, head);
    }

    /// Answers a request; `head` begins with it.
    fn answer(&mut self, index: usize, request: &Request, mut head: Vec<u8>) {
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            uptime: self.now - self.shared.started,
            peers: self.shared.mesh.peers.near(),
            is_secure: self.conns[index].socket.is_secure(),
        };
        match http::answer(request, &about) {
            Answer::Upgrade(response) => {
                if let Err(rejection) = self.admission.check(request) {
                    return self.reject(index, rejection);
                }
                self.join(index, response);
                self.hear(index, &mut head[request.head_bytes..]);
            }
            Answer::Close(response, label) => {
                self.counters.count(Counter::HttpAnswered);
                if http::may_be_file(request)
                    && let Some(web) = self.web.clone()
                {
                    return self.hand_over(index, &web, head, response);
                }
                tracing::debug!(address = %self.conns[index].socket.address, "answered: {label}");
                self.respond(index, &response);
            }
        }
    }

    /// The connection is served elsewhere: `request` by a file, or with `otherwise` if there is none.
    /// It stays counted until it ends.
    fn hand_over(&mut self, index: usize, web: &Arc<Web>, request: Vec<u8>, otherwise: Vec<u8>) {
        let address = self.conns[index].socket.address;
        // A proxy asks for many clients.
        let is_one = !self.admission.speaks_for_another(address);
        let place = match web.place(is_one.then_some(address)) {
            Ok(place) => place,
            Err(rejection) => return self.reject(index, rejection),
        };
        let conn = self.vacate(index);
        let stay = Stay {
            _open: Opened::take_over(&self.shared),
            _pass: conn.pass,
            _held: Held::new(&self.keeper.memory().of_all(), web::CONNECTION_BYTES),
        };
        // Nobody else has the socket before the connection is a peer.
        let socket = Arc::into_inner(conn.socket);
        let Some(mut socket) = socket else { return };
        if socket.unwatch(self.poll.registry()).is_ok() {
            let stay = Box::new((place, stay));
            let Config { stall_timeout, head_bytes_max, .. } = *self.config;
            let limits = Limits { stall_timeout, head_bytes_max };
            web.serve(Visitor { socket, request, otherwise, limits, stay });
        }
    }
}

/// What a connection that is served elsewhere is counted with, until it ends.
struct Stay {
    _open: Opened,
    _pass: Option<Pass>,
    _held: Held,
}
