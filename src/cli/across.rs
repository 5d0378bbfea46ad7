//! Rules that need to see several objects: what `check` and `audit` know and a webhook cannot.

use std::collections::BTreeMap;

use serde_json::Value;

use super::report::{About, Found, Source};
use crate::kubernetes::annotations::Own;
use crate::kubernetes::object::{classify, locate};
use crate::policy::{Mode, Policy};
use crate::review::Request;
use crate::rule::{Finding, Level, Rule, Severity};
use crate::rules::{
    Subject, psg116_service_link_collision as collision, psg303_migration_job_image_drift as image_drift,
};

/// Collects what the rules need of each object, and asks them at the end.
pub(super) struct Across<'p> {
    policy: &'p Policy,
    kept: Vec<Kept>,
    images: Vec<image_drift::Seen>,
    names: Vec<collision::Seen>,
}

/// An object as its findings will name it.
struct Kept {
    about: About,
    exempt: Vec<&'static Rule>,
    sources: BTreeMap<String, Source>,
}

impl<'p> Across<'p> {
    pub(super) fn new(policy: &'p Policy) -> Self {
        Across { policy, kept: Vec::new(), images: Vec::new(), names: Vec::new() }
    }

    /// Takes note of one object; `locate_source` tells where a pointer into it leads in its file.
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
            self.names.push(collision::Seen::service(&about.namespace, &about.resource));
            self.images.push(image_drift::Seen {
                namespace: about.namespace.clone(),
                servers: Vec::new(),
                migrations: Vec::new(),
            });
            self.kept.push(Kept { about, exempt: Vec::new(), sources: BTreeMap::new() });
            return Some(());
        }
        let found = classify(&request.kind, self.policy.kinds())?;
        let located = locate(request.object?, found).ok()?;
        let workload = located.read(request.kind.kind.0.clone()).ok()??;
        let settings = self.policy.settings(&request.namespace);
        let own = Own::read(&workload.template.metadata.annotations);
        let subject = Subject::examine(&workload, settings, &own, None);
        let images = image_drift::Seen::of(&subject, &about.namespace);
        let names = collision::Seen::of(&subject, &about.namespace);
        let places = images
            .migrations
            .iter()
            .map(|(place, _)| place)
            .chain(names.servers.iter().map(|(place, _)| place));
        let pointers = places.map(|place| place.pointer.clone());
        let sources =
            pointers.filter_map(|pointer| Some((pointer.clone(), locate_source(&pointer)?))).collect();
        let exempt = own.allow.iter().copied().filter(|rule| settings.may_exempt(rule)).collect();
        self.images.push(images);
        self.names.push(names);
        self.kept.push(Kept { about: about.clone(), exempt, sources });
        Some(())
    }

    /// The findings over all objects.
    pub(super) fn finish(self) -> Vec<Found> {
        let mut findings = collision::across(&self.names);
        findings.extend(image_drift::across(&self.images));
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
