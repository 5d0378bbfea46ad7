//! PSG903: an annotation of ours that we do not understand.

use super::Subject;
use crate::finding::{Level, Place, Report, Rule, clip};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG903",
    name: "unknown-annotation",
    default: Level::Warn,
    since: "0.1.0",
    fix: None,
    summary: "a `prefect-guard.io/` annotation that is not known",
    page: include_str!("psg903_unknown_annotation.md"),
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    for unknown in &subject.own.unknown {
        let key = clip(unknown.key, 63);
        let escaped = unknown.key.replace('~', "~0").replace('/', "~1");
        let template = &subject.workload.template_pointer;
        let pointer = format!("{template}/metadata/annotations/prefect-guard.io~1{escaped}");
        let place = Place { pointer, ..Place::default() };
        let (what, help) = if unknown.value_only {
            (format!("annotation `prefect-guard.io/{key}` has a value that is not known"), format!("write {}", unknown.expected))
        } else {
            (format!("annotation `prefect-guard.io/{key}` is not known, and does nothing"), unknown.expected.clone())
        };
        report.add(&RULE, place, what, help).about(unknown.key);
    }
}
