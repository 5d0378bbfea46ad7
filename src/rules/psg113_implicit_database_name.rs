//! PSG113: a URL that leaves host, user or database to asyncpg.

use super::{Subject, problems};
use crate::prefect::database::Fault;
use crate::prefect::judge::UrlFault;
use crate::rule::{Level, OfSecret, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG113",
    name: "implicit-database-name",
    default: Level::Warn,
    since: "0.1.0",
    secret: OfSecret::JudgesUrl,
    summary: "a database URL without host, user or database",
    page: include_str!("psg113_implicit_database_name.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Url(UrlFault::Implicit(implicit)) => Some(*implicit),
        _ => None,
    });
    for (server, variable, implicit) in found {
        let parts = [
            (implicit.host, "host", "localhost"),
            (implicit.user, "user", "the user the process runs as"),
            (implicit.database, "database", "the one named like the user"),
        ];
        let missing: Vec<&str> = parts.iter().filter(|part| part.0).map(|part| part.1).collect();
        let guesses: Vec<&str> = parts.iter().filter(|part| part.0).map(|part| part.2).collect();
        let what =
            format!("the URL names no {}: asyncpg takes {}", missing.join(" and no "), guesses.join(" and "));
        let help = "write all of it: `postgresql+asyncpg://USER:PASSWORD@HOST:5432/NAME`";
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
}
