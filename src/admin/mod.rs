//! The operator's sight into a running relay: metrics, health, a live page.
//!
//! It has a listener and a thread of its own (`--admin`), never the public port, and changes nothing:
//! only GET and HEAD are answered.
//!
//! | path | what |
//! |---|---|
//! | `/` | a page that shows it all live |
//! | `/metrics` | Prometheus's text format ([`prometheus`]) |
//! | `/livez` | 200 unless a thread is stuck |
//! | `/readyz` | 200, or 503 and the reasons why no new peers should be sent here |
//! | `/stats.json` | everything but the peers ([`stats`]) |
//! | `/peers.json?sort=…&limit=…` | the peers that lead by a figure, and the last that left ([`peers`]) |
//!
//! Owns: the paths and their answers. Must not know: sockets, how the relay works; it looks through
//! a [`View`].

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;

use self::guard::Guard;
use self::survey::Surveyor;
use crate::http_thread::{Handler, HttpThread, Serving};
use crate::net::memory::{self, Gauge};
use crate::net::view::View;

mod guard;
pub mod peers;
pub mod process;
pub mod prometheus;
pub mod stats;
pub mod survey;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

const NOT_FOUND: &str = "gunmetal: nothing here. There are /, /metrics, /livez, /readyz, \
    /stats.json and /peers.json.\n";

/// Answers about peers that are not sent yet may hold so much, all together, in bytes; one of 1000 peers has
/// some 300 KiB.
const PEERS_BYTES_MAX: usize = 4 << 20;

/// What the page may load: its own files, and nothing else from anywhere.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Starts the admin thread on this listener. Returns where it listens, and what ends it.
///
/// # Errors
/// The process may not have another thread.
pub fn start(listener: TcpListener, view: View) -> io::Result<(SocketAddr, Serving)> {
    let bound = listener.local_addr()?;
    let admin = Admin::new(bound.ip(), view);
    let serving = HttpThread::start("admin")?.serve(listener, Arc::new(admin))?;
    Ok((bound, serving))
}

struct Admin {
    guard: Guard,
    surveyor: Surveyor,
    view: View,
    /// What answers about peers hold that are not sent yet.
    peers_in_flight: Arc<Gauge>,
}

impl Handler for Admin {
    fn answer(&self, request: Request<()>) -> Response<Full<Bytes>> {
        let mut response = match self.guard.refusal(&request) {
            Some((status, text)) => plain(status, format!("gunmetal: {text}.\n")),
            None => self.route(request.uri().path(), request.uri().query().unwrap_or_default()),
        };
        let headers = response.headers_mut();
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("allow", guard::METHODS),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl Admin {
    fn new(address: IpAddr, view: View) -> Admin {
        Admin {
            guard: Guard::new(address),
            surveyor: Surveyor::new(view.clone()),
            view,
            peers_in_flight: Arc::default(),
        }
    }

    fn route(&self, path: &str, query: &str) -> Response<Full<Bytes>> {
        match path {
            "/" => self.page(),
            "/page.js" => body("text/javascript; charset=utf-8", include_str!("page.js")),
            "/page.css" => body("text/css; charset=utf-8", include_str!("page.css")),
            "/metrics" => body(prometheus::CONTENT_TYPE, self.counted(self.metrics().into_bytes())),
            "/livez" => self.livez(),
            "/readyz" => self.readyz(),
            "/stats.json" => {
                body(JSON, self.counted(json(&stats::Stats::of(&self.view, &self.surveyor))))
            }
            "/peers.json" => match peers::Query::parse(query) {
                Ok(query) => self.peers(query),
                Err(fault) => plain(StatusCode::BAD_REQUEST, format!("gunmetal: {fault}.\n")),
            },
            _ => plain(StatusCode::NOT_FOUND, NOT_FOUND.to_owned()),
        }
    }

    fn page(&self) -> Response<Full<Bytes>> {
        let mut page = body("text/html; charset=utf-8", include_str!("page.html"));
        let policy = HeaderValue::from_static(PAGE_POLICY);
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        page
    }

    /// The one answer that grows with the peers: so much of it may be in flight to those who take it
    /// slowly, or not at all.
    fn peers(&self, query: peers::Query) -> Response<Full<Bytes>> {
        if self.peers_in_flight.held() >= PEERS_BYTES_MAX {
            let text = "gunmetal: too many have asked for peers and not taken the answer yet.\n";
            let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        }
        let json = json(&peers::Peers::of(&self.view, query));
        let bytes = json.capacity();
        let answer = memory::counted(json, bytes, &self.peers_in_flight);
        body(JSON, memory::counted(answer, bytes, &self.view.memory().of_all()))
    }

    /// An answer whose memory is counted until it is sent.
    fn counted(&self, answer: Vec<u8>) -> Bytes {
        let bytes = answer.capacity();
        memory::counted(answer, bytes, &self.view.memory().of_all())
    }

    fn metrics(&self) -> String {
        prometheus::text(&self.view, &self.surveyor)
    }

    fn livez(&self) -> Response<Full<Bytes>> {
        verdict(stats::stuck(&self.view))
    }

    fn readyz(&self) -> Response<Full<Bytes>> {
        verdict(self.view.unready_reasons())
    }
}

/// 200 if there are no complaints, else 503 and the complaints, a line each.
fn verdict(complaints: Vec<String>) -> Response<Full<Bytes>> {
    match complaints.is_empty() {
        true => plain(StatusCode::OK, "ok\n".to_owned()),
        false => plain(StatusCode::SERVICE_UNAVAILABLE, complaints.join("\n") + "\n"),
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = body(TEXT, text);
    *response.status_mut() = status;
    response
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data is JSON")
}

fn body(kind: &'static str, bytes: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config::Config;
    use crate::net::memory::Held;
    use crate::net::relay::Relay;

    #[test]
    fn answers_about_peers_are_counted_until_they_are_sent_and_bounded() {
        let relay = Relay::start(Config::for_tests()).unwrap();
        let admin = Admin::new(Ipv4Addr::LOCALHOST.into(), relay.view());
        let ask = |path: &str| {
            let request = Request::builder().uri(path).header("host", "localhost");
            admin.answer(request.body(()).unwrap())
        };
        let held = || admin.view.memory().held();
        let empty = held();
        for path in ["/peers.json", "/stats.json", "/metrics"] {
            let answer = ask(path);
            assert_eq!(answer.status(), 200, "{path}");
            assert!(held() > empty, "{path}");
            drop(answer);
            assert_eq!(held(), empty, "{path}");
        }
        let waiting = Held::new(&admin.peers_in_flight, PEERS_BYTES_MAX);
        let refused = ask("/peers.json");
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["retry-after"] == "1"),
            (503, true)
        );
        assert_eq!(ask("/metrics").status(), 200);
        drop(waiting);
        assert_eq!(ask("/peers.json").status(), 200);
        assert_eq!(admin.peers_in_flight.held(), 0);
        relay.stop();
        relay.join();
    }
}
