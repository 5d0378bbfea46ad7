//! PSG903: an annotation of ours that we do not understand.

use serde_json::Value;

use super::{Manifest, Subject};
use crate::policy::annotations::{KEYS, PREFIX, Position};
use crate::rule::{Level, Place, REPORTED, Report, Rule};
use crate::text::clip;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG903",
    name: "unknown-annotation",
    default: Level::Warn,
    since: "0.1.0",
    summary: "a `prefect-guard.io/` annotation that is not known",
    page: include_str!("psg903_unknown_annotation.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    for unknown in &subject.own.unknown {
        let key = clip(unknown.key, 63);
        let escaped = unknown.key.replace('~', "~0").replace('/', "~1");
        let place = place(subject, &escaped);
        let (what, help) = if unknown.value_only {
            (
                format!("annotation `prefect-guard.io/{key}` has a value that is not known"),
                format!("write {}", unknown.expected),
            )
        } else {
            (
                format!("annotation `prefect-guard.io/{key}` is not known, and does nothing"),
                unknown.expected.clone(),
            )
        };
        report.add(&RULE, place, what, help).about(unknown.key);
    }
    let exempts = if subject.own.allow.is_empty() { "inject" } else { "allow" };
    let is_exempt = !subject.own.allow.is_empty() || subject.own.opts_out(subject.settings);
    if subject.settings.reason_required && is_exempt && subject.own.allow_reason.is_none() {
        let what = format!(
            "annotation `prefect-guard.io/{exempts}` exempts without a reason, and the policy asks for one"
        );
        let help = "say why beside it: `prefect-guard.io/allow-reason: \"…\"`";
        report.add(&RULE, place(subject, exempts), what, help).about(exempts);
    }
    let labels = subject.workload.template.metadata.labels.iter();
    for key in labels.filter_map(|(name, _)| name.strip_prefix(PREFIX)).take(REPORTED) {
        let escaped = key.replace('~', "~0").replace('/', "~1");
        let template = &subject.workload.template_pointer;
        let pointer = format!("{template}/metadata/labels/prefect-guard.io~1{escaped}");
        let what = format!(
            "label `prefect-guard.io/{}` is not read on a pod template, and does nothing",
            clip(key, 63)
        );
        let help = match key {
            "enabled" => {
                "label the namespace with it, or write the annotation `prefect-guard.io/inject: \"false\"` here"
            }
            _ => "write it as an annotation, or take it out",
        };
        report.add(&RULE, Place { pointer, ..Place::default() }, what, help).about(key);
    }
    if subject.lead().is_some()
        && let Some(Position::Before(name) | Position::After(name)) = subject.own.position
        && !subject.workload.template.spec.init_containers().iter().any(|container| &*container.name == name)
    {
        let what = "annotation `prefect-guard.io/position` names an initContainer that is not there";
        let help = "name an initContainer of this pod template; without one the migration goes last";
        report.add(&RULE, place(subject, "position"), what, help).about(name);
    }
}

/// Annotations of ours where nothing reads them, or that are no text. The webhook never looks there; `check`
/// can report it to the author.
pub(super) fn check_manifest(manifest: &Manifest<'_>, report: &mut Report) {
    let below = |pointer: &str| manifest.object.pointer(pointer).and_then(Value::as_object);
    let on_template = format!("{}/metadata/annotations", manifest.template);
    for (key, _) in KEYS {
        let name = format!("{PREFIX}{key}");
        let place =
            |map: &str| Place { pointer: format!("{map}/prefect-guard.io~1{key}"), ..Place::default() };
        let known = below(&on_template).and_then(|known| known.get(&name));
        if known.is_some_and(|value| !value.is_string()) {
            let what = format!("annotation `{name}` is no text: the API server refuses it");
            report.add(&RULE, place(&on_template), what, "put its value into quotes: `\"false\"`");
        }
        let own = "/metadata/annotations";
        if known.is_none() && below(own).is_some_and(|known| known.contains_key(&name)) {
            let what = format!("annotation `{name}` is not read here, and does nothing");
            let template = clip(&manifest.template[1..].replace('/', "."), 80);
            let help = format!("put it on the pod template: `{template}` under `metadata.annotations`");
            report.add(&RULE, place(own), what, help);
        }
    }
}

/// Where an annotation of ours is; `key` is escaped already.
fn place(subject: &Subject<'_>, key: &str) -> Place {
    let template = &subject.workload.template_pointer;
    Place { pointer: format!("{template}/metadata/annotations/prefect-guard.io~1{key}"), ..Place::default() }
}
