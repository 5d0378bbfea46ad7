//! The borrowed view of an AdmissionReview's request.

use std::borrow::Cow;

use serde::Deserialize;

use crate::json::{Object, Raw, Unreadable, null_is_default, object, parse};
pub use crate::kubernetes::kind::GroupVersionKind;
use crate::kubernetes::object::Around;
use crate::kubernetes::pod::{Text, show_only};

show_only!(Request: uid, kind, sub_resource, name, namespace, operation, dry_run);

/// `request` of an AdmissionReview (`admission.k8s.io/v1`), as far as we read it. Its objects are left as text, or are
/// `O`.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>, 'de: 'a"))]
pub struct Request<'a, O = Raw<'a>> {
    /// Echoed byte for byte.
    #[serde(borrow)]
    pub uid: Text<'a>,
    /// The kind the object was converted to (not what the user sent).
    #[serde(borrow, default, deserialize_with = "object")]
    pub kind: GroupVersionKind<'a>,
    /// `status`, `scale`…; empty for the object itself.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub sub_resource: Text<'a>,
    /// Empty with `generateName`.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub name: Text<'a>,
    /// The namespace.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub namespace: Text<'a>,
    /// What is being done.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub operation: Text<'a>,
    /// Whether nothing will be stored.
    #[serde(default, deserialize_with = "null_is_default")]
    pub dry_run: bool,
    /// The object as it would be stored; absent for DELETE.
    pub object: Option<O>,
    /// The object as it is stored; absent for CREATE.
    pub old_object: Option<O>,
}

/// A request whose objects were read around their pod templates.
pub type RequestAround<'a> = Request<'a, Object<Around<'a>>>;

/// What an object says of itself.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(crate) api_version: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(crate) kind: Text<'a>,
    #[serde(borrow, default, deserialize_with = "object")]
    pub(crate) metadata: Meta<'a>,
}

#[derive(Default, serde::Deserialize)]
pub(crate) struct Meta<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(crate) name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(crate) namespace: Text<'a>,
    /// Empty for a manifest: the API server gives it.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(crate) uid: Text<'a>,
}

impl<'a> Request<'a> {
    /// The CREATE request that `kubectl apply` of this manifest (one object as JSON text) would cause.
    pub fn of_manifest(json: &'a str) -> Result<Self, Unreadable> {
        let manifest: Manifest<'a> = parse(json)?;
        let (group, version) = match manifest.api_version.0 {
            Cow::Borrowed(text) => match text.split_once('/') {
                Some((group, version)) => (Text::from(group), Text::from(version)),
                None => (Text::default(), Text::from(text)),
            },
            Cow::Owned(text) => match text.split_once('/') {
                Some((group, version)) => {
                    (Text(Cow::Owned(group.to_owned())), Text(Cow::Owned(version.to_owned())))
                }
                None => (Text::default(), Text(Cow::Owned(text))),
            },
        };
        Ok(Request {
            kind: GroupVersionKind { group, version, kind: manifest.kind },
            name: manifest.metadata.name,
            namespace: manifest.metadata.namespace,
            operation: Text::from("CREATE"),
            object: Some(Raw::of(json)?),
            ..Request::default()
        })
    }
}
