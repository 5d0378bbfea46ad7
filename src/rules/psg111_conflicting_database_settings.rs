//! PSG111: settings that do not agree with each other.

use super::{Subject, problems};
use crate::prefect::database::{Conflict, Fault};
use crate::rule::{Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG111",
    name: "conflicting-database-settings",
    default: Level::Warn,
    since: "0.1.0",
    summary: "database settings that do not agree with each other",
    page: include_str!("psg111_conflicting_database_settings.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Conflict(conflict) => Some(*conflict),
        _ => None,
    });
    for (server, variable, conflict) in found {
        let name = |index| problems::name(server, index);
        let (what, help) = match conflict {
            Conflict::Alias { winner } => {
                (format!("`{}` is set too, and wins", name(winner)), "keep one of the two".to_owned())
            }
            Conflict::Duplicate { .. } => (
                "the variable is given again below, and that one wins".to_owned(),
                "keep one of the two".to_owned(),
            ),
            Conflict::Case { other } => (
                format!("`{}` is the same setting: which of them wins is left to chance", name(other)),
                "keep one of the two".to_owned(),
            ),
            Conflict::BesideUrl { url } => (
                format!("says something else than `{}`, which wins", name(url)),
                format!("remove it, or remove `{}`", name(url)),
            ),
            Conflict::UnusedPassword { url } => (
                format!("`{}` does not use this password", name(url)),
                format!(
                    "write `${{PREFECT_SERVER_DATABASE_PASSWORD}}` in `{}`, or remove the password",
                    name(url)
                ),
            ),
        };
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
}
