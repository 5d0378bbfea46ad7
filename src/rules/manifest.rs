//! What a rule gets to see of a manifest beside its pod template.

use serde_json::Value;

/// An object as its author wrote it.
pub struct Manifest<'a> {
    /// The whole object.
    pub object: &'a Value,
    /// JSON pointer to its pod template.
    pub template: &'a str,
}
