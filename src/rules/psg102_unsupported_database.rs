//! PSG102: a dialect that Prefect has no support for.

use super::{Subject, problems};
use crate::prefect::database::Fault;
use crate::prefect::judge::UrlFault;
use crate::rule::{Level, OfSecret, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG102",
    name: "unsupported-database",
    default: Level::Deny,
    since: "0.1.0",
    secret: OfSecret::JudgesUrl,
    summary: "a database that Prefect has no support for",
    page: include_str!("psg102_unsupported_database.md"),
    ..Rule::USUAL
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
        let help = match dialect {
            Some(_) => "use PostgreSQL: `postgresql+asyncpg://USER:PASSWORD@HOST:5432/NAME`",
            None => {
                "use PostgreSQL: `postgresql+asyncpg://USER:PASSWORD@HOST:5432/NAME`; where something fills the value \
                 in later, name its beginning in the policy's `opaqueValues`"
            }
        };
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
}
