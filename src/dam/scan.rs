//! One pass over a frame: whether it is JSON, and where the members of its messages are.
//!
//! Owns: the grammar of JSON (RFC 8259) as `JSON.parse` takes it, and the spans that routing needs.
//! Must not know: what members mean, texts, answers.
//! Invariants: what is accepted is valid JSON, nested no deeper than allowed; what is not accepted
//! may yet be, and is for [`lenient`](super::lenient) to judge; nothing is copied or unescaped;
//! nothing recurses; memory is bounded by `SPANS_MAX` and the depth.

mod find;

/// A frame of more elements or members than this is not scanned, which bounds the memory kept.
const SPANS_MAX: usize = 1 << 15;

/// Brackets that are open within a message of a batch.
const MESSAGE_DEPTH: usize = 2;

/// A member of a message, as offsets in the frame's payload.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Where the key's opening quote is. A key has no escapes.
    pub key: u32,
    /// Behind the key's closing quote.
    pub key_end: u32,
    /// Where the value begins.
    pub value: u32,
    /// Behind the value.
    pub end: u32,
    /// The value is a string without escapes.
    pub is_plain: bool,
}

/// A message of the frame, or something else in a batch, as offsets in the frame's payload.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    /// Where it begins.
    pub start: u32,
    /// Behind it.
    pub end: u32,
    /// How many members the messages up to this one have, it included.
    pub members: u32,
    /// It is a message of which only the members behind the settled ones are known.
    pub is_settled: bool,
}

/// Scans frames. Its memory is used again for every frame.
#[derive(Debug)]
pub struct Scanner {
    depth_max: usize,
    /// The brackets that are open within a member's or element's value.
    open: Vec<u8>,
    elements: Vec<Element>,
    members: Vec<Member>,
}

impl Scanner {
    /// A scanner without any memory yet. No more brackets than `depth_max` may be open at once.
    pub fn new(depth_max: usize) -> Self {
        Scanner { depth_max, open: Vec::new(), elements: Vec::new(), members: Vec::new() }
    }

    /// The elements of a batch, or the one message that the frame is, and the members of all
    /// messages. `text` is UTF-8 and begins with a bracket. `None`: not accepted.
    ///
    /// `settled` says how many bytes of what follows are the brace and whole members of a message that was accepted
    /// before. They are passed over. So that this is right in any frame, a message by itself may be nested
    /// no deeper than one of a batch.
    pub fn scan(
        &mut self,
        text: &[u8],
        settled: &mut impl FnMut(&[u8]) -> Option<usize>,
    ) -> Option<(&[Element], &[Member])> {
        u32::try_from(text.len()).ok()?;
        self.elements.clear();
        self.members.clear();
        let end = match text.first()? {
            b'[' => self.batch(text, settled)?,
            _ => self.element(text, 0, settled)?,
        };
        (space(text, end) == text.len()).then_some((&self.elements, &self.members))
    }

    /// Reads a batch. Returns where it ends.
    fn batch(
        &mut self,
        text: &[u8],
        settled: &mut impl FnMut(&[u8]) -> Option<usize>,
    ) -> Option<usize> {
        let mut at = space(text, 1);
        if *text.get(at)? == b']' {
            return Some(at + 1);
        }
        loop {
            at = space(text, self.element(text, at, settled)?);
            match text.get(at)? {
                b',' => at = space(text, at + 1),
                b']' => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// Reads what begins at `at`, in a batch. Returns where it ends.
    fn element(
        &mut self,
        text: &[u8],
        at: usize,
        settled: &mut impl FnMut(&[u8]) -> Option<usize>,
    ) -> Option<usize> {
        let mut is_settled = false;
        let end = match text.get(at)? {
            b'{' => match settled(&text[at..]) {
                Some(bytes) => {
                    is_settled = true;
                    self.rest_of_message(text, at + bytes)?
                }
                None => self.message(text, at)?,
            },
            _ => self.value(text, at, 1)?,
        };
        if self.elements.len() == SPANS_MAX {
            return None;
        }
        let members = self.members.len() as u32;
        self.elements.push(Element { start: at as u32, end: end as u32, members, is_settled });
        Some(end)
    }

    /// Reads the message whose brace is at `at`. Returns where it ends.
    fn message(&mut self, text: &[u8], at: usize) -> Option<usize> {
        if MESSAGE_DEPTH > self.depth_max {
            return None;
        }
        let at = space(text, at + 1);
        match text.get(at)? {
            b'}' => Some(at + 1),
            _ => self.members(text, at),
        }
    }

    /// Reads a message on, from the end of a member at `at`. Returns where it ends.
    fn rest_of_message(&mut self, text: &[u8], at: usize) -> Option<usize> {
        let at = space(text, at);
        match text.get(at)? {
            b',' => self.members(text, space(text, at + 1)),
            b'}' => Some(at + 1),
            _ => None,
        }
    }

    /// Reads the members of a message, of which there is one at `at`. Returns where the message ends.
    fn members(&mut self, text: &[u8], mut at: usize) -> Option<usize> {
        loop {
            let (key_end, is_key_plain) = string(text, at)?;
            let value = colon(text, key_end)?;
            let (end, is_plain) = match *text.get(value)? {
                b'"' => string(text, value)?,
                _ => (self.value(text, value, MESSAGE_DEPTH)?, false),
            };
            if !is_key_plain || self.members.len() == SPANS_MAX {
                return None;
            }
            let [key, key_end, value] = [at, key_end, value].map(|at| at as u32);
            self.members.push(Member { key, key_end, value, end: end as u32, is_plain });
            at = space(text, end);
            match text.get(at)? {
                b',' => at = space(text, at + 1),
                b'}' => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// Passes over the value at `at`, inside of `depth` brackets. Returns where it ends.
    fn value(&mut self, text: &[u8], mut at: usize, depth: usize) -> Option<usize> {
        self.open.clear();
        let mut has_key = false;
        loop {
            if has_key {
                at = colon(text, string(text, at)?.0)?;
            }
            let byte = *text.get(at)?;
            at = match byte {
                b'"' => string(text, at)?.0,
                b'{' | b'[' => {
                    if depth + self.open.len() >= self.depth_max {
                        return None;
                    }
                    let inside = space(text, at + 1);
                    // The closing bracket has the code of the opening one and 2.
                    if *text.get(inside)? == byte + 2 {
                        inside + 1
                    } else {
                        self.open.push(byte);
                        (at, has_key) = (inside, byte == b'{');
                        continue;
                    }
                }
                b't' => literal(text, at, b"true")?,
                b'f' => literal(text, at, b"false")?,
                b'n' => literal(text, at, b"null")?,
                _ => number(text, at)?,
            };
            // Brackets that close here, up to a comma.
            loop {
                let Some(open) = self.open.last() else { return Some(at) };
                at = space(text, at);
                let byte = *text.get(at)?;
                if byte == b',' {
                    (at, has_key) = (space(text, at + 1), *open == b'{');
                    break;
                }
                if byte != *open + 2 {
                    return None;
                }
                self.open.pop();
                at += 1;
            }
        }
    }
}

/// Passes over space, if there is any.
#[inline(always)]
fn space(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        Some(byte) if *byte <= b' ' => after_space(text, at),
        _ => at,
    }
}

/// [`space`] where there is some: nobody writes any who writes for machines.
#[cold]
fn after_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\r' | b'\n') = text.get(at) {
        at += 1;
    }
    at
}

/// Passes over a colon and the space around it.
#[inline(always)]
fn colon(text: &[u8], at: usize) -> Option<usize> {
    let at = space(text, at);
    (*text.get(at)? == b':').then(|| space(text, at + 1))
}

fn literal(text: &[u8], at: usize, literal: &[u8]) -> Option<usize> {
    text[at..].starts_with(literal).then_some(at + literal.len())
}

/// Passes over a number.
fn number(text: &[u8], mut at: usize) -> Option<usize> {
    at += usize::from(text[at] == b'-');
    at = match text.get(at)? {
        b'0' => at + 1,
        _ => digits(text, at)?,
    };
    if text.get(at) == Some(&b'.') {
        at = digits(text, at + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
        at = digits(text, at)?;
    }
    Some(at)
}

/// Passes over one digit or more.
fn digits(text: &[u8], start: usize) -> Option<usize> {
    let end = find::digits_end(text, start);
    (end > start).then_some(end)
}

/// Passes over the string at `at`. Returns where it ends, and whether it is free of escapes.
#[inline(always)]
fn string(text: &[u8], at: usize) -> Option<(usize, bool)> {
    if *text.get(at)? != b'"' {
        return None;
    }
    let end = find::plain_end(text, at + 1);
    match text.get(end)? {
        b'"' => Some((end + 1, true)),
        _ => Some((escaped(text, end)?, false)),
    }
}

/// Passes over the rest of a string, from its first escape on.
#[inline(never)]
fn escaped(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => escape(text, at + 1)?,
            _ => return None,
        };
        at = find::plain_end(text, at);
    }
}

/// Passes over what is behind a backslash.
fn escape(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => {
            let digits = text.get(at + 1..at + 5)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 5)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_the_rfc_has_them() {
        for good in ["0", "-0", "10", "1.5", "0.0", "1e5", "1E-5", "-1.25e+400", "0e0"] {
            assert_eq!(number(good.as_bytes(), 0), Some(good.len()), "{good}");
        }
        for bad in ["-", "+1", ".5", "1.", "1e", "1e+", "a", "-a"] {
            assert_eq!(number(bad.as_bytes(), 0), None, "{bad}");
        }
        assert_eq!(number(b"01", 0), Some(1), "the rest is refused by what comes next");
    }

    #[test]
    fn memory_is_bounded() {
        let mut scanner = Scanner::new(9);
        let ones = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
        assert!(scanner.scan(ones(SPANS_MAX).as_bytes(), &mut |_| None).is_some());
        assert!(scanner.scan(ones(SPANS_MAX + 1).as_bytes(), &mut |_| None).is_none());
        let members = |count: usize| format!("{{{}\"a\":1}}", "\"a\":1,".repeat(count - 1));
        assert!(scanner.scan(members(SPANS_MAX).as_bytes(), &mut |_| None).is_some());
        assert!(scanner.scan(members(SPANS_MAX + 1).as_bytes(), &mut |_| None).is_none());
    }
}
