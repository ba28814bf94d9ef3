//! Gun's mesh. Knows no sockets.

pub mod batch;
pub mod js;
pub mod lenient;
pub mod message;
