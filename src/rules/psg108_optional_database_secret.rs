//! PSG108: `optional: true` on the reference that gives the database.

use super::{Subject, problems};
use crate::prefect::database::Fault;
use crate::rule::{Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG108",
    name: "optional-database-secret",
    default: Level::Deny,
    since: "0.1.0",
    summary: "`optional: true` on the reference that gives the database",
    page: include_str!("psg108_optional_database_secret.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| matches!(fault, Fault::Optional).then_some(()));
    for (server, variable, ()) in found {
        let what = "the reference is optional: without its key Prefect would silently use an SQLite file";
        let help = "remove `optional: true`, so that the pod waits for the key";
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
}
