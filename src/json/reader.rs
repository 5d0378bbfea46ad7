//! Reads views out of JSON text.
//!
//! What no view wants is stepped over and not parsed, which is most of a pod template. A view is filled where it
//! stands, since moving a container costs more than reading a field of it.
//!
//! Whatever is refused here is left to serde_json, which also words the error. So views implement
//! [`serde::Deserialize`] too, and what is read has to be what serde_json makes of it; tests hold the two to each
//! other.

use std::borrow::Cow;

/// Text that is stepped through value by value: a [`super::cursor::Cursor`] trusts it, a [`super::check::Walk`] checks it on the way.
///
/// Where a method gives `None` the place it has come to is of no use any more.
pub(crate) trait Source<'a> {
    /// Hands each member of the object that comes next to `visit`, which reads or steps over the value. `None` when
    /// something else comes, and where `visit` gives up.
    fn object(&mut self, visit: impl FnMut(Cow<'a, str>, &mut Self) -> Option<()>) -> Option<()>;

    /// Has `visit` read each entry of the list that comes next. `None` when something else comes, and where `visit`
    /// gives up.
    fn list(&mut self, visit: impl FnMut(&mut Self) -> Option<()>) -> Option<()>;

    /// What the string that comes next means; `None` where something else comes, or escapes that mean no text.
    fn text(&mut self) -> Option<Cow<'a, str>>;

    /// Steps over the value that comes next and gives its text.
    fn value(&mut self) -> Option<&'a str>;

    /// The first byte of what comes next.
    fn first(&mut self) -> Option<u8>;

    /// Where that is.
    fn start(&mut self) -> Option<usize>;

    /// The text from `start` up to here.
    fn since(&self, start: usize) -> Option<&'a str>;

    /// Steps over a `null`, where one comes next. (Of well-formed JSON nothing else begins with its letter.)
    #[inline]
    fn null(&mut self) -> bool {
        self.first() == Some(b'n') && self.value() == Some("null")
    }
}

/// What can be read from JSON text. `Default` is what stands for an absent value.
pub(crate) trait Readable<'a>: Default {
    /// Reads the value that comes next, over a default. `None` where it does not fit; then what was read is of no use.
    fn read<S: Source<'a>>(&mut self, source: &mut S) -> Option<()>;
}

/// Reads one value; `null` leaves the default, as it does for Go's decoder.
#[inline]
pub(crate) fn read_unless_null<'a, T: Readable<'a>, S: Source<'a>>(
    value: &mut T,
    source: &mut S,
) -> Option<()> {
    if source.null() { Some(()) } else { value.read(source) }
}

impl<'a> Readable<'a> for Cow<'a, str> {
    #[inline]
    fn read<S: Source<'a>>(&mut self, source: &mut S) -> Option<()> {
        *self = source.text()?;
        Some(())
    }
}

impl<'a> Readable<'a> for bool {
    fn read<S: Source<'a>>(&mut self, source: &mut S) -> Option<()> {
        *self = match source.value()? {
            "true" => true,
            "false" => false,
            _ => return None,
        };
        Some(())
    }
}

impl<'a> Readable<'a> for i64 {
    fn read<S: Source<'a>>(&mut self, source: &mut S) -> Option<()> {
        let digits = source.value().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        *self = digits.parse().ok()?;
        Some(())
    }
}

impl<'a, T: Readable<'a>> Readable<'a> for Option<T> {
    #[inline]
    fn read<S: Source<'a>>(&mut self, source: &mut S) -> Option<()> {
        if source.null() { Some(()) } else { self.insert(T::default()).read(source) }
    }
}

impl<'a, T: Readable<'a>> Readable<'a> for Box<T> {
    fn read<S: Source<'a>>(&mut self, source: &mut S) -> Option<()> {
        (**self).read(source)
    }
}

impl<'a, T: Readable<'a>> Readable<'a> for Vec<T> {
    fn read<S: Source<'a>>(&mut self, source: &mut S) -> Option<()> {
        source.list(|source| {
            self.push(T::default());
            self.last_mut()?.read(source)
        })
    }
}

/// Makes views readable: which member of an object goes into which field. Members that are not named are stepped over,
/// `null` and an absent member leave the default, and no named member may stand twice.
///
/// Beside it a test sees that these are the members which serde reads.
macro_rules! readable {
    ($($view:ty { $($member:literal: $field:ident),+ $(,)? })+) => {
        $(impl<'a> $crate::json::Readable<'a> for $view {
            fn read<S: $crate::json::Source<'a>>(&mut self, source: &mut S) -> Option<()> {
                #[derive(Default)]
                struct Seen {
                    $($field: bool),+
                }
                let mut seen = Seen::default();
                source.object(|member, source| match &*member {
                    $($member if !std::mem::replace(&mut seen.$field, true) => {
                        $crate::json::read_unless_null(&mut self.$field, source)
                    })+
                    $($member)|+ => None,
                    _ => source.value().map(drop),
                })
            }
        })+

        #[cfg(test)]
        #[test]
        fn views_are_read_as_serde_reads_them() {
            #[allow(clippy::extra_unused_lifetimes, reason = "the views name it")]
            fn compare<'a>() {
                $(assert_eq!([$($member),+].as_slice(), $crate::json::members_for_serde::<$view>());)+
            }
            compare();
        }
    };
}
pub(crate) use readable;

/// The members that serde reads of an object.
#[cfg(test)]
pub(crate) fn members_for_serde<'a, T: serde::Deserialize<'a>>() -> &'static [&'static str] {
    use serde::de::{self, Deserializer, Visitor};

    /// Names the members by way of an error.
    #[derive(Debug, thiserror::Error)]
    #[error("these members: {0:?}")]
    struct Asked(&'static [&'static str]);

    impl de::Error for Asked {
        fn custom<E: std::fmt::Display>(_: E) -> Self {
            Asked(&[])
        }
    }

    struct Ask;

    impl<'de> Deserializer<'de> for Ask {
        type Error = Asked;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
            Err(Asked(&[]))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            members: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Asked> {
            Err(Asked(members))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    T::deserialize(Ask).map_or_else(|Asked(members)| members, |_| &[])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;

    use super::Readable;
    use crate::json::check::Walk;
    use crate::json::read;
    use crate::json::{Kept, Unparsed};
    use crate::kubernetes::pod::{Annotations, Text, Volume, null_is_default};

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

    readable! {
        Probe<'a> {
            "name": name,
            "imagePullPolicy": image_pull_policy,
            "readOnly": read_only,
            "replicas": replicas,
            "command": command,
            "env": env,
            "resources": resources,
            "annotations": annotations,
            "volume": volume,
            "from": from,
        }
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

    /// The same by way of a walk, which checks the whole of the text.
    fn checked<'a, T: Readable<'a>>(text: &'a str) -> Option<T> {
        let (mut value, mut walk) = (T::default(), Walk::new(text));
        value.read(&mut walk)?;
        walk.is_done().then_some(value)
    }

    proptest! {
        #[test]
        fn reads_what_the_json_library_reads(value in object(), pretty in any::<bool>()) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let wanted = serde_json::from_str(&text).ok();
            prop_assert_eq!(read::<Probe<'_>>(&text), wanted, "{}", text);
        }

        #[test]
        fn reads_the_same_while_it_checks(value in object()) {
            let text = value.to_string();
            prop_assert_eq!(checked::<Probe<'_>>(&text), serde_json::from_str(&text).ok(), "{}", text);
        }

        #[test]
        fn takes_nothing_that_is_not_well_formed(value in object(), at in 0.0..1.0, with in "[-0e{}\\[\\]\",:\\\\u ]?") {
            let mut text = value.to_string();
            let mut at = (text.len() as f64 * at) as usize;
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let end = text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
            text.replace_range(at..end, &with);
            let read = checked::<Probe<'_>>(&text);
            prop_assert!(read.is_none() || read == serde_json::from_str(&text).ok(), "{}", text);
        }

        #[test]
        fn never_panics(text in "[{}\\[\\]\"\\\\:, né0t]{0,40}") {
            let _ = read::<Probe<'_>>(&text);
            let _ = read::<Kept<'_, Vec<Kept<'_, Text<'_>>>>>(&text);
            let _ = checked::<Probe<'_>>(&text);
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
