//! All I/O, clocks and threads.
