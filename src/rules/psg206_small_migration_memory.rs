//! PSG206: a memory limit under which a migration is killed.

use super::Subject;
use crate::json::{Raw, object, parse};
use crate::kubernetes::{ContainerRef, quantity};
use crate::migration::container;
use crate::rule::{Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG206",
    name: "small-migration-memory",
    default: Level::Warn,
    since: "0.1.0",
    summary: "a memory limit under 256Mi on a container that migrates",
    page: include_str!("psg206_small_migration_memory.md"),
    ..Rule::USUAL
};

/// 256Mi: a full migration of Prefect 3.8.8 was measured at 165 MiB, and 128Mi kills it.
const ENOUGH: f64 = 256.0 * 1024.0 * 1024.0;

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let injected = subject.plan.blocker.is_none() && subject.plan.adopted.is_empty();
    let lead = subject.lead().filter(|_| injected).map(|lead| lead.at);
    let migrates = |index: &usize| ContainerRef { init: true, index: *index };
    let jobs = subject.database_commands.iter().filter(|job| job.invocation.is_migration() && !job.at.init);
    let containers =
        lead.into_iter().chain(subject.plan.adopted.iter().map(migrates)).chain(jobs.map(|job| job.at));
    for at in containers {
        let own = subject.workload.container(at);
        // The policy may have resources of its own for the injected one.
        let by_policy = Some(at) == lead && subject.settings.migration.resources.is_some();
        let resources =
            if by_policy { container::resources(own, &subject.settings.migration) } else { own.resources };
        let Some(limit) = resources.and_then(memory_limit) else { continue };
        if quantity::bytes(&limit).is_some_and(|bytes| bytes < ENOUGH) {
            let what =
                format!("a memory limit of {} is little for a migration", crate::text::clip(&limit, 20));
            let help = if by_policy {
                "raise `migration.resources.limits.memory` in the policy to `256Mi` or more"
            } else {
                "raise `resources.limits.memory` to `256Mi` or more"
            };
            report.add(&RULE, subject.place_of(at, "resources"), what, help).about(limit);
        }
    }
}

#[derive(Default, serde::Deserialize)]
struct Resources<'a> {
    #[serde(borrow, default, deserialize_with = "object")]
    limits: Limits<'a>,
}

#[derive(Default, serde::Deserialize)]
struct Limits<'a> {
    #[serde(borrow)]
    memory: Option<Raw<'a>>,
}

/// `limits.memory` as written: a text, or a number of bytes.
fn memory_limit(resources: Raw<'_>) -> Option<String> {
    let resources: Resources<'_> = parse(resources.get()).ok()?;
    let memory = resources.limits.memory?.get();
    match memory.as_bytes() {
        [b'"', ..] => serde_json::from_str(memory).ok(),
        [b'-' | b'0'..=b'9', ..] => Some(memory.to_owned()),
        _ => None,
    }
}
