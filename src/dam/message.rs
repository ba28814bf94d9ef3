//! One DAM message: the fields of its envelope, and its text as it is forwarded.
//!
//! Owns: which members count (of duplicates the last, as in JavaScript), and the edits of
//! forwarding, as parts of the original text, so that nothing needs to be copied or printed.
//! Must not know: where the text came from, peers, dedup, routes.
//! Invariants: `text` is a valid JSON object, `{` to `}`; whatever is not edited is forwarded byte
//! for byte; the parts of a rewrite joined are again a valid JSON object.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use smallvec::SmallVec;

pub use super::js::Kind;
use super::{js, lenient};

/// A member of the envelope, as JavaScript sees it.
#[derive(Clone, Copy, Default)]
pub struct Field<'a> {
    /// The JSON source text of the value; empty when absent.
    pub source: &'a [u8],
    /// The type of the value.
    pub kind: Kind,
    /// `Boolean(value)`: most of DAM's rules ask for this only.
    pub truthy: bool,
    /// It is known to be a string without escapes.
    is_plain: bool,
}

impl<'a> Field<'a> {
    #[inline]
    fn new(source: &'a [u8], is_plain: bool) -> Self {
        let (kind, truthy) = match is_plain {
            true => (Kind::Text, source.len() > 2),
            false => (js::kind(source), js::truthy(source)),
        };
        Field { source, kind, truthy, is_plain }
    }

    /// `String(value)`, which is how Gun uses a value as a key; empty when falsy. WTF-8.
    #[inline]
    pub fn text(&self) -> Cow<'a, [u8]> {
        match self.is_plain {
            true => Cow::Borrowed(&self.source[1..self.source.len() - 1]),
            false if self.truthy => js::text(self.source),
            false => Cow::Borrowed(&[]),
        }
    }

    /// Where in `text` it is, which it is a part of.
    fn span(&self, text: &[u8]) -> Range<usize> {
        let at = lenient::offset(text, self.source);
        at..at + self.source.len()
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Field { source, kind, truthy, .. } = self;
        write!(f, "{} {kind:?} {truthy} {}", source.escape_ascii(), self.text().escape_ascii())
    }
}

/// One message heard.
#[doc(alias = "hear.one")]
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    /// The source text, from `{` to `}`.
    pub text: &'a [u8],
    /// The offset of `text` in the payload of the frame; None when the message came inside of a
    /// text, so that its own text is no part of the payload.
    pub start: Option<usize>,
    /// `#`
    pub id: Field<'a>,
    /// `@`: the id of the message this one answers.
    pub ack: Field<'a>,
    /// `##`: the hash of the content.
    pub hash: Field<'a>,
    /// `><`: names of peers that have this message already.
    pub skip: Field<'a>,
    /// The verb of a message between neighbours.
    pub dam: Field<'a>,
    /// In `dam: "?"`: who the peer is.
    pub pid: Field<'a>,
    /// In `dam: "!"`: what went wrong.
    pub err: Field<'a>,
    /// The result in an answer, or application data.
    pub ok: Field<'a>,
    /// Whether there is truthy data.
    pub put: bool,
    /// Whether there is a truthy question.
    pub get: bool,
    /// Members named `_`, with the comma that goes with each. Ordered, disjoint.
    cuts: SmallVec<[(usize, usize); 1]>,
    /// Where the members end that relays leave as they are: before the first `><` or `ok`, if there is one.
    settled_end: Option<usize>,
    /// Whether any member stays.
    kept: bool,
    /// The end of the last member so far.
    end: usize,
}

/// What to change on forwarding. Every value is JSON source text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rewrite<'r> {
    /// The new `#`, also where there was none.
    pub id: Option<&'r [u8]>,
    /// The new `><`, also where there was none.
    pub skip: Option<&'r [u8]>,
    /// The new `ok`, where there was one.
    pub ok: Option<&'r [u8]>,
}

/// A piece of a rewritten message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'m> {
    /// A range of `Message::text`.
    Kept(Range<usize>),
    /// Text that was not there before.
    New(&'m [u8]),
}

/// A range of the text and what stands there instead.
type Edit<'m> = (Range<usize>, Option<&'m [u8]>);

/// The spelling of a number that Gun counts with; no number in real use is longer.
pub type NumberText = SmallVec<[u8; 32]>;

impl<'a> Message<'a> {
    /// A message without members yet.
    pub(super) fn new(text: &'a [u8], start: Option<usize>) -> Self {
        Message { text, start, ..Message::default() }
    }

    /// Reads an object that was checked before, the slow way. Nothing of it is [settled](Self::settled): as a part of
    /// another text it may not be valid.
    pub(super) fn read(text: &'a [u8], start: Option<usize>) -> Self {
        let mut message = Message::new(text, start);
        lenient::members(text, |key, value| {
            let at = lenient::offset(text, value);
            let key_at = lenient::offset(text, key);
            message.member(&js::decode(key), key_at, at..at + value.len(), false);
        });
        message.settled_end = Some(0);
        message
    }

    /// Takes the next member: its decoded key, where the key starts, where the value is, and whether that
    /// is known to be a string without escapes.
    #[inline]
    pub(super) fn member(
        &mut self,
        key: &[u8],
        key_at: usize,
        value: Range<usize>,
        is_plain: bool,
    ) {
        // A `_` that no kept member precedes goes together with the comma behind it.
        if !self.kept
            && let Some(cut) = self.cuts.last_mut()
        {
            cut.1 = key_at;
        }
        let end = value.end;
        if key == b"_" {
            let from = if self.kept { self.end } else { key_at };
            self.cuts.push((from, end));
        } else {
            self.kept = true;
            self.field(key, value, is_plain);
        }
        self.end = end;
    }

    #[inline]
    fn field(&mut self, key: &[u8], value: Range<usize>, is_plain: bool) {
        let field = match key {
            b"#" => &mut self.id,
            b"@" => &mut self.ack,
            b"##" => &mut self.hash,
            b"><" => {
                self.settle();
                &mut self.skip
            }
            b"dam" => &mut self.dam,
            b"pid" => &mut self.pid,
            b"err" => &mut self.err,
            b"ok" => {
                self.settle();
                &mut self.ok
            }
            b"put" => return self.put = js::truthy(&self.text[value]),
            b"get" => return self.get = js::truthy(&self.text[value]),
            _ => return,
        };
        *field = Field::new(&self.text[value], is_plain);
    }

    /// A member begins that relays write.
    fn settle(&mut self) {
        self.settled_end.get_or_insert(self.end);
    }

    /// The start of the text, up to the first member that relays write: `><`, `ok`. It is valid wherever a message may be.
    pub fn settled(&self) -> &'a [u8] {
        &self.text[..self.settled_end.unwrap_or(self.end)]
    }

    /// Where the value of `#` is, which there is.
    pub(super) fn id_at(&self) -> usize {
        self.id.span(self.text).start
    }

    /// The hop budget left for acknowledgements: `(ok["@"] || 1) - 1` as JSON text. For the new
    /// `ok` of a message that carries `put` and `ok`. Gun: mesh.raw
    pub fn hops(&self) -> NumberText {
        let mut budget = &b"1"[..];
        if self.ok.kind == Kind::Object {
            lenient::members(self.ok.source, |key, value| {
                if *js::decode(key) == *b"@" {
                    budget = value;
                }
            });
        }
        let left = if js::truthy(budget) { js::number(budget) - 1.0 } else { 0.0 };
        if !left.is_finite() {
            return NumberText::from_slice(b"null");
        }
        NumberText::from_slice(ryu_js::Buffer::new().format_finite(left).as_bytes())
    }

    /// The text to forward, in parts: the original with the given values set and every `_`
    /// removed. Gun: mesh.raw
    pub fn rewrite<'m>(&'m self, new: &Rewrite<'m>, part: &mut impl FnMut(Part<'m>)) {
        let mut from = 0;
        for (at, value) in self.edits(new) {
            if from < at.start {
                part(Part::Kept(from..at.start));
            }
            if let Some(value) = value {
                part(Part::New(value));
            }
            from = at.end;
        }
        let inserts = self.inserts(new);
        if inserts.iter().any(Option::is_some) {
            let close = self.text.len() - 1;
            part(Part::Kept(from..close));
            from = close;
        }
        let mut comma = self.kept;
        for (name, value) in inserts.into_iter().flatten() {
            part(Part::New(if comma { name } else { &name[1..] }));
            part(Part::New(value));
            comma = true;
        }
        part(Part::Kept(from..self.text.len()));
    }

    /// Appends the text to forward. For messages that are small or that are joined to a batch.
    pub fn append(&self, new: &Rewrite<'_>, to: &mut Vec<u8>) {
        self.rewrite(new, &mut |part| match part {
            Part::Kept(range) => to.extend_from_slice(&self.text[range]),
            Part::New(text) => to.extend_from_slice(text),
        });
    }

    /// The length of the text to forward, in bytes.
    pub fn rewritten_len(&self, new: &Rewrite<'_>) -> usize {
        let mut sum = 0;
        self.rewrite(new, &mut |part| {
            sum += match part {
                Part::Kept(range) => range.len(),
                Part::New(text) => text.len(),
            }
        });
        sum
    }

    /// Everything to replace or cut, in the order of the text.
    fn edits<'m>(&'m self, new: &Rewrite<'m>) -> SmallVec<[Edit<'m>; 4]> {
        let mut edits: SmallVec<[Edit<'m>; 4]> = SmallVec::new();
        for (field, value) in [(&self.id, new.id), (&self.skip, new.skip), (&self.ok, new.ok)] {
            if value.is_some() && field.kind != Kind::Absent {
                edits.push((field.span(self.text), value));
            }
        }
        edits.extend(self.cuts.iter().map(|&(from, to)| (from..to, None)));
        if edits.len() > 1 {
            edits.sort_unstable_by_key(|(at, _)| at.start);
        }
        edits
    }

    /// Members to add: the comma and name, and the value.
    fn inserts<'m>(&self, new: &Rewrite<'m>) -> [Option<(&'static [u8], &'m [u8])>; 2] {
        let absent = |field: &Field<'_>| field.kind == Kind::Absent;
        [
            new.id.filter(|_| absent(&self.id)).map(|id| (&b",\"#\":"[..], id)),
            new.skip.filter(|_| absent(&self.skip)).map(|skip| (&b",\"><\":"[..], skip)),
        ]
    }
}

#[cfg(test)]
mod tests;
