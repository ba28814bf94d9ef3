//! What an operator does to a relay, with the real binary: subcommands, settings, signals, hand-over.

#[path = "../support/mod.rs"]
mod support;

mod cli;
