//! Finds its way in JSON text that is known to be well-formed, without parsing what lies beside the way.
//!
//! A review was checked once, as a whole, and that told malformed JSON. To find a part of it afterwards, values only
//! have to be stepped over. On text that is not well-formed these functions find nothing or nonsense; they never panic.

use std::borrow::Cow;

use super::marks::Marks;
use super::reader::{Readable, Source};

/// The text of one member of an object. Of a key that stands twice the last one counts, as for Go's decoder.
pub(crate) fn member<'a>(json: &'a str, wanted: &str) -> Option<&'a str> {
    let mut found = None;
    Cursor::new(json).members(|key, cursor| {
        if key == wanted {
            found = cursor.value();
        }
        Ok::<(), std::convert::Infallible>(())
    });
    found
}

/// Whether two texts mean the same, found by reading them in step; `None` when their keys stand in another order, so
/// that it takes more to tell.
pub(crate) fn same_in_step(a: &str, b: &str) -> Option<bool> {
    let (mut a, mut b) = (Cursor::new(a), Cursor::new(b));
    loop {
        match (a.token(), b.token()) {
            (None, None) => return Some(true),
            (Some(one), Some(other)) if one == other => {}
            (Some(one), Some(other)) if one.starts_with('"') && other.starts_with('"') => {
                if a.token() == Some(":") || b.token() == Some(":") {
                    return None;
                }
                return Some(same_scalar(one, other)).filter(|same| !same);
            }
            (Some(one), Some(other)) if same_scalar(one, other) => {}
            _ => return Some(false),
        }
    }
}

/// The same value with other escapes or digits.
fn same_scalar(one: &str, other: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    value(one).is_some_and(|one| Some(one) == value(other))
}

/// What a string means, of which this stands between its quotes; `None` where its escapes mean no text.
#[inline]
pub(super) fn meant(inner: &str, escapes: bool) -> Option<Cow<'_, str>> {
    #[cold]
    fn unescaped(inner: &str) -> Option<String> {
        serde_json::from_str(&format!("\"{inner}\"")).ok()
    }
    if escapes { unescaped(inner).map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// Reads one value of text that is known to be well-formed; `None` where it is not what `T` takes, or where it takes
/// more than this reader to tell.
pub(crate) fn read<'a, T: Readable<'a>>(json: &'a str) -> Option<T> {
    let (mut value, mut cursor) = (T::default(), Cursor::new(json));
    value.read(&mut cursor)?;
    cursor.is_at_end().then_some(value)
}

/// A place in JSON text.
pub(crate) struct Cursor<'a> {
    json: &'a str,
    at: usize,
    marks: Marks,
}

impl<'a> Cursor<'a> {
    /// At the start of a text.
    pub(crate) fn new(json: &'a str) -> Self {
        Cursor { json, at: 0, marks: Marks::new() }
    }

    /// Hands each member of the object that comes next to `visit`: its key, with the cursor at its value. What
    /// `visit` leaves unread is stepped over. `None` when no object comes; `null` has no members. A key whose escapes
    /// mean no text is read as Go's decoder does, which is no key that anybody asks for.
    pub(crate) fn members<E>(
        &mut self,
        mut visit: impl FnMut(&str, &mut Self) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        if !self.enter(b'{')? {
            return Some(Ok(()));
        }
        while !self.leave() {
            let key = self.text().unwrap_or(Cow::Borrowed("\u{fffd}"));
            let value = self.at;
            if let Err(error) = visit(&key, self) {
                return Some(Err(error));
            }
            if self.at == value {
                self.value();
            }
        }
        Some(Ok(()))
    }

    /// Steps out of a list or object where that ends.
    #[inline]
    fn leave(&mut self) -> bool {
        let ends = matches!(self.first(), None | Some(b'}' | b']'));
        self.at += usize::from(ends);
        ends
    }

    /// Whether there is nothing left.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.first().is_none()
    }

    /// Steps over an opening bracket. False when `null` stands in its place, `None` for anything else.
    #[inline]
    fn enter(&mut self, open: u8) -> Option<bool> {
        if self.null() {
            return Some(false);
        }
        (self.first()? == open).then(|| {
            self.at += 1;
            true
        })
    }

    /// The next bracket, comma, colon or scalar.
    fn token(&mut self) -> Option<&'a str> {
        let bytes = self.json.as_bytes();
        let rest = bytes.get(self.at..)?;
        let start = self.at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at = start + 1;
        match bytes.get(start)? {
            b'"' => self.step_over_string(),
            b'{' | b'[' | b'}' | b']' | b',' | b':' => {}
            _ => self.step_over_word(),
        }
        self.json.get(start..self.at)
    }

    /// Goes to the end of a string whose opening quote has been read.
    #[inline]
    fn step_over_string(&mut self) {
        let bytes = self.json.as_bytes();
        self.at = self.marks.string_end(bytes, self.at).map_or(bytes.len(), |end| end.at);
    }

    /// Goes to the end of a list or object whose opening bracket has been read.
    fn step_out(&mut self) {
        let bytes = self.json.as_bytes();
        let mut depth = 1usize;
        while let Some(byte) = bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => self.step_over_string(),
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth == 1 => return,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
    }

    /// Goes to the end of a number or a word whose first byte has been read.
    fn step_over_word(&mut self) {
        let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| !is_punctuation(byte)).count();
    }
}

impl<'a> Source<'a> for Cursor<'a> {
    #[inline]
    fn object(&mut self, mut visit: impl FnMut(Cow<'a, str>, &mut Self) -> Option<()>) -> Option<()> {
        if !self.enter(b'{')? {
            return None;
        }
        while !self.leave() {
            let key = self.text()?;
            visit(key, self)?;
        }
        Some(())
    }

    #[inline]
    fn list(&mut self, mut visit: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if !self.enter(b'[')? {
            return None;
        }
        while !self.leave() {
            visit(self)?;
        }
        Some(())
    }

    #[inline]
    fn text(&mut self) -> Option<Cow<'a, str>> {
        if self.first()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        let end = self.marks.string_end(self.json.as_bytes(), start)?;
        self.at = end.at;
        meant(self.json.get(start..end.at - 1)?, end.escapes)
    }

    /// At the end of a list or object it steps out of that and gives `None`.
    #[inline]
    fn value(&mut self) -> Option<&'a str> {
        let first = self.first()?;
        let start = self.at;
        self.at += 1;
        match first {
            b'"' => self.step_over_string(),
            b'{' | b'[' => self.step_out(),
            b'}' | b']' => return None,
            _ => self.step_over_word(),
        }
        self.json.get(start..self.at)
    }

    /// Also of what ends a list or object.
    #[inline]
    fn first(&mut self) -> Option<u8> {
        loop {
            let byte = *self.json.as_bytes().get(self.at)?;
            // Where separators stand is not checked again.
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    #[inline]
    fn start(&mut self) -> Option<usize> {
        self.first().map(|_| self.at)
    }

    #[inline]
    fn since(&self, start: usize) -> Option<&'a str> {
        self.json.get(start..self.at)
    }
}

fn is_punctuation(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'}' | b']')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{Cursor, Source, member, same_in_step};

    /// Any JSON value, with strings that need escapes.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\]:,é\u{1}]{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let object = prop::collection::vec(("[a-z\"\\\\é]{0,9}", inner.clone()), 0..6);
            prop_oneof![
                prop::collection::vec(inner, 0..6).prop_map(Value::from),
                object.prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    /// Reads a value through this module alone, down to its scalars.
    fn read(cursor: &mut Cursor<'_>) -> Value {
        let mut object = serde_json::Map::new();
        let read_member = |key: &str, cursor: &mut Cursor<'_>| {
            object.insert(
                key.to_owned(),
                if key.len().is_multiple_of(2) { read(cursor) } else { read_text(cursor.value()) },
            );
            Ok::<(), std::convert::Infallible>(())
        };
        match cursor.first() {
            Some(b'{') => {
                cursor.members(read_member);
                Value::Object(object)
            }
            _ => read_text(cursor.value()),
        }
    }

    fn read_text(text: Option<&str>) -> Value {
        let text = text.expect("a value");
        match text.as_bytes().first() {
            Some(b'{') => read(&mut Cursor::new(text)),
            Some(b'[') => {
                let mut cursor = Cursor::new(text);
                cursor.enter(b'[');
                std::iter::from_fn(|| cursor.value().map(|item| read(&mut Cursor::new(item)))).collect()
            }
            _ => serde_json::from_str(text).expect("a scalar"),
        }
    }

    proptest! {
        #[test]
        fn finds_what_the_json_library_finds(value in value()) {
            prop_assert_eq!(&read(&mut Cursor::new(&value.to_string())), &value);
            let pretty = serde_json::to_string_pretty(&value).expect("JSON");
            prop_assert_eq!(&read(&mut Cursor::new(&pretty)), &value);
        }

        #[test]
        fn never_panics(text in "[{}\\[\\]\"\\\\:, né0]{0,40}") {
            member(&text, "n");
            let mut cursor = Cursor::new(&text);
            while cursor.value().is_some() {}
        }
    }

    proptest! {
        #[test]
        fn compares_as_the_json_library_does(a in value(), b in value(), pretty in any::<bool>()) {
            let text = |value: &Value| if pretty { format!("{value:#}") } else { value.to_string() };
            prop_assert_eq!(same_in_step(&a.to_string(), &text(&a)), Some(true));
            prop_assert!(same_in_step(&a.to_string(), &text(&b)).is_none_or(|same| same == (a == b)));
        }
    }

    #[test]
    fn compares_scalars_by_value_and_leaves_another_order_open() {
        assert_eq!(same_in_step(r#"{"a":[1,"b"]}"#, r#"{ "a" : [1, "c"] }"#), Some(false));
        assert_eq!(same_in_step(r#"["\u0061"]"#, r#"["a"]"#), None);
        assert_eq!(same_in_step(r#"{"a":1e2}"#, r#"{"a":100.0}"#), Some(true));
        assert_eq!(same_in_step(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#), None);
        assert_eq!(same_in_step(r#"{"a":1}"#, r#"{"a":1,"b":2}"#), Some(false));
    }

    #[test]
    fn tells_objects_lists_and_null_apart() {
        let is_object = |text| Cursor::new(text).members(|_, _| Ok::<(), ()>(())).is_some();
        assert!(
            is_object("{}") && is_object("null") && !is_object("[]") && !is_object("1") && !is_object("")
        );
        let enters_list = |text| Cursor::new(text).enter(b'[');
        assert_eq!(["[]", "null", "{}", "\"a\""].map(enters_list), [Some(true), Some(false), None, None]);
    }

    #[test]
    fn takes_the_last_of_two_members_and_knows_escaped_keys() {
        assert_eq!(member(r#"{"a":1,"b":2,"\u0061":{"a":3}}"#, "a"), Some(r#"{"a":3}"#));
    }
}
