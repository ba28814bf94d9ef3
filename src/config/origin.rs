//! The web pages that may connect: their origins (RFC 6454), and which of them a request's matches.
//!
//! Owns: how an origin is written and compared. Must not know: requests.

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Up to and including `://`, in lower case; empty for the origin `null`.
    scheme: String,
    /// Host and port, in lower case, without the port that goes with the scheme.
    authority: String,
    /// It stands for all hosts below this one, not for itself: `https://*.example.org`.
    is_wildcard: bool,
}

impl Origin {
    /// Takes an origin apart; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Origin, String> {
        let wrong = "an origin is SCHEME://HOST or SCHEME://HOST:PORT, without a path";
        let text = text.to_ascii_lowercase();
        if text == "null" {
            return Ok(Origin { scheme: String::new(), authority: text, is_wildcard: false });
        }
        let (scheme, authority) = text.split_once("://").ok_or(wrong)?;
        let (authority, is_wildcard) = match authority.strip_prefix("*.") {
            Some(below) => (below, true),
            None => (authority, false),
        };
        let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if scheme.is_empty() || authority.is_empty() || !authority.bytes().all(is_host_byte) {
            return Err(wrong.to_owned());
        }
        let usual_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "no port",
        };
        let authority = authority.strip_suffix(usual_port).unwrap_or(authority).to_owned();
        Ok(Origin { scheme: format!("{scheme}://"), authority, is_wildcard })
    }

    /// Whether an `Origin` header names it.
    pub fn matches(&self, header: &str) -> bool {
        let header = header.to_ascii_lowercase();
        let Some(authority) = header.strip_prefix(&self.scheme) else { return false };
        match authority.strip_suffix(&self.authority) {
            Some(below) if self.is_wildcard => below.len() > 1 && below.ends_with('.'),
            Some(rest) => rest.is_empty(),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(origin: &str, header: &str) -> bool {
        Origin::parse(origin).unwrap().matches(header)
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert!(matches("https://App.example", "https://app.example"));
        assert!(matches("https://app.example:443", "https://app.example"));
        assert!(matches("http://localhost:3000", "http://localhost:3000"));
        assert!(matches("null", "null"));
        for other in ["http://app.example", "https://app.example:8443", "https://x.app.example", ""]
        {
            assert!(!matches("https://app.example", other), "{other}");
        }
        assert!(!matches("https://app.example", "https://app.example.evil.example"));
    }

    #[test]
    fn a_wildcard_is_for_what_lies_below() {
        assert!(matches("https://*.app.example", "https://a.app.example"));
        assert!(matches("https://*.app.example", "https://a.b.app.example"));
        for other in ["https://app.example", "https://evilapp.example", "https://.app.example"] {
            assert!(!matches("https://*.app.example", other), "{other}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for wrong in ["app.example", "https://", "https://a/path", "://a", "*", "https://a b"] {
            assert!(Origin::parse(wrong).is_err(), "{wrong}");
        }
    }
}
