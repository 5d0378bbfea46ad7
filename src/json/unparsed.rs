//! A part of a text that is kept as it is written.

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::reader::{Readable, Source};

/// One JSON value as text, byte for byte. Its content may be secret, so it is not for printing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unparsed<'a>(&'a str);

impl<'a> Unparsed<'a> {
    /// The text.
    pub fn get(self) -> &'a str {
        self.0
    }

    /// The same, for serde.
    pub(crate) fn raw(self) -> &'a RawValue {
        serde_json::from_str(self.0).expect("a part of a text that was read is JSON")
    }
}

impl Default for Unparsed<'_> {
    fn default() -> Self {
        Unparsed("null")
    }
}

impl fmt::Debug for Unparsed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl<'a> Readable<'a> for Unparsed<'a> {
    fn read<S: Source<'a>>(&mut self, source: &mut S) -> Option<()> {
        self.0 = source.value()?;
        Some(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Unparsed<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|value| Unparsed(value.get()))
    }
}
