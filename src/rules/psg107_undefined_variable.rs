//! PSG107: `$(VAR)` that nothing defines at that point.

use super::{Subject, problems};
use crate::prefect::database::Fault;
use crate::rule::{Level, Report, Rule};
use crate::text::clip;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG107",
    name: "undefined-variable",
    default: Level::Deny,
    since: "0.1.0",
    summary: "`$(VAR)` in a database setting that Kubernetes leaves as it stands",
    page: include_str!("psg107_undefined_variable.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Undefined(name) => Some(name.as_deref()),
        _ => None,
    });
    for (server, variable, name) in found {
        let later = name.is_some_and(|name| server.environment.get(name).is_some());
        let shown = name.map_or("a `$(…)`".to_owned(), |name| format!("`$({})`", clip(name, 80)));
        let (what, help) = if later {
            (
                format!("{shown} is defined only below it, so Kubernetes leaves it as it stands"),
                "move the variable that it names above this one".to_owned(),
            )
        } else {
            (
                format!("{shown} is defined nowhere, so Kubernetes leaves it as it stands"),
                "define that variable above this one, with `valueFrom.secretKeyRef` for a secret".to_owned(),
            )
        };
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
}
