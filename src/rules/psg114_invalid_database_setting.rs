//! PSG114: a value that stops Prefect, whether the setting is needed or not.

use super::{Subject, problems};
use crate::prefect::database::{Fault, Invalid};
use crate::prefect::settings::Field;
use crate::rule::{Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG114",
    name: "invalid-database-setting",
    default: Level::Deny,
    since: "0.1.0",
    summary: "a database setting whose value stops Prefect",
    page: include_str!("psg114_invalid_database_setting.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Invalid(invalid) => Some(*invalid),
        _ => None,
    });
    for (server, variable, invalid) in found {
        let (what, help) = words(invalid);
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
}

fn words(invalid: Invalid) -> (String, String) {
    match invalid {
        Invalid::Kind(kind) => (
            format!("Prefect refuses to start: the value is not {}", kind.wanted()),
            format!("write {}, or remove the variable", kind.wanted()),
        ),
        Invalid::NotPositive => (
            "asyncpg refuses to connect: the timeout is not greater than 0".to_owned(),
            "write the seconds as a number greater than 0, or remove the variable".to_owned(),
        ),
        Invalid::Negative => (
            "asyncpg refuses to connect: the size is negative".to_owned(),
            "write `0` to switch the cache off, or remove the variable".to_owned(),
        ),
        Invalid::LibpqPort => (
            "asyncpg refuses to connect: the value is no port".to_owned(),
            "write a number from 0 to 65535, write the port into the URL, or remove the variable".to_owned(),
        ),
        Invalid::LibpqSslMode => (
            "asyncpg refuses to connect: the value is no mode of TLS".to_owned(),
            "write one of `disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full`, or remove the variable"
                .to_owned(),
        ),
        Invalid::NoConnections => (
            "pool size and overflow together leave no connection to open".to_owned(),
            "make the sum of both greater than 0, or remove the variable".to_owned(),
        ),
        Invalid::MissingComponent(component) => (
            format!("a driver without `{}`: Prefect refuses to start", component.name()),
            format!("set `{}`, or a whole URL in place of the components", component.name()),
        ),
        Invalid::NoPassword => (
            "the URL asks for a password setting that is not there: Prefect refuses to start".to_owned(),
            format!("set `{}`, best from a Secret", Field::Password.name()),
        ),
    }
}
