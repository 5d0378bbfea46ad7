//! PSG204: the database is reached through a proxy that starts after every initContainer.

use super::Subject;
use crate::migration::blocker::ordinary_proxy;
use crate::rule::{Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG204",
    name: "unreachable-database-proxy",
    default: Level::Warn,
    since: "0.1.0",
    summary: "the database is reached through a proxy that is an ordinary container",
    page: include_str!("psg204_unreachable_database_proxy.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let Some(lead) = subject.lead() else { return };
    let Some(proxy) = ordinary_proxy(subject.workload, lead) else { return };
    let proxy = crate::text::clip(proxy, 63);
    let what = format!("`{proxy}` starts after every initContainer, so no migration can be injected");
    let help = format!("make `{proxy}` a native sidecar: an initContainer with `restartPolicy: Always`");
    report.add(&RULE, subject.place(lead.at), what, help).about(proxy);
}
