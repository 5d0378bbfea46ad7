//! An object as text, with what was noted of it on the way.

use serde_json::value::RawValue;

use super::outline::Outline;

/// One JSON value as text, byte for byte. Well-formed; its content may be secret, so it is not for printing.
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    text: &'a str,
    outline: Option<Outline<'a>>,
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Raw<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|value| Raw::checked(value.get(), None))
    }
}

impl<'a> Raw<'a> {
    /// Text that is known to be well-formed, with what was noted while that was found out.
    pub(crate) fn checked(text: &'a str, outline: Option<Outline<'a>>) -> Self {
        Raw { text, outline }
    }

    /// The text.
    pub fn get(self) -> &'a str {
        self.text
    }

    /// What was noted of it on the way, if anything was.
    pub(crate) fn outline(&self) -> Option<&Outline<'a>> {
        self.outline.as_ref()
    }
}

impl std::fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}
