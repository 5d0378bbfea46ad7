//! Values together with the text that they were read from.

use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer};

use super::reader::{Readable, Source};

/// A value, and how it is written: what is copied into a patch is copied byte for byte.
///
/// Read by serde there is no text.
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

impl<'a, T: Readable<'a>> Readable<'a> for Kept<'a, T> {
    #[inline]
    fn read<S: Source<'a>>(&mut self, source: &mut S) -> Option<()> {
        let start = source.start()?;
        self.value.read(source)?;
        self.text = source.since(start)?;
        Some(())
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Kept<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Kept { value, text: "" })
    }
}

/// A list, its entries kept with their texts, and the text of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<'a, T> {
    entries: Vec<Kept<'a, T>>,
    text: &'a str,
}

impl<'a, T> List<'a, T> {
    /// The text, byte for byte; empty where there was none. Not for printing: it may hold a password.
    pub fn text(&self) -> &'a str {
        self.text
    }
}

impl<'a, T> List<'a, T> {
    /// The text for serde; `None` for an empty list.
    pub(crate) fn written(&self) -> Option<&'a serde_json::value::RawValue> {
        if self.is_empty() { None } else { serde_json::from_str(self.text).ok() }
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        List { entries: Vec::new(), text: "" }
    }
}

impl<'a, T> Deref for List<'a, T> {
    type Target = [Kept<'a, T>];

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

impl<'a, T: Readable<'a>> Readable<'a> for List<'a, T> {
    fn read<S: Source<'a>>(&mut self, source: &mut S) -> Option<()> {
        let start = source.start()?;
        source.list(|source| {
            // Grows by four: each step moves all entries, and a server has dozens of variables.
            if self.entries.len() == self.entries.capacity() {
                self.entries.reserve_exact((self.entries.len() * 3).max(8));
            }
            self.entries.push(Kept::default());
            self.entries.last_mut()?.read(source)
        })?;
        self.text = source.since(start)?;
        Some(())
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for List<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|entries| List { entries, text: "" })
    }
}
