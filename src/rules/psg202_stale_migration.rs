//! PSG202: our container is no longer what the server needs, or stands where it is not wanted any more.

use super::Subject;
use crate::kubernetes::ContainerRef;
use crate::rule::{FixAvailability, Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG202",
    name: "stale-migration",
    default: Level::Deny,
    since: "0.1.0",
    fix: FixAvailability::Resynchronises,
    summary: "our migration initContainer is not what the server needs any more",
    page: include_str!("psg202_stale_migration.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let (Some(index), Some((fix, difference))) = (subject.plan.ours, &subject.plan.fix) else { return };
    let place = subject.place(ContainerRef { init: true, index });
    let help =
        "the re-synchronisation was skipped; apply again, and see that the mutating webhook is in place";
    report.add(&RULE, place, *difference, help).about(*difference).fixed_by(fix.clone());
}
