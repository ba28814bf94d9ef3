//! The swarm generator: drives any relay that speaks DAM, counts every copy and times it.
//!
//! ```sh
//! cargo run --release -p loadtest                       # a relay of its own, the default scenario
//! cargo run --release -p loadtest -- chat --rate 500    # another scenario, another rate
//! cargo run --release -p loadtest -- --url ws://host:8765/gun --admin host:9765 --fail-if 'p99>5ms'
//! cargo run --release -p loadtest -- floor              # what the kernel allows on this machine
//! cargo run --release -p loadtest -- versus             # beside Gun, rod, NATS and a broadcaster
//! cargo run --release -p loadtest -- compare a.json b.json
//! ```
//!
//! # How it measures
//!
//! - **Open loop.** Each message has a time at which it is meant to be sent, and latency counts from
//!   that. When the server holds up a sender, the messages behind it are late, and that is seen. The
//!   raw latency, from when a message was sent, stands beside it. `--window` makes it a closed loop,
//!   for peak throughput; its latencies say little.
//! - **Every copy is counted.** A message carries a [`stamp`]: source, number, times, checksum.
//!   Receivers find it by [scanning](scan) large reads, compare the text behind it, and keep a
//!   [`track`] for each source: lost, duplicated, reordered, echoed and corrupted copies are told
//!   apart, and the exit code says whether all are zero. What is around the stamped text (the id, the
//!   node's name) is not compared: relays may spell it differently. Bytes that another connection was
//!   given as well are [compared](memo) with those, and scanned where they differ.
//! - **It watches itself.** A run in which the generator was late, or one of its threads was busy all the time
//!   while the server was not, is INVALID.
//! - **What the server uses** is read from outside (`--pid`), or asked of a relay (`--admin`): CPU, memory,
//!   threads, context switches.
//!
//! # Map
//!
//! | module | owns |
//! |---|---|
//! | [`scenario`] | the parameters, the presets and what overrides them |
//! | [`plan`] | which connection does what, on which thread, to which relay |
//! | [`message`], [`stamp`] | what is sent, built once and patched |
//! | [`pace`] | when it is meant to be sent |
//! | [`swarm`] | the threads, the connections, sending and receiving |
//! | [`wire`], [`scan`], [`memo`], [`track`] | from bytes to counted copies |
//! | [`run`], [`server`] | the order of a run; what it starts |
//! | [`meter`], [`source`], [`process`] | what the server uses, and where that is read |
//! | [`loads`] | how busy the generator was |
//! | [`hostile`] | attacks that begin in the middle of a run |
//! | [`outcome`], [`verdict`], [`threshold`] | what was found, and how it is to be taken |
//! | [`table`], [`report`], [`plot`], [`files`], [`compare`] | how that is told |
//! | [`floor`], [`versus`], [`stock`] | what it is compared with |
//!
//! Exit codes: 0 all is well, 1 it could not be done, 2 a copy was lost, duplicated, reordered, echoed
//! or corrupted or a peer was closed, 3 a threshold was crossed, 4 the generator was the limit.
#![forbid(unsafe_code)]

pub mod args;
pub mod clock;
pub mod compare;
pub mod files;
pub mod floor;
pub mod hostile;
pub mod loads;
pub mod memo;
pub mod message;
pub mod meter;
pub mod outcome;
pub mod pace;
pub mod plan;
pub mod plot;
pub mod process;
pub mod report;
pub mod run;
pub mod scan;
pub mod scenario;
pub mod server;
pub mod source;
pub mod stamp;
pub mod stock;
pub mod swarm;
pub mod table;
pub mod threshold;
pub mod track;
pub mod verdict;
pub mod versus;
pub mod wire;
