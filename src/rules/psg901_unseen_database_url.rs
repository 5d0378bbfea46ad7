//! PSG901: a setting that can only come from where we do not see.

use super::{Subject, problems};
use crate::prefect::database::{Fault, Origin};
use crate::rule::{Level, Report, Rule, Sight};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG901",
    name: "unseen-database-url",
    default: Level::Warn,
    sight: Sight::Unseen,
    since: "0.1.0",
    summary: "a database setting that can only come from where it cannot be seen",
    page: include_str!("psg901_unseen_database_url.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Unseen(origin) => Some(Some(*origin)),
        Fault::UnseenFile => Some(None),
        _ => None,
    });
    for (server, variable, origin) in found {
        let Some(origin) = origin else {
            let what = "where the SQLite file is, or what keeps it, cannot be seen, and was not checked";
            let help =
                "write out a path on a PersistentVolumeClaim, the same for every pod, or use PostgreSQL";
            problems::report(report, &RULE, subject, (server, variable), what, help);
            continue;
        };
        let what = match origin {
            Origin::EnvFrom => "the database setting can only come from `envFrom`, and was not checked",
            Origin::Profile => {
                "the database setting can only come from a Prefect profile, and was not checked"
            }
            Origin::File => "the database setting can only come from a mounted file, and was not checked",
            Origin::CommandLine => {
                "the database setting comes from the container's script, and was not checked"
            }
            Origin::Doubted => {
                "the command line may take the database setting away (`sudo`, `doas`, `unset`), and that was not checked"
            }
            _ => "the database setting could not be read, and was not checked",
        };
        let wanted = problems::url_name(server);
        let help = match origin {
            Origin::Doubted => "take that out; `runAsUser` in the `securityContext` picks a user, and `sudo -E` keeps the environment".to_owned(),
            _ => format!("set `{wanted}` in `env` with `valueFrom.secretKeyRef`"),
        };
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
}
