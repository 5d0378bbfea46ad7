//! Takes our initContainer out of what runs, for an uninstall.

use http::header::{ACCEPT, CONTENT_TYPE};
use kube::Client;
use kube::api::{GetParams, ListParams};
use kube::core::Request;
use serde_json::{Value, json};

use super::audit::{ClusterError, Resource, status};
use crate::migration::container::NAME;

/// An object with our container in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// JSON pointer to its initContainers.
    pub list: String,
    /// Where ours is in them.
    pub index: usize,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ejected {
    /// Our container is gone.
    Removed,
    /// The object changed in the meantime, or is gone; look again.
    Changed,
    /// A mutating webhook put it back at once.
    PutBack,
}

impl Target {
    /// The target in an object, where it holds our container. `template` is the pointer to the pod template.
    pub fn of(resource: &Resource, object: &Value, template: &str) -> Option<Target> {
        let list = format!("{template}/spec/initContainers");
        let index = position(object, &list)?;
        let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
        Some(Target {
            resource: resource.clone(),
            namespace: text("namespace")?,
            name: text("name")?,
            list,
            index,
        })
    }

    /// The patch: it takes out the container at the index, if that is still ours.
    pub fn patch(&self) -> Value {
        let Target { list, index, .. } = self;
        json!([
            {"op": "test", "path": format!("{list}/{index}/name"), "value": NAME},
            {"op": "remove", "path": format!("{list}/{index}")},
        ])
    }

    /// Sends the patch.
    ///
    /// # Errors
    /// When the API server refuses it for another reason than a change in the meantime.
    pub async fn eject(&self, client: &Client) -> Result<Ejected, ClusterError> {
        let path = format!(
            "{}/{}?fieldManager=prefect-guard-eject",
            self.resource.path(Some(&self.namespace)),
            self.name
        );
        let request = http::Request::patch(path)
            .header(CONTENT_TYPE, "application/json-patch+json")
            .header(ACCEPT, "application/json")
            .body(self.patch().to_string().into_bytes())
            .expect("the path is made of names that the API server gave");
        match client.request::<Value>(request).await {
            Ok(object) if position(&object, &self.list).is_some() => Ok(Ejected::PutBack),
            Ok(_) => Ok(Ejected::Removed),
            // 422: the `test` failed; 409: another write came first; 404: it is gone.
            Err(error) if matches!(status(&error), Some(404 | 409 | 422)) => Ok(Ejected::Changed),
            Err(error) => Err(ClusterError::new("patch", &self.resource.plural, error)),
        }
    }
}

fn position(object: &Value, list: &str) -> Option<usize> {
    object.pointer(list)?.as_array()?.iter().position(|container| container["name"] == NAME)
}

/// Our webhook configurations that still stand: while they do, what is taken out is put back or refused.
///
/// `None` when this account may not look.
///
/// # Errors
/// When the API server cannot be reached.
pub async fn standing(client: &Client) -> Result<Option<Vec<String>>, ClusterError> {
    let mut found = Vec::new();
    for plural in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{plural}");
        let request = Request::new(path)
            .list(&ListParams::default())
            .map_err(|_| ClusterError::Unreadable { plural: plural.to_owned() })?;
        let list: Value = match client.request(request).await {
            Ok(list) => list,
            Err(error) if status(&error) == Some(403) => return Ok(None),
            Err(error) => return Err(ClusterError::new("list", plural, error)),
        };
        for item in list["items"].as_array().into_iter().flatten() {
            let ours =
                item["webhooks"].as_array().into_iter().flatten().any(|hook| {
                    hook["name"].as_str().is_some_and(|name| name.ends_with(".prefect-guard.io"))
                });
            if let (true, Some(name)) = (ours, item["metadata"]["name"].as_str()) {
                found.push(format!("{}/{name}", plural.trim_end_matches('s')));
            }
        }
    }
    Ok(Some(found))
}

/// Whether the webhooks leave this namespace alone. What may not be looked at counts as watched.
///
/// # Errors
/// When the API server cannot be reached.
pub async fn opted_out(client: &Client, namespace: &str) -> Result<bool, ClusterError> {
    let request = Request::new("/api/v1/namespaces")
        .get(namespace, &GetParams::default())
        .map_err(|_| ClusterError::Unreadable { plural: "namespaces".to_owned() })?;
    match client.request::<Value>(request).await {
        Ok(object) => Ok(object["metadata"]["labels"]["prefect-guard.io/enabled"] == "false"),
        Err(error) if matches!(status(&error), Some(403 | 404)) => Ok(false),
        Err(error) => Err(ClusterError::new("get", "namespaces", error)),
    }
}
