//! The messages the swarm sends, and their recognition after the relay passed them on.
//!
//! Owns: their text. A message says which of a source's messages it is, and is otherwise the same
//! text always, so that whoever gets it can tell that it is intact and in order.

/// What a put carries: with the rest about 200 bytes.
const PUT: &str = concat!(
    r##","put":{"mark":{"_":{"#":"mark",">":{"age":1700000000000}},"age":"##,
    r#""0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz"}}"#
);
const GET: &str = r##","get":{"#":"mark",".":"age"}"##;
/// In front of an id.
const ID: &str = r##"{"#":""##;
const ID_BYTES: usize = 14;

/// What a message is for. Its ids begin with the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Data for all.
    Put = b'p' as isize,
    /// Likewise, from peers that a test minds less.
    OtherPut = b'o' as isize,
    /// A question to all.
    Get = b'g' as isize,
    /// The answer to the question with the same numbers.
    Answer = b'a' as isize,
}

/// A message: the `n`-th of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is for.
    pub kind: Kind,
    /// Who sent it; of an answer, who asked.
    pub source: usize,
    /// From 0 on, without a gap.
    pub n: usize,
}

impl Message {
    /// What is sent.
    pub fn text(&self) -> String {
        let id = self.id();
        match self.kind {
            Kind::Put | Kind::OtherPut => format!("{ID}{id}\"{PUT}}}"),
            Kind::Get => format!("{ID}{id}\"{GET}}}"),
            Kind::Answer => format!("{ID}{id}\"{}{PUT}}}", self.ack()),
        }
    }

    fn id(&self) -> String {
        format!("{}{:05}{:08}", self.kind as u8 as char, self.source, self.n)
    }

    /// The field of an answer to it.
    pub fn ack(&self) -> String {
        format!(",\"@\":\"{}\"", Message { kind: Kind::Get, ..*self }.id())
    }

    fn from_id(id: &str) -> Option<Message> {
        let kind = match id.as_bytes()[0] {
            b'p' => Kind::Put,
            b'o' => Kind::OtherPut,
            b'g' => Kind::Get,
            b'a' => Kind::Answer,
            _ => return None,
        };
        Some(Message { kind, source: id[1..6].parse().ok()?, n: id[6..].parse().ok()? })
    }

    /// Takes the first message off `text`. It must be as the relay passes it on: what is flooded
    /// with the names of those who have it, an answer unchanged.
    fn take_first(text: &str) -> Option<(Message, &str)> {
        let rest = text.strip_prefix(ID)?;
        let message = Message::from_id(rest.get(..ID_BYTES)?)?;
        let rest = rest[ID_BYTES..].strip_prefix('"')?;
        if message.kind == Kind::Answer {
            let rest = rest.strip_prefix(&message.ack())?.strip_prefix(PUT)?;
            return Some((message, rest.strip_prefix('}')?));
        }
        let body = if message.kind == Kind::Get { GET } else { PUT };
        let names = rest.strip_prefix(body)?.strip_prefix(r#","><":""#)?;
        let (_, rest) = names.split_at(names.find('}')?);
        Some((message, &rest[1..]))
    }
}

/// The messages of a frame, which must hold nothing else. Control messages and heartbeats hold none.
pub fn messages(frame: &str) -> impl Iterator<Item = Message> {
    let inner = frame.strip_prefix('[').map_or(frame, |inner| {
        inner.strip_suffix(']').unwrap_or_else(|| panic!("half a batch: {frame}"))
    });
    let mut rest = if frame.starts_with("{\"dam\"") { "" } else { inner };
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (message, left) = Message::take_first(rest)
            .unwrap_or_else(|| panic!("not a message of this test: {rest}"));
        rest = left.strip_prefix(',').unwrap_or(left);
        Some(message)
    })
}

#[test]
fn a_message_is_recognised_as_the_relay_passes_it_on() {
    let put = Message { kind: Kind::Put, source: 3, n: 70 };
    let answer = Message { kind: Kind::Answer, source: 12, n: 0 };
    let text = put.text();
    let passed_on = format!("{},\"><\":\"aaa,bbb\"}}", &text[..text.len() - 1]);
    let frame = format!("[{passed_on},{},{passed_on}]", answer.text());
    assert_eq!(messages(&frame).collect::<Vec<_>>(), [put, answer, put]);
    assert_eq!(messages(&passed_on).collect::<Vec<_>>(), [put]);
    assert_eq!(messages("[]").count(), 0);
    assert!((190..210).contains(&text.len()), "{}", text.len());
}
