//! PSG207: an injector whose network or secrets our initContainer would wait for in vain.

use super::Subject;
use crate::migration::blocker::Blocker;
use crate::rule::{Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG207",
    name: "init-without-network",
    default: Level::Warn,
    since: "0.1.0",
    summary: "a mesh or injector under which an initContainer has no network or no secret",
    page: include_str!("psg207_init_without_network.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let (Some(lead), Some(Blocker::NoNetwork(hazard))) = (subject.lead(), &subject.plan.blocker) else {
        return;
    };
    // The hazard may be visible in the Namespace alone: there the webhook injects a migration, and it waits in vain.
    let what = format!("{} is ready only after the initContainers, too late for a migration", hazard.who);
    let help = format!(
        "set the annotation `{}` on the pod template: then a migration can be injected",
        hazard.remedy
    );
    report.add(&RULE, subject.place(lead.at), what, help).about(hazard.who);
}
