//! Messages in a form that can be compared: what was invented by chance gets a stable name, keys are sorted, and numbers
//! are written by their value.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The names of one run of a scenario.
pub struct Names {
    /// The script: what stands in it was not invented.
    script: String,
    ids: Vec<String>,
    inner: Vec<String>,
}

impl Names {
    pub fn new(script: &str) -> Names {
        Names { script: script.to_owned(), ids: Vec::new(), inner: Vec::new() }
    }

    /// The canonical text of a message.
    pub fn message(&mut self, text: &str) -> String {
        let Ok(members) =
            serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&without_halves(text))
        else {
            return format!("NOT A MESSAGE: {text}");
        };
        let is_hello = members.get("dam").is_some_and(|dam| dam.get() == "\"?\"");
        let members = members.iter().map(|(key, value)| {
            let value = value.get();
            let value = match (key.as_str(), string(value)) {
                ("#" | "@", Some(id)) => self.id(&id).map_or_else(|| value.to_owned(), quote),
                ("><", Some(names)) => quote(self.peers(&names)),
                ("pid", Some(pid)) if is_hello && self.is_invented(&pid) => {
                    quote("<relay>".to_owned())
                }
                _ => canonical(value),
            };
            format!("{}:{value}", quote(key.clone()))
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    fn id(&mut self, id: &str) -> Option<String> {
        self.is_invented(id).then(|| format!("<id {}>", place(&mut self.ids, id)))
    }

    fn peers(&mut self, names: &str) -> String {
        let names = names.split(',').map(|name| match self.is_invented(name) {
            true => format!("<inner {}>", place(&mut self.inner, name)),
            false => name.to_owned(),
        });
        names.collect::<Vec<_>>().join(",")
    }

    fn is_invented(&self, name: &str) -> bool {
        let is_random = name.len() == 9 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_a_peer = is_random && name.bytes().all(|byte| byte == name.as_bytes()[0]);
        is_random && !is_a_peer && !self.script.contains(name)
    }
}

/// The message as far as Rust can hold it.
pub fn value(text: &str) -> Option<serde_json::Value> {
    serde_json::from_str(&without_halves(text)).ok()
}

fn place(list: &mut Vec<String>, name: &str) -> usize {
    let known = list.iter().position(|known| known == name);
    1 + known.unwrap_or_else(|| {
        list.push(name.to_owned());
        list.len() - 1
    })
}

fn canonical(value: &str) -> String {
    match value.as_bytes()[0] {
        b'{' => {
            let members: BTreeMap<String, Box<RawValue>> =
                serde_json::from_str(value).expect("checked before");
            let members = members
                .iter()
                .map(|(key, value)| format!("{}:{}", quote(key.clone()), canonical(value.get())));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        b'[' => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(value).expect("checked before");
            format!(
                "[{}]",
                items.iter().map(|item| canonical(item.get())).collect::<Vec<_>>().join(",")
            )
        }
        b'"' => string(value).map_or_else(|| value.to_owned(), quote),
        b't' | b'f' | b'n' => value.to_owned(),
        // Negative zero is zero; what is too big for a double is infinite.
        _ => format!("{:?}", value.parse::<f64>().expect("a number") + 0.0),
    }
}

fn string(value: &str) -> Option<String> {
    serde_json::from_str(value).ok()
}

fn quote(text: String) -> String {
    serde_json::Value::from(text).to_string()
}

/// Half a surrogate pair, which no Rust string can hold, is written as `<half d83d>`.
fn without_halves(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => 12,
            (Some(half @ 0xD800..0xE000), _) => {
                out.push_str(&format!("<half {half:x}>"));
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out + rest
}

/// The code unit of an escape at the start of `text`.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[test]
fn what_means_the_same_looks_the_same() {
    let mut names = Names::new("known");
    let text = |names: &mut Names, text: &str| names.message(text);
    assert_eq!(
        text(&mut names, r#"{"b":-0,"a":[1e2,"\u0041"],"\u0061":2.50}"#),
        text(&mut names, r#"{"a":2.5,"b":0.0}"#)
    );
    assert_eq!(
        text(&mut names, r##"{"#":"aB3aB3aB3","><":"AAAAAAAAA,xYz012345"}"##),
        r##"{"#":"<id 1>","><":"AAAAAAAAA,<inner 1>"}"##
    );
    assert_eq!(
        text(&mut names, r##"{"@":"aB3aB3aB3","x":"\ud83d\ude00\\\ude00"}"##),
        r#"{"@":"<id 1>","x":"😀\\<half de00>"}"#
    );
}
