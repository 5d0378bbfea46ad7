//! Takes our initContainer out of what runs, for an uninstall.

use json_patch::{Patch, PatchOperation, RemoveOperation, TestOperation, jsonptr::PointerBuf};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::list::{ClusterError, Listed, status};
use super::webhooks::Configuration;
use crate::migration::container::NAME;

/// An object with our container in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its kind.
    pub resource: ApiResource,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its initContainers.
    pub list: PointerBuf,
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
    pub fn of(resource: &ApiResource, listed: Listed, template: &str) -> Option<Target> {
        let list = PointerBuf::parse(format!("{template}/spec/initContainers")).ok()?;
        let index = position(listed.object.pointer(list.as_str())?)?;
        let (namespace, name) = (listed.metadata.namespace?, listed.metadata.name?);
        Some(Target { resource: resource.clone(), namespace, name, list, index })
    }

    /// The patch: it takes out the container at the index, if that is still ours.
    pub fn patch(&self) -> Patch {
        let container = self.list.clone().with_trailing_token(self.index);
        let name = container.clone().with_trailing_token("name");
        Patch(vec![
            PatchOperation::Test(TestOperation { path: name, value: NAME.into() }),
            PatchOperation::Remove(RemoveOperation { path: container }),
        ])
    }

    /// Sends the patch.
    ///
    /// # Errors
    /// When the API server refuses it for another reason than a change in the meantime.
    pub async fn eject(&self, client: &Client) -> Result<Ejected, ClusterError> {
        // Any kind, those of the policy among them: one field of its template is all that is looked at.
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &self.namespace, &self.resource);
        let parameters =
            PatchParams { field_manager: Some("prefect-guard-eject".to_owned()), ..PatchParams::default() };
        let patch = kube::api::Patch::Json::<()>(self.patch());
        match api.patch(&self.name, &parameters, &patch).await {
            Ok(object) if object.data.pointer(self.list.as_str()).and_then(position).is_some() => {
                Ok(Ejected::PutBack)
            }
            Ok(_) => Ok(Ejected::Removed),
            // 422: the `test` failed; 409: another write came first; 404: it is gone.
            Err(error) if matches!(status(&error), Some(404 | 409 | 422)) => Ok(Ejected::Changed),
            Err(error) => Err(ClusterError::new("patch", &self.resource.plural, error)),
        }
    }
}

fn position(list: &Value) -> Option<usize> {
    list.as_array()?.iter().position(|container| container["name"] == NAME)
}

/// Our webhook configurations that still stand: while they do, what is taken out is put back or refused.
///
/// `None` when this account may not look.
///
/// # Errors
/// When the API server cannot be reached.
pub async fn standing(client: &Client) -> Result<Option<Vec<String>>, ClusterError> {
    let (Some(mut found), Some(validating)) = (
        ours::<MutatingWebhookConfiguration>(client).await?,
        ours::<ValidatingWebhookConfiguration>(client).await?,
    ) else {
        return Ok(None);
    };
    found.extend(validating);
    Ok(Some(found))
}

async fn ours<K>(client: &Client) -> Result<Option<Vec<String>>, ClusterError>
where
    K: Configuration + Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let list = match Api::<K>::all(client.clone()).list(&ListParams::default()).await {
        Ok(list) => list,
        Err(error) if status(&error) == Some(403) => return Ok(None),
        Err(error) => return Err(ClusterError::new("list", &K::plural(&()), error)),
    };
    let ours = list.items.iter().filter(|configuration| {
        configuration.webhooks().iter().any(|(name, _)| name.ends_with(".prefect-guard.io"))
    });
    let names = ours.filter_map(|configuration| Configuration::metadata(configuration).name.as_deref());
    Ok(Some(names.map(|name| format!("{}webhookconfiguration/{name}", K::SORT)).collect()))
}

/// Whether the webhooks leave this namespace alone. What may not be looked at counts as watched.
///
/// # Errors
/// When the API server cannot be reached.
pub async fn opted_out(client: &Client, namespace: &str) -> Result<bool, ClusterError> {
    match Api::<Namespace>::all(client.clone()).get(namespace).await {
        Ok(object) => Ok(object.metadata.labels.is_some_and(|labels| {
            labels.get("prefect-guard.io/enabled").is_some_and(|value| value == "false")
        })),
        Err(error) if matches!(status(&error), Some(403 | 404)) => Ok(false),
        Err(error) => Err(ClusterError::new("get", "namespaces", error)),
    }
}
