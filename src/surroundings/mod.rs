//! What stands beside a workload in the same stream: Secrets, ConfigMaps, Namespaces, autoscalers, by name.
//!
//! `check` collects it and puts it into a copy of each workload; the webhook sees one object and has none of it. Where two
//! of the objects with values and one name say different things, neither is used.

mod collect;
pub mod fill;
mod script;

use std::collections::BTreeMap;

use crate::environment::HIDDEN;

/// What was collected of a stream.
#[derive(Default)]
pub struct Surroundings {
    maps: BTreeMap<Name, Map>,
    namespaces: BTreeMap<String, Namespace>,
    autoscalers: Vec<Autoscaler>,
}

/// Of which kind a map is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Secret,
    ConfigMap,
}

/// A Secret or a ConfigMap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    kind: Kind,
    namespace: String,
    name: String,
}

/// What a Secret or a ConfigMap holds, as far as the stream shows it.
#[derive(Default)]
struct Map {
    /// The object that says so, for people: ``Secret `db` ``.
    said_by: String,
    /// The values by their keys; `None` where there is a key, and its value is not visible.
    values: BTreeMap<String, Option<String>>,
    /// Whether these are all its keys.
    complete: bool,
}

/// The labels and annotations of a Namespace.
#[derive(Default)]
struct Namespace {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// What sets the number of a workload's pods.
struct Autoscaler {
    namespace: String,
    /// The kind and the name of what it scales.
    target: (String, String),
    /// How many pods it goes up to.
    most: i64,
    /// The object, for people.
    said_by: String,
}

impl Surroundings {
    /// Whether a text may hold an object that is of use here: most do not, and need not be read twice.
    pub fn may_be_in(text: &str) -> bool {
        ["Secret", "ConfigMap", "Namespace", "HorizontalPodAutoscaler", "ScaledObject"]
            .iter()
            .any(|kind| text.contains(kind))
    }

    /// The value of a label of a Namespace.
    pub fn namespace_label(&self, namespace: &str, label: &str) -> Option<&str> {
        self.namespaces.get(namespace)?.labels.get(label).map(String::as_str)
    }

    fn map(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Map> {
        let name = Name { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        self.maps.get(&name)
    }
}
