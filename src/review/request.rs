//! The borrowed view of an AdmissionReview's request.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json::{self, Kept, Readable, readable};
use crate::kubernetes::PodTemplate;
use crate::kubernetes::outline::Outline;
use crate::kubernetes::pod::{Text, null_is_default, show_only};

show_only!(Request: uid, kind, sub_resource, name, namespace, operation, dry_run);

/// `request` of an AdmissionReview (`admission.k8s.io/v1`), as far as we read it.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Echoed byte for byte.
    #[serde(borrow)]
    pub uid: Text<'a>,
    /// The kind the object was converted to (not what the user sent).
    #[serde(borrow, default)]
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
    #[serde(borrow)]
    pub object: Option<Raw<'a>>,
    /// The object as it is stored; absent for CREATE.
    #[serde(borrow)]
    pub old_object: Option<Raw<'a>>,
    /// The object's pod template (`spec.template`), where it was read while the review was checked. Its text is a part
    /// of the object's.
    #[serde(skip)]
    pub(crate) template: Option<Kept<'a, PodTemplate<'a>>>,
}

/// One JSON value as text, byte for byte. Well-formed; its content may be secret, so it is not for printing.
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    text: &'a str,
    outline: Option<Outline<'a>>,
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Raw<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|value| Raw::checked(value.get(), None))
    }
}

impl<'a> Raw<'a> {
    /// Text that is known to be well-formed, with what was noted while that was found out.
    pub(crate) fn checked(text: &'a str, outline: Option<Outline<'a>>) -> Self {
        Raw { text, outline }
    }

    /// The text.
    pub fn get(self) -> &'a str {
        self.text
    }

    /// What was noted of it on the way, if anything was.
    pub(crate) fn outline(&self) -> Option<&Outline<'a>> {
        self.outline.as_ref()
    }
}

impl std::fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

/// A group, version and kind.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct GroupVersionKind<'a> {
    /// `apps`; empty for the core group.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub group: Text<'a>,
    /// `v1`.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub version: Text<'a>,
    /// `Deployment`.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub kind: Text<'a>,
}

readable! {
    GroupVersionKind<'a> { "group": group, "version": version, "kind": kind }
}

/// What a manifest says of itself.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    api_version: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    kind: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    metadata: Meta<'a>,
}

#[derive(Default, serde::Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    namespace: Text<'a>,
}

/// Why an object could not be read: the path to the fault and what is wrong there. Never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {problem}")]
pub struct Unreadable {
    /// The field's path: `spec.template.spec.containers[0].command`.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
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
            object: Some(parse(json)?),
            ..Request::default()
        })
    }
}

/// Parses JSON text into a view; a failure names the path and never quotes a value.
pub fn parse<'a, T: serde::Deserialize<'a>>(json: &'a str) -> Result<T, Unreadable> {
    serde_json::from_str(json).map_err(|_| why::<T>(json, "is followed by something that is no JSON"))
}

/// How many objects a part of a review may hold. As text an object may be two bytes, as a container that was read it is
/// 500; the 1.5 MiB that etcd takes hold some 20 000 as people write them.
const MOST_OBJECTS: usize = 100_000;

/// Whether a text holds more objects than are read.
pub(crate) fn has_too_many_objects(text: &str) -> bool {
    text.len() > MOST_OBJECTS && memchr::memchr_iter(b'{', text.as_bytes()).count() > MOST_OBJECTS
}

/// Reads a part of a text that is known to be well-formed into a view.
pub(crate) fn read<'a, T: Readable<'a> + serde::Deserialize<'a>>(part: &'a str) -> Result<T, Unreadable> {
    if has_too_many_objects(part) {
        let problem = format!("holds more objects than are read ({MOST_OBJECTS})");
        return Err(Unreadable { path: ".".to_owned(), problem });
    }
    // What serde_json would take is a view written as the list of its values: the API server knows no such thing.
    json::read(part).ok_or_else(|| why::<T>(part, "should be an object"))
}

/// Parses once more to learn where it failed; the happy path does not pay for it. `otherwise` is what is wrong where
/// serde_json finds nothing.
fn why<'a, T: serde::Deserialize<'a>>(json: &'a str, otherwise: &str) -> Unreadable {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => Unreadable { path: ".".to_owned(), problem: otherwise.to_owned() },
        Err(error) => {
            let path = error.path().to_string();
            let inner = error.into_inner();
            let problem = match inner.classify() {
                serde_json::error::Category::Data => describe(&inner.to_string()),
                _ => format!("is no JSON (line {}, column {})", inner.line(), inner.column()),
            };
            Unreadable { path, problem }
        }
    }
}

/// serde's message without the value it quotes: `invalid type: string "hunter2", expected a sequence`.
fn describe(message: &str) -> String {
    match message.rsplit_once("expected ") {
        Some((_, expected)) => {
            let expected = match expected.split(" at line ").next().unwrap_or(expected) {
                "a map" => "an object",
                structure if structure.starts_with("struct ") => "an object",
                "a sequence" => "a list",
                "a borrowed string" => "a string",
                other => other,
            };
            format!("should be {expected}")
        }
        None if message.contains("missing field") => "lacks a field that it needs".to_owned(),
        None => "has an unexpected value".to_owned(),
    }
}
