//! The quick way into a review: read in one step where it is written as the API server writes it.
//!
//! Compact JSON, `kind` and `apiVersion` first. Every byte is checked, so that whatever is read here is well-formed;
//! but only to find where values end, which takes two thirds of the instructions that serde needs for it. Whatever
//! is written differently is left to serde, which also tells what is wrong. A test holds the two to each other.

use super::request::{Raw, Request};
use crate::workload::outline::{Outline, Part};

/// How the API server begins every review.
pub(super) const START: &str = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":"#;

/// Deeper nesting is left to serde.
const MAX_DEPTH: u32 = 100;

/// The request of a review; `None` when it is not written as the API server writes it.
pub(super) fn request(body: &str) -> Option<Request<'_>> {
    let text = body.trim_ascii_end().strip_prefix(START)?.strip_suffix('}')?;
    let mut walk = Walk { text, bytes: text.as_bytes(), at: 0 };
    let mut request = Request::default();
    let mut seen = Vec::with_capacity(16);
    walk.members(|walk, key| {
        if seen.contains(&key) {
            return None;
        }
        seen.push(key);
        match key {
            "object" => request.object = walk.object()?,
            "oldObject" => request.old_object = walk.object()?,
            _ => take(&mut request, key, walk.value()?)?,
        }
        Some(())
    })?;
    (walk.at == text.len() && seen.contains(&"uid")).then_some(request)
}

/// What stands in a review up to the operation, of a text that may break off after it; `None` when that is not there
/// or not written as the API server writes it.
pub(super) fn head(body: &str) -> Option<Request<'_>> {
    let text = body.strip_prefix(START)?;
    let mut walk = Walk { text, bytes: text.as_bytes(), at: 0 };
    let (mut request, mut whole) = (Request::default(), false);
    walk.members(|walk, key| {
        take(&mut request, key, walk.value()?)?;
        whole = key == "operation";
        // Nothing is read behind it, nor in an object before it.
        (!whole && key != "object" && key != "oldObject").then_some(())
    });
    whole.then_some(request)
}

/// Puts one member into the request; the API server's `null` and an absent member are the same.
fn take<'a>(request: &mut Request<'a>, key: &str, value: &'a str) -> Option<()> {
    fn read<'a, T: serde::Deserialize<'a>>(value: &'a str) -> Option<T> {
        serde_json::from_str(value).ok()
    }
    fn optional<'a, T: serde::Deserialize<'a> + Default>(value: &'a str) -> Option<T> {
        read::<Option<T>>(value).map(Option::unwrap_or_default)
    }
    match key {
        "uid" => request.uid = read(value)?,
        "kind" => request.kind = read(value)?,
        "subResource" => request.sub_resource = optional(value)?,
        "name" => request.name = optional(value)?,
        "namespace" => request.namespace = optional(value)?,
        "operation" => request.operation = optional(value)?,
        "dryRun" => request.dry_run = optional(value)?,
        _ => {}
    }
    Some(())
}

/// The brackets that are open, one bit each: 1 for an object.
#[derive(Default)]
struct Open {
    bits: u128,
    depth: u32,
}

impl Open {
    fn push(&mut self, object: bool) -> Option<()> {
        self.bits = self.bits << 1 | u128::from(object);
        self.depth += 1;
        (self.depth <= MAX_DEPTH).then_some(())
    }

    fn pop(&mut self) {
        self.bits >>= 1;
        self.depth -= 1;
    }

    fn is_object(&self) -> bool {
        self.bits & 1 == 1
    }
}

/// Goes through compact JSON and checks it against the grammar of RFC 8259.
struct Walk<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    /// Steps over `"key":`.
    fn key(&mut self) -> Option<()> {
        self.expect(b'"')?;
        self.string()?;
        self.expect(b':')
    }

    /// Steps over an object that is not empty, handing each key to `visit`, which steps over the value. A key that
    /// is written with escapes is left to serde.
    fn members(&mut self, mut visit: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        loop {
            let start = self.at + 1;
            self.key()?;
            let key = self.text.get(start..self.at - 2)?;
            if key.contains('\\') {
                return None;
            }
            visit(self, key)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Whether an object that is not empty comes next.
    fn at_object(&self) -> bool {
        matches!(self.bytes.get(self.at..), Some([b'{', second, ..]) if *second != b'}')
    }

    /// Steps over the object of a review and notes what lies around its pod template; nothing for `null`.
    fn object(&mut self) -> Option<Option<Raw<'a>>> {
        let start = self.at;
        let mut outline = Some(Outline::default());
        if !self.at_object() {
            let text = self.value()?;
            return Some((text != "null").then(|| Raw::checked(text, None)));
        }
        self.members(|walk, key| {
            let Some(part) = Part::under(key) else { return walk.value().map(drop) };
            if !walk.at_object() {
                // `{}` and `null` have no members. Of whatever else the outline is made later, with an error.
                let value = walk.value()?;
                outline = outline.filter(|_| matches!(value, "{}" | "null"));
                return Some(());
            }
            walk.members(|walk, inner| {
                let value = walk.value()?;
                if let Some(slot) = outline.as_mut().and_then(|outline| outline.slot(part, inner)) {
                    *slot = Some(value);
                }
                Some(())
            })
        })?;
        Some(Some(Raw::checked(self.text.get(start..self.at)?, outline)))
    }

    /// Steps over one value and gives its text.
    fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        let mut open = Open::default();
        loop {
            match self.next()? {
                // `{}` and `[]`: each closes two code points after its opening.
                first @ (b'{' | b'[') if self.bytes.get(self.at) == Some(&(first + 2)) => self.at += 1,
                first @ (b'{' | b'[') => {
                    open.push(first == b'{')?;
                    if first == b'{' {
                        self.key()?;
                    }
                    continue;
                }
                first => self.scalar(first)?,
            }
            if self.close(&mut open)? {
                return self.text.get(start..self.at);
            }
        }
    }

    /// Goes on after a value: closes what ends there and stops before the next. True when nothing is open any more.
    fn close(&mut self, open: &mut Open) -> Option<bool> {
        while open.depth > 0 {
            match (self.next()?, open.is_object()) {
                (b',', false) => return Some(false),
                (b',', true) => return self.key().map(|()| false),
                (b'}', true) | (b']', false) => open.pop(),
                _ => return None,
            }
        }
        Some(true)
    }

    /// A string, number or word whose first byte has been read.
    fn scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b'"' => self.string(),
            b't' => self.word(b"rue"),
            b'f' => self.word(b"alse"),
            b'n' => self.word(b"ull"),
            b'-' | b'0'..=b'9' => self.number(first),
            _ => None,
        }
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        let found = self.bytes.get(self.at..)?.starts_with(rest);
        self.at += rest.len();
        found.then_some(())
    }

    fn number(&mut self, mut first: u8) -> Option<()> {
        if first == b'-' {
            first = self.next()?;
        }
        match first {
            b'0' => {}
            b'1'..=b'9' => self.at += self.digits(),
            _ => return None,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.at += Some(self.digits()).filter(|digits| *digits > 0)?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.at += Some(self.digits()).filter(|digits| *digits > 0)?;
        }
        Some(())
    }

    fn digits(&self) -> usize {
        self.bytes.get(self.at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    /// A string whose opening quote has been read.
    fn string(&mut self) -> Option<()> {
        loop {
            // Eight bytes at a time, as long as there is neither a quote, a backslash nor a control character.
            while let Some(chunk) = self.bytes.get(self.at..)?.first_chunk::<8>() {
                let found = special(u64::from_le_bytes(*chunk));
                if found != 0 {
                    self.at += found.trailing_zeros() as usize / 8;
                    break;
                }
                self.at += 8;
            }
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        let digits = self.bytes.get(self.at..self.at + 4)?;
                        self.at += digits.iter().all(u8::is_ascii_hexdigit).then_some(4)?;
                    }
                    _ => return None,
                },
                0..=0x1f => return None,
                _ => {}
            }
        }
    }
}

/// Marks the high bit of quotes, backslashes and control characters among eight bytes. Bytes above the lowest that is
/// marked may be marked wrongly.
fn special(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let equal = |byte: u8| {
        let zero = word ^ (ONES * u64::from(byte));
        zero.wrapping_sub(ONES) & !zero
    };
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (equal(b'"') | equal(b'\\') | control) & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::{START, Walk, request};

    /// The text that the walk takes for one whole value, with nothing after it.
    fn whole(text: &str) -> bool {
        let mut walk = Walk { text, bytes: text.as_bytes(), at: 0 };
        walk.value().is_some_and(|value| value == text)
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
        assert!(whole(&nested(100)) && !whole(&nested(102)) && !whole(&"[".repeat(1_000_000)));
    }

    #[test]
    fn leaves_what_is_written_differently_to_serde() {
        let good =
            format!(r#"{START}{{"uid":"u","operation":"CREATE","object":{{"a":1}},"oldObject":null}}}}"#);
        let read = request(&good).expect("a review as the API server writes it");
        assert_eq!(
            (&*read.uid, read.object.map(|o| o.get()), read.old_object.is_none()),
            ("u", Some("{\"a\":1}"), true)
        );
        for other in [
            good.replace(":{\"a\"", ": {\"a\""),
            good.replace("\"uid\":\"u\",", ""),
            good.replace("\"operation\"", "\"uid\":\"v\",\"operation\""),
            good.replace("\"uid\":\"u\"", "\"uid\":1"),
            format!("{good}}}"),
            format!(" {good}"),
        ] {
            assert!(request(&other).is_none(), "{other}");
        }
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
