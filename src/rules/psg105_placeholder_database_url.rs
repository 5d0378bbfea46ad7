//! PSG105: a placeholder that was never filled in.

use super::{Subject, problems};
use crate::prefect::database::Fault;
use crate::prefect::judge::UrlFault;
use crate::prefect::placeholder::Placeholder;
use crate::rule::{Level, OfSecret, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG105",
    name: "placeholder-database-url",
    default: Level::Deny,
    since: "0.1.0",
    secret: OfSecret::JudgesUrl,
    summary: "a placeholder that was never filled in",
    page: include_str!("psg105_placeholder_database_url.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Url(UrlFault::Placeholder { found, .. }) => Some(*found),
        _ => None,
    });
    for (server, variable, placeholder) in found {
        let what = format!("the database setting holds {}", placeholder.name());
        problems::report(report, &RULE, subject, (server, variable), what, help(placeholder));
    }
}

fn help(placeholder: Placeholder) -> &'static str {
    match placeholder {
        Placeholder::Shell => {
            "write `$(NAME)` of a variable defined above it, or `${PREFECT_SERVER_DATABASE_PASSWORD}` with that \
             variable set"
        }
        Placeholder::Reference => {
            "write `$(NAME)` with one `$`, of a variable defined above it: Kubernetes fills that in"
        }
        Placeholder::Template => "render the template before it is applied, or take the value from a Secret",
        Placeholder::Masked => "put the password back, best by taking the whole URL from a Secret",
        Placeholder::Angle | Placeholder::Format | Placeholder::Word => {
            "write the real value, best by taking the whole URL from a Secret"
        }
    }
}
