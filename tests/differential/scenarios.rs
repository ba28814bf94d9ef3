//! The scenarios: what DAM is, rule by rule. Their names begin with the number of the section of the protocol:
//! 1 transport, 2 messages, 3 a connection comes up, 4 hearing a frame, 5 hearing a message, 6 memory of ids, 7 saying a
//! message, 8 serialisation, 9 `ok` beside `put`, 10 batching, 11 heartbeat.

use crate::relays::Options;

/// Whether the relay of the package, with storage and YSON, does the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stock {
    Same,
    /// It answers puts and questions out of its storage.
    Stores,
    /// Its parser is not JavaScript's.
    Parses,
    /// It forwards only what it takes for a graph, and keeps it until it is stored.
    Judges,
}
use Stock::{Judges, Parses, Same, Stores};

pub struct Scenario {
    pub name: &'static str,
    pub stock: Stock,
    pub options: Options,
    pub script: String,
}

fn scenario(name: &'static str, stock: Stock, script: &str) -> Scenario {
    Scenario { name, stock, options: Options::default(), script: script.to_owned() }
}

fn limited(name: &'static str, max: usize, script: String) -> Scenario {
    Scenario { name, stock: Same, options: Options { max: Some(max) }, script }
}

/// A JSON string for `utters`.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Scenarios in which gunmetal does what Gun does.
pub fn same() -> Vec<Scenario> {
    let mut all = vec![
        scenario(
            "1 a binary frame is ignored",
            Same,
            r###"
            A B C
            A sends {"#":"a1","x":1}
            A sends [{"#":"a2","x":1}]
            A sends {"x":
            A says {"#":"a1","x":2}"###,
        ),
        scenario(
            "2 unknown fields are forwarded as they are",
            Parses,
            r###"
            A B C
            A says {"#":"a1","x":1,"nested":{"a":[1,{"b":null}]},"":"empty","é☃😀":"\u0000","leap":true,"$":2,"err":"e","pid":"p"}"###,
        ),
        scenario(
            "2 a put need not be a graph",
            Judges,
            r###"
            A B C
            A says {"#":"a1","put":"text"}
            A says {"#":"a2","put":[1,2]}
            A says {"#":"a3","put":{"soul":{"no":"state"}}}
            A says {"#":"a4","put":0}
            A says {"#":"a5","put":null}
            A says {"#":"a6","put":{}}"###,
        ),
        scenario(
            "2 get and put are not looked into",
            Judges,
            r###"
            A B C
            A says {"#":"a1","get":{"#":{"*":"a"},".":{">":"b","<":"c"}}}
            A says {"#":"a2","get":"soul"}
            A says {"#":"a3","get":{"#":"mark"},"put":{"mark":{"_":{"#":"mark",">":{"age":1}},"age":23}}}"###,
        ),
        scenario(
            "2 an underscore is internal and dropped",
            Judges,
            r###"
            A B C
            A says {"#":"a1","_":{"via":1},"x":1}
            A says {"_":1,"#":"a2"}
            A says {"#":"a3","x":{"_":1},"_":2,"y":[{"_":3}],"\u005f":4}
            A says {"_":5}"###,
        ),
        scenario(
            "2 messages that are neither get nor put are flooded",
            Same,
            r###"
            A B C
            A says {"#":"a1"}
            A says {"#":"a2","ok":{"rtc":{"id":"AAAAAAAAA"}}}
            A says {"#":"a3","ok":1}
            A says {"#":"a4","%":1}
            A says {}"###,
        ),
        scenario(
            "3 a greeting and its answer",
            Same,
            r###"
            D?
            A B
            D says {"dam":"?","pid":"DDDDDDDDD","@":"$D","#":"h1"}
            A says {"#":"a1"}"###,
        ),
        scenario(
            "3 a peer that never answers is served",
            Same,
            r###"
            D?
            A B
            D says {"#":"d1","x":1}
            A says {"#":"a1","x":1}"###,
        ),
        scenario(
            "3 a question is answered, with or without a pid",
            Same,
            r###"
            A D?
            D says {"dam":"?","#":"h1"}
            D says {"dam":"?","#":"h2","pid":"DDDDDDDDD"}
            D says {"dam":"?","#":"h3","@":"x"}
            D says {"dam":"?","#":5}
            D says {"dam":"?","#":["l"]}
            D says {"dam":"?"}
            D says {"dam":"?","#":"","pid":""}"###,
        ),
        scenario(
            "3 an answer with a pid is not answered",
            Same,
            r###"
            A D?
            D says {"dam":"?","pid":"DDDDDDDDD","@":"x","#":"h1"}
            D says {"dam":"?","pid":"DDDDDDDDD","@":0,"#":"h2"}
            D says {"dam":"?","pid":0,"@":"x","#":"h3"}"###,
        ),
        scenario(
            "3 the same question is answered once",
            Same,
            r###"
            A D?
            D says {"dam":"?","#":"h1"}
            D says {"dam":"?","#":"h1"}
            A says {"dam":"?","#":"h1"}"###,
        ),
        scenario(
            "3 the first pid stays",
            Same,
            r###"
            A B D?
            A says {"#":"a1"}
            D says {"dam":"?","pid":"first","@":"x","#":"h1"}
            D says {"dam":"?","pid":"later","@":"x","#":"h2"}
            A says {"#":"a2"}
            A says {"#":"a3","><":"later"}
            A says {"#":"a4","><":"first"}"###,
        ),
        scenario(
            "3 a pid that is no text is printed as JavaScript would",
            Same,
            r###"
            A D? E? F? G?
            D says {"dam":"?","pid":5.0,"@":"x","#":"h1"}
            E says {"dam":"?","pid":["e",["f"],null],"@":"x","#":"h2"}
            F says {"dam":"?","pid":{},"@":"x","#":"h3"}
            G says {"dam":"?","pid":1e21,"@":"x","#":"h4"}
            A says {"#":"a1"}
            A says {"#":"a2","><":"5,[object Object],1e+21"}"###,
        ),
        scenario(
            "3 a pid is known to the rest of its frame",
            Same,
            r###"
            D? A B
            D says [{"#":"d1"},{"dam":"?","pid":"DDDDDDDDD","@":"x","#":"h1"},{"#":"d2"}]
            A says {"#":"a1"}"###,
        ),
        scenario(
            "3 two peers may tell the same pid",
            Same,
            r###"
            A D? E?
            D says {"dam":"?","pid":"same","@":"x","#":"h1"}
            E says {"dam":"?","pid":"same","@":"x","#":"h2"}
            A says {"#":"a1"}
            A says {"#":"a2","><":"same"}
            D says {"#":"d1","><":"same"}"###,
        ),
        scenario(
            "3 a peer that left is not named and not answered",
            Same,
            r###"
            A B C
            B says {"#":"b1","x":1}
            B leaves
            A says {"#":"a1","@":"b1"}
            C says {"#":"c1","x":1}
            B
            A says {"#":"a2","@":"b1"}
            A says {"#":"a3","x":1}"###,
        ),
        scenario(
            "11 a heartbeat has no effect",
            Same,
            r###"
            A B
            A says []
            A says [ ]
            A utters "[]\n"
            A says {"#":"a1"}"###,
        ),
        scenario(
            "4 broken JSON is answered",
            Parses,
            r###"
            A B
            A says {"x":
            A says {
            A says [
            A says {"#":"a1"} behind
            A says {"#":"a1"}{"#":"a2"}
            A says {"#":"a1",}
            A says [{"#":"a1"},]
            A says {'#':'a1'}
            A says {"#":01}
            A says {"#":"\x41"}
            A says {"#":"\u12"}
            A utters "{\"#\":\"a\n1\"}"
            A utters "[\u000b]"
            A says [{"#":"a1"},{"#":"a2"
            A says {"#":"a1","x":"heard after all that"}"###,
        ),
        scenario(
            "4 what does not begin like an object or array is ignored",
            Parses,
            r###"
            A B
            A utters " {\"#\":\"a1\"}"
            A utters "\n[{\"#\":\"a2\"}]"
            A utters "\ufeff{\"#\":\"a3\"}"
            A utters ""
            A says 5
            A says null
            A says true
            A says "{\"#\":\"a4\"}"
            A says nonsense"###,
        ),
        scenario(
            "4 space behind and inside is fine",
            Parses,
            r###"
            A B
            A utters "{ \"#\" :\n \"a1\" ,\t\"x\":1 }\r\n \t"
            A utters "[ {\"#\":\"a2\"} , {\"#\":\"a3\"} ]\n""###,
        ),
        scenario(
            "4 the elements of a batch",
            Parses,
            r###"
            A B
            A says [{"#":"a1"},null,false,0,"",true,7,"text",{"#":"a2"}]
            A says ["{\"#\":\"a3\"}","[{\"#\":\"a4\"},{\"#\":\"a5\"}]","[]",{"#":"a6"}]
            A says [[{"#":"a7"}],[],[[]],{"#":"a8"}]
            A says [{"#":"a1","x":"again"},{"#":"a9"}]"###,
        ),
        scenario(
            "4 a broken text in a batch is answered and its neighbours are heard",
            Parses,
            r###"
            A B
            A says [{"#":"a1"},"{\"x\":",{"#":"a2"},"[1,","{}x",{"#":"a3"}]"###,
        ),
        scenario(
            "4 texts in texts",
            Parses,
            r###"
            A B
            A says ["[\"{\\\"#\\\":\\\"a1\\\"}\",{\"#\":\"a2\"}]",{"#":"a3"}]
            A says [" {\"#\":\"a4\"}","5","{\"#\":\"\\ud83d\"}"]"###,
        ),
        scenario(
            "5 a falsy id is replaced",
            Same,
            r###"
            A B C
            A says {"x":1}
            A says {"#":"","x":2}
            A says {"#":0,"x":3}
            A says {"#":-0.0,"x":4}
            A says {"#":null,"x":5}
            A says {"#":false,"x":6}
            A says {"#":0e5,"x":7}"###,
        ),
        scenario(
            "5 an invented id can be answered and is remembered",
            Same,
            r###"
            A B C
            A says {"x":1}
            B says {"#":"b1","@":"$B","ok":1}
            C says {"#":"$C","x":2}"###,
        ),
        scenario(
            "5 an id is heard once, from whomever it comes",
            Same,
            r###"
            A B C
            A says {"#":"a1","x":1}
            A says {"#":"a1","x":2}
            B says {"#":"a1","x":3}
            C says [{"#":"a1","x":4},{"#":"c1"},{"#":"c1"}]"###,
        ),
        scenario(
            "5 one memory for all kinds of messages",
            Stores,
            r###"
            A B C
            A says {"#":"a1","get":{"#":"mark"}}
            B says {"#":"a1","put":{}}
            A says {"dam":"hi","#":"a2"}
            B says {"#":"a2","x":1}
            A says {"#":"a3","@":"nobody"}
            B says {"#":"a3","x":1}
            A says {"dam":"?","pid":"AAAAAAAAA","@":"x","#":"a4"}
            B says {"#":"a4","x":1}"###,
        ),
        scenario(
            "5 the same answer under another id is heard once",
            Stores,
            r###"
            A B C
            A says {"#":"g1","get":{"#":"mark"}}
            B says {"#":"b1","@":"g1","##":777,"put":{"mark":1}}
            C says {"#":"c1","@":"g1","##":777,"put":{"mark":1}}
            C says {"#":"c2","@":"g1","##":"777","put":{"mark":1}}
            C says {"#":"c3","@":"g1","##":777.0}
            C says {"#":"c4","@":"g1","##":778,"put":{"mark":2}}
            C says {"#":"c5","@":"g1","##":778,"put":{"mark":2}}"###,
        ),
        scenario(
            "5 an answer that is dropped for its hash may come again under its id",
            Stores,
            r###"
            A B C
            A says {"#":"g1","get":{"#":"mark"}}
            B says {"#":"b1","@":"g1","##":777,"put":{"mark":1}}
            C says {"#":"c1","@":"g1","##":777,"put":{"mark":1}}
            C says {"#":"c1","x":1}"###,
        ),
        scenario(
            "5 a hash on a put or a plain message does not deduplicate",
            Judges,
            r###"
            A B C
            A says {"#":"a1","##":5,"put":{"mark":1}}
            A says {"#":"a2","##":5,"put":{"mark":1}}
            A says {"#":"a3","##":5}
            A says {"#":"a4","##":5}"###,
        ),
        scenario(
            "5 a hash on a question belongs to its own id",
            Stores,
            r###"
            A B C
            A says {"#":"g1","##":5,"get":{"#":"mark"}}
            B says {"#":"g2","##":5,"get":{"#":"mark"}}
            C says {"#":"c1","@":"g1","##":5,"put":{}}
            C says {"#":"c2","@":"g2","##":6,"put":{}}"###,
        ),
        scenario(
            "5 a verb is never forwarded",
            Same,
            r###"
            A B C
            A says {"dam":"hi","#":"v1"}
            A says {"dam":"rtc","#":"v2","x":1}
            A says {"dam":"nonsense","#":"v3","put":{"mark":1}}
            A says {"dam":"!","#":"v4","err":"an error"}
            A says {"dam":5,"#":"v5"}
            A says {"dam":true,"#":"v6","get":{"#":"mark"}}
            A says {"dam":{},"#":"v7"}
            A says {"dam":"!","#":"v8","@":"a1"}
            A says {"dam":"mob","#":"v9"}
            A says {"dam":"mob","#":"v10","peers":{}}
            A says {"dam":"opt","#":"v11"}
            A says {"dam":["?"],"#":"v12"}"###,
        ),
        scenario(
            "5 a falsy verb is none",
            Same,
            r###"
            A B C
            A says {"dam":"","#":"v1"}
            A says {"dam":0,"#":"v2"}
            A says {"dam":null,"#":"v3","x":1}
            A says {"dam":false,"#":"v4","@":"v1"}"###,
        ),
        scenario(
            "5 a verb with a hash that was heard is not obeyed",
            Stores,
            r###"
            A B C
            A says {"#":"g1","get":{"#":"mark"}}
            B says {"#":"b1","@":"g1","##":777,"put":{"mark":1}}
            B says {"dam":"?","#":"h1","@":"g1","##":777}
            B says {"dam":"?","#":"h2","@":"g1","##":778}
            B says {"dam":"?","#":"h3","@":"g1","##":778}"###,
        ),
        scenario(
            "6 ids are compared by their text",
            Parses,
            r###"
            A B C
            A says {"#":5,"x":1}
            A says {"#":"5","x":2}
            A says {"#":5.0,"x":3}
            A says {"#":true,"x":4}
            A says {"#":"true","x":5}
            A says {"#":["l"],"x":6}
            A says {"#":"l","x":7}
            A says {"#":{"a":1},"x":8}
            A says {"#":{"b":2},"x":9}
            A says {"#":"[object Object]","x":10}
            A says {"#":[1,[2,null]],"x":11}
            A says {"#":"1,2,","x":12}
            A says {"#":1e21,"x":13}
            A says {"#":"1e+21","x":14}
            A says {"#":[],"x":15}
            A says {"#":[[]],"x":16}"###,
        ),
        scenario(
            "6 a duplicate does not change where answers go",
            Same,
            r###"
            A B C
            A says {"#":"a1","x":1}
            B says {"#":"a1","x":2}
            C says {"#":"c1","@":"a1"}"###,
        ),
        scenario(
            "6 a duplicate does not change what was asked",
            Stores,
            r###"
            A B C
            A says {"#":"g1","get":{"#":"mark"}}
            B says {"#":"g1","##":5,"get":{"#":"mark"}}
            C says {"#":"c1","@":"g1","##":5,"put":{}}"###,
        ),
        scenario(
            "6 answers of other types find their question by its text",
            Stores,
            r###"
            A B C
            A says {"#":5,"get":{"#":"mark"}}
            B says {"#":"b1","@":"5","put":{}}
            B says {"#":"b2","@":5.0,"put":{}}
            B says {"#":"b3","@":[5],"put":{}}
            B says {"#":"b4","@":{},"put":{}}"###,
        ),
        scenario(
            "7A an answer goes to the asker only",
            Stores,
            r###"
            A B C
            A says {"#":"g1","get":{"#":"mark"}}
            B says {"#":"b1","@":"g1"}
            C says {"#":"c1","@":"g1","##":-354517093,"put":{"mark":1}}
            B says {"#":"b2","@":"g1","ok":1}"###,
        ),
        scenario(
            "7A puts, plain messages and answers are answered too",
            Judges,
            r###"
            A B C
            A says {"#":"p1","put":{"mark":1}}
            B says {"#":"b1","@":"p1","ok":true}
            A says {"#":"p2","x":1}
            C says {"#":"c1","@":"p2","err":"no"}
            A says {"#":"a1","@":"c1"}
            C says {"#":"c2","@":"a1"}"###,
        ),
        scenario(
            "7A an offer, an answer and candidates find their way",
            Parses,
            r###"
            A B C
            A says {"#":"r1","ok":{"rtc":{"id":"AAAAAAAAA"}}}
            B says {"#":"r2","@":"r1","ok":{"rtc":{"id":"BBBBBBBBB","offer":{}}}}
            A says {"#":"r3","@":"r2","ok":{"rtc":{"id":"AAAAAAAAA","answer":{}}}}
            B says {"#":"r4","@":"r3","ok":{"rtc":{"candidate":1}}}
            B says {"#":"r5","@":"r3","ok":{"rtc":{"candidate":2}}}"###,
        ),
        scenario(
            "7A an answer to nothing known is dropped",
            Same,
            r###"
            A B C
            A says {"#":"a1","@":"nobody","put":{}}
            A says {"#":"a2","@":"a2"}
            A says {"#":"a3","@":{}}
            A says {"dam":"hi","#":"v1"}
            B says {"#":"b1","@":"v1"}"###,
        ),
        scenario(
            "7A nothing found is not said after hashed data",
            Stores,
            r###"
            A B C
            A says {"#":"g1","get":{"#":"mark"}}
            B says {"#":"b1","@":"g1"}
            B says {"#":"b2","@":"g1","put":{"mark":1}}
            B says {"#":"b3","@":"g1"}
            B says {"#":"b4","@":"g1","##":5,"put":{"mark":1}}
            B says {"#":"b5","@":"g1"}
            B says {"#":"b6","@":"g1","ok":1}
            B says {"#":"b7","@":"g1","put":0}
            B says {"#":"b8","@":"g1","put":null,"##":0}
            B says {"#":"b9","@":"g1","put":{"mark":2}}
            B says {"#":"b10","@":"g1","##":6}"###,
        ),
        scenario(
            "7A what the asker has is not sent again",
            Stores,
            r###"
            A B C
            A says {"#":"g1","##":777,"get":{"#":"mark"}}
            B says {"#":"b1","@":"g1","##":777,"put":{"mark":1}}
            B says {"#":"b2","@":"g1"}
            B says {"#":"b3","@":"g1","##":778,"put":{"mark":2}}
            B says {"#":"b4","@":"g1","##":0,"put":{"mark":3}}
            B says {"#":"b5","@":"g1","##":"","ok":1}"###,
        ),
        scenario(
            "7A only the first hash is kept",
            Stores,
            r###"
            A B C
            A says {"#":"g1","get":{"#":"mark"}}
            B says {"#":"b1","@":"g1","##":1,"put":{}}
            B says {"#":"b2","@":"g1","##":2,"put":{}}
            C says {"#":"c1","@":"g1","##":1,"put":{}}
            C says {"#":"c2","@":"g1","##":2,"put":{}}
            C says {"#":"c3","@":"g1","##":3,"put":{}}"###,
        ),
        scenario(
            "7A hashes of other types are others",
            Stores,
            r###"
            A B C
            A says {"#":"g1","@":"m1","##":"777","get":{"#":"mark"}}
            B says {"#":"b1","@":"g1","##":777,"put":{}}
            A says {"#":"g2","@":"m1","##":[5],"get":{"#":"mark"}}
            B says {"#":"b2","@":"g2","##":[5],"put":{}}
            A says {"#":"g3","@":"m1","##":6,"get":{"#":"mark"}}
            B says {"#":"b3","@":"g3","##":6.0,"put":{}}"###,
        ),
        scenario("7A a stream of answers all arrives", Stores, &answer_stream()),
        scenario(
            "7A an answer does not go back to its source",
            Same,
            r###"
            A B C
            A says {"#":"a1","x":1}
            A says {"#":"a2","@":"a1"}"###,
        ),
        scenario(
            "7A an answer that names the asker as served is dropped",
            Stores,
            r###"
            A B C
            A says {"#":"g1","get":{"#":"mark"}}
            B says {"#":"b1","@":"g1","><":"AAAAAAAAA"}
            B says {"#":"b2","@":"g1","><":"CCCCCCCCC,x"}
            B says {"#":"b3","@":"g1","><":5}"###,
        ),
        scenario(
            "7A an answer that also asks is an answer",
            Stores,
            r###"
            A B C
            A says {"#":"a1","x":1}
            B says {"#":"b1","@":"a1","get":{"#":"mark"}}
            A says {"#":"a2","@":"b1","##":5,"put":{}}
            A says {"#":"a3","@":"b1"}"###,
        ),
        scenario(
            "7A a falsy ack is none",
            Same,
            r###"
            A B C
            A says {"#":"a1","@":"","x":1}
            A says {"#":"a2","@":0,"x":1}
            A says {"#":"a3","@":null,"x":1}
            A says {"#":"a4","@":false,"x":1}"###,
        ),
        scenario(
            "7B a flood goes to all but its source, who are named oldest first",
            Same,
            r###"
            A B C D? E F G H I
            D says {"#":"d1","x":1}
            A says {"#":"a1","x":1}"###,
        ),
        scenario(
            "7B with one peer the skip list stays as it came",
            Same,
            r###"
            A
            A says {"#":"a1","><":"x"}
            B
            A says {"#":"a2","><":"x"}"###,
        ),
        scenario(
            "7B peers in the skip list are left out",
            Same,
            r###"
            A B C D?
            A says {"#":"a1","><":"BBBBBBBBB"}
            A says {"#":"a2","><":"CCCCCCCCC,BBBBBBBBB"}
            A says {"#":"a3","><":"x,,AAAAAAAAA"}
            A says {"#":"a4","><":""}
            A says {"#":"a5","><":","}
            B says {"#":"b1","\u003e\u003c":"\u0041AAAAAAAA"}"###,
        ),
        scenario(
            "7B names are not trimmed and case counts",
            Same,
            r###"
            A B C
            A says {"#":"a1","><":" BBBBBBBBB"}
            A says {"#":"a2","><":"BBBBBBBBB "}
            A says {"#":"a3","><":"bbbbbbbbb"}
            A says {"#":"a4","><":"BBBBBBBBBB"}"###,
        ),
        scenario(
            "7B a skip list that is no text is ignored and replaced",
            Same,
            r###"
            A B C
            A says {"#":"a1","><":["BBBBBBBBB"]}
            A says {"#":"a2","><":{"BBBBBBBBB":1}}
            A says {"#":"a3","><":5}
            A says {"#":"a4","><":null}
            A says {"#":"a5","><":true}"###,
        ),
        scenario("7B of the skip list 99 units count", Same, &long_skips()),
        scenario(
            "7B the inner id still counts when the pid is known",
            Same,
            r###"
            A B D?
            A says {"#":"a1"}
            D says {"dam":"?","pid":"DDDDDDDDD","@":"x","#":"h1"}
            A says {"#":"a2","><":"DDDDDDDDD"}
            A says {"#":"a3"}"###,
        ),
        scenario(
            "8 escapes keep their meaning",
            Parses,
            r###"
            A B
            A says {"#":"a1","x":"\u0041\n\t\"\\\/\b\f\r\u0000\u2028é☃😀\ud83d\ude00"}
            A says {"\u0023":"a2","\u0078":1}
            A says {"#":"a\u0031"}"###,
        ),
        scenario(
            "8 lone surrogates survive",
            Parses,
            r###"
            A B C
            A says {"#":"a1","x":"\ud83d","y":["\ude00\ud83d"],"\udfff":1}
            A says {"#":"\ud83d","x":1}
            A says {"#":"\uD83D","x":2}
            B says {"#":"b1","@":"\ud83d"}
            A says {"#":"a2","x":"\ud83dx\ude00"}"###,
        ),
        scenario(
            "8 numbers keep their value",
            Parses,
            r###"
            A B
            A says {"#":"a1","x":[0,-0,1.0,1e2,1E+2,-1.5e-7,0.1,123456789012345678901234567890,1e21,5e-324,1e-400,1700000000000.001]}
            A says {"#":1.50,"x":1}
            A says {"#":1e21,"x":1}"###,
        ),
        scenario(
            "8 of duplicate keys the last counts",
            Parses,
            r###"
            A B C
            A says {"#":"a1","#":"a2","x":1,"x":2}
            A says {"#":"a1"}
            A says {"#":"a2"}
            A says {"#":"a3","\u0023":"a4","put":{"a":1},"put":0}
            A says {"#":"a5","@":"a2","@":null}
            A says {"#":"a6","><":"BBBBBBBBB","><":"CCCCCCCCC"}
            A says {"#":"a7","dam":"hi","dam":""}
            A says {"#":"a8","#":""}"###,
        ),
        scenario(
            "8 inherited names are ordinary keys of data",
            Parses,
            r###"
            A B
            A says {"#":"a1","constructor":1,"toString":{},"hasOwnProperty":null,"x":{"constructor":2}}"###,
        ),
        scenario(
            "8 integer-like keys are ordinary",
            Parses,
            r###"
            A B
            A says {"#":"a1","2":"b","1":"a","-1":"c","01":"d"}"###,
        ),
        scenario("8 nesting of several hundred levels survives", Parses, &nested(700)),
        scenario(
            "8 a numeric id stays a number",
            Stores,
            r###"
            A B
            A says {"#":5,"get":{"#":"mark"}}
            B says {"#":6.0,"@":5,"put":{}}"###,
        ),
        scenario(
            "9 the hop budget beside data",
            Judges,
            r###"
            A B C
            A says {"#":"a1","put":{"a":1},"ok":{"@":9,"/":1,"x":2}}
            A says {"#":"a2","put":{"a":1},"ok":{"@":1}}
            A says {"#":"a3","put":{"a":1},"ok":{"@":0}}
            A says {"#":"a4","put":{"a":1},"ok":{}}
            A says {"#":"a5","put":{"a":1},"ok":true}
            A says {"#":"a6","put":{"a":1},"ok":"text"}
            A says {"#":"a7","put":{"a":1},"ok":[1]}
            A says {"#":"a8","put":{"a":1},"ok":{"@":"5"}}
            A says {"#":"a9","put":{"a":1},"ok":{"@":"x"}}
            A says {"#":"a10","put":{"a":1},"ok":{"@":0.5}}
            A says {"#":"a11","put":{"a":1},"ok":{"@":[7]}}
            A says {"#":"a12","ok":{"@":9},"put":{"a":1},"x":1}"###,
        ),
        scenario(
            "9 a falsy budget stays",
            Judges,
            r###"
            A B
            A says {"#":"a1","put":{"a":1},"ok":0}
            A says {"#":"a2","put":{"a":1},"ok":""}
            A says {"#":"a3","put":{"a":1},"ok":null}"###,
        ),
        scenario(
            "9 without data ok is untouched",
            Judges,
            r###"
            A B
            A says {"#":"a1","ok":{"@":9,"/":1}}
            A says {"#":"a2","ok":{"@":9,"/":1},"put":0}
            B says {"#":"b1","@":"a1","ok":{"@":9}}"###,
        ),
        scenario(
            "9 data in an answer has its budget counted too",
            Stores,
            r###"
            A B
            A says {"#":"g1","get":{"#":"mark"}}
            B says {"#":"b1","@":"g1","put":{"a":1},"ok":{"@":9,"/":1}}"###,
        ),
        scenario("10 what is said at once arrives in order", Same, &long_batch(40)),
        scenario("10 large and small messages keep their order", Same, &sizes()),
    ];
    all.extend(too_big());
    all
}

fn answer_stream() -> String {
    let mut script = String::from("A B C\nA says {\"#\":\"g1\",\"get\":{\"#\":\"mark\"}}\n");
    for n in 0..12 {
        script += &format!(
            "B says {{\"#\":\"b{n}\",\"@\":\"g1\",\"##\":{n}5,\"%\":1,\"put\":{{\"mark\":{n}}}}}\n"
        );
    }
    script
}

fn long_skips() -> String {
    let mut script = String::from("A B C\n");
    for (n, padding) in [88, 89, 90, 91]
        .map(|n| "x".repeat(n))
        .into_iter()
        .chain([44, 45].map(|n| "😀".repeat(n)))
        .enumerate()
    {
        script += &format!("A says {{\"#\":\"a{n}\",\"><\":\"{padding},BBBBBBBBB\"}}\n");
    }
    // The ninety-ninth unit is half of the emoji, so the name is not B's.
    let padding = "x".repeat(88);
    script + &format!("A says {{\"#\":\"half\",\"><\":\"{padding},BBBBBBBBB😀\"}}\n")
}

fn nested(levels: usize) -> String {
    let value = "[".repeat(levels) + &"]".repeat(levels);
    format!("A B\nA says {{\"#\":\"a1\",\"x\":{value}}}\nA says [{{\"#\":\"a2\",\"x\":{value}}}]\n")
}

fn long_batch(count: usize) -> String {
    let messages: Vec<_> = (0..count).map(|n| format!("{{\"#\":\"m{n}\",\"x\":{n}}}")).collect();
    format!("A B C\nA says [{}]\n", messages.join(","))
}

fn sizes() -> String {
    let sizes = [10, 3000, 3000, 3000, 3000, 20_000, 1, 9_000, 40_000, 5, 8_900, 100];
    let messages = sizes
        .iter()
        .enumerate()
        .map(|(n, size)| format!("{{\"#\":\"m{n}\",\"x\":\"{}\"}}", "x".repeat(*size)));
    format!("A B C\nA says [{}]\n", messages.collect::<Vec<_>>().join(","))
}

/// Frames just below and just at the limit, in units that differ from bytes.
fn too_big() -> Vec<Scenario> {
    let frame = |id: &str, unit: &str, units: usize| {
        let empty = format!("{{\"#\":\"{id}\",\"x\":\"\"}}");
        let rest = units - empty.len();
        let filler = unit.repeat(rest / unit.encode_utf16().count())
            + &"y".repeat(rest % unit.encode_utf16().count());
        format!("A says {{\"#\":\"{id}\",\"x\":\"{filler}\"}}\n")
    };
    let texts = ["x", "☃", "😀"].iter().enumerate().flat_map(|(n, unit)| {
        [
            frame(&format!("a{n}"), unit, 1999),
            frame(&format!("b{n}"), unit, 2000),
            frame(&format!("c{n}"), unit, 2001),
        ]
    });
    let batch = |id: &str, count: usize| {
        let message = format!("{{\"#\":\"{id}\"}}");
        format!("A says [{}]\n", vec![message; count].join(","))
    };
    vec![
        limited(
            "4 a frame that is too big is answered",
            2000,
            format!("A B\n{}", texts.collect::<String>()),
        ),
        limited(
            "4 a frame that is many times too big is answered, too",
            2000,
            format!("A B\n{}A says {{\"#\":\"a1\"}}\n", frame("big", "x", 300_000)),
        ),
        limited(
            "4 a batch counts as one frame",
            2000,
            format!("A B\n{}{}", batch("a1", 190), batch("a2", 200)),
        ),
        limited(
            "4 too big comes before broken",
            2000,
            format!("A B\nA says {{{}\nA says {}\n", "x".repeat(2000), "x".repeat(2000)),
        ),
        limited(
            "4 a text in a batch is measured without its escapes",
            2000,
            format!(
                "A B\nA says [{}]\n",
                quoted(&format!("{{\"#\":\"a1\",\"x\":{}}}", quoted(&"\"".repeat(400))))
            ),
        ),
    ]
}

/// A scenario in which gunmetal differs on purpose.
pub struct Difference {
    /// The name of the row in the table.
    pub row: &'static str,
    pub script: String,
    /// What only Gun's mesh brings about, line by line.
    pub gun: &'static [&'static str],
    /// What only gunmetal brings about.
    pub gunmetal: &'static [&'static str],
}

const BROKEN: &str = r###"A hears {"#":"<id>","dam":"!","err":"DAM JSON parse error."}"###;

pub fn different() -> Vec<Difference> {
    let difference = |row, script: &str, gun, gunmetal| Difference {
        row,
        script: script.to_owned(),
        gun,
        gunmetal,
    };
    vec![
        difference(
            "verbs",
            r###"
            A B
            A says {"dam":"constructor","#":"v1"}
            A says {"dam":"toString","#":"v2"}
            A says {"dam":"c","#":"v3"}
            A says {"dam":"one","#":"v4"}"###,
            &[BROKEN, BROKEN, BROKEN, BROKEN],
            &[],
        ),
        difference(
            "inherited ids",
            r###"
            A B
            A says {"#":"constructor","x":1}
            A says {"#":"toString","get":{"#":"mark"}}
            B says {"#":"b1","@":"toString"}"###,
            &[],
            &[
                r###"B hears {"#":"constructor","><":"AAAAAAAAA,BBBBBBBBB","x":1.0}"###,
                r###"B hears {"#":"toString","><":"AAAAAAAAA,BBBBBBBBB","get":{"#":"mark"}}"###,
                r###"A hears {"#":"b1","@":"toString"}"###,
            ],
        ),
        difference(
            "inherited ids",
            r###"
            A B
            A says {"#":"__proto__","x":1}
            A says {"#":"a1","><":"x"}
            A says {"#":"__proto__","x":2}"###,
            &[r###"B hears {"#":"a1","><":"AAAAAAAAA,BBBBBBBBB,"}"###],
            &[
                r###"B hears {"#":"__proto__","><":"AAAAAAAAA,BBBBBBBBB","x":1.0}"###,
                r###"B hears {"#":"a1","><":"AAAAAAAAA,BBBBBBBBB"}"###,
            ],
        ),
        difference(
            "names nobody has",
            r###"
            A B
            A says {"#":"a1","><":"undefined"}"###,
            &[],
            &[r###"B hears {"#":"a1","><":"AAAAAAAAA,BBBBBBBBB"}"###],
        ),
        difference(
            "names nobody has",
            r###"
            A B D?
            D says {"dam":"?","pid":"constructor","@":"x","#":"h1"}
            A says {"#":"a1","><":"x"}"###,
            &[],
            &[r###"D hears {"#":"a1","><":"AAAAAAAAA,BBBBBBBBB,constructor"}"###],
        ),
        difference(
            "pairs and ids",
            r###"
            A B
            A says {"#":"ab","##":12,"get":{"#":"mark"}}
            A says {"#":"ab12","x":1}"###,
            &[],
            &[r###"B hears {"#":"ab12","><":"AAAAAAAAA,BBBBBBBBB","x":1.0}"###],
        ),
        difference(
            "pairs and ids",
            r###"
            A B
            A says {"#":5,"get":{"#":"mark"}}
            A says {"#":6,"get":{"#":"mark"}}
            B says {"#":"b1","@":5,"##":7,"put":{}}
            B says {"#":"b2","@":6,"##":6,"put":{}}"###,
            &[],
            &[r###"A hears {"#":"b2","##":6.0,"@":6.0,"put":{}}"###],
        ),
        difference(
            "failing handlers",
            r###"
            A B
            A says {"#":{"toString":1},"x":1}
            A says [{"dam":"constructor","#":"v1"},{"#":"a1"}]"###,
            &[BROKEN, BROKEN],
            &[
                r###"B hears {"#":{"toString":1.0},"><":"AAAAAAAAA,BBBBBBBBB","x":1.0}"###,
                r###"B hears {"#":"a1","><":"AAAAAAAAA,BBBBBBBBB"}"###,
            ],
        ),
        difference(
            "objects like texts",
            r###"
            A B
            A says [{"#":"a1","length":90000000}]
            A says [{"#":"a2","0":"{"},{"#":"a3","0":"["}]
            A says [["{"]]"###,
            &[
                r###"A hears {"#":"<id>","dam":"!","err":"Message too big!"}"###,
                BROKEN,
                BROKEN,
                BROKEN,
            ],
            &[
                r###"B hears {"#":"a1","><":"AAAAAAAAA,BBBBBBBBB","length":90000000.0}"###,
                r###"B hears {"#":"a2","0":"{","><":"AAAAAAAAA,BBBBBBBBB"}"###,
                r###"B hears {"#":"a3","0":"[","><":"AAAAAAAAA,BBBBBBBBB"}"###,
            ],
        ),
        difference(
            "frames in frames",
            &format!("A B\nA says {}\n", wrapped(9)),
            &[r###"B hears {"#":"a1","><":"AAAAAAAAA,BBBBBBBBB"}"###],
            &[r###"A hears {"#":"<id>","dam":"!","err":"Message nested too deep!"}"###],
        ),
        difference(
            "depth",
            &format!(
                "A B\nA says {{\"#\":\"a1\",\"x\":{}{}}}\n",
                "[".repeat(1000),
                "]".repeat(1000)
            ),
            &["B hears …"],
            &[r###"A hears {"#":"<id>","dam":"!","err":"Message nested too deep!"}"###],
        ),
        difference(
            "pids",
            r###"
            A D?
            D says {"dam":"?","pid":"\ud83d","@":"x","#":"h1"}
            A says {"#":"a1"}
            A says {"#":"a2","><":"\ud83d"}"###,
            &[r###"D hears {"#":"a1","><":"AAAAAAAAA,<half d83d>"}"###],
            &[
                r###"D hears {"#":"a1","><":"AAAAAAAAA,<inner>"}"###,
                r###"D hears {"#":"a2","><":"AAAAAAAAA,<inner>"}"###,
            ],
        ),
        difference(
            "pids",
            &format!(
                "A D?\nD says {{\"dam\":\"?\",\"pid\":\"{}\",\"@\":\"x\",\"#\":\"h1\"}}\nA says {{\"#\":\"a1\"}}\n",
                "p".repeat(129)
            ),
            &["D hears …"],
            &[r###"D hears {"#":"a1","><":"AAAAAAAAA,<inner>"}"###],
        ),
        difference(
            "DBG",
            r###"
            A B
            A says {"#":"a1","DBG":1}"###,
            &["B hears …"],
            &[r###"B hears {"#":"a1","><":"AAAAAAAAA,BBBBBBBBB","DBG":1.0}"###],
        ),
        difference(
            "spelling",
            r###"
            A B
            A says {"#":"a1","x":1e400}"###,
            &[r###"B hears {"#":"a1","><":"AAAAAAAAA,BBBBBBBBB","x":null}"###],
            &[r###"B hears {"#":"a1","><":"AAAAAAAAA,BBBBBBBBB","x":inf}"###],
        ),
    ]
}

/// A message as a text in a batch, that as a text in a batch, and so on.
fn wrapped(levels: usize) -> String {
    (0..levels).fold("{\"#\":\"a1\"}".to_owned(), |text, _| format!("[{}]", quoted(&text)))
}
