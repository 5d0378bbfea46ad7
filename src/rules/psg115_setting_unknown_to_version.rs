//! PSG115: a name that the image's version of Prefect does not read.

use super::{Subject, problems};
use crate::prefect::database::Fault;
use crate::rule::{Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG115",
    name: "setting-unknown-to-version",
    default: Level::Deny,
    since: "0.1.0",
    summary: "a setting that the image's version of Prefect does not read",
    page: include_str!("psg115_setting_unknown_to_version.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::UnknownToVersion(version, wanted) => Some((*version, *wanted)),
        _ => None,
    });
    for (server, variable, (version, wanted)) in found {
        let what = format!("Prefect {version} does not read this name and would silently use an SQLite file");
        let help = format!("name it `{wanted}`");
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
    let late = problems::picked(subject, |fault| match fault {
        Fault::CameLater { version, field, since } => Some((*version, *field, *since)),
        _ => None,
    });
    for (server, variable, (version, field, since)) in late {
        let what = format!("Prefect {version} does not know this setting, and ignores it");
        let instead = if field.is_tls() {
            ", or write `ssl=` into the URL and take this out"
        } else {
            ", or take it out"
        };
        let help = format!("use an image of Prefect {since} or later{instead}");
        // Prefect starts, only not as was meant.
        problems::report(report, &RULE, subject, (server, variable), what, help).only_warn(None);
    }
    let misspelt = problems::picked(subject, |fault| match fault {
        Fault::Misspelt(wanted) => Some(wanted),
        _ => None,
    });
    for (server, variable, wanted) in misspelt {
        let what = "no Prefect reads this name, and it does nothing";
        let help = format!("name it `{wanted}`, or take it out");
        problems::report(report, &RULE, subject, (server, variable), what, help).only_warn(None);
    }
}
