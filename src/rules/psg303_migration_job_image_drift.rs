//! PSG303: a migration Job with another image than the server it serves. Needs to see several objects, so it runs
//! in `check` and `audit` only.

use super::Subject;
use crate::rule::{Finding, Level, Place, Report, Rule};
use crate::kubernetes::image::ImageRef;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG303",
    name: "migration-job-image-drift",
    default: Level::Warn,
    since: "0.1.0",
    fix: None,
    summary: "a migration Job with another image than the server it serves (`check`, `audit`)",
    page: include_str!("psg303_migration_job_image_drift.md"),
};

/// One object says nothing about this rule.
pub(super) fn check(_: &Subject<'_>, _: &mut Report) {}

/// What the rule has to know of each object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its namespace.
    pub namespace: String,
    /// Images of its servers (`Deployment`, `StatefulSet`).
    pub servers: Vec<String>,
    /// Migrations in a Job: where, and with which image.
    pub migrations: Vec<(Place, String)>,
}

impl Seen {
    /// What one object contributes.
    pub fn of(subject: &Subject<'_>, namespace: &str) -> Self {
        let image = |server: &super::Server<'_>| server.container.image.to_string();
        let migrations = subject.database_commands.iter().filter(|c| c.invocation.is_migration() && !c.at.init);
        let is_job = subject.workload.class == crate::kubernetes::Class::Job;
        Seen {
            namespace: namespace.to_owned(),
            servers: subject.servers.iter().map(image).collect(),
            migrations: migrations
                .filter(|_| is_job)
                .map(|command| (subject.place_of(command.at, "image"), image(command)))
                .collect(),
        }
    }
}

/// Findings over many objects: the index into `seen`, and what was found there. A Job is taken to serve the
/// servers of its namespace; where one of them has its image, nothing is said.
pub fn across(seen: &[Seen]) -> Vec<(usize, Finding)> {
    let mut findings = Vec::new();
    for (index, object) in seen.iter().enumerate().filter(|(_, object)| !object.migrations.is_empty()) {
        let servers: Vec<&String> =
            seen.iter().filter(|other| other.namespace == object.namespace).flat_map(|o| &o.servers).collect();
        let Some(wanted) = servers.first() else { continue };
        for (place, image) in object.migrations.iter().filter(|(_, image)| !servers.contains(&image)) {
            let (found, wanted) = (ImageRef::shown(image, 64), ImageRef::shown(wanted, 64));
            let what = format!("migrates with {found}, while the server runs {wanted}");
            let help = format!("set its image to {wanted}");
            let mut report = Report::default();
            report.add(&RULE, place.clone(), what, help);
            findings.extend(report.into_findings().into_iter().map(|finding| (index, finding)));
        }
    }
    findings
}
