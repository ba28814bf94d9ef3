//! Where a run of bytes of one kind ends, found sixteen at a time.
//!
//! Owns: which bytes are plain in a string, and which are digits.
//! Must not know: what ends a run, and what that means.

use wide::u8x16;

/// Bytes that are looked at together.
const WIDTH: usize = 16;

/// Where the first byte is that is no plain character of a string (a quote, a backslash, a control
/// character), or the end of the text.
#[inline(always)]
pub(super) fn plain_end(text: &[u8], start: usize) -> usize {
    end(text, start, |bytes| {
        let is = |byte: u8| bytes.simd_eq(u8x16::splat(byte));
        is(b'"') | is(b'\\') | is_at_most(bytes, 0x1f)
    })
}

/// Where the first byte is that is no digit, or the end of the text.
#[inline(always)]
pub(super) fn digits_end(text: &[u8], start: usize) -> usize {
    end(text, start, |bytes| !is_at_most(bytes - u8x16::splat(b'0'), 9))
}

fn is_at_most(bytes: u8x16, most: u8) -> u8x16 {
    bytes.simd_eq(bytes.min(u8x16::splat(most)))
}

/// Where the first byte is that `is_end`, or the end of the text.
#[inline(always)]
fn end(text: &[u8], start: usize, is_end: impl Fn(u8x16) -> u8x16) -> usize {
    // Most runs are shorter than this.
    match text.get(start..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) => match first(chunk, &is_end) {
            WIDTH => later_end(text, start + WIDTH, is_end),
            index => start + index,
        },
        None => last_end(text, start, is_end),
    }
}

/// [`end`], for runs that are longer.
#[inline(never)]
fn later_end(text: &[u8], start: usize, is_end: impl Fn(u8x16) -> u8x16) -> usize {
    let mut at = start;
    while let Some(chunk) = text[at..].first_chunk() {
        let index = first(chunk, &is_end);
        if index < WIDTH {
            return at + index;
        }
        at += WIDTH;
    }
    last_end(text, at, is_end)
}

/// [`end`], less than [`WIDTH`] from the end of the text: the last bytes, and some that were passed.
#[inline(never)]
fn last_end(text: &[u8], at: usize, is_end: impl Fn(u8x16) -> u8x16) -> usize {
    let Some(chunk) = text.last_chunk::<WIDTH>() else { return end_of_short(text, at, is_end) };
    let passed = WIDTH - (text.len() - at.min(text.len()));
    let ends = is_end(u8x16::new(*chunk)).to_bitmask() | 1 << WIDTH;
    at + (ends >> passed).trailing_zeros() as usize
}

/// [`end`], in a text of less than [`WIDTH`].
#[cold]
fn end_of_short(text: &[u8], at: usize, is_end: impl Fn(u8x16) -> u8x16) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let mut chunk = [0; WIDTH];
    chunk[..rest.len()].copy_from_slice(rest);
    at + first(&chunk, &is_end).min(rest.len())
}

/// Where the first byte is that `is_end`; [`WIDTH`] if there is none.
#[inline(always)]
fn first(chunk: &[u8; WIDTH], is_end: &impl Fn(u8x16) -> u8x16) -> usize {
    let ends = is_end(u8x16::new(*chunk)).to_bitmask();
    (ends | 1 << WIDTH).trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_plain_text_is_found_anywhere() {
        for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
            for plain in [b' ', b'!', b'#', b'[', b']', b'a', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                for len in 0..150 {
                    let mut text = vec![plain; len];
                    assert_eq!(plain_end(&text, 0), len);
                    text.push(special);
                    text.extend([plain, b'"', 0, plain, plain, plain, plain, plain, plain]);
                    assert_eq!(plain_end(&text, 0), len, "{special} behind {len} times {plain}");
                    assert_eq!(plain_end(&text, len.min(3)), len);
                    text.extend([plain; WIDTH]);
                    assert_eq!(plain_end(&text, 0), len, "{special} behind {len} times {plain}");
                }
            }
        }
    }

    #[test]
    fn every_byte_is_told_from_every_other() {
        let is_special = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < b' ';
        for one in 0..=u8::MAX {
            for next in 0..=u8::MAX {
                let (special, other) = ([b'a', one, next, b'a'], [b'1', one, next, b'1']);
                let want = special.iter().position(is_special).unwrap_or(4);
                assert_eq!(plain_end(&special, 0), want, "{one:#x} {next:#x}");
                let want = other.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(4);
                assert_eq!(digits_end(&other, 0), want, "{one:#x} {next:#x}");
            }
        }
    }

    #[test]
    fn the_end_of_digits_is_found_anywhere() {
        for len in 0..50 {
            for behind in 0..20 {
                let text =
                    format!("{}.{}", "0123456789".repeat(5).split_at(len).0, "5".repeat(behind));
                assert_eq!(digits_end(text.as_bytes(), 0), len);
                assert_eq!(digits_end(&text.as_bytes()[..len], 0), len);
            }
        }
        assert_eq!(digits_end(b"12", 2), 2);
        assert_eq!(digits_end(b"12", 3), 3);
    }
}
