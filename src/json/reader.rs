//! Reads text that is known to be well-formed into any type that serde knows how to make.
//!
//! A review was checked to its last byte before anything of it is read. So what no type wants is stepped over and not
//! parsed once more, which is most of a pod template; and nothing has to be told of what does not fit. Whatever is
//! refused here is left to serde_json, which also words the error: what is taken has to be what serde_json makes of
//! it, and a test holds the two to each other.

use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::cursor::Cursor;
use super::{kept, unparsed};

/// Reads one value; `None` where it is not what `T` takes, or where it takes more than this reader to tell.
pub(crate) fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    let mut cursor = Cursor::new(json);
    let value = T::deserialize(&mut cursor).ok()?;
    cursor.is_at_end().then_some(value)
}

/// It does not fit. Why is for serde_json to say.
#[derive(Debug)]
pub(crate) struct Misfit;

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not what was expected")
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Misfit
    }

    // The defaults would word a message that nobody reads.
    fn invalid_type(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        Misfit
    }

    fn missing_field(_: &'static str) -> Self {
        Misfit
    }

    fn duplicate_field(_: &'static str) -> Self {
        Misfit
    }
}

impl<'de> Deserializer<'de> for &mut Cursor<'de> {
    type Error = Misfit;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.first() {
            Some(b'"') => self.deserialize_str(visitor),
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b't' | b'f') => self.deserialize_bool(visitor),
            // Numbers and `null` for whoever takes anything: nobody here.
            _ => Err(Misfit),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.first() == Some(b'n') {
            self.value();
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let string = self.string().ok_or(Misfit)?;
        if string.escapes {
            return visitor.visit_string(string.unescaped().ok_or(Misfit)?);
        }
        visitor.visit_borrowed_str(string.inner)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.value() {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            _ => Err(Misfit),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let digits = self.value().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok()).ok_or(Misfit)?;
        visitor.visit_i64(number)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.enter(b'[') {
            Some(true) => visitor.visit_seq(Entries(self)),
            _ => Err(Misfit),
        }
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.enter(b'{') {
            Some(true) => visitor.visit_map(Entries(self)),
            _ => Err(Misfit),
        }
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_map(visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        if name == unparsed::NAME {
            return visitor.visit_borrowed_str(self.value().ok_or(Misfit)?);
        }
        if name == kept::NAME {
            let start = self.start().ok_or(Misfit)?;
            return visitor.visit_seq(Both { cursor: self, start, given: 0 });
        }
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.value().ok_or(Misfit)?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum
    }
}

/// The entries of the list or object that was entered last.
struct Entries<'c, 'de>(&'c mut Cursor<'de>);

impl<'de> SeqAccess<'de> for Entries<'_, 'de> {
    type Error = Misfit;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        if self.0.leave() { Ok(None) } else { seed.deserialize(&mut *self.0).map(Some) }
    }
}

/// A value, and after it the text that was read for it.
struct Both<'c, 'de> {
    cursor: &'c mut Cursor<'de>,
    start: usize,
    given: usize,
}

impl<'de> SeqAccess<'de> for Both<'_, 'de> {
    type Error = Misfit;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        self.given += 1;
        match self.given {
            1 => seed.deserialize(&mut *self.cursor).map(Some),
            2 => {
                let text = self.cursor.since(self.start).ok_or(Misfit)?;
                seed.deserialize(BorrowedStrDeserializer::new(text)).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Misfit;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        if self.0.leave() { Ok(None) } else { seed.deserialize(&mut *self.0).map(Some) }
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        seed.deserialize(&mut *self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;

    use super::read;
    use crate::json::{Kept, Unparsed};
    use crate::workload::view::{Annotations, Text, Volume, null_is_default};

    /// One field of each shape that views are made of.
    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Probe<'a> {
        #[serde(borrow, default, deserialize_with = "null_is_default")]
        name: Text<'a>,
        #[serde(borrow)]
        image_pull_policy: Option<Text<'a>>,
        #[serde(default, deserialize_with = "null_is_default")]
        read_only: bool,
        replicas: Option<i64>,
        #[serde(borrow, default, deserialize_with = "null_is_default")]
        command: Vec<Text<'a>>,
        #[serde(borrow, default, deserialize_with = "null_is_default")]
        env: Vec<Probe<'a>>,
        #[serde(borrow)]
        resources: Option<Unparsed<'a>>,
        #[serde(borrow, default, deserialize_with = "null_is_default")]
        annotations: Annotations<'a>,
        #[serde(borrow)]
        volume: Option<Volume<'a>>,
        #[serde(borrow)]
        from: Option<Box<Probe<'a>>>,
    }

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..i64::MAX).prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\]:,é\u{1}]{0,12}".prop_map(Value::from),
        ]
    }

    /// Objects with the fields of a probe, well and badly filled. No list stands for a probe: that is the one thing
    /// that serde_json takes and this reader leaves.
    fn object() -> impl Strategy<Value = Value> {
        let fields = |inner: BoxedStrategy<Value>| {
            let single = prop_oneof![
                Just("name"),
                Just("imagePullPolicy"),
                Just("readOnly"),
                Just("replicas"),
                Just("resources"),
                Just("annotations"),
                Just("volume"),
                Just("from"),
                Just("unknown"),
                Just("é\"")
            ];
            let list = prop_oneof![Just("command"), Just("env"), Just("unknown"), Just("resources")];
            let pair = prop_oneof![
                3 => (single, inner.clone()),
                1 => (list, prop::collection::vec(inner, 0..4).prop_map(Value::from)),
            ];
            prop::collection::vec(pair, 0..7)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
                .prop_map(Value::Object)
        };
        let leaf = fields(scalar().boxed());
        leaf.prop_recursive(3, 60, 7, move |inner| fields(prop_oneof![scalar(), inner].boxed()))
    }

    proptest! {
        #[test]
        fn reads_what_the_json_library_reads(value in object(), pretty in any::<bool>()) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            prop_assert_eq!(read::<Probe<'_>>(&text), serde_json::from_str(&text).ok(), "{}", text);
        }

        #[test]
        fn never_panics(text in "[{}\\[\\]\"\\\\:, né0t]{0,40}") {
            let _ = read::<Probe<'_>>(&text);
            let _ = read::<Kept<'_, Vec<Kept<'_, Text<'_>>>>>(&text);
        }
    }

    #[test]
    fn keeps_texts_as_they_are_written() {
        let text = r#" [ "a" ,"b\u0041", {"c": [1, "]"]} ] "#;
        let kept: Kept<'_, Vec<Kept<'_, Unparsed<'_>>>> = read(text).unwrap();
        assert_eq!(kept.text(), text.trim());
        let texts: Vec<&str> = kept.iter().map(Kept::text).collect();
        assert_eq!(texts, [r#""a""#, r#""b\u0041""#, r#"{"c": [1, "]"]}"#]);
    }

    #[test]
    fn refuses_what_a_type_does_not_take() {
        for text in [
            r#"["name"]"#,
            r#"{"name":1}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"\ud800"}"#,
            "{} {}",
            "",
        ] {
            assert_eq!(read::<Probe<'_>>(text), None, "{text}");
        }
    }
}
