use super::*;

#[test]
fn accepts_what_javascript_accepts() {
    let texts = [
        r#"{"a":"\ud83d"}"#,
        r#"{"\ud83d":1}"#,
        "[1e400,-1e-400,-0,0e9]",
        "{}\n\r\t ",
        r#"{"a":1,"a":2}"#,
        "{\"\u{2028}\":\"\u{7f}\"}",
    ];
    for text in texts {
        assert_eq!(check(text.as_bytes(), 9), Ok(text.trim_end().as_bytes()), "{text}");
    }
}

#[test]
fn refuses_what_javascript_refuses() {
    let texts = [
        "{",
        "[1,]",
        "{\"a\":1,}",
        "[01]",
        "[1.]",
        "[.5]",
        "[-]",
        "[+1]",
        "[1e]",
        "{}x",
        "{} {}",
        "[\"\n\"]",
        r#"["\x"]"#,
        r#"["\u12"]"#,
        "[\u{a0}1]",
        "[\u{b}]",
        "[\u{c}]",
        "[nul]",
        "{a:1}",
        "{'a':1}",
        "[NaN]",
        "{\"a\"}",
        "{1:2}",
        "[1}",
        "[\u{feff}]",
    ];
    for text in texts {
        assert_eq!(check(text.as_bytes(), 9), Err(Fault::Broken), "{text}");
    }
}

#[test]
fn depth_is_counted_without_recursion() {
    let nest = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(check(nest(9).as_bytes(), 9).is_ok());
    assert_eq!(check(nest(10).as_bytes(), 9), Err(Fault::TooDeep));
    assert!(check(nest(1_000_000).as_bytes(), 1_000_000).is_ok());
    assert_eq!(check("[".repeat(1_000_000).as_bytes(), 9), Err(Fault::Broken));
    assert!(check(br#"["[[[[","{{\"{{"]"#, 1).is_ok(), "brackets in strings do not count");
}

#[test]
fn splits_into_source_texts() {
    let object = br#"{ "a" : 1 , "\u0023" : [ {} ] }"#;
    let mut found = Vec::new();
    members(object, |key, value| found.push((offset(object, key), key, value)));
    assert_eq!(found, [(2, &b"\"a\""[..], &b"1"[..]), (12, br#""\u0023""#, b"[ {} ]")]);
    let mut found = Vec::new();
    elements(b"[ 1 ,\"x\", {} ]", |element| found.push(element));
    assert_eq!(found, [&b"1"[..], b"\"x\"", b"{}"]);
}
