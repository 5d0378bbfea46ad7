//! From the objects of a stream to what they say of others.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map as Fields, Value};

use super::{Autoscaler, HIDDEN, Kind, Map, Name, Namespace, Surroundings};
use crate::text::clip;

impl Surroundings {
    /// Takes note of an object; `namespace` is where it would be applied.
    pub fn collect(&mut self, object: &Value, namespace: &str) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let group = text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let said_by = || format!("{kind} `{}`", clip(name, 63).replace('`', "'"));
        let mut add = |of: Kind, name: &str, map: Map| {
            let name = Name { kind: of, namespace: namespace.to_owned(), name: name.to_owned() };
            self.merge(name, map);
        };
        match (group, kind) {
            ("", "Secret") => add(Kind::Secret, name, secret(object, said_by())),
            ("", "ConfigMap") => {
                add(Kind::ConfigMap, name, plain(&[object.pointer("/data")], said_by()));
            }
            ("external-secrets.io", "ExternalSecret") => {
                let target = Some(text("/spec/target/name")).filter(|target| !target.is_empty());
                add(Kind::Secret, target.unwrap_or(name), external(object, said_by()));
            }
            ("bitnami.com", "SealedSecret") => add(Kind::Secret, name, sealed(object, said_by())),
            ("", "Namespace") => {
                let labels = strings(object.pointer("/metadata/labels"));
                let annotations = strings(object.pointer("/metadata/annotations"));
                self.namespaces.insert(name.to_owned(), Namespace { labels, annotations });
            }
            ("autoscaling", "HorizontalPodAutoscaler") => {
                let most = object.pointer("/spec/maxReplicas").and_then(Value::as_i64).unwrap_or(1);
                self.autoscalers.push(autoscaler(object, namespace, most, said_by()));
            }
            ("keda.sh", "ScaledObject") => {
                let most = object.pointer("/spec/maxReplicaCount").and_then(Value::as_i64).unwrap_or(100);
                self.autoscalers.push(autoscaler(object, namespace, most, said_by()));
            }
            _ => {}
        }
    }

    /// What is said twice and differently is not known.
    fn merge(&mut self, name: Name, map: Map) {
        let Some(known) = self.maps.get_mut(&name) else {
            self.maps.insert(name, map);
            return;
        };
        known.complete &= map.complete && known.values.keys().eq(map.values.keys());
        for (key, value) in map.values {
            match known.values.get_mut(&key) {
                Some(other) if *other != value => *other = None,
                Some(_) => {}
                None => {
                    known.values.insert(key, None);
                }
            }
        }
    }
}

/// One without any data is filled in by somebody else.
fn secret(object: &Value, said_by: String) -> Map {
    let mut map = plain(&[object.pointer("/stringData")], said_by);
    for (key, value) in fields(object.pointer("/data")) {
        let decoded = value.as_str().and_then(|text| STANDARD.decode(text.trim()).ok());
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).map(|text| visible(&text));
        map.values.entry(key.clone()).or_insert(decoded);
    }
    map.complete = !map.values.is_empty();
    map
}

fn plain(written: &[Option<&Value>], said_by: String) -> Map {
    let pairs = written.iter().flat_map(|map| fields(*map));
    let values: BTreeMap<_, _> =
        pairs.map(|(key, value)| (key.clone(), value.as_str().map(visible))).collect();
    Map { said_by, complete: !values.is_empty(), values }
}

/// The keys that the template gives.
fn external(object: &Value, said_by: String) -> Map {
    let templates: BTreeMap<_, _> = fields(object.pointer("/spec/target/template/data"))
        .map(|(key, value)| (key.clone(), value.as_str().and_then(templated)))
        .collect();
    let merges = object.pointer("/spec/target/template/mergePolicy").and_then(Value::as_str) == Some("Merge");
    let from = object.pointer("/spec/target/template/templateFrom").is_some();
    let complete = !templates.is_empty() && !merges && !from;
    Map { said_by, values: templates, complete }
}

/// The controller alone can open it: its keys are known, and what its template adds.
fn sealed(object: &Value, said_by: String) -> Map {
    let mut values: BTreeMap<_, _> =
        fields(object.pointer("/spec/encryptedData")).map(|(key, _)| (key.clone(), None)).collect();
    for (key, value) in fields(object.pointer("/spec/template/data")) {
        values.insert(key.clone(), value.as_str().and_then(templated));
    }
    let complete = !values.is_empty();
    Map { said_by, values, complete }
}

/// A template of Go's, with each `{{ … }}` hidden; `None` where it branches or repeats.
fn templated(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once("{{") {
        let (action, after) = inside.split_once("}}")?;
        let word = action.trim_matches(['-', ' ', '\n', '\t']).split([' ', '(']).next().unwrap_or_default();
        let steers =
            matches!(word, "if" | "else" | "end" | "range" | "with" | "define" | "block" | "template");
        if steers || word.starts_with('$') {
            return None;
        }
        out.push_str(&visible(before));
        out.push(HIDDEN);
        rest = after;
    }
    out.push_str(&visible(rest));
    Some(out)
}

fn autoscaler(object: &Value, namespace: &str, most: i64, said_by: String) -> Autoscaler {
    let text = |key: &str| object.pointer(&format!("/spec/scaleTargetRef/{key}")).and_then(Value::as_str);
    let target =
        (text("kind").unwrap_or("Deployment").to_owned(), text("name").unwrap_or_default().to_owned());
    Autoscaler { namespace: namespace.to_owned(), target, most, said_by }
}

fn fields(map: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.and_then(Value::as_object).into_iter().flat_map(Fields::iter)
}

fn strings(map: Option<&Value>) -> BTreeMap<String, String> {
    fields(map).filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn visible(text: &str) -> String {
    text.replace(HIDDEN, "\u{fffd}")
}
