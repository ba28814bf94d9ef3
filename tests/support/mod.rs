//! What the end-to-end tests share: relays as processes, raw DAM peers, Gun.js peers under node, a browser.
//!
//! Nothing here sleeps to let something happen: every wait polls, has a deadline, and says what it waited for.
//! Every port is chosen by the kernel, and everything stays on the loopback interface.
//!
//! The relay under test is gunmetal. `GUNMETAL_TEST_RELAY` = `mesh`, `stock` or `axe` puts a relay of the npm package
//! in its place (see [`relay::Kind`]), which shows that a scenario is one the reference passes.
#![allow(dead_code)] // Each test binary uses its part.

pub mod browser;
pub mod devtools;
pub mod gun;
pub mod http;
pub mod node;
pub mod peer;
pub mod process;
pub mod relay;
pub mod tap;
pub mod wait;
