//! PSG101: no setting that Prefect reads. It would not fail: it would make an SQLite file and look healthy.

use super::{Subject, problems};
use crate::prefect::database::{Fault, Missing};
use crate::prefect::settings::Field;
use crate::rule::{Level, OfSecret, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG101",
    name: "missing-database-url",
    default: Level::Deny,
    since: "0.1.0",
    secret: OfSecret::ReportsMissing,
    summary: "no database setting that Prefect would read",
    page: include_str!("psg101_missing_database_url.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Missing(missing) => Some(*missing),
        _ => None,
    });
    for (server, variable, missing) in found {
        let wanted = problems::url_name(server);
        let (what, help) = match missing {
            Missing::Nothing => (
                "no database setting: Prefect would silently use an SQLite file in the container",
                format!("set `{wanted}`, best from a Secret: `valueFrom.secretKeyRef`"),
            ),
            Missing::NearMiss => (
                "Prefect does not read this name and would silently use an SQLite file in the container",
                format!("name it `{wanted}`"),
            ),
            Missing::TakenBack => (
                "`connection_url` is null, which beats every other URL: Prefect would silently use an SQLite file",
                format!("take `connection_url` out of the JSON and set `{wanted}`"),
            ),
            Missing::TakenAway => (
                "the command line takes the database setting away (`env -i`, `unset`, `su -`): Prefect would silently \
                 use an SQLite file in the container",
                format!(
                    "let the command keep `{wanted}`; `runAsUser` in the `securityContext` picks a user without `su`"
                ),
            ),
            Missing::NoDriver => (
                "ignored without a driver: Prefect would silently use an SQLite file in the container",
                format!("add `{}` with the value `postgresql+asyncpg`", Field::Driver.name()),
            ),
        };
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
}
