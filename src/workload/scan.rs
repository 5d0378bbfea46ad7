//! Finds its way in JSON text that is known to be well-formed, without parsing what lies beside the way.
//!
//! serde reads a review once, as a whole, and that tells malformed JSON. To find a part of it afterwards, values only
//! have to be stepped over, which takes two fifths of the instructions of parsing them once more. On text that is not
//! well-formed these functions find nothing or nonsense; they never panic.

use std::borrow::Cow;

/// The entries of a list as text. `None` when the text is no list; `null` has no entries.
pub(crate) fn items(json: &str) -> Option<impl Iterator<Item = &str>> {
    let mut cursor = Cursor::new(json);
    let entered = cursor.enter(b'[')?;
    Some(std::iter::from_fn(move || if entered { cursor.value() } else { None }))
}

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

/// A place in JSON text.
pub(crate) struct Cursor<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of a text.
    pub(crate) fn new(json: &'a str) -> Self {
        Cursor { json, at: 0 }
    }

    /// Hands each member of the object that comes next to `visit`: its key, with the cursor at its value. What
    /// `visit` leaves unread is stepped over. `None` when no object comes; `null` has no members.
    pub(crate) fn members<E>(
        &mut self,
        mut visit: impl FnMut(&str, &mut Self) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        if !self.enter(b'{')? {
            return Some(Ok(()));
        }
        while let Some(key) = self.key() {
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

    /// Goes into the list that comes next, before the value at `index`.
    pub(crate) fn nth(&mut self, index: usize) -> Option<()> {
        self.enter(b'[')?.then_some(())?;
        (0..index).try_for_each(|_| self.value().map(drop))
    }

    /// Steps over the next value and gives its text; at the end of a list or object, `None`, and steps out of it.
    pub(crate) fn value(&mut self) -> Option<&'a str> {
        let bytes = self.json.as_bytes();
        let start = self.skip_separators();
        self.at = match bytes.get(start)? {
            b'"' => string_end(bytes, start + 1),
            b'{' | b'[' => nested_end(bytes, start),
            b'}' | b']' => {
                self.at = start + 1;
                return None;
            }
            _ => start + bytes[start..].iter().take_while(|byte| !is_punctuation(byte)).count(),
        };
        self.json.get(start..self.at)
    }

    /// The next bracket, comma, colon or scalar.
    fn token(&mut self) -> Option<&'a str> {
        let bytes = self.json.as_bytes();
        let rest = bytes.get(self.at..)?;
        let start = self.at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at = match bytes.get(start)? {
            b'"' => string_end(bytes, start + 1),
            b'{' | b'[' | b'}' | b']' | b',' | b':' => start + 1,
            _ => start + bytes[start..].iter().take_while(|byte| !is_punctuation(byte)).count().max(1),
        };
        self.json.get(start..self.at)
    }

    fn key(&mut self) -> Option<Cow<'a, str>> {
        let quoted = self.value()?;
        let key = quoted.get(1..quoted.len().checked_sub(1)?)?;
        match key.contains('\\') {
            false => Some(Cow::Borrowed(key)),
            true => serde_json::from_str(quoted).ok().map(Cow::Owned),
        }
    }

    /// Steps over an opening bracket. False when `null` stands in its place, `None` for anything else.
    fn enter(&mut self, open: u8) -> Option<bool> {
        let start = self.skip_separators();
        match self.json.as_bytes().get(start)? {
            b'n' => {
                self.value();
                Some(false)
            }
            first => (*first == open).then(|| {
                self.at = start + 1;
                true
            }),
        }
    }

    fn skip_separators(&mut self) -> usize {
        let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
        self.at +=
            rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')).count();
        self.at
    }
}

fn is_punctuation(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'}' | b']')
}

/// The index after the bracket that closes the one at `at`.
fn nested_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(bytes, at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return at,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    at
}

/// The index after the quote that ends a string whose text begins at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(rest) = bytes.get(at..) {
        // Eight bytes at a time: most strings are plain and longer than that.
        if let Some(word) = rest.first_chunk::<8>().map(|chunk| u64::from_le_bytes(*chunk)) {
            let special = equal_to(b'"', word) | equal_to(b'\\', word);
            if special == 0 {
                at += 8;
                continue;
            }
            at += special.trailing_zeros() as usize / 8;
        }
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => break,
        }
    }
    bytes.len()
}

/// Marks the high bit of bytes of `word` that are `byte`. Bytes above the lowest such may be marked wrongly.
fn equal_to(byte: u8, word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let zero_where_equal = word ^ (ONES * u64::from(byte));
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{Cursor, items, member, same_in_step};

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
        match cursor.json.as_bytes()[cursor.skip_separators()..].first() {
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
            Some(b'[') => items(text).expect("a list").map(|item| read(&mut Cursor::new(item))).collect(),
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
            items(&text).into_iter().flatten().for_each(drop);
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
        assert!(items("{}").is_none() && items("\"a\"").is_none());
        assert_eq!(items("null").map(Iterator::count), Some(0));
    }

    #[test]
    fn takes_the_last_of_two_members_and_knows_escaped_keys() {
        assert_eq!(member(r#"{"a":1,"b":2,"\u0061":{"a":3}}"#, "a"), Some(r#"{"a":3}"#));
    }
}
