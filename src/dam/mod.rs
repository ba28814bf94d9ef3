//! Gun's mesh: messages, their memory, their routes. Knows no sockets, clocks or threads.
//!
//! It does what Gun's does; where it differs on purpose is listed in `docs/differences.md`.
//!
//! - [`batch`]: a frame's text taken apart into messages. [`scan`]: where they and their members are.
//! - [`message`]: one message's envelope, and its rewriting for forwarding.
//! - [`lenient`] and [`js`]: what JavaScript accepts and how it sees values.
//! - [`dedup`]: the memory of ids. [`recall`]: duplicates known by their bytes. [`peer`]: who is connected.
//! - [`mesh`]: what happens to a message.

pub mod batch;
pub mod dedup;
pub mod js;
pub mod lenient;
pub mod mesh;
pub mod message;
pub mod peer;
#[cfg(test)]
mod random;
pub mod recall;
pub mod scan;
