//! Annotations of ours where nothing reads them. The webhook never looks there: a manifest's author can be told.

use serde_json::Value;

use crate::kubernetes::object::classify;
use crate::policy::Policy;
use crate::policy::annotations::{KEYS, PREFIX};
use crate::review::request::GroupVersionKind;
use crate::rule::{Finding, Level, Place, Report};
use crate::rules::{self, psg903_unknown_annotation::RULE};
use crate::text::clip;

/// What stands on the object's own metadata instead of its pod template's, or is no text.
pub(super) fn find(object: &Value, policy: &Policy) -> Vec<Finding> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let group = text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
    let kind = GroupVersionKind { group: group.into(), kind: text("/kind").into(), ..Default::default() };
    let Some(found) = classify(&kind, policy.kinds()) else { return Vec::new() };
    let settings = policy.settings(text("/metadata/namespace"));
    let below = |pointer: &str| object.pointer(pointer).and_then(Value::as_object);
    let ours = format!("{}/metadata/annotations", found.template);
    let allowed = |key: &str| {
        let names = below(&ours).and_then(|known| known.get(key)?.as_str()).unwrap_or_default();
        settings.may_exempt(&RULE) && names.split(',').any(|name| rules::find(name.trim()) == Some(&RULE))
    };
    if settings.level(&RULE) == Level::Off || allowed(&format!("{PREFIX}allow")) {
        return Vec::new();
    }
    let mut report = Report::default();
    for (key, _) in KEYS {
        let name = format!("{PREFIX}{key}");
        let place =
            |map: &str| Place { pointer: format!("{map}/prefect-guard.io~1{key}"), ..Place::default() };
        let on_template = below(&ours).and_then(|known| known.get(&name));
        if on_template.is_some_and(|value| !value.is_string()) {
            let what = format!("annotation `{name}` is no text: the API server refuses it");
            report.add(&RULE, place(&ours), what, "put its value into quotes: `\"false\"`");
        }
        let own = "/metadata/annotations";
        if on_template.is_none() && below(own).is_some_and(|known| known.contains_key(&name)) {
            let what = format!("annotation `{name}` is not read here, and does nothing");
            let help =
                format!("put it on the pod template: `{}`", clip(&found.template[1..].replace('/', "."), 80));
            report.add(&RULE, place(own), what, format!("{help} under `metadata.annotations`"));
        }
    }
    report.into_findings()
}
