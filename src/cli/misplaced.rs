//! What the rules find in a manifest outside of its pod template, as far as the policy wants to hear of it.

use serde_json::Value;

use crate::kubernetes::kind::GroupVersionKind;
use crate::kubernetes::object::classify;
use crate::policy::Policy;
use crate::policy::annotations::PREFIX;
use crate::rule::{Finding, Level, Rule};
use crate::rules::{self, Manifest};

/// The findings about an object's own metadata; nothing for kinds that are not judged.
pub(super) fn find(object: &Value, policy: &Policy) -> Vec<Finding> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let group = text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
    let kind = GroupVersionKind { group: group.into(), kind: text("/kind").into(), ..Default::default() };
    let Some(found) = classify(&kind, policy.kinds()) else { return Vec::new() };
    let settings = policy.settings(text("/metadata/namespace"));
    let annotations =
        object.pointer(&format!("{}/metadata/annotations", found.template)).and_then(Value::as_object);
    let allow = annotations.and_then(|known| known.get(&format!("{PREFIX}allow"))?.as_str());
    let exempt = |rule: &Rule| {
        let mut named = allow.unwrap_or_default().split(',').filter_map(rules::find);
        settings.may_exempt(rule) && named.any(|one| one == rule)
    };
    let mut findings = rules::check_manifest(&Manifest { object, template: found.template.as_str() });
    findings.retain(|finding| settings.level(finding.rule) != Level::Off && !exempt(finding.rule));
    findings
}
