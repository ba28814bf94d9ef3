use super::*;

fn read(text: &str) -> Message<'_> {
    Message::read(text.as_bytes(), Some(0))
}

fn rewritten(text: &str, new: Rewrite<'_>) -> String {
    let message = read(text);
    let mut to = Vec::new();
    message.append(&new, &mut to);
    assert_eq!(to.len(), message.rewritten_len(&new));
    String::from_utf8(to).unwrap()
}

const ALL: Rewrite<'_> = Rewrite { id: Some(b"\"I\""), skip: Some(b"\"S\""), ok: Some(b"{}") };
const NONE: Rewrite<'_> = Rewrite { id: None, skip: None, ok: None };

#[test]
fn fields_are_seen_as_javascript_sees_them() {
    let message = read(
        r####"{"#":5.0,"@":true,"##":["x"],"><":"a,b","dam":null,"pid":{},"err":"\ud83d","put":{},"get":0}"####,
    );
    let texts = [
        &message.id,
        &message.ack,
        &message.hash,
        &message.skip,
        &message.dam,
        &message.pid,
        &message.err,
    ]
    .map(|f| f.text());
    assert_eq!(texts, [&b"5"[..], b"true", b"x", b"a,b", b"", b"[object Object]", b"\xED\xA0\xBD"]);
    assert_eq!(message.id.source, b"5.0");
    assert_eq!((message.dam.kind, message.dam.truthy), (Kind::Null, false));
    assert_eq!((message.ok.kind, message.put, message.get), (Kind::Absent, true, false));
}

#[test]
fn of_duplicate_keys_the_last_counts_however_it_is_spelled() {
    let message = read(r###"{"#":"a","put":1,"\u0023":"b","put":null}"###);
    assert_eq!(&*message.id.text(), b"b");
    assert!(!message.put);
    let text = r###"{"#":"a","\u0023":"b","><":"1","><":"2"}"###;
    assert_eq!(rewritten(text, ALL), r###"{"#":"a","\u0023":"I","><":"1","><":"S"}"###);
}

#[test]
fn nothing_to_change_is_one_part() {
    let message = read(r##"{"#":"a" , "x":1}"##);
    let mut parts = Vec::new();
    message.rewrite(&NONE, &mut |part| parts.push(part));
    assert_eq!(parts, [Part::Kept(0..message.text.len())]);
    parts.clear();
    message.rewrite(&Rewrite { skip: Some(b"\"S\""), ..NONE }, &mut |part| parts.push(part));
    assert_eq!(
        parts,
        [Part::Kept(0..16), Part::New(b",\"><\":"), Part::New(b"\"S\""), Part::Kept(16..17)]
    );
}

#[test]
fn members_are_set_in_place_or_at_the_end() {
    assert_eq!(rewritten("{}", ALL), r##"{"#":"I","><":"S"}"##);
    assert_eq!(rewritten("{ }", ALL), r##"{ "#":"I","><":"S"}"##);
    assert_eq!(rewritten(r#"{"a":1 }"#, ALL), r##"{"a":1 ,"#":"I","><":"S"}"##);
    assert_eq!(
        rewritten(r##"{"><":1,"ok":[2],"#":null}"##, ALL),
        r##"{"><":"S","ok":{},"#":"I"}"##
    );
    assert_eq!(rewritten(r##"{"#" : "x" }"##, ALL), r##"{"#" : "I" ,"><":"S"}"##);
}

#[test]
fn underscores_go_with_one_comma() {
    let table = [
        (r#"{"_":1}"#, "{}"),
        (r#"{ "_" : 1 }"#, "{  }"),
        (r#"{"_":1,"_":2,"\u005f":{}}"#, "{}"),
        (r#"{"_":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"_":1 , "_":3 , "a":2}"#, r#"{"a":2}"#),
        (r#"{"a":2,"_":1}"#, r#"{"a":2}"#),
        ("{\"a\":2\n,\t\"_\":1 , \"_\":2 }", r#"{"a":2 }"#),
        (r#"{"a":2,"_":1,"b":3}"#, r#"{"a":2,"b":3}"#),
        (r#"{"_":0,"a":{"_":1},"_":1,"_":2,"b":3,"_":3}"#, r#"{"a":{"_":1},"b":3}"#),
    ];
    for (text, want) in table {
        assert_eq!(rewritten(text, NONE), want, "{text}");
    }
    assert_eq!(rewritten(r#"{"_":1}"#, ALL), r##"{"#":"I","><":"S"}"##);
    assert_eq!(rewritten(r##"{"_":1,"#":2,"_":3}"##, ALL), r##"{"#":"I","><":"S"}"##);
}

#[test]
fn hops_are_counted_like_javascript() {
    let table = [
        ("{\"@\":9,\"/\":1}", "8"),
        ("{\"@\":1}", "0"),
        ("{\"@\":0}", "0"),
        ("{}", "0"),
        ("{\"@\":9,\"\\u0040\":3}", "2"),
        ("{\"@\":\"5\"}", "4"),
        ("{\"@\":\" \"}", "-1"),
        ("{\"@\":\"x\"}", "null"),
        ("{\"@\":{}}", "null"),
        ("{\"@\":[7]}", "6"),
        ("{\"@\":[]}", "-1"),
        ("{\"@\":true}", "0"),
        ("{\"@\":1e400}", "null"),
        ("{\"@\":0.5}", "-0.5"),
        ("{\"@\":1e22}", "1e+22"),
        ("true", "0"),
        ("\"@\"", "0"),
        ("[1]", "0"),
    ];
    for (ok, want) in table {
        let text = format!("{{\"ok\":{ok},\"put\":{{}}}}");
        assert_eq!(read(&text).hops().as_slice(), want.as_bytes(), "{ok}");
    }
}
