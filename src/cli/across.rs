//! Runs the rules that need to see several objects: `check` and `audit` know them, a webhook cannot.

use std::collections::BTreeMap;

use serde_json::Value;

use super::report::{About, Found, Source};
use crate::kubernetes::object::{classify, locate};
use crate::policy::annotations::Own;
use crate::policy::{Mode, Policy};
use crate::review::Request;
use crate::rule::{Finding, Level, Rule, Severity};
use crate::rules::{self, CATALOGUE, Subject, stream::Seen};

/// Collects what the rules need of each object, and asks them at the end.
pub(super) struct Across<'p> {
    policy: &'p Policy,
    kept: Vec<Kept>,
    seen: Vec<Seen>,
}

/// An object as its findings will name it.
struct Kept {
    about: About,
    exempt: Vec<&'static Rule>,
    sources: BTreeMap<String, Source>,
}

impl<'p> Across<'p> {
    pub(super) fn new(policy: &'p Policy) -> Self {
        Across { policy, kept: Vec::new(), seen: Vec::new() }
    }

    /// Takes note of one object; `locate_source` says where a pointer into it leads in its file.
    pub(super) fn add(
        &mut self,
        object: &Value,
        about: &About,
        locate_source: &dyn Fn(&str) -> Option<Source>,
    ) {
        let text = object.to_string();
        // What cannot be read was reported when it was judged.
        let _ = self.read(&text, about, locate_source);
    }

    fn read(
        &mut self,
        text: &str,
        about: &About,
        locate_source: &dyn Fn(&str) -> Option<Source>,
    ) -> Option<()> {
        let request = Request::of_manifest(text).ok()?;
        if &*request.kind.kind == "Service" && request.kind.group.is_empty() {
            let about = about.clone();
            self.seen.push(Seen::service(&about.namespace, &about.resource, request.object?.get()));
            self.kept.push(Kept { about, exempt: Vec::new(), sources: BTreeMap::new() });
            return Some(());
        }
        let found = classify(&request.kind, self.policy.kinds())?;
        let located = locate(request.object?, found).ok()?;
        let workload = located.read(request.kind.kind.0.clone()).ok()??;
        let settings = self.policy.settings(&request.namespace);
        let own = Own::read(&workload.template.metadata.annotations, CATALOGUE);
        let subject = Subject::examine(&workload, settings, &own, None);
        let seen = Seen::workload(&subject, &about.namespace, &about.resource);
        let pointers = seen.places().map(|place| place.pointer.clone());
        let sources =
            pointers.filter_map(|pointer| Some((pointer.clone(), locate_source(&pointer)?))).collect();
        let exempt = own.allow.iter().copied().filter(|rule| settings.may_exempt(rule)).collect();
        self.seen.push(seen);
        self.kept.push(Kept { about: about.clone(), exempt, sources });
        Some(())
    }

    /// The findings over all objects.
    pub(super) fn finish(self) -> Vec<Found> {
        let findings = rules::check_stream(&self.seen);
        findings.into_iter().filter_map(|(index, finding)| self.settle(&self.kept[index], finding)).collect()
    }

    fn settle(&self, kept: &Kept, mut finding: Finding) -> Option<Found> {
        let settings = self.policy.settings(&kept.about.namespace);
        let level = settings.level(finding.rule).min(finding.at_most);
        if level == Level::Off || kept.exempt.contains(&finding.rule) {
            return None;
        }
        let denies = level == Level::Deny && settings.mode == Mode::Enforce;
        finding.severity = if denies { Severity::Deny } else { Severity::Warn };
        let source = kept.sources.get(&finding.place.pointer).cloned();
        Some(Found::new(finding, kept.about.clone(), source))
    }
}
