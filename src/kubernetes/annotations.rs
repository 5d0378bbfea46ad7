//! A workload's own annotations, read when they are asked for.

use std::collections::BTreeMap;

use super::pod::Text;
use crate::json::Raw;

/// The workload's own annotations. Their values stay text: among them is the manifest as it was last applied.
#[derive(Default, serde::Deserialize)]
#[serde(transparent)]
pub struct OwnAnnotations<'a>(#[serde(borrow)] BTreeMap<Text<'a>, Raw<'a>>);

impl OwnAnnotations<'_> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `key`, where it is a text.
    pub fn get(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.0.get(key)?.get()).ok()
    }
}

/// `None` for what is no map; there is none where nothing or `null` stands.
pub(super) fn own_annotations(text: Option<Raw<'_>>) -> Option<OwnAnnotations<'_>> {
    let Some(text) = text else { return Some(OwnAnnotations::default()) };
    serde_json::from_str(text.get()).ok()
}
