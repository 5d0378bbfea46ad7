//! Steps through compact JSON and checks it against the grammar of RFC 8259, to its last byte.
//!
//! Views can be read on the same way. Results are provisional until [`Walk::is_done`] returns true: strings are known by
//! their ends alone until then.
//!
//! Compact: no white space between values, as the API server writes it. Anything else is refused, as is what is nested
//! very deeply; both are left to serde_json, which also tells what is wrong. A test holds the two to each other.

use std::borrow::Cow;

use super::cursor::meant;
use super::marks::Marks;
use super::reader::Source;

/// A place in text of which everything before it has been checked, but for what [`Walk::is_sound`] tells.
#[derive(Clone)]
pub(crate) struct Walk<'a> {
    text: &'a str,
    at: usize,
    marks: Marks,
}

impl<'a> Walk<'a> {
    /// At the start of a text.
    pub(crate) fn new(text: &'a str) -> Self {
        Walk { text, at: 0, marks: Marks::new() }
    }

    /// Whether what was stepped over holds no control character and no unknown escape. Strings are known by their
    /// ends alone until this was asked.
    pub(crate) fn is_sound(&self) -> bool {
        self.marks.are_sound()
    }

    /// Whether all of the text has been checked.
    pub(crate) fn is_done(&self) -> bool {
        self.at == self.text.len() && self.is_sound()
    }

    /// Steps over this byte; `None`, and no step, where another comes.
    #[inline]
    fn step(&mut self, byte: u8) -> Option<()> {
        self.at = expect(self.text.as_bytes(), self.at, byte)?;
        Some(())
    }

    /// The index after the value at `at`.
    #[inline]
    fn value_end(&mut self, bytes: &[u8], mut at: usize) -> Option<usize> {
        let mut open = Open::default();
        loop {
            let first = *bytes.get(at)?;
            at += 1;
            match first {
                b'"' => at = self.marks.string_end(bytes, at)?.at,
                b'{' | b'[' => {
                    // `{}` and `[]`: each closes two code points after its opening.
                    if bytes.get(at) != Some(&(first + 2)) {
                        open.push(first == b'{')?;
                        if first == b'{' {
                            at = self.key(bytes, at)?;
                        }
                        continue;
                    }
                    at += 1;
                }
                _ => at = scalar_end(bytes, at - 1)?,
            }
            // Closes what ends here and stops before the next value.
            loop {
                if open.is_none() {
                    return Some(at);
                }
                let next = *bytes.get(at)?;
                at += 1;
                match (next, open.is_object()) {
                    (b',', true) => {
                        at = self.key(bytes, at)?;
                        // `"f:name":{},`: what managed fields mostly are.
                        while bytes.get(at..at + 3) == Some(b"{},") {
                            at = self.key(bytes, at + 3)?;
                        }
                    }
                    (b',', false) => {}
                    (b'}', true) | (b']', false) => {
                        open.pop();
                        continue;
                    }
                    _ => return None,
                }
                break;
            }
        }
    }

    /// The index after the `"key":` at `at`.
    #[inline]
    fn key(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let end = self.marks.string_end(bytes, expect(bytes, at, b'"')?)?;
        expect(bytes, end.at, b':')
    }
}

impl<'a> Source<'a> for Walk<'a> {
    #[inline]
    fn object(&mut self, mut visit: impl FnMut(Cow<'a, str>, &mut Self) -> Option<()>) -> Option<()> {
        self.step(b'{')?;
        if self.step(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.text()?;
            self.step(b':')?;
            visit(key, self)?;
            if self.step(b',').is_none() {
                return self.step(b'}');
            }
        }
    }

    #[inline]
    fn list(&mut self, mut visit: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.step(b'[')?;
        if self.step(b']').is_some() {
            return Some(());
        }
        loop {
            visit(self)?;
            if self.step(b',').is_none() {
                return self.step(b']');
            }
        }
    }

    #[inline]
    fn text(&mut self) -> Option<Cow<'a, str>> {
        self.step(b'"')?;
        let start = self.at;
        let end = self.marks.string_end(self.text.as_bytes(), start)?;
        self.at = end.at;
        meant(self.text.get(start..end.at - 1)?, end.escapes)
    }

    fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.at = self.value_end(self.text.as_bytes(), start)?;
        self.since(start)
    }

    #[inline]
    fn first(&mut self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn start(&mut self) -> Option<usize> {
        Some(self.at)
    }

    #[inline]
    fn since(&self, start: usize) -> Option<&'a str> {
        self.text.get(start..self.at)
    }
}

/// The brackets that are open, one bit each above the highest that is set: 1 for an object.
struct Open(u64);

impl Default for Open {
    fn default() -> Self {
        Open(1)
    }
}

impl Open {
    /// `None` where there is no bit left: deeper nesting is left to serde_json.
    #[inline]
    fn push(&mut self, object: bool) -> Option<()> {
        (self.0 >> 63 == 0).then(|| self.0 = self.0 << 1 | u64::from(object))
    }

    #[inline]
    fn pop(&mut self) {
        self.0 >>= 1;
    }

    #[inline]
    fn is_none(&self) -> bool {
        self.0 == 1
    }

    #[inline]
    fn is_object(&self) -> bool {
        self.0 & 1 == 1
    }
}

/// The index after the byte at `at`, which has to be this one.
#[inline]
fn expect(bytes: &[u8], at: usize, wanted: u8) -> Option<usize> {
    (*bytes.get(at)? == wanted).then_some(at + 1)
}

/// The index after the word or number at `at`.
fn scalar_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let word = |word: &[u8]| rest.starts_with(word).then_some(at + word.len());
    match rest.first()? {
        b't' => word(b"true"),
        b'f' => word(b"false"),
        b'n' => word(b"null"),
        _ => number_end(bytes, at),
    }
}

/// The index after the number at `at`.
fn number_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let digits =
        |at: usize| bytes.get(at..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
    at += usize::from(bytes.get(at) == Some(&b'-'));
    at += match bytes.get(at)? {
        b'0' => 1,
        b'1'..=b'9' => digits(at),
        _ => return None,
    };
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        at += Some(digits(at)).filter(|digits| *digits > 0)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at += Some(digits(at)).filter(|digits| *digits > 0)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::{Source, Walk};

    /// The text that the walk takes for one whole value, with nothing after it.
    fn whole(text: &str) -> bool {
        let mut walk = Walk::new(text);
        walk.value().is_some_and(|value| value == text) && walk.is_done()
    }

    fn serde_reads(text: &str) -> bool {
        serde_json::from_str::<&RawValue>(text).is_ok()
    }

    #[test]
    fn takes_what_is_compact_and_well_formed() {
        let good = [
            "0",
            "-1",
            "1.5e+10",
            "1E2",
            "true",
            "false",
            "null",
            "\"\"",
            "[]",
            "{}",
            "[1,{\"a\":[]},\"b\"]",
            r#"{"a":"\u00e9\n\"{","b":{"c":[[],{}]}}"#,
            "\"é—𝄞 and more than eight bytes\"",
        ];
        for text in good {
            assert!(whole(text) && serde_reads(text), "{text}");
        }
    }

    #[test]
    fn takes_nothing_that_serde_refuses() {
        let bad = [
            "",
            "01",
            "-",
            "1.",
            "1e",
            "+1",
            ".5",
            "tru",
            "nulll",
            "\"",
            "\"\t\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "[",
            "[1",
            "[1,]",
            "[,1]",
            "[1}",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1]",
            "{a:1}",
            "{\"a\":1,2}",
            "{,}",
            "1 2",
            "NaN",
            "Infinity",
            "'a'",
            "\"0123456\u{1}\"",
        ];
        for text in bad {
            assert!(!whole(text) && !serde_reads(text), "{text:?}");
        }
    }

    #[test]
    fn leaves_what_is_deeply_nested_to_serde() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(whole(&nested(63)) && !whole(&nested(66)) && !whole(&"[".repeat(1_000_000)));
    }

    proptest! {
        #[test]
        fn agrees_with_serde(text in "[-+.eE0-9a-fnulrts{}\\[\\]\",:\\\\\u{1}é]{0,24}") {
            prop_assert!(!whole(&text) || serde_reads(&text));
        }

        #[test]
        fn agrees_with_serde_on_spoilt_values(at in 0usize..80, with in "[-0e{}\\[\\]\",:\\\\u]?") {
            let mut text = r#"{"a":[1,-2.5e3,"b\u0041\n",true],"c":{"d":null,"e":{}},"f":"long enough text"}"#.to_owned();
            let at = at.min(text.len() - 1);
            text.replace_range(at..=at, &with);
            prop_assert_eq!(whole(&text), serde_reads(&text));
        }
    }
}
