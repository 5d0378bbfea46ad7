//! A workload's own annotations, as far as they are the guard's.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::pod::Text;
use crate::json::Raw;

/// What all keys of ours begin with.
pub const PREFIX: &str = "prefect-guard.io/";

/// The workload's own annotations. Others than ours are only seen to be there: among them is the manifest as it was last
/// applied, which is as long as the object.
#[derive(Clone, Default)]
pub struct OwnAnnotations<'a> {
    /// Ours, as written.
    ours: Vec<(Text<'a>, Raw<'a>)>,
    any: bool,
}

impl OwnAnnotations<'_> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        !self.any
    }

    /// The value of `key`, one of ours, where it is a text; the last one where a key is given twice, as Go's decoder has
    /// it.
    pub fn get(&self, key: &str) -> Option<String> {
        let (_, value) = self.ours.iter().rev().find(|(name, _)| &**name == key)?;
        serde_json::from_str(value.get()).ok()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for OwnAnnotations<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ours;
        impl<'de> Visitor<'de> for Ours {
            type Value = OwnAnnotations<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut own = OwnAnnotations::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    own.any = true;
                    if key.starts_with(PREFIX) {
                        own.ours.push((key, map.next_value()?));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(own)
            }
        }
        deserializer.deserialize_map(Ours)
    }
}
