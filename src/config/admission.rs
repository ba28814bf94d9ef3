//! The knobs of who may come in and how much each may say.
//!
//! Owns: the flags of admission, their validation, and the profiles, which are sets of defaults.
//! Must not know: how any of it is enforced.

use std::fmt;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::file::text_of;
pub use super::origin::Origin;
use super::values::{GIB, KIB, Size, count, size};

/// The shortest token that is accepted, in bytes.
const TOKEN_BYTES_MIN: usize = 8;
/// The longest.
const TOKEN_BYTES_MAX: usize = 512;
/// A list of origins or networks holds so many at most.
const LIST_MAX: usize = 1000;

/// What a stranger must know to connect. It is never shown.
#[derive(Clone)]
pub struct Token(Box<str>);

impl Token {
    /// Checks that it can be a header's and a URL's part.
    fn parse(text: &str) -> Result<Token, String> {
        let is_long = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len());
        if !is_long || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "a token is {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} printable ASCII characters \
                 without spaces"
            ));
        }
        Ok(Token(text.into()))
    }

    /// Whether `given` is the token. The time it takes tells no more than the length.
    pub fn is(&self, given: &[u8]) -> bool {
        constant_time_eq::constant_time_eq(self.0.as_bytes(), given)
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Token) -> bool {
        self.is(other.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(hidden)")
    }
}

/// Who may come in, as configured. `None` and empty: no such limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admission {
    /// Pages from elsewhere may not connect; a client that names no origin is no page.
    pub origins: Vec<Origin>,
    /// What a client must know.
    pub token: Option<Token>,
    /// Networks of proxies whose word about the client's address is taken.
    pub trust: Vec<IpNet>,
    /// Those proxies begin each connection with a PROXY header.
    pub proxy_protocol: bool,
    /// Connections accepted in a second.
    pub accepts_per_second: Option<NonZeroU64>,
    /// The same, from one address.
    pub address_accepts_per_second: Option<NonZeroU64>,
    /// Connections open at the same time from one address.
    pub address_connections_max: Option<NonZeroU64>,
    /// Messages heard from one peer in a second.
    pub peer_messages_per_second: Option<NonZeroU64>,
    /// Bytes read from one peer in a second.
    pub peer_bytes_per_second: Option<NonZeroU64>,
}

/// A set of defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Profile {
    /// No limit on who may come and how often.
    Open,
    /// Limits for a relay that strangers reach.
    Public,
}

impl Profile {
    /// Flags and what they are unless they are given.
    pub(super) fn defaults(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Profile::Open => &[],
            Profile::Public => &[
                ("accepts-per-second", "1000"),
                ("address-accepts-per-second", "10"),
                ("address-connections-max", "100"),
                ("peer-messages-per-second", "500"),
                ("peer-bytes-per-second", "1M"),
            ],
        }
    }
}

/// The part of the command line that is about admission.
#[derive(Args, Debug)]
#[command(next_help_heading = "Who may come in")]
#[allow(rustdoc::bare_urls)] // The comments are the text of --help.
pub(super) struct AdmissionFlags {
    /// Defaults for a purpose: public sets the limits below that a relay open to strangers needs;
    /// each can still be set by its own flag
    #[arg(long, value_enum, default_value = "open")]
    pub(super) profile: Profile,
    /// Web pages that may connect, comma-separated: https://app.example,https://*.app.example; clients that are no
    /// pages name no origin and pass [default: all]
    #[arg(long, value_name = "ORIGIN,ORIGIN", value_parser = Origins::parse, default_value = "",
          hide_default_value = true)]
    origins: Origins,
    /// What a client must send, as `Authorization: Bearer TOKEN` or as /gun?token=TOKEN. Others see the command line of
    /// this process: prefer GUNMETAL_TOKEN or --token-file
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file",
          value_parser = NonEmptyStringValueParser::new())]
    token: Option<String>,
    /// A file whose first line is the token
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// Networks of proxies that are believed when they name the client's address, comma-separated:
    /// 10.0.0.0/8,127.0.0.1. They do so by X-Forwarded-For
    #[arg(long, value_name = "NETWORK,NETWORK", value_parser = Networks::parse, default_value = "",
          hide_default_value = true)]
    trust: Networks,
    /// The proxies of --trust begin each connection with a PROXY header, version 1 or 2
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    proxy_protocol: bool,
    /// Connections accepted in a second; ten seconds' worth may come at once; 0: no limit
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = count(0..=1_000_000))]
    accepts_per_second: usize,
    /// The same, from one address (of IPv6: from one /64)
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = count(0..=1_000_000))]
    address_accepts_per_second: usize,
    /// Connections open at the same time from one address (of IPv6: from one /64); 0: no limit
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = count(0..=10_000_000))]
    address_connections_max: usize,
    /// Messages heard from one peer in a second, ten seconds' worth at once; then it is read no faster; 0: no limit
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = count(0..=10_000_000))]
    peer_messages_per_second: usize,
    /// Bytes read from one peer in a second, ten seconds' worth at once; then it is read no faster; 0: no limit
    #[arg(long, value_name = "SIZE", default_value_t = Size(0), value_parser = rate_size())]
    peer_bytes_per_second: Size,
}

impl AdmissionFlags {
    /// Validates what no single flag can.
    pub(super) fn resolve(self) -> Result<Admission, String> {
        if self.proxy_protocol && self.trust.0.is_empty() {
            return Err("--proxy-protocol needs --trust: which proxies are believed?".to_owned());
        }
        let limit = |count: usize| NonZeroU64::new(count as u64);
        Ok(Admission {
            origins: self.origins.0,
            token: token(self.token, self.token_file.as_deref())?,
            trust: self.trust.0,
            proxy_protocol: self.proxy_protocol,
            accepts_per_second: limit(self.accepts_per_second),
            address_accepts_per_second: limit(self.address_accepts_per_second),
            address_connections_max: limit(self.address_connections_max),
            peer_messages_per_second: limit(self.peer_messages_per_second),
            peer_bytes_per_second: limit(self.peer_bytes_per_second.bytes()),
        })
    }
}

impl Admission {
    /// What a relay says of it when it starts; nothing if nothing is limited.
    pub(super) fn start_line(&self) -> Option<String> {
        let mut parts = Vec::new();
        let mut say = |name: &str, limit: Option<NonZeroU64>| {
            parts.extend(limit.map(|limit| format!("{name} {limit}")));
        };
        say("accepts per second", self.accepts_per_second);
        say("of one address", self.address_accepts_per_second);
        say("connections of one address", self.address_connections_max);
        say("messages per peer and second", self.peer_messages_per_second);
        say("bytes per peer and second", self.peer_bytes_per_second);
        if !self.origins.is_empty() {
            parts.push(format!("pages of {} origins", self.origins.len()));
        }
        if self.token.is_some() {
            parts.push("with the token only".to_owned());
        }
        if !self.trust.is_empty() {
            let how =
                if self.proxy_protocol { "PROXY and X-Forwarded-For" } else { "X-Forwarded-For" };
            parts.push(format!("{} trusted networks ({how})", self.trust.len()));
        }
        (!parts.is_empty()).then(|| format!("admission: {}", parts.join(", ")))
    }
}

/// The list of `--origins`.
#[derive(Clone, Debug)]
struct Origins(Vec<Origin>);

impl Origins {
    fn parse(list: &str) -> Result<Origins, String> {
        parse_list(list, Origin::parse).map(Origins)
    }
}

/// The list of `--trust`.
#[derive(Clone, Debug)]
struct Networks(Vec<IpNet>);

impl Networks {
    fn parse(list: &str) -> Result<Networks, String> {
        parse_list(list, |entry| {
            let one = || entry.parse().map(|address: std::net::IpAddr| address.into());
            let network = entry.parse::<IpNet>().or_else(|_| one());
            let network = network.map_err(|_| "write a network as 10.0.0.0/8 or an address")?;
            Ok(network.trunc())
        })
        .map(Networks)
    }
}

fn parse_list<T>(list: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let parsed: Result<Vec<T>, String> =
        entries.map(|entry| parse(entry).map_err(|fault| format!("{entry:?}: {fault}"))).collect();
    parsed.and_then(|list| match list.len() {
        ..=LIST_MAX => Ok(list),
        count => Err(format!("{count} are listed, {LIST_MAX} is the most")),
    })
}

fn token(given: Option<String>, file: Option<&Path>) -> Result<Option<Token>, String> {
    let (text, source) = match (given, file) {
        (Some(text), _) => (text, "--token".to_owned()),
        (None, Some(path)) => {
            let source = format!("--token-file {}", path.display());
            let text = text_of(path).map_err(|error| format!("{source}: {error}"))?;
            (text.lines().next().unwrap_or_default().trim().to_owned(), source)
        }
        (None, None) => return Ok(None),
    };
    Token::parse(&text).map(Some).map_err(|fault| format!("{source}: {fault}"))
}

/// Nothing, or a size a message fits into in time.
fn rate_size() -> impl Fn(&str) -> Result<Size, String> + Clone + Send + Sync + 'static {
    let limit = size(KIB..=GIB);
    move |text| if text == "0" { Ok(Size(0)) } else { limit(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_without_end_is_refused() {
        let fault = token(None, Some(Path::new("/dev/zero"))).unwrap_err();
        assert_eq!(fault, "--token-file /dev/zero: it is longer than 1 MiB");
    }
}
