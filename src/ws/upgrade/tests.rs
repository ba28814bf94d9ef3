//! Every kind of wrong request and wrong answer, and the right ones.

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn read(head: &str) -> Request {
    let limits = HeadLimits::default();
    parse(head.as_bytes(), &limits).unwrap().unwrap()
}

fn refusal(head: &[u8]) -> HeadError {
    parse(head, &HeadLimits::default()).unwrap_err()
}

/// A good upgrade with one line replaced by `line`, or removed if that is empty.
fn upgrade_with(name: &str, line: &str) -> Option<Result<Upgrade, BadUpgrade>> {
    let lines = [
        "GET /gun?x=1 HTTP/1.1",
        "Host: relay.example:8765",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let lines = lines.map(|old| if old.starts_with(name) { line } else { old });
    let present: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    read(&(present.join("\r\n") + "\r\n\r\n")).upgrade
}

#[test]
fn a_good_upgrade_is_accepted_with_the_digest_of_the_rfc() {
    let upgrade = upgrade_with("none", "").unwrap().unwrap();
    let head = String::from_utf8(accept(&upgrade)).unwrap();
    assert_eq!(
        head,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn upgrades_that_only_look_unusual_are_accepted() {
    for (name, line) in [
        ("Upgrade", "uPGRADE: WebSocket"),
        ("Upgrade", "Upgrade: h2c, websocket"),
        ("Connection", ""),
        ("Connection", "Connection: close"),
        ("Host", ""),
        ("Host", "Origin: https://anywhere.example"),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Version:  8 "),
        ("Host", "Sec-WebSocket-Extensions: permessage-deflate"),
    ] {
        assert!(matches!(upgrade_with(name, line), Some(Ok(_))), "{line}");
    }
}

#[test]
fn every_broken_upgrade_has_its_reason() {
    for (name, line, reason) in [
        ("Upgrade", "Upgrade: h2c", BadUpgrade::OtherProtocol),
        ("Upgrade", "Upgrade:", BadUpgrade::OtherProtocol),
        ("Upgrade", "Upgrade: websockets", BadUpgrade::OtherProtocol),
        ("GET", "POST /gun HTTP/1.1", BadUpgrade::Method),
        ("GET", "HEAD /gun HTTP/1.1", BadUpgrade::Method),
        ("GET", "get /gun HTTP/1.1", BadUpgrade::Method),
        ("GET", "GET /gun HTTP/1.0", BadUpgrade::HttpVersion),
        ("Sec-WebSocket-Version", "", BadUpgrade::Version),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Version: 12", BadUpgrade::Version),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Version: x", BadUpgrade::Version),
        ("Host", "Sec-WebSocket-Version: 13", BadUpgrade::Version),
        ("Sec-WebSocket-Key", "", BadUpgrade::NoKey),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Key:", BadUpgrade::Key),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==", BadUpgrade::Key),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=a", BadUpgrade::Key),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-Q==", BadUpgrade::Key),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Key: \u{e9}GhlIHNhbXBsZSBub25jQ==", BadUpgrade::Key),
        ("Host", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", BadUpgrade::Key),
    ] {
        assert_eq!(upgrade_with(name, line), Some(Err(reason)), "{line}");
    }
    assert_eq!(upgrade_with("Upgrade", ""), None);
}

#[test]
fn the_first_subprotocol_is_echoed_if_it_is_a_token() {
    for (offer, echoed) in [
        ("gun", Some("gun")),
        ("v1.gun , other", Some("v1.gun")),
        ("a b, c", None),
        ("x\u{e9}", None),
        ("a;b", None),
        ("", None),
        (",gun", None),
    ] {
        let line = format!("Sec-WebSocket-Protocol: {offer}");
        let upgrade = upgrade_with("Host", &line).unwrap().unwrap();
        let head = String::from_utf8(accept(&upgrade)).unwrap();
        let expected = echoed.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n\r\n"));
        match expected {
            Some(end) => assert!(head.ends_with(&end), "{head}"),
            None => assert!(!head.contains("Protocol:"), "{head}"),
        }
    }
}

#[test]
fn targets_are_cut_at_the_question_mark_only() {
    for (target, path, query) in [
        ("/gun?x=1&y?z", "/gun", Some("x=1&y?z")),
        ("/gun?", "/gun", Some("")),
        ("/gun/", "/gun/", None),
        ("/%67un", "/%67un", None),
        ("/gun#x", "/gun#x", None),
        ("*", "*", None),
    ] {
        let request = read(&format!("GET {target} HTTP/1.1\r\n\r\n"));
        assert_eq!((&*request.path, request.query.as_deref()), (path, query));
    }
}

#[test]
fn a_head_may_arrive_byte_by_byte_and_ends_where_it_ends() {
    let head = format!("GET /gun HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: {KEY}\r\n\r\n");
    let input = head.clone() + "\u{1}frame";
    for end in 0..head.len() {
        let part = parse(&input.as_bytes()[..end], &HeadLimits::default());
        assert!(part.unwrap().is_none(), "{end} bytes");
    }
    assert_eq!(read(&input).head_bytes, head.len());
}

#[test]
fn host_is_known_only_if_there_is_one() {
    let host = |lines: &str| read(&format!("GET / HTTP/1.1\r\n{lines}\r\n")).host;
    assert_eq!(host("Host: a:1\r\n").as_deref(), Some("a:1"));
    assert_eq!(host("host: a\r\nHost: b\r\n"), None);
    assert_eq!(host(""), None);
}

#[test]
fn json_is_for_those_who_ask_for_it_first() {
    for (accept, json) in [
        ("application/json", true),
        ("Application/JSON; q=0.9", true),
        ("application/json, text/html", true),
        ("text/html, application/json", false),
        ("text/plain, application/json", true),
        ("application/json; q=0, */*", false),
        ("*/*", false),
        ("", false),
    ] {
        let request = read(&format!("GET / HTTP/1.1\r\nAccept: {accept}\r\n\r\n"));
        assert_eq!(request.accepts_json, json, "{accept}");
    }
}

#[test]
fn heads_that_are_not_http_have_their_status() {
    for (head, status) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n", 400),
        (b"\x81\x85garbage", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
    ] {
        let error = refusal(head);
        assert_eq!(error.status(), status, "{error}: {}", head.escape_ascii());
    }
    assert_eq!(refusal(b"\x16"), HeadError::Tls);
}

#[test]
fn heads_are_bounded() {
    let endless = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'a'; 16 << 10]].concat();
    assert_eq!(refusal(&endless), HeadError::TooLong);
    assert_eq!(refusal(&[b'A'; 16 << 10]), HeadError::TooLong);
    let ended = [&endless[..], b"\r\n\r\n"].concat();
    assert_eq!(refusal(&ended), HeadError::TooLong);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
    assert_eq!(refusal(many.as_bytes()), HeadError::TooManyHeaders);
    let full = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(64));
    assert_eq!(read(&full).head_bytes, full.len());
    let pad = (16 << 10) - "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
    let exact = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(pad));
    assert_eq!(read(&exact).head_bytes, 16 << 10);
}

#[test]
fn our_request_is_a_good_upgrade() {
    let request = client_request("[::1]:8765", "/gun?a=b", KEY);
    let request = read(&String::from_utf8(request).unwrap());
    assert_eq!((&*request.path, request.query.as_deref()), ("/gun", Some("a=b")));
    assert_eq!(request.host.as_deref(), Some("[::1]:8765"));
    let key = KEY.to_owned();
    let expected = Upgrade { key, protocol: None };
    assert_eq!(request.upgrade, Some(Ok(expected)));
}

#[test]
fn our_request_cannot_be_broken_by_a_url() {
    let request = client_request("a\r\nX: 1 ", "/gun x\r\nY: 2\r\n\r\nGET /é", KEY);
    let text = String::from_utf8(request).unwrap();
    let request = read(&text);
    assert_eq!(request.head_bytes, text.len());
    assert_eq!(request.path, "/gun%20x%0D%0AY:%202%0D%0A%0D%0AGET%20/%C3%A9");
    assert_eq!(request.host.as_deref(), Some("aX:1"));
    assert_eq!(read(&String::from_utf8(client_request("a", "", KEY)).unwrap()).path, "/");
    assert_eq!(read(&String::from_utf8(client_request("a", "?b", KEY)).unwrap()).path, "/");
}

/// The good answer with one line replaced.
fn answer_with(name: &str, line: &str) -> Result<Option<usize>, ResponseError> {
    let lines = [
        "HTTP/1.1 101 Switching Protocols",
        "upgrade: WebSocket",
        "connection: keep-alive, upgrade",
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ];
    let lines = lines.map(|old| if old.starts_with(name) { line } else { old });
    let head = lines.join("\r\n") + "\r\n\r\n";
    let input = head.clone() + "\u{1}\u{1}x";
    let result = verify_response(input.as_bytes(), KEY, &HeadLimits::default());
    if let Ok(Some(head_bytes)) = result {
        assert_eq!(head_bytes, head.len());
    }
    result
}

#[test]
fn answers_are_judged_with_a_reason() {
    assert!(matches!(answer_with("none", ""), Ok(Some(_))));
    let not_found = ResponseError::NotSwitching(404, "Not Found".to_owned());
    assert_eq!(not_found.to_string(), "the host answered 404 Not Found, not a WebSocket");
    let http = httparse::Error::Version;
    for (name, line, error) in [
        ("HTTP", "HTTP/1.1 404 Not Found", not_found),
        ("HTTP", "HTTP/1.1 200", ResponseError::NotSwitching(200, String::new())),
        ("HTTP", "SSH-2.0-OpenSSH_9.6", ResponseError::NotHttp(http)),
        ("upgrade", "upgrade: h2c", ResponseError::WrongUpgrade),
        ("upgrade", "x: y", ResponseError::WrongUpgrade),
        ("connection", "connection: close", ResponseError::WrongConnection),
        ("sec", "sec-websocket-accept: AAAA", ResponseError::WrongAccept),
        ("sec", "x: y", ResponseError::WrongAccept),
    ] {
        assert_eq!(answer_with(name, line), Err(error), "{line}");
    }
}

#[test]
fn answers_with_something_unasked_are_refused() {
    for header in ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
        let line = format!("connection: upgrade\r\n{header}: permessage-deflate");
        let error = ResponseError::Unasked(header);
        assert_eq!(answer_with("connection", &line), Err(error));
    }
}

#[test]
fn answers_may_be_cut_and_are_bounded() {
    let limits = HeadLimits::default();
    let head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n";
    for end in 0..head.len() {
        assert_eq!(verify_response(&head[..end], KEY, &limits), Ok(None));
    }
    let endless = [&head[..], b"a: ", &[b'a'; 16 << 10]].concat();
    let result = verify_response(&endless, KEY, &limits);
    assert_eq!(result, Err(ResponseError::TooLong));
}

#[test]
fn a_head_that_comes_byte_by_byte_is_looked_at_once_a_line() {
    let limits = HeadLimits::default();
    let filler = "x".repeat(15_000);
    let head = format!("GET /gun HTTP/1.1\r\nHost: a\r\nX-Filler: {filler}\r\n\r\n");
    let (mut looks, mut end) = (0, 0);
    while end < head.len() {
        end += 1;
        let input = &head.as_bytes()[..end];
        if is_worth_a_look(input, end - 1, &limits) {
            looks += 1;
            let is_whole = parse(input, &limits).unwrap().is_some();
            assert_eq!(is_whole, end == head.len());
        }
    }
    assert_eq!(looks, 5, "its first byte and four lines");
    let endless = vec![b'x'; limits.head_bytes_max];
    assert!(!is_worth_a_look(&endless[1..], 1, &limits));
    assert!(is_worth_a_look(&endless, endless.len() - 1, &limits), "it is too long");
}
