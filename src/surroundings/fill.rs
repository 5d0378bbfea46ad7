//! A copy of a workload with what its surroundings say put in the place of references.
//!
//! The copy is for judging alone. Containers and variables keep their names, so that a finding about the copy leads back
//! to what the author wrote.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map as Fields, Value, json};

use super::{HIDDEN, Kind, Map, Surroundings, script};

/// A variable that stands for what a template will fill in.
const UNSEEN: &str = "UNSEEN";

/// A workload, filled in.
pub struct Filled {
    /// The copy.
    pub object: Value,
    /// What was used for it.
    pub used: Vec<Used>,
}

/// One thing that was put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The container; `None` where it is about the whole workload.
    pub container: Option<String>,
    /// The variable; `None` where it is about the container.
    pub variable: Option<String>,
    /// The object that says so: ``Secret `db` ``.
    pub said_by: String,
    /// Whether its value is, or holds, a Secret's.
    pub is_secret: bool,
}

impl Surroundings {
    /// The workload with its surroundings put in; `None` where none of them is of use.
    pub fn fill(&self, object: &Value, namespace: &str, template: &str) -> Option<Filled> {
        let mut filling = Filling { around: self, namespace, used: Vec::new() };
        let mut object = object.clone();
        filling.scale(&mut object);
        let template = object.pointer_mut(template)?.as_object_mut()?;
        filling.mesh(template);
        let spec = template.get_mut("spec")?.as_object_mut()?;
        let volumes = spec.get("volumes").cloned().unwrap_or_default();
        for list in ["initContainers", "containers"] {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                filling.container(container, &volumes);
            }
        }
        let used = filling.used;
        (!used.is_empty()).then_some(Filled { object, used })
    }
}

struct Filling<'s> {
    around: &'s Surroundings,
    namespace: &'s str,
    used: Vec<Used>,
}

impl<'s> Filling<'s> {
    fn scale(&mut self, object: &mut Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let target = (text("/kind"), text("/metadata/name"));
        let scales = self.around.autoscalers.iter().find(|one| {
            one.namespace == self.namespace && (&*one.target.0, &*one.target.1) == target && one.most > 1
        });
        let Some(scales) = scales else { return };
        let written = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
        if let Some(spec) = object.pointer_mut("/spec").and_then(Value::as_object_mut)
            && scales.most > written
        {
            spec.insert("replicas".to_owned(), scales.most.into());
            self.note(None, None, &scales.said_by, false);
        }
    }

    /// A mesh that the Namespace switches on is as if each pod asked for it, but for those that decline.
    fn mesh(&mut self, template: &mut Fields<String, Value>) {
        let Some(namespace) = self.around.namespaces.get(self.namespace) else { return };
        for known in &MESHES {
            let from = if known.by_label { &namespace.labels } else { &namespace.annotations };
            let Some(value) =
                from.get(known.key).filter(|value| known.on.is_empty() || known.on.contains(&value.as_str()))
            else {
                continue;
            };
            let pod_value = known.pod_value.unwrap_or(value);
            let own = |map: &str| template.get("metadata")?.get(map)?.get(known.pod_key);
            if own("labels").is_some() || own("annotations").is_some() {
                continue;
            }
            let map = if known.pod_label { "labels" } else { "annotations" };
            let metadata = template.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut()
                && let Some(map) = metadata.entry(map).or_insert_with(|| json!({})).as_object_mut()
            {
                map.insert(known.pod_key.to_owned(), pod_value.into());
                self.note(None, None, &format!("Namespace `{}`", self.namespace), false);
            }
        }
    }

    fn container(&mut self, container: &mut Fields<String, Value>, volumes: &Value) {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let script = |volume: &Value, key: &str| -> Option<(String, &'s str)> {
            let map = self.around.map(
                Kind::ConfigMap,
                self.namespace,
                volume.pointer("/configMap/name")?.as_str()?,
            )?;
            let text = map.values.get(key)?.as_ref()?;
            (!text.contains(HIDDEN)).then(|| (text.clone(), &*map.said_by))
        };
        if let Some((argv, said_by)) = script::put_in(container, volumes, &script) {
            container.insert("command".to_owned(), argv.into());
            container.remove("args");
            self.note(Some(&name), None, said_by, false);
        }
        self.variables(container, &name);
    }

    fn variables(&mut self, container: &mut Fields<String, Value>, name: &str) {
        let mut own = match container.get("env") {
            Some(Value::Array(own)) => own.clone(),
            _ => Vec::new(),
        };
        let before = self.used.len();
        let mut inherited = self.inherited(container, name, &own);
        let mut secrets: BTreeSet<String> = self.used[before..]
            .iter()
            .filter(|used| used.is_secret)
            .filter_map(|used| used.variable.clone())
            .collect();
        for variable in &mut own {
            self.variable(variable, name, &mut secrets);
        }
        if self.used.len() == before {
            return;
        }
        inherited.append(&mut own);
        let unseen = format!("$({UNSEEN})");
        if inherited.iter().any(|one| one["value"].as_str().is_some_and(|value| value.contains(&unseen))) {
            inherited.insert(0, reference(UNSEEN, Kind::Secret, UNSEEN, UNSEEN));
        }
        container.insert("env".to_owned(), inherited.into());
    }

    /// What `envFrom` brings in, as far as it is known; the sources that are wholly known are taken away.
    fn inherited(&mut self, container: &mut Fields<String, Value>, name: &str, own: &[Value]) -> Vec<Value> {
        let Some(sources) = container.get_mut("envFrom").and_then(Value::as_array_mut) else {
            return Vec::new();
        };
        let mut found: BTreeMap<String, (Value, Option<Used>)> = BTreeMap::new();
        sources.retain(|source| {
            let prefix = source.get("prefix").and_then(Value::as_str).unwrap_or_default();
            let Some((kind, object)) = [("secretRef", Kind::Secret), ("configMapRef", Kind::ConfigMap)]
                .into_iter()
                .find_map(|(key, kind)| Some((kind, source.get(key)?.get("name")?.as_str()?)))
            else {
                return true;
            };
            let known = self.around.map(kind, self.namespace, object);
            if known.is_none_or(|map| !map.complete) {
                // The last source of a name wins, and this one may hold any.
                for (variable, (entry, used)) in &mut found {
                    if let Some(key) = variable.strip_prefix(prefix) {
                        (*entry, *used) = (reference(variable, kind, object, key), None);
                    }
                }
            }
            let Some(map) = known else { return true };
            for (key, value) in &map.values {
                let variable = format!("{prefix}{key}");
                let entry = match value {
                    Some(value) => json!({"name": variable, "value": literal(value)}),
                    None => reference(&variable, kind, object, key),
                };
                let used = used(Some(name), Some(&variable), &map.said_by, kind == Kind::Secret);
                found.insert(variable, (entry, Some(used)));
            }
            !map.complete
        });
        if sources.is_empty() {
            container.remove("envFrom");
        }
        let own: BTreeSet<&str> = own.iter().filter_map(|variable| variable["name"].as_str()).collect();
        let found = found.into_iter().filter(|(name, _)| !own.contains(&**name));
        found
            .map(|(_, (entry, used))| {
                self.used.extend(used);
                entry
            })
            .collect()
    }

    /// One entry of `env`. `secrets` are the variables so far that hold something of a Secret.
    fn variable(&mut self, variable: &mut Value, container: &str, secrets: &mut BTreeSet<String>) {
        let name = variable["name"].as_str().unwrap_or_default().to_owned();
        if let Some(written) = variable["value"].as_str().filter(|value| !value.is_empty()) {
            let quoted = secrets
                .iter()
                .filter(|_| written.contains("$("))
                .find(|secret| written.contains(&format!("$({secret})")))
                .cloned();
            if let Some(quoted) = quoted {
                let of = self.used.iter().rev().find(|used| used.variable.as_ref() == Some(&quoted));
                if let Some(said_by) = of.map(|used| used.said_by.clone()) {
                    self.note(Some(container), Some(&name), &said_by, true);
                    secrets.insert(name);
                }
            }
            return;
        }
        let Some((kind, map, key)) = self.referred(variable) else { return };
        let Some(Some(value)) = map.values.get(key) else { return };
        let (said_by, value) = (map.said_by.clone(), literal(value));
        let is_secret = kind == Kind::Secret;
        *variable = json!({"name": name, "value": value});
        self.note(Some(container), Some(&name), &said_by, is_secret);
        if is_secret {
            secrets.insert(name);
        }
    }

    fn referred<'v>(&self, variable: &'v Value) -> Option<(Kind, &'s Map, &'v str)> {
        let from = variable.get("valueFrom")?;
        let (kind, key) = [("secretKeyRef", Kind::Secret), ("configMapKeyRef", Kind::ConfigMap)]
            .into_iter()
            .find_map(|(field, kind)| Some((kind, from.get(field)?)))?;
        let map = self.around.map(kind, self.namespace, key.get("name")?.as_str()?)?;
        Some((kind, map, key.get("key")?.as_str()?))
    }

    fn note(&mut self, container: Option<&str>, variable: Option<&str>, said_by: &str, is_secret: bool) {
        self.used.push(used(container, variable, said_by, is_secret));
    }
}

fn used(container: Option<&str>, variable: Option<&str>, said_by: &str, is_secret: bool) -> Used {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Used { container: owned(container), variable: owned(variable), said_by: said_by.to_owned(), is_secret }
}

/// What a reference brings in is not expanded again.
fn literal(value: &str) -> String {
    value.replace('$', "$$").replace(HIDDEN, &format!("$({UNSEEN})"))
}

fn reference(variable: &str, kind: Kind, name: &str, key: &str) -> Value {
    let field = match kind {
        Kind::Secret => "secretKeyRef",
        Kind::ConfigMap => "configMapKeyRef",
    };
    json!({"name": variable, "valueFrom": {field: {"name": name, "key": key}}})
}

/// How a Namespace switches a mesh on, and what says the same on a pod.
struct Mesh {
    by_label: bool,
    key: &'static str,
    /// The values that switch it on; any, where none is listed.
    on: &'static [&'static str],
    pod_label: bool,
    pod_key: &'static str,
    /// The value on the pod; `None` for that of the Namespace.
    pod_value: Option<&'static str>,
}

/// Sources: the references of Istio, Linkerd and Kuma. Consul has no key for a Namespace.
const MESHES: [Mesh; 4] = [
    Mesh {
        by_label: true,
        key: "istio-injection",
        on: &["enabled"],
        pod_label: true,
        pod_key: "sidecar.istio.io/inject",
        pod_value: Some("true"),
    },
    Mesh {
        by_label: true,
        key: "istio.io/rev",
        on: &[],
        pod_label: true,
        pod_key: "istio.io/rev",
        pod_value: None,
    },
    Mesh {
        by_label: false,
        key: "linkerd.io/inject",
        on: &["enabled", "ingress"],
        pod_label: false,
        pod_key: "linkerd.io/inject",
        pod_value: Some("enabled"),
    },
    Mesh {
        by_label: true,
        key: "kuma.io/sidecar-injection",
        on: &["enabled", "true"],
        pod_label: true,
        pod_key: "kuma.io/sidecar-injection",
        pod_value: Some("enabled"),
    },
];
