//! Kinds of objects, and those that the policy names beside Kubernetes' own.

use schemars::JsonSchema;
use serde::Deserialize;

use super::pod::{Text, null_is_default};
use crate::json::readable;

/// A group, version and kind.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct GroupVersionKind<'a> {
    /// `apps`; empty for the core group.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub group: Text<'a>,
    /// `v1`.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub version: Text<'a>,
    /// `Deployment`.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub kind: Text<'a>,
}

readable! {
    GroupVersionKind<'a> { "group": group, "version": version, "kind": kind }
}

/// A further kind of workload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KindSetting {
    /// Its API group, such as `argoproj.io`.
    pub group: String,
    /// Its kind, such as `Rollout`.
    pub kind: String,
    /// JSON pointer to its pod template. Default `/spec/template`.
    #[serde(default = "default_template", deserialize_with = "pointer")]
    pub template: String,
}

fn default_template() -> String {
    "/spec/template".to_owned()
}

fn pointer<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match json_patch::jsonptr::Pointer::parse(&text) {
        Ok(pointer) if pointer.tokens().any(|token| is_index(token.encoded())) => Err(
            serde::de::Error::custom("`template` leads through fields only, not through an item of a list"),
        ),
        Ok(pointer) if !pointer.is_root() => Ok(text),
        _ => Err(serde::de::Error::custom("`template` has to be a JSON pointer such as `/spec/template`")),
    }
}

fn is_index(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit())
}
