//! What runs in a cluster, read page by page. Nothing is changed.

use kube::Client;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::policy::KindSetting;

/// Objects a page, as kubectl asks for.
pub const PAGE: u32 = 500;

/// A kind of objects and where the API serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`.
    pub plural: String,
}

impl Resource {
    fn new(api_version: &str, kind: &str, plural: &str) -> Self {
        Resource { api_version: api_version.into(), kind: kind.into(), plural: plural.into() }
    }

    /// The path of the collection, in one namespace or in all.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let base = if self.api_version.contains('/') { "apis" } else { "api" };
        let Resource { api_version, plural, .. } = self;
        match namespace {
            Some(namespace) => format!("/{base}/{api_version}/namespaces/{namespace}/{plural}"),
            None => format!("/{base}/{api_version}/{plural}"),
        }
    }
}

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
    pub(super) fn new(verb: &'static str, plural: &str, error: kube::Error) -> Self {
        let plural = plural.to_owned();
        if status(&error) == Some(403) {
            return ClusterError::Forbidden { verb, plural };
        }
        ClusterError::Failed { verb, plural, source: Box::new(error) }
    }
}

/// The HTTP status that an error stands for.
pub(super) fn status(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// The kinds that hold Prefect servers or touch their database.
pub fn workloads() -> Vec<Resource> {
    vec![
        Resource::new("apps/v1", "Deployment", "deployments"),
        Resource::new("apps/v1", "StatefulSet", "statefulsets"),
        Resource::new("batch/v1", "CronJob", "cronjobs"),
        Resource::new("batch/v1", "Job", "jobs"),
    ]
}

/// Services, whose names become variables in the pods beside them.
pub fn services() -> Resource {
    Resource::new("v1", "Service", "services")
}

/// Where the API serves the kinds that the policy names. What it does not serve has no objects.
pub async fn more(client: &Client, kinds: &[KindSetting]) -> Result<Vec<Resource>, ClusterError> {
    let mut found = Vec::new();
    for KindSetting { group, kind, .. } in kinds {
        match kube::discovery::group(client, group).await {
            Ok(group) => found.extend(group.recommended_kind(kind).map(|(resource, _)| Resource {
                api_version: resource.api_version,
                kind: resource.kind,
                plural: resource.plural,
            })),
            Err(kube::Error::Discovery(kube::error::DiscoveryError::MissingApiGroup(_))) => {}
            Err(error) => return Err(ClusterError::new("discover", kind, error)),
        }
    }
    Ok(found)
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
struct PageMeta {
    #[serde(rename = "continue", default)]
    next: Option<String>,
}

/// All objects of a kind for which `wanted` says yes to the JSON text, with `apiVersion` and `kind` filled in
/// (items of a list have none). `progress` hears how many were read.
///
/// # Errors
/// When a page cannot be read. A list that changed under the reader (410) is begun anew, once.
pub async fn list(
    client: &Client,
    resource: &Resource,
    namespace: Option<&str>,
    wanted: &dyn Fn(&str) -> bool,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Value>, ClusterError> {
    match pages(client, resource, namespace, wanted, progress).await {
        Err(ClusterError::Failed { source, .. }) if status(&source) == Some(410) => {
            pages(client, resource, namespace, wanted, progress).await
        }
        outcome => outcome,
    }
}

async fn pages(
    client: &Client,
    resource: &Resource,
    namespace: Option<&str>,
    wanted: &dyn Fn(&str) -> bool,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Value>, ClusterError> {
    let plural = &resource.plural;
    let unreadable = || ClusterError::Unreadable { plural: plural.clone() };
    let (mut found, mut read) = (Vec::new(), 0);
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let request = Request::new(resource.path(namespace)).list(&parameters).map_err(|_| unreadable())?;
        let text = client.request_text(request).await.map_err(|e| ClusterError::new("list", plural, e))?;
        let page: Page<'_> = serde_json::from_str(&text).map_err(|_| unreadable())?;
        let items = page.items.unwrap_or_default();
        read += items.len();
        progress(read);
        for item in items.into_iter().filter(|item| wanted(item.get())) {
            let mut object: Value = serde_json::from_str(item.get()).map_err(|_| unreadable())?;
            object["apiVersion"] = resource.api_version.as_str().into();
            object["kind"] = resource.kind.as_str().into();
            found.push(object);
        }
        match page.metadata.next.filter(|next| !next.is_empty()) {
            Some(next) => parameters = parameters.continue_token(&next),
            None => return Ok(found),
        }
    }
}

/// Whether a text speaks of Prefect at all; nothing else can be ours.
pub fn mentions_prefect(json: &str) -> bool {
    json.as_bytes().windows(7).any(|window| window.eq_ignore_ascii_case(b"prefect"))
}

/// Whether an object was made by a controller of this kind (a Job by its CronJob), which is judged instead.
pub fn is_owned_by(object: &Value, kind: &str) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners
        .is_some_and(|owners| owners.iter().any(|owner| owner["kind"] == kind && owner["controller"] == true))
}
