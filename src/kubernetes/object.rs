//! From an object's text to its workload: which kind it is, and where its pod template is.
//!
//! Deployments and StatefulSets (`apps/v1`), Jobs and CronJobs (`batch/v1`), and the kinds that the policy names.
//! Pods and ReplicaSets are left alone: they were settled at their Deployment, and a guard that is down must never
//! stop a Pod from being recreated.

use std::borrow::Cow;
use std::cell::OnceCell;

use json_patch::jsonptr::Pointer;

use super::{Class, PodTemplate, Rollout, Template, Workload};
use crate::json::unreadable::{Unreadable, read};
use crate::json::{self, Kept, Readable, Unparsed, cursor, readable};
use crate::kubernetes::kind::{GroupVersionKind, KindSetting, SPEC_TEMPLATE};
use crate::kubernetes::outline::Outline;
use crate::kubernetes::pod::{Text, null_is_default};
use crate::kubernetes::raw::Raw;

/// What we do with a kind, and where its template is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'p> {
    /// Mutated and validated, or only validated.
    pub class: Class,
    /// JSON pointer to the pod template.
    pub template: &'p Pointer,
}

const CRON_JOB_TEMPLATE: &Pointer = Pointer::from_static("/spec/jobTemplate/spec/template");

/// Whether we judge objects of this kind.
pub fn classify<'p>(kind: &GroupVersionKind<'_>, more: &'p [KindSetting]) -> Option<Found<'p>> {
    match (&*kind.group, &*kind.kind) {
        ("apps", "Deployment" | "StatefulSet") => {
            Some(Found { class: Class::Server, template: SPEC_TEMPLATE })
        }
        ("batch", "Job") => Some(Found { class: Class::Job, template: SPEC_TEMPLATE }),
        ("batch", "CronJob") => Some(Found { class: Class::Job, template: CRON_JOB_TEMPLATE }),
        (group, name) => more
            .iter()
            .find(|known| known.group == group && known.kind == name)
            .map(|known| Found { class: Class::Server, template: &known.template }),
    }
}

#[derive(Debug, Default, serde::Deserialize)]
struct Owner {
    #[serde(default, deserialize_with = "null_is_default")]
    controller: bool,
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
    max_surge: Option<Unparsed<'a>>,
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

readable! {
    Owner { "controller": controller }
    Strategy<'a> { "type": kind, "rollingUpdate": rolling_update }
    RollingUpdate<'a> { "maxSurge": max_surge }
    ClaimTemplate<'a> { "metadata": metadata }
    ClaimMeta<'a> { "name": name }
}

/// An object located but not yet read: cheap, and enough to see whether its template changed.
pub struct Located<'a, 'p> {
    /// What it is.
    pub found: Found<'p>,
    /// The template's text; `None` when the object has none.
    pub template: Option<&'a str>,
    /// `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    outline: Outline<'a>,
}

/// Finds the template in an object.
///
/// # Errors
/// When the object, its `metadata` or its `spec` is something else than an object.
pub fn locate<'a, 'p>(object: Raw<'a>, found: Found<'p>) -> Result<Located<'a, 'p>, Unreadable> {
    let outline = match object.outline() {
        Some(outline) => *outline,
        None => Outline::read(object.get())?,
    };
    let template = match found.template {
        pointer if pointer == SPEC_TEMPLATE => outline.template,
        pointer => descend(object.get(), pointer.as_str()),
    };
    let deleted: Option<Text<'_>> = field("metadata.deletionTimestamp", outline.deletion_timestamp)?;
    Ok(Located {
        found,
        template: template.filter(|text| *text != "null"),
        terminating: deleted.is_some(),
        outline,
    })
}

impl Located<'_, '_> {
    /// Whether more pods, or other ones side by side, may run than by `old`.
    pub fn runs_otherwise(&self, old: &Located<'_, '_>) -> bool {
        (self.outline.replicas, self.outline.strategy) != (old.outline.replicas, old.outline.strategy)
    }
}

impl<'a, 'p: 'a> Located<'a, 'p> {
    /// Reads the pod template. `None` when there is none.
    ///
    /// # Errors
    /// When the template is not shaped as it should be.
    pub fn read(self, kind: Cow<'a, str>) -> Result<Option<Workload<'a>>, Unreadable> {
        self.take(kind, None)
    }

    /// The same, of what was read already where that was this very template.
    pub(crate) fn take(
        self,
        kind: Cow<'a, str>,
        read_already: Option<&'a Kept<'a, PodTemplate<'a>>>,
    ) -> Result<Option<Workload<'a>>, Unreadable> {
        let Some(text) = self.template else { return Ok(None) };
        let template = match read_already.filter(|template| std::ptr::eq(template.text(), text)) {
            Some(template) => Template::OfRequest(template),
            None => Template::Own(read(text).map_err(|error| within(self.found.template.as_str(), error))?),
        };
        let owners: Option<Vec<Owner>> = field("metadata.ownerReferences", self.outline.owner_references)?;
        let claims: Vec<ClaimTemplate<'a>> = odd_is_default(self.outline.volume_claim_templates);
        let rollout = match kind.as_ref() {
            "StatefulSet" => Rollout::OneAfterTheOther,
            _ => odd_is_default::<Strategy<'_>>(self.outline.strategy).rollout(),
        };
        Ok(Some(Workload {
            kind,
            class: self.found.class,
            template_pointer: self.found.template,
            template,
            template_raw: text,
            replicas: odd_is_default(self.outline.replicas),
            rollout,
            claim_templates: claims.into_iter().map(|claim| claim.metadata.name).collect(),
            controlled: owners.is_some_and(|owners| owners.iter().any(|owner| owner.controller)),
            terminating: self.terminating,
            volumes_by_name: OnceCell::new(),
        }))
    }
}

impl Strategy<'_> {
    fn rollout(&self) -> Rollout {
        let surge = self.rolling_update.as_ref().and_then(|update| update.max_surge).map(Unparsed::get);
        match (self.kind.as_deref(), surge) {
            (Some("Recreate"), _) | (_, Some("0" | "\"0\"" | "\"0%\"")) => Rollout::OneAfterTheOther,
            _ => Rollout::Overlapping,
        }
    }
}

/// Reads one field of the object; `null` reads as absent.
fn field<'a, T: Readable<'a> + serde::Deserialize<'a>>(
    path: &str,
    text: Option<&'a str>,
) -> Result<Option<T>, Unreadable> {
    match text {
        None => Ok(None),
        Some(text) => read(text).map_err(|error| within(path, error)),
    }
}

/// Reads what has another shape than a Deployment's as the default: a kind that the policy names may mean
/// something else by `replicas` or `strategy`.
fn odd_is_default<'a, T: Readable<'a> + serde::Deserialize<'a>>(text: Option<&'a str>) -> T {
    let read = |text| json::read(text).or_else(|| serde_json::from_str(text).ok());
    text.and_then(read).unwrap_or_default()
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
        text = cursor::member(text, &token.replace("~1", "/").replace("~0", "~"))?;
    }
    Some(text)
}
