//! PSG102: a dialect that Prefect has no support for.

use super::{Subject, problems};
use crate::rule::{Level, Report, Rule};
use crate::prefect::database::Fault;
use crate::prefect::judge::UrlFault;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG102",
    name: "unsupported-database",
    default: Level::Deny,
    since: "0.1.0",
    fix: None,
    summary: "a database that Prefect has no support for",
    page: include_str!("psg102_unsupported_database.md"),
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Url(UrlFault::Dialect(dialect)) => Some(*dialect),
        _ => None,
    });
    for (server, variable, dialect) in found {
        let what = match dialect {
            Some(dialect) => format!("Prefect has no support for `{dialect}`"),
            None => "the URL names a database that Prefect has no support for".to_owned(),
        };
        let help = "use PostgreSQL: `postgresql+asyncpg://USER:PASSWORD@HOST:5432/NAME`";
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
}
