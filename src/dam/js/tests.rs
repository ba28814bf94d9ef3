use super::*;

fn text_of(source: &str) -> String {
    String::from_utf8(text(source.as_bytes()).into_owned()).unwrap()
}

#[test]
fn only_the_falsy_values_are_falsy() {
    for falsy in ["", "null", "false", "0", "-0", "0.0", "-0e5", "1e-400", "\"\""] {
        assert!(!truthy(falsy.as_bytes()), "{falsy}");
    }
    for truth in ["true", "1", "-1", "1e400", "5e-324", "\"0\"", "\"\\u0000\"", "[]", "{}"] {
        assert!(truthy(truth.as_bytes()), "{truth}");
    }
}

#[test]
fn numbers_are_spelled_like_javascript() {
    let table = [
        ("5", "5"),
        ("5.0", "5"),
        ("-0", "0"),
        ("1e2", "100"),
        ("-354517093", "-354517093"),
        ("999999999999999", "999999999999999"),
        ("12345678901234567890", "12345678901234567000"),
        ("1e21", "1e+21"),
        ("1e400", "Infinity"),
        ("-1e400", "-Infinity"),
        ("1.5e-7", "1.5e-7"),
        ("0.000001", "0.000001"),
    ];
    for (source, want) in table {
        assert_eq!(text_of(source), want);
    }
}

#[test]
fn an_array_is_a_flat_list() {
    assert_eq!(text_of(r#"["x"]"#), "x");
    assert_eq!(text_of("[]"), "");
    assert_eq!(text_of("[null]"), "");
    assert_eq!(
        text_of(r#"[ 1.0 , [2,[ ] ,null,[0]] , {"a":["}",{}]} , "\",[" , false ]"#),
        "1,2,,,0,[object Object],\",[,false"
    );
    let deep = "[".repeat(100_000) + "7" + &"]".repeat(100_000);
    assert_eq!(text_of(&deep), "7");
}

#[test]
fn strings_keep_lone_surrogates() {
    assert_eq!(&*decode(br#""\u0023\n\"\/""#), b"#\n\"/");
    assert_eq!(&*decode(br#""\ud83d\ude00""#), "😀".as_bytes());
    assert_eq!(&*decode(br#""\ud83d""#), b"\xED\xA0\xBD");
    assert_eq!(&*decode(br#""\ude00x""#), b"\xED\xB8\x80x");
    assert_eq!(&*decode(br#""\ud83d\ud83d\ude00""#), b"\xED\xA0\xBD\xF0\x9F\x98\x80");
    assert_eq!(&*decode(br#""\ud83d\n\ude00""#), b"\xED\xA0\xBD\n\xED\xB8\x80");
}

#[test]
fn surrogates_are_escaped_where_that_means_the_same() {
    assert_eq!(escape_surrogates(b"abc").unwrap(), &b"abc"[..]);
    assert_eq!(escape_surrogates(b"a\xED\xA0\xBDz").unwrap(), &br"a\ud83dz"[..]);
    assert_eq!(escape_surrogates(b"\\\\\xED\xB8\x80").unwrap(), &br"\\\ude00"[..]);
    assert_eq!(escape_surrogates("\u{D7FF}".as_bytes()).unwrap(), "\u{D7FF}".as_bytes());
    assert!(escape_surrogates(b"\\\xED\xA0\xBD").is_none());
}

#[test]
fn length_counts_utf16_units() {
    for text in ["", "abc", "é☃", "😀", &"x☃😀é".repeat(1000)] {
        assert_eq!(utf16_len(text), text.encode_utf16().count());
    }
    assert_eq!(utf16_len(b"\xED\xA0\xBD"), 1);
}

#[test]
fn numbers_of_other_values() {
    let table = [
        ("9", 9.0),
        ("\"9\"", 9.0),
        ("\" \\u00a0 7\\n\"", 7.0),
        ("\"\"", 0.0),
        ("\"0x1F\"", 31.0),
        ("\"0b11\"", 3.0),
        ("\".5e1\"", 5.0),
        ("\"+5.\"", 5.0),
        ("\"-Infinity\"", f64::NEG_INFINITY),
        ("[]", 0.0),
        ("[[\"4\"]]", 4.0),
        ("true", 1.0),
        ("false", 0.0),
        ("null", 0.0),
    ];
    for (source, want) in table {
        assert_eq!(number(source.as_bytes()), want, "{source}");
    }
    for nan in [
        "{}",
        "\"x\"",
        "\"nan\"",
        "\"inf\"",
        "\"infinity\"",
        "\"-\"",
        "\"0x\"",
        "\"-0x1\"",
        "\"1 2\"",
        "[1,2]",
        "\"\\u00857\"",
        "\"é1\"",
    ] {
        assert!(number(nan.as_bytes()).is_nan(), "{nan}");
    }
}
