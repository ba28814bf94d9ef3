//! Who may ask: only for reading, and no web page of another site.
//!
//! A browser on the operator's machine can reach a loopback address on behalf of any page. It may not
//! read the answers, as no CORS header permits it, unless the page's own name is made to resolve to
//! the loopback address (DNS rebinding). Such a request carries that name in `Host`, so on a loopback
//! listener only loopback names are accepted.
//!
//! Owns: these rules. Must not know: what is asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};

/// What may be asked.
pub const METHODS: &str = "GET, HEAD";

/// See the module's head.
pub struct Guard {
    is_loopback: bool,
}

impl Guard {
    /// For a listener on this address.
    pub fn new(address: IpAddr) -> Self {
        Guard { is_loopback: address.to_canonical().is_loopback() }
    }

    /// Why a request is refused, if it is.
    pub fn refusal(&self, request: &Request<()>) -> Option<(StatusCode, &'static str)> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return Some((
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD: this is for looking",
            ));
        }
        if self.is_loopback && !is_for_loopback(request) {
            let text =
                "the Host is not a name of this machine; ask for http://127.0.0.1 or localhost";
            return Some((StatusCode::FORBIDDEN, text));
        }
        if is_from_other_site(request) {
            return Some((StatusCode::FORBIDDEN, "not for pages of other sites"));
        }
        None
    }
}

fn is_for_loopback(request: &Request<()>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let named = request.uri().host();
    let hosts = [host.map(without_port), named];
    hosts.iter().any(Option::is_some) && hosts.into_iter().flatten().all(is_loopback_name)
}

/// `Host` is a name or address, and a port perhaps (RFC 9110 section 7.2).
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_loopback_name(name: &str) -> bool {
    let in_brackets = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || in_brackets
            .and_then(|name| name.parse::<Ipv6Addr>().ok())
            .is_some_and(|address| address.is_loopback())
}

/// A page of another site asks in the background. Following a link from it is allowed.
fn is_from_other_site(request: &Request<()>) -> bool {
    let header = |name: &str| request.headers().get(name).map(|value| value.as_bytes());
    let is_other = matches!(header("sec-fetch-site"), Some(b"cross-site" | b"same-site"));
    is_other && header("sec-fetch-mode") != Some(b"navigate")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str, method: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().method(method).uri("/metrics");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let guard = Guard::new(address.parse().unwrap());
        guard.refusal(&request.body(()).unwrap()).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn only_reading_is_allowed() {
        let host = [("host", "localhost")];
        for method in ["GET", "HEAD"] {
            assert_eq!(refusal("127.0.0.1", method, &host), None, "{method}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            assert_eq!(refusal("127.0.0.1", method, &host), Some(405), "{method}");
        }
    }

    #[test]
    fn a_loopback_listener_answers_to_loopback_names_alone() {
        let answer = |host: &str| refusal("127.0.0.1", "GET", &[("host", host)]);
        for host in [
            "localhost",
            "LocalHost:9765",
            "127.0.0.1",
            "127.0.0.1:9765",
            "127.8.9.10:1",
            "[::1]",
            "[::1]:9765",
        ] {
            assert_eq!(answer(host), None, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9765",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "::1",
            "0.0.0.0",
            "[127.0.0.1]",
        ] {
            assert_eq!(answer(host), Some(403), "{host:?}");
        }
        assert_eq!(refusal("127.0.0.1", "GET", &[]), Some(403), "no Host at all");
        assert_eq!(refusal("::1", "GET", &[("host", "evil.example")]), Some(403));
        assert_eq!(refusal("10.0.0.1", "GET", &[("host", "relay.example")]), None);
    }

    #[test]
    fn pages_of_other_sites_get_nothing() {
        let answer = |site: &str, mode: &str| {
            let headers =
                [("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", mode)];
            refusal("127.0.0.1", "GET", &headers)
        };
        assert_eq!(answer("cross-site", "no-cors"), Some(403));
        assert_eq!(answer("same-site", "cors"), Some(403));
        assert_eq!(answer("cross-site", "navigate"), None);
        assert_eq!(answer("same-origin", "cors"), None);
        assert_eq!(answer("none", "navigate"), None);
    }
}
