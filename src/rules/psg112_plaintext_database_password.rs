//! PSG112: a password written in the manifest.

use super::{Subject, problems};
use crate::prefect::database::Fault;
use crate::prefect::judge::UrlFault;
use crate::rule::{Level, Report, Rule, Sight};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG112",
    name: "plaintext-database-password",
    default: Level::Warn,
    sight: Sight::Written,
    since: "0.1.0",
    summary: "a database password written in the manifest",
    page: include_str!("psg112_plaintext_database_password.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Url(UrlFault::Password) => Some("the URL holds a password in plain text"),
        Fault::Password => Some("the password stands in the manifest in plain text"),
        _ => None,
    });
    for (server, variable, what) in found {
        let help = "put the value into a Secret and refer to it: `valueFrom.secretKeyRef`";
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
}
