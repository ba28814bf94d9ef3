//! gunmetal: a relay for Gun.js applications.
#![forbid(unsafe_code)]

pub mod config;
pub mod dam;
pub mod metrics;
pub mod net;
pub mod ws;
