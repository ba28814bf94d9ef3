//! Where the operator looks: the value of `--admin`.
//!
//! Owns: how that is written, and its default. Must not know: what there is to see.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// Where the admin listens unless told otherwise.
const ADDRESS_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9765);

/// Whether and where the operator can look into the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admin {
    /// At the usual place, if nobody else is there: it was not asked for.
    #[default]
    Usual,
    /// Here, or the relay does not start.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

impl Admin {
    /// Where to listen, if anywhere.
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Admin::Usual => Some(ADDRESS_DEFAULT),
            Admin::At(address) => Some(address),
            Admin::Off => None,
        }
    }
}

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Admin, String> {
        if text == "off" {
            return Ok(Admin::Off);
        }
        let address = text.parse().map_err(|_| "it is ADDRESS:PORT, or off".to_owned())?;
        Ok(Admin::At(address))
    }
}
