//! A part of a text that is kept as it is written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde_json::value::RawValue;

/// How [`super::read`] is asked for a text in place of a value.
pub(super) const NAME: &str = "prefect_guard::json::Unparsed";

/// One JSON value as text, byte for byte. Its content may be secret, so it is not for printing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unparsed<'a>(&'a str);

impl<'a> Unparsed<'a> {
    /// The text.
    pub fn get(self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for Unparsed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Unparsed<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Unparsed<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Unparsed(text))
            }
            // serde_json has a way of its own.
            fn visit_newtype_struct<D: Deserializer<'de>>(self, other: D) -> Result<Self::Value, D::Error> {
                <&RawValue>::deserialize(other).map(|value| Unparsed(value.get()))
            }
        }
        deserializer.deserialize_newtype_struct(NAME, Text)
    }
}
