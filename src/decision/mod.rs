//! The whole pipeline on one page: a request in, findings and a patch out.
//!
//! The answer depends on the request and the policy alone: never on other objects, time or replicas of us.

pub mod annotation;
pub mod secret;

use std::collections::BTreeSet;

use crate::json::{self, Object, Unreadable};
use crate::kubernetes::Workload;
use crate::kubernetes::kind::SPEC_TEMPLATE;
use crate::kubernetes::object::{Found, Located, classify, locate};
use crate::migration::blocker::Blocker;
use crate::migration::plan::Before;
use crate::migration::{self, Operation};
use crate::policy::annotations::Own;
use crate::policy::{Mode, Policy, Settings};
use crate::review::{Request, RequestAround};
use crate::rule::{self, Finding, Fix, Level, Ratchet, Rule, Scope, Severity};
use crate::rules::{self, CATALOGUE, Subject};
use crate::text::one_line;

/// Which endpoint asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/mutate`: applies fixes, never denies.
    Mutate,
    /// `/validate`: denies what is still wrong, never patches.
    Validate,
}

/// What was decided about one object.
#[derive(Debug, Default)]
pub struct Decision {
    /// What was found, in the order of the register, severities settled. In audit mode too.
    pub findings: Vec<Finding>,
    /// What `/mutate` does. Empty on `/validate`.
    pub operations: Vec<Operation>,
    /// What `/mutate` does to the workload's own annotations beside that, see [`annotation`]. Offline nobody wants it.
    pub annotations: Vec<Operation>,
    /// The edits in words (`inject`, `replace`, `move`, `remove`, `pin`, `annotate`, `lock`).
    pub edits: Vec<&'static str>,
    /// Rules that an annotation exempted from, where they would have reported something.
    pub exempted: Vec<&'static Rule>,
    /// Why, in the author's words, fit to be printed.
    pub reason: Option<String>,
    /// Whether the object is of a kind we judge, with a pod template that this request creates or changes.
    pub workload: bool,
    /// How many Prefect servers its template holds.
    pub servers: usize,
    /// Whether its author wants no migration for its server, and the policy lets them.
    pub opted_out: bool,
    /// Whether nothing is injected since something stands in the way of it.
    pub skipped: bool,
    /// Where the leading server's database setting comes from, for the audit log.
    pub database_source: Option<&'static str>,
    /// Nothing of this may reach the author: logs, metrics and audit annotations only.
    pub silent: bool,
}

impl Decision {
    /// Whether `/mutate` changes the object.
    pub fn patches(&self) -> bool {
        !self.operations.is_empty() || !self.annotations.is_empty()
    }

    /// What its author's annotations exempt it from, if from anything.
    pub fn exemption(&self) -> Option<Exemption> {
        let Decision { exempted, opted_out, reason, .. } = self;
        let some = !exempted.is_empty() || *opted_out || reason.is_some();
        some.then(|| Exemption { rules: exempted.clone(), injection: *opted_out, reason: reason.clone() })
    }

    /// Whether the object is refused.
    pub fn denies(&self) -> bool {
        !self.silent && self.findings.iter().any(|finding| finding.severity == Severity::Deny)
    }
}

/// What annotations exempt an object from.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Exemption {
    /// Rules that would have reported something.
    #[serde(serialize_with = "ids")]
    pub rules: Vec<&'static Rule>,
    /// Whether from the injection.
    pub injection: bool,
    /// Why, in the author's words, fit to be printed.
    pub reason: Option<String>,
}

fn ids<S: serde::Serializer>(rules: &[&Rule], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(rules.iter().map(|rule| rule.id))
}

impl Exemption {
    /// In one line: from what, and why.
    pub fn in_words(&self) -> String {
        let injection = (self.injection || self.rules.is_empty()).then_some("no injection");
        let from: Vec<&str> = injection.into_iter().chain(self.rules.iter().map(|rule| rule.id)).collect();
        format!("{}: {}", from.join(", "), self.reason.as_deref().unwrap_or("no reason given"))
    }
}

/// The most that is reported of an exemption's reason, in bytes.
const REASON: usize = 200;

/// Decides one request.
///
/// # Errors
/// When the object is not shaped as its kind should be; the error names the path and never a value.
pub fn decide(endpoint: Endpoint, request: &Request<'_>, policy: &Policy) -> Result<Decision, Unreadable> {
    if request.kind.is_secret() && concerns_us(request) {
        return decide_secret(endpoint, request, policy.settings(&request.namespace));
    }
    decide_workload(endpoint, request, policy, |object, found| locate(*object, found))
}

/// The same for a request whose objects were read in the same pass as the review. `None` where that is not enough: for a
/// Secret, and for a kind that has its pod template elsewhere than a Deployment.
///
/// # Errors
/// The same.
pub fn decide_around(
    endpoint: Endpoint,
    request: &RequestAround<'_>,
    policy: &Policy,
) -> Option<Result<Decision, Unreadable>> {
    let elsewhere = |found: Found<'_>| found.template != SPEC_TEMPLATE;
    let needs_text =
        request.kind.is_secret() || classify(&request.kind, policy.kinds()).is_some_and(elsewhere);
    (!needs_text).then(|| {
        decide_workload(endpoint, request, policy, |Object(object), found| Ok(object.clone().locate(found)))
    })
}

/// Decides one request for anything but a Secret; `locate` finds the template in an object as the request holds it.
fn decide_workload<'a, 'p: 'a, O>(
    endpoint: Endpoint,
    request: &Request<'a, O>,
    policy: &'p Policy,
    locate: impl Fn(&O, Found<'p>) -> Result<Located<'a, 'p>, Unreadable>,
) -> Result<Decision, Unreadable> {
    let (Some(object), true) = (&request.object, concerns_us(request)) else {
        return Ok(Decision::default());
    };
    let settings = policy.settings(&request.namespace);
    let Some(found) = classify(&request.kind, policy.kinds()) else { return Ok(Decision::default()) };
    let located = locate(object, found.clone())?;
    let before = match request.old_object.as_ref().filter(|_| &*request.operation == "UPDATE") {
        // An old object that cannot be read has nothing to say about the new one.
        Some(old) => locate(old, found).ok(),
        None => None,
    };
    let unchanged = is_unchanged(&located, before.as_ref());
    let scaled =
        endpoint == Endpoint::Validate && before.as_ref().is_some_and(|old| located.runs_otherwise(old));
    if located.terminating || located.template.is_none() || (unchanged && !scaled) {
        return Ok(Decision::default());
    }
    let kind = || request.kind.kind.0.clone();
    let Some(workload) = located.read(kind())? else {
        return Ok(Decision::default());
    };
    let before = before.and_then(|located| located.read(kind()).ok().flatten());
    match &before {
        Some(before) if unchanged => Ok(scale(&workload, before, settings)),
        _ => Ok(judge(endpoint, &workload, before.as_ref(), settings)),
    }
}

/// A change of replicas or strategy alone: never denied, but one database file for several pods is worth a word.
fn scale(workload: &Workload<'_>, old: &Workload<'_>, settings: &Settings) -> Decision {
    let find = |workload: &Workload<'_>, own: &Own<'_>| {
        let subject = Subject::examine(workload, settings, own, None);
        rules::check(&subject, |rule| rule.scope == Scope::ObjectAndScale)
    };
    let own = Own::read(&workload.template.metadata.annotations, CATALOGUE);
    let mut found = find(workload, &own);
    let stood = find(old, &Own::read(&old.template.metadata.annotations, CATALOGUE));
    let stood: BTreeSet<_> = stood.iter().map(Finding::fault).collect();
    found.retain(|finding| !stood.contains(&finding.fault()));
    for finding in &mut found {
        finding.only_warn(Some("the pod template is as it was"));
    }
    let mut decision = Decision { silent: settings.mode == Mode::Audit, ..Decision::default() };
    decision.findings = settle(found, &own, settings, &mut decision.exempted);
    rule::fold(&mut decision.findings);
    decision
}

/// A Secret that says it holds a database URL.
fn decide_secret(
    endpoint: Endpoint,
    request: &Request<'_>,
    settings: &Settings,
) -> Result<Decision, Unreadable> {
    if endpoint == Endpoint::Mutate {
        return Ok(Decision::default());
    }
    let mut decision = Decision { silent: settings.mode == Mode::Audit, ..Decision::default() };
    let found = secret::check(request, settings)?;
    decision.findings = settle(found, &Own::default(), settings, &mut decision.exempted);
    Ok(decision)
}

/// Deletions, connections and subresources (`scale`, `status`) pass unseen.
fn concerns_us<O>(request: &Request<'_, O>) -> bool {
    matches!(&*request.operation, "CREATE" | "UPDATE") && request.sub_resource.is_empty()
}

/// An update that leaves the template alone is never mutated nor denied.
fn is_unchanged(new: &Located<'_, '_>, old: Option<&Located<'_, '_>>) -> bool {
    match (new.template, old.and_then(|old| old.template)) {
        (Some(new), Some(old)) => json::same(new.get(), old.get()),
        _ => false,
    }
}

/// Findings and edits for one workload.
fn judge(
    endpoint: Endpoint,
    workload: &Workload<'_>,
    old: Option<&Workload<'_>>,
    settings: &Settings,
) -> Decision {
    let own = Own::read(&workload.template.metadata.annotations, CATALOGUE);
    let before = old.map(|workload| Before { workload });
    let subject = Subject::examine(workload, settings, &own, before.as_ref());
    let mut decision = Decision {
        workload: true,
        servers: subject.servers.len(),
        database_source: subject.lead().and_then(|lead| lead.database.source()),
        opted_out: matches!(subject.plan.blocker, Some(Blocker::OptedOut)),
        skipped: subject.plan.is_prevented(),
        silent: settings.mode == Mode::Audit,
        ..Decision::default()
    };
    let annotates =
        endpoint == Endpoint::Mutate && !decision.silent && annotation::is_wanted(workload, settings);
    // `/mutate` needs what it can correct; the rest only for the annotation.
    let every = endpoint == Endpoint::Validate || annotates;
    let mut found = rules::check(&subject, |rule| every || rule.fix.is_some());
    let left: Vec<Finding> = match endpoint {
        Endpoint::Mutate => found.extract_if(.., |finding| finding.fix.is_none()).collect(),
        Endpoint::Validate => Vec::new(),
    };
    decision.findings = settle(found, &own, settings, &mut decision.exempted);
    let is_exempt = !decision.exempted.is_empty() || own.opts_out(settings);
    decision.reason = own.allow_reason.filter(|_| is_exempt).map(|why| one_line(why, REASON));
    if endpoint == Endpoint::Validate && decision.denies() {
        ratchet(&mut decision.findings, old, settings);
    }
    // A Job's template is immutable: what was locked is put back, whatever the policy says of it now.
    let restored = match endpoint {
        Endpoint::Mutate if old.is_some() => subject.plan.locks.iter().collect(),
        _ => Vec::new(),
    };
    if !restored.is_empty() {
        decision.edits = restored.iter().map(|fix| fix.verb()).collect();
        decision.operations = migration::operations(workload, &restored);
    } else if endpoint == Endpoint::Mutate && !decision.silent {
        if annotates {
            let left = settle_left(&subject, &decision.findings, left);
            decision.annotations = annotation::operations(workload, &left);
        }
        let fixes: Vec<&Fix> = decision.findings.iter().filter_map(|finding| finding.fix.as_ref()).collect();
        decision.edits = fixes.iter().map(|fix| fix.verb()).collect();
        decision.edits.extend((!decision.annotations.is_empty()).then_some("annotate"));
        decision.operations = migration::operations(workload, &fixes);
    }
    rule::fold(&mut decision.findings);
    decision
}

/// What `/validate` would say of the workload once it is corrected, were it a new one: what no fix was found for. Rules
/// look at the plan for our container and not at what stands there, so correcting it changes nothing else; what stands
/// in one that is replaced goes with it. What is exempted is not counted here: logs and metrics have it from `/validate`.
fn settle_left(subject: &Subject<'_>, fixed: &[Finding], mut left: Vec<Finding>) -> Vec<Finding> {
    let replaced = |fix: &Fix| matches!(fix, Fix::Place { remove: Some(_), .. } | Fix::Remove { .. });
    if fixed.iter().filter_map(|finding| finding.fix.as_ref()).any(replaced) {
        left.retain(|finding| finding.place.container.as_deref() != Some(migration::container::NAME));
    }
    let mut left = settle(left, subject.own, subject.settings, &mut Vec::new());
    rule::fold(&mut left);
    left
}

/// Applies policy, exemptions and mode.
fn settle(
    found: Vec<Finding>,
    own: &Own<'_>,
    settings: &Settings,
    exempted: &mut Vec<&'static Rule>,
) -> Vec<Finding> {
    let mut kept = Vec::with_capacity(found.len());
    for mut finding in found {
        let set = settings.set(finding.rule);
        let level = set.map_or(finding.rule.default, |set| set.level).min(finding.at_most);
        if level == Level::Off {
            continue;
        }
        if own.allow.contains(&finding.rule) && settings.may_exempt(finding.rule) {
            if !exempted.contains(&finding.rule) {
                exempted.push(finding.rule);
            }
            continue;
        }
        finding.severity =
            if level == Level::Deny && settings.mode != Mode::Warn { Severity::Deny } else { Severity::Warn };
        if let Some(set) = set.filter(|set| finding.note.is_none() && set.level == level) {
            finding.note = Some(format!("set by the policy, line {}", set.line).into());
        }
        kept.push(finding);
    }
    kept
}

/// A fault that stood in the old object already only warns, so that a restart or an image bump of an old, faulty
/// server goes through. What `/mutate` would have corrected, and destructive commands, still deny.
fn ratchet(findings: &mut [Finding], old: Option<&Workload<'_>>, settings: &Settings) {
    let Some(old) = old else { return };
    let own = Own::read(&old.template.metadata.annotations, CATALOGUE);
    let stood = rules::check(&Subject::examine(old, settings, &own, None), |_| true);
    let stood: BTreeSet<_> = stood.iter().map(Finding::fault).collect();
    for finding in findings.iter_mut().filter(|finding| finding.severity == Severity::Deny) {
        let always = finding.fix.is_some() || finding.rule.ratchet == Ratchet::Holds;
        if !always && stood.contains(&finding.fault()) {
            finding.severity = Severity::Warn;
            finding.note = Some("it was there before this change".into());
        }
    }
}
