//! Values together with the text that they were read from.

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

/// A list, its entries kept with their texts, and the text of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<'a, T>(Kept<'a, Entries<'a, T>>);

/// Grows by four: each step moves all entries, and a server has dozens of variables.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entries<'a, T>(Vec<Kept<'a, T>>);

impl<'a, T> List<'a, T> {
    /// The text, byte for byte; empty where there was none. Not for printing: it may hold a password.
    pub fn text(&self) -> &'a str {
        self.0.text
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        List(Kept { value: Entries(Vec::new()), text: "" })
    }
}

impl<'a, T> Deref for List<'a, T> {
    type Target = [Kept<'a, T>];

    fn deref(&self) -> &Self::Target {
        &self.0.value.0
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for List<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Kept::deserialize(deserializer).map(List)
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Entries<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Each<T> {
            type Value = Entries<'de, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<Kept<'de, T>> = Vec::new();
                while let Some(entry) = list.next_element()? {
                    if entries.len() == entries.capacity() {
                        entries.reserve_exact((entries.len() * 3).max(8));
                    }
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_seq(Each(PhantomData))
    }
}
