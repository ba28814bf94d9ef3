use super::*;
use crate::ws::upgrade::{HeadLimits, parse};

const ABOUT: About = About { version: "1.2.3", uptime: Duration::from_secs(93_784), peers: 7 };
const UPGRADE: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn ask(line: &str, headers: &str) -> Answer {
    let head = format!("{line} HTTP/1.1\r\n{headers}\r\n");
    let request = parse(head.as_bytes(), &HeadLimits::default());
    answer(&request.unwrap().unwrap(), &ABOUT)
}

/// Head and body of a response that closes, after the checks that hold for all of them.
fn closing(bytes: Vec<u8>) -> (String, String) {
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let count = |name: &str| head.matches(name).count();
    for line in [
        "\r\nConnection: close",
        "\r\nAccess-Control-Allow-Origin: *",
        "\r\nX-Content-Type-Options: nosniff",
        "\r\nCache-Control: ",
    ] {
        assert_eq!(count(line), 1, "{line} in {head}");
    }
    if !head.starts_with("HTTP/1.1 204") {
        assert_eq!(count("\r\nContent-Length: "), 1, "{head}");
        assert!(head.contains("; charset=utf-8\r\n"), "{head}");
        assert!(body.is_empty() || head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
    (head.to_owned(), body.to_owned())
}

fn refused(line: &str, headers: &str) -> (String, String) {
    match ask(line, headers) {
        Answer::Close(bytes, _) => closing(bytes),
        Answer::Upgrade(_) => panic!("{line} was upgraded"),
    }
}

#[test]
fn gun_upgrades_at_its_path_whatever_the_query() {
    for line in ["GET /gun", "GET /gun?x=1", "GET /gun?"] {
        let Answer::Upgrade(head) = ask(line, UPGRADE) else { panic!("{line}") };
        assert!(head.starts_with(b"HTTP/1.1 101 "));
    }
}

#[test]
fn requests_have_their_status_and_label() {
    for (line, headers, status, label) in [
        ("GET /", "", "200 OK", "page"),
        ("GET /?x", "", "200 OK", "page"),
        ("GET /", "Upgrade: h2c\r\n", "200 OK", "page"),
        ("GET /", "Accept: application/json\r\n", "200 OK", "summary"),
        ("GET /healthz", "", "200 OK", "health"),
        ("HEAD /healthz", "", "200 OK", "health"),
        ("OPTIONS /anything", "", "204 No Content", "options"),
        ("OPTIONS *", "", "204 No Content", "options"),
        ("GET /gun", "Upgrade: h2c\r\n", "400 Bad Request", "bad_upgrade"),
        ("GET /gun", "Upgrade: websocket\r\n", "400 Bad Request", "bad_upgrade"),
        ("POST /gun", UPGRADE, "400 Bad Request", "bad_upgrade"),
        ("GET /gun.js", "", "404 Not Found", "not_found"),
        ("GET /gun/", UPGRADE, "404 Not Found", "upgrade_elsewhere"),
        ("GET /GUN", UPGRADE, "404 Not Found", "upgrade_elsewhere"),
        ("GET /gun#x", UPGRADE, "404 Not Found", "upgrade_elsewhere"),
        ("GET /", UPGRADE, "404 Not Found", "upgrade_elsewhere"),
        ("GET /", "Upgrade: websocket\r\n", "404 Not Found", "upgrade_elsewhere"),
        ("POST /", "Content-Length: 5\r\n", "405 Method Not Allowed", "bad_method"),
        ("DELETE /gun", "", "405 Method Not Allowed", "bad_method"),
        ("GET /gun", "", "426 Upgrade Required", "upgrade_required"),
    ] {
        let Answer::Close(bytes, found) = ask(line, headers) else { panic!("{line} upgraded") };
        let (head, _) = closing(bytes);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{line}: {head}");
        assert_eq!(found, label, "{line}");
    }
}

#[test]
fn refusals_name_what_would_be_accepted() {
    let (head, _) = refused("GET /gun", "");
    assert!(head.contains("\r\nUpgrade: websocket\r\n"));
    let (head, _) = refused("PUT /", "");
    assert!(head.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"));
    let (head, body) = refused("GET /gun", &UPGRADE.replace("13", "7"));
    assert!(head.contains("\r\nSec-WebSocket-Version: 13, 8\r\n"));
    assert_eq!(body, "gunmetal: Sec-WebSocket-Version must be 13.\n");
}

#[test]
fn head_is_get_without_the_body() {
    for path in ["/", "/gun", "/healthz", "/nothing"] {
        let (head, body) = refused(&format!("HEAD {path}"), "");
        let (same, _) = refused(&format!("GET {path}"), "");
        assert_eq!((head, body), (same, String::new()));
    }
}

#[test]
fn page_shows_how_to_connect_and_loads_nothing() {
    let (head, body) = refused("GET /", "Host: relay.example\r\n");
    assert!(body.contains("Gun(['http://relay.example/gun'])"));
    assert!(body.contains("running for 1 d 2 h &middot; peers: 7 &middot; version 1.2.3"));
    assert!(head.contains("Content-Security-Policy: default-src 'none'; "));
    assert!(!body.contains("src=") && !body.contains("<script") && !body.contains("<link"));
    assert!(!body.contains("{host}") && !body.contains("{uptime}"));
}

#[test]
fn summary_is_json() {
    let (_, body) = refused("GET /", "Accept: application/json\r\nHost: [::1]:8765\r\n");
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = serde_json::json!({
        "name": "gunmetal", "version": "1.2.3", "connect": "http://[::1]:8765/gun",
        "peers": 7, "uptime_seconds": 93_784,
    });
    assert_eq!(json, expected);
}

#[test]
fn only_hosts_are_shown() {
    for host in ["a", "a.b-c_d:1", "127.0.0.1:65535", "[::1]", "[fe80::1]:80", "EXAMPLE.com."] {
        assert!(is_host(host), "{host}");
    }
    let long = "a".repeat(260);
    for host in [
        "", ":80", "a:", "a:0", "a:65536", "a:+1", "a:b", "a b", "a/b", "u@a", "::1", "[::1",
        "[x]", "[::1]x:1", "<script>", "a'", "a\"", "a&b", "\u{e9}", "a:1:2", &long,
    ] {
        assert!(!is_host(host), "{host}");
        let headers = format!("Host: {host}\r\nAccept: application/json\r\n");
        let (_, body) = refused("GET /", &headers);
        assert!(body.contains("http://HOST:8765/gun"), "{host}: {body}");
    }
    assert_eq!(escape_html("<a b='c'>&\""), "&lt;a b=&#39;c&#39;&gt;&amp;&quot;");
}

#[test]
fn answers_without_a_request_are_complete() {
    for (bytes, status) in [
        (refuse(&HeadError::Tls), "400 Bad Request"),
        (refuse(&HeadError::TooLong), "431 Request Header Fields Too Large"),
        (refuse(&HeadError::TooManyHeaders), "431 Request Header Fields Too Large"),
        (refuse(&HeadError::HttpVersion), "505 HTTP Version Not Supported"),
        (reject(Rejection::Full), "503 Service Unavailable"),
        (reject(Rejection::Pace(Duration::ZERO)), "503 Service Unavailable"),
        (reject(Rejection::AddressFull), "429 Too Many Requests"),
        (reject(Rejection::Origin), "403 Forbidden"),
        (reject(Rejection::Token), "401 Unauthorized"),
        (reject(Rejection::NoProxyHeader), "400 Bad Request"),
        (timeout(), "408 Request Timeout"),
    ] {
        let (head, body) = closing(bytes);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
        assert!(body.starts_with("gunmetal: ") && body.ends_with(".\n"), "{body}");
    }
    let (head, _) = closing(reject(Rejection::Full));
    assert!(head.contains("\r\nRetry-After: 5\r\n"));
    let (head, _) = closing(reject(Rejection::AddressPace(Duration::from_millis(1001))));
    assert!(head.contains("\r\nRetry-After: 2\r\n"));
    let (head, _) = closing(reject(Rejection::Token));
    assert!(head.contains("\r\nWWW-Authenticate: Bearer "));
}

#[test]
fn durations_are_spelled_in_two_units() {
    for (seconds, spelled) in
        [(5, "5 s"), (65, "1 min 5 s"), (7_320, "2 h 2 min"), (90_000, "1 d 1 h")]
    {
        assert_eq!(spell_duration(Duration::from_secs(seconds)), spelled);
    }
}
