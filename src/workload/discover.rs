//! Where the pod template of a workload is.
//!
//! Deployments and StatefulSets (`apps/v1`), Jobs and CronJobs (`batch/v1`), and the kinds that the policy names.
//! Pods and ReplicaSets are left alone: they were settled at their Deployment, and a guard that is down must never
//! stop a Pod from being recreated.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::scan::{self, Cursor};
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
#[derive(Default)]
struct Object<'a> {
    metadata: Metadata<'a>,
    spec: Spec<'a>,
}

#[derive(Default)]
struct Metadata<'a> {
    deletion_timestamp: Option<Text<'a>>,
    generate_name: Option<Text<'a>>,
    owner_references: Vec<Owner>,
}

#[derive(Debug, Default, serde::Deserialize)]
struct Owner {
    #[serde(default, deserialize_with = "null_is_default")]
    controller: bool,
}

#[derive(Default)]
struct Spec<'a> {
    replicas: Option<i64>,
    template: Option<&'a str>,
    strategy: Strategy<'a>,
    volume_claim_templates: Vec<ClaimTemplate<'a>>,
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

/// Finds the template in an object's JSON text, which is known to be well-formed.
pub fn locate<'a, 'p>(json: &'a str, found: Found<'p>) -> Result<Located<'a, 'p>, Unreadable> {
    let object = Object::read(json)?;
    let template = match found.template {
        "/spec/template" => object.spec.template,
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

// Most of an object is `managedFields` and the last applied configuration, which nobody reads here: these three step
// over what they do not look at, where derived code would check it once more.

impl<'a> Object<'a> {
    fn read(json: &'a str) -> Result<Self, Unreadable> {
        let mut object = Object::default();
        members("", &mut Cursor::new(json), |key, at| match key {
            "metadata" => object.metadata.read(at),
            "spec" => object.spec.read(at),
            _ => Ok(()),
        })?;
        Ok(object)
    }
}

impl<'a> Metadata<'a> {
    fn read(&mut self, at: &mut Cursor<'a>) -> Result<(), Unreadable> {
        members("/metadata", at, |key, at| {
            match key {
                "deletionTimestamp" => self.deletion_timestamp = field("/metadata/deletionTimestamp", at)?,
                "generateName" => self.generate_name = field("/metadata/generateName", at)?,
                "ownerReferences" => self.owner_references = field("/metadata/ownerReferences", at)?,
                _ => {}
            }
            Ok(())
        })
    }
}

impl<'a> Spec<'a> {
    fn read(&mut self, at: &mut Cursor<'a>) -> Result<(), Unreadable> {
        members("/spec", at, |key, at| {
            match key {
                "replicas" => self.replicas = odd_is_default(at),
                "template" => self.template = at.value(),
                "strategy" => self.strategy = odd_is_default(at),
                "volumeClaimTemplates" => self.volume_claim_templates = odd_is_default(at),
                _ => {}
            }
            Ok(())
        })
    }
}

fn members<'a>(
    pointer: &str,
    at: &mut Cursor<'a>,
    visit: impl FnMut(&str, &mut Cursor<'a>) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    at.members(visit).unwrap_or_else(|| {
        Err(within(pointer, Unreadable { path: ".".to_owned(), problem: "should be an object".to_owned() }))
    })
}

/// Reads one field; `null` reads as absent.
fn field<'a, T: serde::Deserialize<'a> + Default>(
    pointer: &str,
    at: &mut Cursor<'a>,
) -> Result<T, Unreadable> {
    let value: Option<T> = parse(at.value().unwrap_or("null")).map_err(|error| within(pointer, error))?;
    Ok(value.unwrap_or_default())
}

/// Reads what has another shape than a Deployment's as the default: a kind that the policy names may mean
/// something else by `replicas` or `strategy`.
fn odd_is_default<'a, T: serde::Deserialize<'a> + Default>(at: &mut Cursor<'a>) -> T {
    let value: Option<T> = at.value().and_then(|text| serde_json::from_str(text).ok());
    value.unwrap_or_default()
}

/// Puts the path of a part before the path of a fault inside it.
fn within(pointer: &str, error: Unreadable) -> Unreadable {
    let base = pointer.trim_start_matches('/').replace('/', ".");
    let path = match error.path.as_str() {
        "." if base.is_empty() => ".".to_owned(),
        "." => base,
        below => format!("{base}.{below}"),
    };
    Unreadable { path, ..error }
}

/// The text at a JSON pointer, found without parsing what lies beside the way.
pub fn descend<'a>(json: &'a str, pointer: &str) -> Option<&'a str> {
    let mut text = json;
    for token in pointer.split('/').skip(1) {
        text = scan::member(text, &token.replace("~1", "/").replace("~0", "~"))?;
    }
    Some(text)
}
