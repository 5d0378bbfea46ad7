//! From an object's text to its workload: which kind it is, and where its pod template is.
//!
//! Deployments and StatefulSets (`apps/v1`), Jobs and CronJobs (`batch/v1`), and the kinds that the policy names.
//! Pods and ReplicaSets are left alone: they were settled at their Deployment, and a guard that is down must never
//! stop a Pod from being recreated.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use json_patch::jsonptr::Pointer;

use super::annotations::OwnAnnotations;
use super::{Class, PodTemplate, Rollout, Workload};
use crate::json::{Raw, Unreadable, null_is_default, object, object_or_none, objects, odd_is_default, parse};
use crate::kubernetes::kind::{GroupVersionKind, KindSetting, Owner, SPEC_TEMPLATE};
use crate::kubernetes::pod::Text;

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

/// `metadata.ownerReferences`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(transparent)]
struct Owners<'a>(#[serde(borrow, deserialize_with = "objects")] Vec<Owner<'a>>);

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Strategy<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "object_or_none")]
    rolling_update: Option<RollingUpdate<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RollingUpdate<'a> {
    #[serde(borrow)]
    max_surge: Option<Raw<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
struct ClaimTemplate<'a> {
    #[serde(borrow, default, deserialize_with = "object")]
    metadata: ClaimMeta<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
struct ClaimMeta<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    name: Text<'a>,
}

/// An object read around its pod template. What may be of another shape in a kind that the policy names stays text.
#[derive(Clone, Default, serde::Deserialize)]
pub struct Around<'a> {
    #[serde(borrow, default, deserialize_with = "object_or_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow, default, deserialize_with = "object")]
    spec: Spec<'a>,
}

#[derive(Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    deletion_timestamp: Option<Text<'a>>,
    /// Read only with the template: an object that is not judged passes whatever stands here.
    #[serde(borrow)]
    owner_references: Option<Raw<'a>>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    annotations: OwnAnnotations<'a>,
}

#[derive(Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    replicas: Option<Raw<'a>>,
    #[serde(borrow)]
    template: Option<Raw<'a>>,
    #[serde(borrow)]
    strategy: Option<Raw<'a>>,
    #[serde(borrow)]
    volume_claim_templates: Option<Raw<'a>>,
}

/// An object located but not yet read: cheap, and enough to see whether its template changed.
pub struct Located<'a, 'p> {
    /// What it is.
    pub found: Found<'p>,
    /// The template's text; `None` when the object has none.
    pub template: Option<Raw<'a>>,
    /// `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    around: Around<'a>,
}

/// Finds the template in an object.
///
/// # Errors
/// When the object, its `metadata` or its `spec` is something else than an object, or its annotations are no map, which
/// no API server sends.
pub fn locate<'a, 'p>(object: Raw<'a>, found: Found<'p>) -> Result<Located<'a, 'p>, Unreadable> {
    let around: Around<'a> = parse(object.get())?;
    let elsewhere = found.template != SPEC_TEMPLATE;
    let mut located = around.locate(found);
    if elsewhere {
        located.template = descend(object, located.found.template)?;
    }
    Ok(located)
}

impl<'a> Around<'a> {
    /// Where the template is, which for `found` is where Deployments have theirs.
    pub fn locate<'p>(self, found: Found<'p>) -> Located<'a, 'p> {
        let terminating = self.metadata.as_ref().is_some_and(|own| own.deletion_timestamp.is_some());
        Located { found, template: self.spec.template, terminating, around: self }
    }
}

impl Located<'_, '_> {
    /// Whether more pods, or other ones side by side, may run than by `old`.
    pub fn runs_otherwise(&self, old: &Located<'_, '_>) -> bool {
        let differ = |new: Option<Raw<'_>>, old: Option<Raw<'_>>| new.map(Raw::get) != old.map(Raw::get);
        let (new, old) = (&self.around.spec, &old.around.spec);
        differ(new.replicas, old.replicas) || differ(new.strategy, old.strategy)
    }
}

impl<'a, 'p: 'a> Located<'a, 'p> {
    /// Reads the pod template. `None` when there is none.
    ///
    /// # Errors
    /// When the template is not shaped as it should be.
    pub fn read(self, kind: Cow<'a, str>) -> Result<Option<Workload<'a>>, Unreadable> {
        let Some(text) = self.template else { return Ok(None) };
        let template = PodTemplate::read(text).map_err(|error| error.within(&path(self.found.template)))?;
        let Around { metadata, spec } = self.around;
        // The API server writes no other than a list of objects.
        let owners: Owners<'a> = odd_is_default(metadata.as_ref().and_then(|own| own.owner_references));
        let claims: Vec<ClaimTemplate<'a>> = odd_is_default(spec.volume_claim_templates);
        let rollout = match kind.as_ref() {
            "StatefulSet" | "Pod" => Rollout::OneAfterTheOther,
            _ => odd_is_default::<Strategy<'_>>(spec.strategy).rollout(),
        };
        Ok(Some(Workload {
            kind,
            class: self.found.class,
            template_pointer: self.found.template,
            template,
            replicas: odd_is_default(spec.replicas),
            rollout,
            claim_templates: claims.into_iter().map(|claim| claim.metadata.name).collect(),
            controller: owners.0.into_iter().find(Owner::controls),
            terminating: self.terminating,
            own_annotations: metadata.map(|own| own.annotations),
            volumes_by_name: OnceCell::new(),
        }))
    }
}

impl Strategy<'_> {
    fn rollout(&self) -> Rollout {
        let surge = self.rolling_update.as_ref().and_then(|update| update.max_surge).map(Raw::get);
        match (self.kind.as_deref(), surge) {
            (Some("Recreate"), _) | (_, Some("0" | "\"0\"" | "\"0%\"")) => Rollout::OneAfterTheOther,
            _ => Rollout::Overlapping,
        }
    }
}

/// A pointer as messages write it: `spec.template`.
fn path(pointer: &Pointer) -> String {
    pointer.as_str().trim_start_matches('/').replace('/', ".")
}

/// The value at a JSON pointer that leads through fields; `None` where there is none, or `null`.
fn descend<'a>(object: Raw<'a>, pointer: &Pointer) -> Result<Option<Raw<'a>>, Unreadable> {
    let mut found = Some(object);
    for token in pointer.tokens() {
        let Some(text) = found else { return Ok(None) };
        let members: BTreeMap<Text<'a>, Option<Raw<'a>>> = parse(text.get())?;
        found = members.get(&*token.decoded()).copied().flatten();
    }
    Ok(found)
}
