//! What looks like Prefect and is not judged, reported in one line a kind: an exit code of 0 is no approval of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::note;
use crate::manifest::Object;
use crate::text::{clip, printable};

/// What was reported already.
#[derive(Default)]
pub(super) struct PassedOver(BTreeSet<String>);

impl PassedOver {
    /// Says something once.
    pub(super) fn say(&mut self, what: String) {
        if !self.0.contains(&what) {
            note(format_args!("{what}"));
            self.0.insert(what);
        }
    }

    /// An object of a kind that is not judged.
    pub(super) fn unjudged(&mut self, object: &Object<'_>, value: &Value) {
        let group = object.api_version().split_once('/').map_or("", |(group, _)| group);
        let kind = object.kind();
        // What a Deployment makes is judged there; what others read is judged with them.
        let is_known = matches!(
            kind,
            "ReplicaSet" | "ControllerRevision" | "Secret" | "ConfigMap" | "ExternalSecret" | "SealedSecret"
        );
        if is_known || !speaks_of_a_server(group, kind, value) {
            return;
        }
        let (kind, group) = (printable(kind), printable(group));
        if let Some(template) = template_of(value) {
            self.say(format!(
                "kind {kind} holds a pod template and is not judged; name it in `kinds` of a policy: \
                 `{{group: \"{group}\", kind: {kind}, template: {template}}}`"
            ));
            return;
        }
        let help = match (&*group, &*kind) {
            ("prefect.io", _) => "the Deployment that prefect-operator makes of it can be judged by `audit`",
            ("helm.toolkit.fluxcd.io" | "helm.cattle.io" | "argoproj.io", _) => {
                "judge what its chart makes: `helm template … | prefect-guard check -`"
            }
            (_, "Kustomization") => "judge what it makes: `kustomize build . | prefect-guard check -`",
            _ => "render what it stands for, and judge that",
        };
        self.say(format!("{kind} `{}` speaks of Prefect and is not judged; {help}", clip(object.name(), 63)));
    }

    /// A workload that lacks what the API server asks for is a patch.
    pub(super) fn patch(&mut self, object: &Object<'_>, value: &Value) {
        let Some(template) = template_of(value) else { return };
        let containers = value.pointer(&format!("{template}/spec/containers")).and_then(Value::as_array);
        let lacks_image = |container: &Value| container.get("image").is_none();
        if speaks(value) && containers.is_some_and(|containers| containers.iter().any(lacks_image)) {
            self.say(format!(
                "{} `{}` has a container without an image, as a patch does; judge the whole: \
                 `kustomize build . | prefect-guard check -`",
                printable(object.kind()),
                clip(object.name(), 63)
            ));
        }
    }
}

/// The pod template of an object, where kinds usually have it.
fn template_of(value: &Value) -> Option<&'static str> {
    let known = ["/spec/template", "/spec/jobTemplate/spec/template"];
    known
        .into_iter()
        .find(|pointer| value.pointer(&format!("{pointer}/spec/containers")).is_some_and(Value::is_array))
}

fn speaks_of_a_server(group: &str, kind: &str, value: &Value) -> bool {
    (group, kind) == ("prefect.io", "PrefectServer") || speaks(value)
}

/// Whether an object names Prefect's image, chart, command or settings; a label or a host name is not enough.
fn speaks(value: &Value) -> bool {
    let is_setting = |text: &str| text.starts_with("PREFECT_");
    match value {
        Value::String(text) => {
            let names =
                ["prefecthq/prefect", "prefect server start", "prefect-server start", "prefect orion start"];
            is_setting(text) || names.iter().any(|name| text.contains(name))
        }
        Value::Array(items) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            words.windows(2).any(|pair| pair == ["prefect", "server"]) || items.iter().any(speaks)
        }
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            let is_chart =
                key == "chart" && value.as_str().is_some_and(|chart| chart.contains("prefect-server"));
            is_chart || is_setting(key) || speaks(value)
        }),
        _ => false,
    }
}
