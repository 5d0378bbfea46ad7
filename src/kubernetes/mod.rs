//! The Kubernetes objects that are judged: workloads, their pod templates, containers, images, quantities.

pub mod annotations;
pub mod expand;
pub mod image;
pub mod kind;
pub mod object;
pub mod pod;
pub mod quantity;
pub mod reach;

use std::borrow::Cow;
use std::cell::OnceCell;

use json_patch::jsonptr::Pointer;

pub use pod::{Container, PodTemplate};

pod::show_only!(Workload: kind, class, template);

/// A workload whose pod template we judge.
pub struct Workload<'a> {
    /// `Deployment`, `StatefulSet`, `Job`, `CronJob`, or a kind that the policy names.
    pub kind: Cow<'a, str>,
    /// What we do with this kind.
    pub class: Class,
    /// JSON pointer to the pod template (`/spec/template`).
    pub template_pointer: &'a Pointer,
    /// The pod template.
    pub template: PodTemplate<'a>,
    /// `spec.replicas`; absent means 1.
    pub replicas: Option<i64>,
    /// How an update replaces pods.
    pub rollout: Rollout,
    /// Names of the `volumeClaimTemplates` of a StatefulSet: volumes backed by a claim.
    pub claim_templates: Vec<pod::Text<'a>>,
    /// The controller in `ownerReferences`: most undo a mutation.
    pub controller: Option<kind::Owner<'a>>,
    /// `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    /// Its own annotations, not those of its pods; `None` where none can be written, since there is no `metadata`.
    pub own_annotations: Option<annotations::OwnAnnotations<'a>>,
    /// The pod's volumes in the order of their names: thousands of mounts may ask for one each.
    pub(crate) volumes_by_name: OnceCell<Vec<usize>>,
}

/// What is done with a kind of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Deployment, StatefulSet and the policy's kinds: mutated and validated.
    Server,
    /// Job and CronJob: validated; the upgrade of a Job is given the lock.
    Job,
}

/// How an update replaces the pods of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rollout {
    /// Old and new pods run side by side for a while (a Deployment's default `RollingUpdate` with a surge).
    #[default]
    Overlapping,
    /// The old pod goes before the new one comes (`Recreate`, no surge, StatefulSets).
    OneAfterTheOther,
}

impl Workload<'_> {
    /// JSON pointer to the container list entry: `/spec/template/spec/containers/0`.
    pub fn container_pointer(&self, at: ContainerRef) -> String {
        let list = if at.init { "initContainers" } else { "containers" };
        format!("{}/spec/{list}/{}", self.template_pointer, at.index)
    }

    /// The pod's volume of this name.
    pub fn volume(&self, name: &str) -> Option<&pod::Volume<'_>> {
        let volumes = &self.template.spec.volumes;
        let order = self.volumes_by_name.get_or_init(|| {
            let mut order: Vec<usize> = (0..volumes.len()).collect();
            order.sort_by(|a, b| volumes[*a].name.cmp(&volumes[*b].name));
            order
        });
        let at = order.partition_point(|index| *volumes[*index].name < *name);
        order.get(at).map(|index| &volumes[*index]).filter(|volume| &*volume.name == name)
    }

    /// The container at `at`.
    pub fn container(&self, at: ContainerRef) -> &Container<'_> {
        let spec = &self.template.spec;
        if at.init { &spec.init_containers()[at.index] } else { &spec.containers[at.index] }
    }
}

/// Which container of a template: an index into `containers` or `initContainers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerRef {
    /// True for `initContainers`.
    pub init: bool,
    /// The position in its list.
    pub index: usize,
}
