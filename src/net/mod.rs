//! All I/O, clocks and threads.

pub mod http;
