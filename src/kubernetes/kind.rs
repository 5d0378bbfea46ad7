//! Kinds of objects, and those that the policy names beside Kubernetes' own.

use json_patch::jsonptr::{Pointer, PointerBuf};
use schemars::JsonSchema;
use serde::Deserialize;

use super::pod::Text;
use crate::json::null_is_default;

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

impl GroupVersionKind<'_> {
    /// Kubernetes' own Secret.
    pub fn is_secret(&self) -> bool {
        (&*self.group, &*self.kind) == ("", "Secret")
    }
}

/// An entry of `metadata.ownerReferences`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner<'a> {
    /// `prefect.io/v1`.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    api_version: Text<'a>,
    /// `PrefectServer`.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub kind: Text<'a>,
    #[serde(default, deserialize_with = "null_is_default")]
    controller: bool,
}

impl Owner<'_> {
    /// Whether it is the one that reconciles the object.
    pub fn controls(&self) -> bool {
        self.controller
    }

    /// The group of its API: `prefect.io`.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

/// Where Kubernetes' own kinds have their pod template, but for CronJob.
pub(crate) const SPEC_TEMPLATE: &Pointer = Pointer::from_static("/spec/template");

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
    #[schemars(with = "String")]
    pub template: PointerBuf,
}

fn default_template() -> PointerBuf {
    SPEC_TEMPLATE.to_buf()
}

fn pointer<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PointerBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    match PointerBuf::parse(text) {
        Ok(pointer) if pointer.tokens().any(|token| is_index(token.encoded())) => Err(
            serde::de::Error::custom("`template` leads through fields only, not through an item of a list"),
        ),
        Ok(pointer) if !pointer.is_root() => Ok(pointer),
        _ => Err(serde::de::Error::custom("`template` has to be a JSON pointer such as `/spec/template`")),
    }
}

fn is_index(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit())
}
