//! Where the pod template of a workload is.
//!
//! Deployments and StatefulSets (`apps/v1`), Jobs and CronJobs (`batch/v1`), and the kinds that the policy names.
//! Pods and ReplicaSets are left alone: they were settled at their Deployment, and a guard that is down must never
//! stop a Pod from being recreated.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::view::{Text, null_is_default};
use super::{Class, Rollout, Workload};
use crate::admission::request::{GroupVersionKind, Unreadable, parse};
use crate::policy::KindSetting;

/// What we do with a kind, and where its template is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'p> {
    /// Mutated and validated, or only validated.
    pub class: Class,
    /// JSON pointer to the pod template.
    pub template: &'p str,
}

/// Whether we judge objects of this kind.
pub fn classify<'p>(kind: &GroupVersionKind<'_>, more: &'p [KindSetting]) -> Option<Found<'p>> {
    match (&*kind.group, &*kind.kind) {
        ("apps", "Deployment" | "StatefulSet") => {
            Some(Found { class: Class::Server, template: "/spec/template" })
        }
        ("batch", "Job") => Some(Found { class: Class::Job, template: "/spec/template" }),
        ("batch", "CronJob") => {
            Some(Found { class: Class::Job, template: "/spec/jobTemplate/spec/template" })
        }
        (group, name) => more
            .iter()
            .find(|known| known.group == group && known.kind == name)
            .map(|known| Found { class: Class::Server, template: &known.template }),
    }
}

/// The object around a template.
#[derive(Default, serde::Deserialize)]
struct Object<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    metadata: Metadata<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    spec: Spec<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    deletion_timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    generate_name: Option<Text<'a>>,
    #[serde(default, deserialize_with = "null_is_default")]
    owner_references: Vec<Owner>,
}

#[derive(Debug, Default, serde::Deserialize)]
struct Owner {
    #[serde(default, deserialize_with = "null_is_default")]
    controller: bool,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(default, deserialize_with = "odd_is_default")]
    replicas: Option<i64>,
    #[serde(borrow)]
    template: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "odd_is_default")]
    strategy: Strategy<'a>,
    #[serde(borrow, default, deserialize_with = "odd_is_default")]
    volume_claim_templates: Vec<ClaimTemplate<'a>>,
}

/// Reads what has another shape than a Deployment's as the default: a kind that the policy names may mean
/// something else by `replicas` or `strategy`.
fn odd_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let text = Option::<&'de RawValue>::deserialize(deserializer)?;
    Ok(text.and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default())
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Strategy<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    rolling_update: Option<RollingUpdate<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RollingUpdate<'a> {
    #[serde(borrow)]
    max_surge: Option<&'a RawValue>,
}

#[derive(Debug, Default, serde::Deserialize)]
struct ClaimTemplate<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    metadata: ClaimMeta<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
struct ClaimMeta<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    name: Text<'a>,
}

/// An object located but not yet read: cheap, and enough to see whether its template changed.
pub struct Located<'a, 'p> {
    /// What it is.
    pub found: Found<'p>,
    /// The template's text; `None` when the object has none.
    pub template: Option<&'a str>,
    /// `metadata.generateName`.
    pub generate_name: Option<Text<'a>>,
    /// `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    object: Object<'a>,
}

/// Finds the template in an object's JSON text.
pub fn locate<'a, 'p>(json: &'a str, found: Found<'p>) -> Result<Located<'a, 'p>, Unreadable> {
    let object: Object<'a> = parse(json)?;
    let template = match found.template {
        "/spec/template" => object.spec.template.map(RawValue::get),
        pointer => descend(json, pointer),
    };
    Ok(Located {
        found,
        template: template.filter(|text| *text != "null"),
        generate_name: object.metadata.generate_name.clone(),
        terminating: object.metadata.deletion_timestamp.is_some(),
        object,
    })
}

impl<'a, 'p: 'a> Located<'a, 'p> {
    /// Reads the pod template. `None` when there is none.
    pub fn read(self, kind: Cow<'a, str>) -> Result<Option<Workload<'a>>, Unreadable> {
        let Some(text) = self.template else { return Ok(None) };
        let template = parse(text).map_err(|error| within(self.found.template, error))?;
        let Object { metadata, spec } = self.object;
        let rollout = match kind.as_ref() {
            "StatefulSet" => Rollout::OneAfterTheOther,
            _ => spec.strategy.rollout(),
        };
        Ok(Some(Workload {
            kind,
            class: self.found.class,
            template_pointer: Cow::Borrowed(self.found.template),
            template,
            template_raw: text,
            replicas: spec.replicas,
            rollout,
            claim_templates: spec
                .volume_claim_templates
                .into_iter()
                .map(|claim| claim.metadata.name)
                .collect(),
            controlled: metadata.owner_references.iter().any(|owner| owner.controller),
            terminating: metadata.deletion_timestamp.is_some(),
        }))
    }
}

impl Strategy<'_> {
    fn rollout(&self) -> Rollout {
        let surge = self.rolling_update.as_ref().and_then(|update| update.max_surge).map(RawValue::get);
        match (self.kind.as_deref(), surge) {
            (Some("Recreate"), _) | (_, Some("0" | "\"0\"" | "\"0%\"")) => Rollout::OneAfterTheOther,
            _ => Rollout::Overlapping,
        }
    }
}

/// Puts the template's own path before the path of a fault inside it.
fn within(pointer: &str, error: Unreadable) -> Unreadable {
    let base = pointer.trim_start_matches('/').replace('/', ".");
    let path = if error.path == "." { base } else { format!("{base}.{}", error.path) };
    Unreadable { path, ..error }
}

/// The text at a JSON pointer, found without parsing what lies beside the way.
pub fn descend<'a>(json: &'a str, pointer: &str) -> Option<&'a str> {
    let mut text = json;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        text = serde_json::Deserializer::from_str(text).deserialize_map(Pick(&token)).ok()??;
    }
    Some(text)
}

/// Picks one key of an object; the last one where it stands twice, as Go's decoder does.
struct Pick<'k>(&'k str);

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Option<&'de str>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Text<'de>>()? {
            if &*key == self.0 {
                found = Some(map.next_value::<&'de RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}
