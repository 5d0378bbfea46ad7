//! What runs in a cluster, read page by page. Nothing is changed.
//!
//! Items come as JSON text: an object that is judged keeps every field that these types do not know, and nothing is
//! built of what is not judged.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta, OwnerReference};
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, Request};
use kube::{Client, Resource};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::policy::KindSetting;

/// Objects a page, as kubectl asks for.
pub const PAGE: u32 = 500;

/// Why the cluster could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The account may not do it.
    #[error("not allowed to {verb} {plural}; grant the verb `{verb}` on `{plural}` to this account")]
    Forbidden {
        /// `list`, `patch`.
        verb: &'static str,
        /// `deployments`.
        plural: String,
    },
    /// The API server said no, or could not be reached.
    #[error("cannot {verb} {plural}")]
    Failed {
        /// `list`, `patch`.
        verb: &'static str,
        /// `deployments`.
        plural: String,
        /// What came back.
        #[source]
        source: Box<kube::Error>,
    },
    /// What came back is not what was asked for.
    #[error("the API server's answer about {plural} is not readable")]
    Unreadable {
        /// `deployments`.
        plural: String,
    },
}

impl ClusterError {
    pub(crate) fn new(verb: &'static str, plural: &str, error: kube::Error) -> Self {
        let plural = plural.to_owned();
        match error {
            error if status(&error) == Some(403) => ClusterError::Forbidden { verb, plural },
            kube::Error::SerdeError(_) => ClusterError::Unreadable { plural },
            error => ClusterError::Failed { verb, plural, source: Box::new(error) },
        }
    }
}

/// The HTTP status that an error stands for.
pub(crate) fn status(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// A kind that is known when this is compiled.
pub fn known<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

/// The kinds that hold Prefect servers or touch their database.
pub fn workloads() -> Vec<ApiResource> {
    vec![known::<Deployment>(), known::<StatefulSet>(), known::<CronJob>(), known::<Job>()]
}

/// Services, whose names become variables in the pods beside them.
pub fn services() -> ApiResource {
    known::<Service>()
}

/// Where the API serves the kinds that the policy names. What it does not serve has no objects.
///
/// # Errors
/// When the API server cannot be asked.
pub async fn more(client: &Client, kinds: &[KindSetting]) -> Result<Vec<ApiResource>, ClusterError> {
    let mut found = Vec::new();
    for KindSetting { group, kind, .. } in kinds {
        match kube::discovery::group(client, group).await {
            Ok(group) => found.extend(group.recommended_kind(kind).map(|(resource, _)| resource)),
            Err(kube::Error::Discovery(kube::error::DiscoveryError::MissingApiGroup(_))) => {}
            Err(error) => return Err(ClusterError::new("discover", kind, error)),
        }
    }
    Ok(found)
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

/// One kind of objects, in one namespace or in all.
#[derive(Debug, Clone, Copy)]
pub struct Collection<'a> {
    /// The kind.
    pub resource: &'a ApiResource,
    /// The namespace; all where there is none.
    pub namespace: Option<&'a str>,
}

impl Collection<'_> {
    /// What `keep` makes of the JSON text of each object. Pages are dropped as they are read, so that memory is what
    /// is kept and one page. `progress` hears how many objects were read.
    ///
    /// # Errors
    /// When a page cannot be read. A list that changed under the reader (410) is begun anew, once.
    pub async fn list<T>(
        self,
        client: &Client,
        keep: &dyn Fn(&str) -> serde_json::Result<Option<T>>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<T>, ClusterError> {
        match self.pages(client, keep, progress).await {
            Err(ClusterError::Failed { source, .. }) if status(&source) == Some(410) => {
                self.pages(client, keep, progress).await
            }
            outcome => outcome,
        }
    }

    async fn pages<T>(
        self,
        client: &Client,
        keep: &dyn Fn(&str) -> serde_json::Result<Option<T>>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<T>, ClusterError> {
        let plural = &self.resource.plural;
        let unreadable = || ClusterError::Unreadable { plural: plural.clone() };
        let path = DynamicObject::url_path(self.resource, self.namespace);
        let (mut found, mut read) = (Vec::new(), 0);
        let mut parameters = ListParams::default().limit(PAGE);
        loop {
            let request = Request::new(&path).list(&parameters).map_err(|_| unreadable())?;
            let text =
                client.request_text(request).await.map_err(|e| ClusterError::new("list", plural, e))?;
            let page: Page<'_> = serde_json::from_str(&text).map_err(|_| unreadable())?;
            let items = page.items.unwrap_or_default();
            read += items.len();
            progress(read);
            for item in items {
                found.extend(keep(item.get()).map_err(|_| unreadable())?);
            }
            match page.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => parameters = parameters.continue_token(&next),
                None => return Ok(found),
            }
        }
    }
}

/// An object with nothing of it lost, and its metadata as Kubernetes defines it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The metadata.
    pub metadata: ObjectMeta,
    /// The whole object, with the `apiVersion` and `kind` that items of a list do not have.
    pub object: Value,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: ObjectMeta,
}

impl Listed {
    /// Reads an item of a list.
    ///
    /// # Errors
    /// When it is no object with metadata.
    pub fn read(resource: &ApiResource, json: &str) -> serde_json::Result<Listed> {
        let Head { metadata } = serde_json::from_str(json)?;
        let mut object: Map<String, Value> = serde_json::from_str(json)?;
        object.insert("apiVersion".to_owned(), resource.api_version.as_str().into());
        object.insert("kind".to_owned(), resource.kind.as_str().into());
        Ok(Listed { metadata, object: object.into() })
    }

    /// Whether a controller of this kind made it (a CronJob its Job), which is judged instead.
    pub fn is_owned_by(&self, kind: &str) -> bool {
        controller(&self.metadata).is_some_and(|owner| owner.kind == kind)
    }
}

/// The controller that made an object.
pub fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Whether a text speaks of Prefect at all; nothing else can be ours.
pub fn mentions_prefect(json: &str) -> bool {
    json.as_bytes().windows(7).any(|window| window.eq_ignore_ascii_case(b"prefect"))
}
