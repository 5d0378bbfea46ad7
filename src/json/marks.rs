//! Where strings end: the quotes of a text that no backslash takes their meaning from, 64 bytes at a time.
//!
//! Reading a review is mostly stepping over strings, and looking at each of their bytes is what costs. So the quotes
//! of a block of 64 bytes are found in one go and kept, a bit each, and a string inside it is stepped over by counting
//! zeros. The last applied configuration, which is a string full of escaped quotes, costs no more than any other.

use wide::u8x16;

/// How many bytes are looked at in one go: a bit of a word each.
const BLOCK: usize = 64;

/// Where a string ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// The index after its closing quote.
    pub at: usize,
    /// Whether it holds escapes.
    pub escapes: bool,
}

/// The marks of the block of a text that was looked at last, one bit for each byte.
#[derive(Clone)]
pub(super) struct Marks {
    block: usize,
    /// Quotes that are not escaped.
    quotes: u64,
    backslashes: u64,
    /// Whether a backslash at the block's end escapes what comes after it: 1 if so.
    carried: u64,
    sound: bool,
}

impl Marks {
    /// Before any block.
    pub(super) const fn new() -> Self {
        Marks { block: usize::MAX, quotes: 0, backslashes: 0, carried: 0, sound: true }
    }

    /// Whether all blocks that were looked at hold no control character, and no escape that JSON does not know.
    pub(super) fn are_sound(&self) -> bool {
        self.sound
    }

    /// The end of the string of `bytes` whose text begins at `at`. Always of the same bytes, and never further back
    /// than before.
    #[inline(always)]
    pub(super) fn string_end(&mut self, bytes: &[u8], at: usize) -> Option<End> {
        if at / BLOCK != self.block {
            self.move_to(bytes, at / BLOCK)?;
        }
        let (quotes, backslashes) = (self.quotes >> (at % BLOCK), self.backslashes >> (at % BLOCK));
        if quotes == 0 {
            return self.later_end(bytes, backslashes != 0);
        }
        let length = quotes.trailing_zeros();
        Some(End { at: at + length as usize + 1, escapes: backslashes & !(u64::MAX << length) != 0 })
    }

    /// The end of a string that does not end in the block that was looked at.
    #[inline(never)]
    fn later_end(&mut self, bytes: &[u8], mut escapes: bool) -> Option<End> {
        loop {
            self.look(bytes, self.block + 1)?;
            if self.quotes != 0 {
                let before = self.quotes.trailing_zeros();
                escapes |= self.backslashes & !(u64::MAX << before) != 0;
                return Some(End { at: self.block * BLOCK + before as usize + 1, escapes });
            }
            escapes |= self.backslashes != 0;
        }
    }

    #[inline(never)]
    fn move_to(&mut self, bytes: &[u8], block: usize) -> Option<()> {
        self.look(bytes, block)
    }

    #[inline(always)]
    fn look(&mut self, bytes: &[u8], block: usize) -> Option<()> {
        let rest = bytes.get(block * BLOCK..)?;
        let found = match rest.first_chunk() {
            Some(whole) => find(whole),
            None => find_in_last(rest)?,
        };
        self.block = block;
        self.quotes = found.quotes;
        self.backslashes = 0;
        self.sound &= !found.control;
        // Between the strings of a text there are no backslashes: blocks that were left out carry none.
        if found.backslashes | self.carried != 0 {
            self.escapes(&found, rest);
        }
        Some(())
    }

    /// Settles what the backslashes of a block do.
    #[inline(never)]
    fn escapes(&mut self, found: &Found, rest: &[u8]) {
        let escaped = self.escaped(found.backslashes, self.carried);
        self.quotes &= !escaped;
        self.backslashes = found.backslashes;
        self.sound &= are_escapes(escaped & !(found.quotes | found.backslashes), rest);
    }

    /// The bytes that a backslash stands before, but for backslashes that are escaped themselves.
    #[inline]
    fn escaped(&mut self, backslashes: u64, carried: u64) -> u64 {
        let mut left = backslashes & !carried;
        if left & left << 1 == 0 {
            // None beside another: each escapes what comes next.
            self.carried = left >> (BLOCK - 1);
            return carried | left << 1;
        }
        self.carried = 0;
        let mut escaped = carried;
        while left != 0 {
            let next = (left & left.wrapping_neg()) << 1;
            if next == 0 {
                self.carried = 1;
                break;
            }
            escaped |= next;
            left &= (left - 1) & !next;
        }
        escaped
    }
}

/// Whether JSON knows these escapes; those of quotes and backslashes it does.
#[inline]
fn are_escapes(mut escaped: u64, rest: &[u8]) -> bool {
    let mut known = true;
    while escaped != 0 {
        let at = escaped.trailing_zeros() as usize;
        escaped &= escaped - 1;
        known &= match rest.get(at) {
            Some(b'/' | b'b' | b'f' | b'n' | b'r' | b't') => true,
            Some(b'u') => {
                rest.get(at + 1..at + 5).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            }
            _ => false,
        };
    }
    known
}

/// What is in a block; one bit for each byte, the lowest for the first.
struct Found {
    quotes: u64,
    backslashes: u64,
    control: bool,
}

#[inline]
fn find(block: &[u8; BLOCK]) -> Found {
    let [quote, backslash, control] = [b'"', b'\\', 0x1f].map(u8x16::splat);
    let (quarters, _) = block.as_chunks::<16>();
    let mut found = Found { quotes: 0, backslashes: 0, control: false };
    let mut least = u8x16::splat(u8::MAX);
    for quarter in quarters.iter().rev() {
        let bytes = u8x16::new(*quarter);
        found.quotes = found.quotes << 16 | u64::from(bytes.simd_eq(quote).to_bitmask());
        found.backslashes = found.backslashes << 16 | u64::from(bytes.simd_eq(backslash).to_bitmask());
        least = least.min(bytes);
    }
    found.control = least.min(control).simd_eq(least).any();
    found
}

/// The same for what is left at a text's end; `None` where nothing is.
#[cold]
fn find_in_last(rest: &[u8]) -> Option<Found> {
    let mut last = [b' '; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    (!rest.is_empty()).then(|| find(&last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{End, Marks};

    /// Byte by byte: where the string ends, whose text begins at `at`, and whether all of its text is sound.
    fn plainly(bytes: &[u8], mut at: usize) -> Option<(End, bool)> {
        let (mut sound, mut escapes) = (true, false);
        loop {
            match *bytes.get(at)? {
                b'"' => return Some((End { at: at + 1, escapes }, sound)),
                b'\\' => {
                    escapes = true;
                    let known = match *bytes.get(at + 1)? {
                        b'u' => {
                            bytes.get(at + 2..at + 6).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit))
                        }
                        escape => b"\"\\/bfnrt".contains(&escape),
                    };
                    sound &= known;
                    at += 2;
                }
                byte => {
                    sound &= byte > 0x1f;
                    at += 1;
                }
            }
        }
    }

    #[test]
    fn tells_control_characters_and_wrong_escapes_anywhere_in_a_block() {
        for length in [1usize, 15, 16, 63, 64, 65, 130] {
            for at in 0..length {
                for (with, sound) in [
                    ("\u{1f}", false),
                    ("\u{1}", false),
                    (" ", true),
                    ("\\x", false),
                    ("\\n", true),
                    ("\\u12", false),
                    ("\\u12aF", true),
                ] {
                    let text = format!("{}{with}{}\"", "x".repeat(at), "x".repeat(length - at));
                    let mut marks = Marks::new();
                    assert_eq!(marks.string_end(text.as_bytes(), 0).map(|end| end.at), Some(text.len()));
                    assert_eq!(marks.are_sound(), sound, "{text:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn ends_strings_where_they_end(text in "[a-c\\\\\"é]{0,200}", start in 0usize..100) {
            let text = "x".repeat(start) + &text;
            let bytes = text.as_bytes();
            let mut marks = Marks::new();
            let mut at = start;
            // One string after another, as a reader meets them.
            loop {
                let wanted = plainly(bytes, at).map(|(end, _)| end);
                prop_assert_eq!(marks.string_end(bytes, at), wanted);
                let Some(End { at: end, .. }) = wanted else { break };
                // A string begins after a quote; what stands between two holds no backslash.
                at = match bytes[end..].iter().position(|byte| matches!(byte, b'"' | b'\\')) {
                    Some(next) if bytes[end + next] == b'"' => end + next + 1,
                    _ => break,
                };
            }
        }

        #[test]
        fn tells_sound_strings(text in "[a\\\\\"nu0-9\u{1}]{0,90}") {
            let mut marks = Marks::new();
            if let Some((end, sound)) = plainly(text.as_bytes(), 0).filter(|(end, _)| end.at == text.len()) {
                prop_assert_eq!((marks.string_end(text.as_bytes(), 0), marks.are_sound()), (Some(end), sound));
            }
        }
    }
}
