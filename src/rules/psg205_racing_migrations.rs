//! PSG205: several pods migrate at once without the lock, a Job's among them.

use super::Subject;
use crate::kubernetes::ContainerRef;
use crate::rule::{Fix, FixAvailability, Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG205",
    name: "racing-migrations",
    default: Level::Warn,
    since: "0.1.0",
    fix: FixAvailability::LocksJobs,
    summary: "several pods migrate at once without the lock",
    page: include_str!("psg205_racing_migrations.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    for fix in &subject.plan.locks {
        let Fix::Lock { index, .. } = fix else { continue };
        let place = subject.place(ContainerRef { init: false, index: *index });
        let what = "this Job's upgrade takes no lock, and may meet that of a pod that starts";
        let help =
            "run `prefect-guard inject` over the manifest, or see that the mutating webhook is in place";
        report.add(&RULE, place, what, help).fixed_by(fix.clone());
    }
    let Some(lead) = subject.lead() else { return };
    let plan = &subject.plan;
    let many = subject.workload.replicas.unwrap_or(1) > 1;
    if lead.invocation.upgrades_first() && plan.adopted.is_empty() {
        let what = "migrates in its own script, without a lock, so none is injected";
        let help =
            "take `prefect server database upgrade` out of the script: the injected one runs under a lock";
        report.add(&RULE, subject.place(lead.at), what, help);
    }
    if !many {
        return;
    }
    for &index in &plan.adopted {
        let what = "each replica migrates, and nothing keeps them from doing it at once";
        let help = "delete this initContainer: the injected one runs under a lock";
        report.add(&RULE, subject.place(ContainerRef { init: true, index }), what, help);
    }
    let unlocked = plan.call.as_ref().is_some_and(|call| !call.locked) && !lead.database.is_visibly_sqlite();
    if plan.blocker.is_none() && unlocked {
        let what = "each replica migrates, and nothing keeps them from doing it at once";
        let help =
            "set the annotation `prefect-guard.io/serialize: always` if `python` runs Prefect in this image";
        report.add(&RULE, subject.place(lead.at), what, help);
    }
}
