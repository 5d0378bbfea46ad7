//! A workload judged with what stands beside it in the stream: what the webhook says, and what is wrong besides.

use std::cmp::Reverse;

use serde_json::Value;

use super::judge::{self, Judge, Verdict, back};
use crate::json::Unreadable;
use crate::kubernetes::kind::GroupVersionKind;
use crate::kubernetes::object::classify;
use crate::policy::Policy;
use crate::rule::{Finding, Scope, Sight};
use crate::rules::CATALOGUE;
use crate::surroundings::Surroundings;
use crate::surroundings::fill::{Filled, Used};

/// Judges an object as the webhook would, then a copy of it with its surroundings put in. Gives that copy, too, where
/// there is one.
pub(super) fn judge(
    object: &Value,
    namespace: &str,
    (policy, how): (&Policy, Judge),
    around: &Surroundings,
) -> Result<(Verdict, Option<Filled>), Unreadable> {
    let verdict = judge::judge(object, policy, how)?;
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let group = text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
    let kind = GroupVersionKind { group: group.into(), kind: text("/kind").into(), ..Default::default() };
    let Some(filled) = classify(&kind, policy.kinds())
        .filter(|_| verdict.workload)
        .and_then(|found| around.fill(object, namespace, found.template.as_str()))
    else {
        return Ok((verdict, None));
    };
    // What was written can be read; that what was put in cannot is no reason to say less than the webhook does.
    let Ok(full) = judge::judge(&filled.object, policy, how) else { return Ok((verdict, None)) };
    let verdict = merge(verdict, &full, object, &filled);
    Ok((verdict, Some(filled)))
}

fn merge(plain: Verdict, full: &Verdict, object: &Value, filled: &Filled) -> Verdict {
    let stands = |finding: &Finding| plain.findings.iter().any(|known| is_same(known, finding));
    let mut more: Vec<Finding> = full
        .findings
        .iter()
        // The webhook, which sees less, would not correct it.
        .filter(|finding| finding.fix.is_none() && !stands(finding) && concerns(finding, &filled.used))
        .cloned()
        .collect();
    for finding in &mut more {
        finding.place.pointer = back(&finding.place.pointer, &filled.object, object);
        let sources = sources(finding, &filled.used);
        if !sources.is_empty() {
            add_note(finding, &format!("seen in {}", sources.join(" and ")));
        }
    }
    let mut findings = plain.findings;
    findings.retain(|finding| {
        finding.rule.sight != Sight::Unseen || full.findings.iter().any(|other| is_same(other, finding))
    });
    for finding in &mut findings {
        let script = filled.used.iter().find(|used| is_script_of(used, finding));
        let gone = !full.findings.iter().any(|other| is_same(other, finding));
        if let Some(script) = script.filter(|_| gone) {
            let what = format!("here it was read in {}; the webhook does not see it", script.said_by);
            add_note(finding, &what);
        }
    }
    findings.append(&mut more);
    let order = |finding: &Finding| CATALOGUE.rules().position(|rule| rule == finding.rule);
    findings.sort_by_key(|finding| (order(finding), Reverse(finding.severity)));
    let (servers, exemption) = (plain.servers.max(full.servers), full.exemption.clone());
    Verdict { workload: true, servers, findings, exemption }
}

fn is_same(one: &Finding, other: &Finding) -> bool {
    let key = |finding: &Finding| {
        (
            finding.rule.id,
            finding.place.container.clone(),
            finding.place.variable.clone(),
            finding.what.clone(),
        )
    };
    key(one) == key(other)
}

/// What is about the manifest's own words is no concern of a value that comes from a Secret.
fn concerns(finding: &Finding, used: &[Used]) -> bool {
    let from_secret = used.iter().any(|used| used.is_secret && is_variable_of(used, finding));
    finding.rule.sight != Sight::Written || !from_secret
}

fn is_variable_of(used: &Used, finding: &Finding) -> bool {
    used.variable.is_some()
        && (&used.container, &used.variable) == (&finding.place.container, &finding.place.variable)
}

fn is_script_of(used: &Used, finding: &Finding) -> bool {
    used.container.is_some() && used.variable.is_none() && used.container == finding.place.container
}

/// The objects without which it would not have been found: the nearest ones.
fn sources(finding: &Finding, used: &[Used]) -> Vec<String> {
    let scales = |used: &&Used| used.container.is_none() && finding.rule.scope == Scope::ObjectAndScale;
    let mut found: Vec<&Used> = used.iter().filter(scales).collect();
    let tries: [&dyn Fn(&&Used) -> bool; 4] = [
        &|used| is_variable_of(used, finding),
        &|used| is_script_of(used, finding),
        &|used| used.container.is_none(),
        &|used| used.container == finding.place.container,
    ];
    let nearest = tries
        .iter()
        .map(|wanted| used.iter().filter(wanted).collect())
        .find(|near: &Vec<_>| !near.is_empty());
    found.extend(nearest.into_iter().flatten());
    let mut names: Vec<String> = found.into_iter().map(|used| used.said_by.clone()).collect();
    names.sort();
    names.dedup();
    names.truncate(2);
    names
}

fn add_note(finding: &mut Finding, what: &str) {
    finding.note = Some(match &finding.note {
        Some(note) => format!("{note}; {what}").into(),
        None => what.to_owned().into(),
    });
}
