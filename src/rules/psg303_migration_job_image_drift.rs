//! PSG303: a migration Job with another image than the server it serves.
//!
//! It needs to see several objects, so it runs in `check` and `audit` only.

use super::stream::Seen;
use crate::kubernetes::image::ImageRef;
use crate::rule::{Level, Report, Rule, Scope};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG303",
    name: "migration-job-image-drift",
    default: Level::Warn,
    since: "0.1.0",
    scope: Scope::Stream,
    summary: "a migration Job with another image than the server it serves (`check`, `audit`)",
    page: include_str!("psg303_migration_job_image_drift.md"),
    ..Rule::USUAL
};

/// A Job is taken to serve the servers of its namespace; where one of them has its image, nothing is said.
pub(super) fn check(seen: &[Seen], reports: &mut [Report]) {
    for (object, report) in seen.iter().zip(reports).filter(|(object, _)| object.is_job) {
        let beside = seen.iter().filter(|other| other.namespace == object.namespace);
        let images = beside.flat_map(|other| &other.containers).filter(|member| member.is_server);
        let images: Vec<&str> = images.map(|member| &*member.image).collect();
        let Some(wanted) = images.first() else { continue };
        let migrations = object.containers.iter().filter(|member| member.migrates);
        for migration in migrations.filter(|member| !images.contains(&&*member.image)) {
            let (found, wanted) = (ImageRef::shown(&migration.image, 64), ImageRef::shown(wanted, 64));
            let what = format!("migrates with {found}, while the server runs {wanted}");
            let help = format!("set its image to {wanted}");
            report.add(&RULE, migration.image_place.clone(), what, help);
        }
    }
}
