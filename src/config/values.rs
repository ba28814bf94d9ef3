//! The values of flags: sizes, times, counts.
//!
//! Owns: how a value is written, and what is said of a wrong one. Must not know: which flag it is of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;

pub const KIB: u64 = 1024;
pub const MIB: u64 = 1024 * KIB;
pub const GIB: u64 = 1024 * MIB;

/// A number of bytes, written as `4194304` or `4M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// As what lengths are compared with.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    fn parse(text: &str) -> Option<Size> {
        let (digits, unit) = match text.as_bytes().last()? {
            b'K' | b'k' => (&text[..text.len() - 1], KIB),
            b'M' | b'm' => (&text[..text.len() - 1], MIB),
            b'G' | b'g' => (&text[..text.len() - 1], GIB),
            _ => (text, 1),
        };
        digits.parse::<u64>().ok()?.checked_mul(unit).map(Size)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes % GIB == 0 => write!(out, "{}G", bytes / GIB),
            bytes if bytes > 0 && bytes % MIB == 0 => write!(out, "{}M", bytes / MIB),
            bytes if bytes > 0 && bytes % KIB == 0 => write!(out, "{}K", bytes / KIB),
            bytes => write!(out, "{bytes}"),
        }
    }
}

/// Parses a port where a command might stand instead.
pub fn port(text: &str) -> Result<u16, &'static str> {
    text.parse()
        .map_err(|_| "it is neither a port (0 to 65535) nor one of the commands that --help lists")
}

/// Parses a size within a range.
pub fn size(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<Size, String> + Clone + Send + Sync + 'static {
    move |text| {
        let size = Size::parse(text)
            .ok_or("a size is a number of bytes, or one with K, M or G: 512K, 4M")?;
        let (least, most) = (Size(*range.start()), Size(*range.end()));
        if range.contains(&size.0) {
            Ok(size)
        } else {
            Err(format!("it must be from {least} to {most}"))
        }
    }
}

/// Parses a number of seconds within a range.
pub(crate) fn seconds(
    range: RangeInclusive<f64>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| {
        let seconds = text.parse::<f64>().map_err(|_| "a time is a number of seconds: 5, 0.5")?;
        let (least, most) = (range.start(), range.end());
        if !range.contains(&seconds) {
            return Err(format!("it must be from {least} to {most} seconds"));
        }
        Ok(Duration::from_secs_f64(seconds))
    }
}

/// Parses a filter of log lines, which stays text.
pub fn log_filter(text: &str) -> Result<String, String> {
    let filter = tracing_subscriber::EnvFilter::try_new(text).map_err(|error| error.to_string());
    filter.map(|_| text.to_owned())
}

/// Parses a number within a range.
pub fn count(range: RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

/// A port on every IPv4 address.
pub fn listen_on(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}
