//! All I/O, clocks and threads.

pub mod dial;
pub mod http;
