//! Gun's mesh: messages, their memory, their routes. Knows no sockets, clocks or threads.

pub mod dedup;
pub mod peer;
