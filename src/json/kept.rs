//! A value together with the text that it was read from.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// How [`super::read`] is asked for both.
pub(super) const NAME: &str = "prefect_guard::json::Kept";

/// A value, and how it is written: what is copied into a patch is copied byte for byte.
///
/// Only [`super::read`] knows the text; read by another deserializer there is none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Kept<'a, T> {
    value: T,
    text: &'a str,
}

impl<'a, T> Kept<'a, T> {
    /// The text, byte for byte; empty where there was none. Not for printing: it may hold a password.
    pub fn text(&self) -> &'a str {
        self.text
    }
}

impl<T> Deref for Kept<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Kept<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Kept<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Both<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Both<T> {
            type Value = Kept<'de, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            #[inline]
            fn visit_seq<A: SeqAccess<'de>>(self, mut both: A) -> Result<Self::Value, A::Error> {
                let missing = || A::Error::custom("a value and its text");
                let value = both.next_element()?.ok_or_else(missing)?;
                Ok(Kept { value, text: both.next_element()?.ok_or_else(missing)? })
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, other: D) -> Result<Self::Value, D::Error> {
                T::deserialize(other).map(|value| Kept { value, text: "" })
            }
        }
        deserializer.deserialize_newtype_struct(NAME, Both(PhantomData))
    }
}
