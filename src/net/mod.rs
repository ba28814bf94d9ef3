//! All I/O, clocks and threads.
//!
//! - [`relay`] starts and stops everything. [`listen`]: its listening sockets.
//! - [`reactor`]: a thread that reads; beneath it the life of a connection, from accept to close.
//!   [`accept`] gives it connections. [`conn`]: one of them.
//!   [`admission`]: whether it may come in. [`hear`]: what a peer says. [`http`]: what requests get.
//!   [`handshake`]: threads that shake hands for TLS.
//! - [`queue`]: all that crosses from reactors to writers. [`bell`] wakes them; [`placement`] says
//!   which writer a peer gets.
//! - [`writer`]: a thread that writes. [`coalesce`]: many messages into few frames. [`remote`]: one
//!   peer's backlog.
//! - [`memory`]: what is held for peers, and who goes when it is too much.
//! - [`view`]: what may be seen of it all. [`roster`]: the peers of a reactor.
//! - [`log_throttle`]: log lines that are to be few.
//! - [`web`]: a thread for those that ask for files, through a [`pipe`].
//! - [`dial`]: outbound links. [`socket`]: what both sides of a connection share, and [`session`]
//!   its TLS. [`renewal`]: a thread that takes new certificates. [`timers`].
//! - [`poll`]: how threads wait.

pub mod accept;
pub mod admission;
pub mod bell;
pub mod coalesce;
pub mod conn;
pub mod dial;
pub mod handshake;
pub mod hear;
pub mod http;
pub mod listen;
pub mod log_throttle;
pub mod memory;
pub mod pipe;
pub mod placement;
pub mod poll;
pub mod queue;
pub mod reactor;
pub mod relay;
pub mod remote;
pub mod renewal;
pub mod roster;
pub mod session;
pub mod socket;
pub mod timers;
pub mod view;
pub mod web;
pub mod writer;

/// What [`bell`] is made of. Its test puts loom's in their place.
mod sync {
    pub use std::sync::atomic::{AtomicBool, Ordering};
}
