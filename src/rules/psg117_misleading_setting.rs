//! PSG117: a setting that does not do what it says.

use super::{Subject, problems};
use crate::prefect::database::{Fault, Misleading};
use crate::prefect::settings::Field;
use crate::rule::{Level, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG117",
    name: "misleading-setting",
    default: Level::Warn,
    since: "0.2.0",
    summary: "a database setting that does not do what it says",
    page: include_str!("psg117_misleading_setting.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Misleading(how) => Some(*how),
        _ => None,
    });
    for (server, variable, how) in found {
        let (what, help) = words(how);
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
}

fn words(how: Misleading) -> (String, String) {
    let tls = Field::TlsEnabled.name();
    match how {
        Misleading::Unread => (
            "no Prefect reads this name, and it does nothing".to_owned(),
            "take it out, or name the setting as `prefect config view --show-defaults` does".to_owned(),
        ),
        Misleading::File(meant) => (
            "no Prefect reads a database setting from a file, and this name does nothing".to_owned(),
            format!("set `{}` with a `secretKeyRef`", meant.name()),
        ),
        Misleading::TlsOff => (
            format!("without `{tls}` Prefect ignores this setting, and the connection may be unencrypted"),
            format!("set `{tls}` to `true`, or take this out"),
        ),
        Misleading::HalfCertificate => (
            "a client certificate is used only with its key: Prefect ignores this setting".to_owned(),
            format!("set both `{}` and `{}`", Field::TlsCertFile.name(), Field::TlsKeyFile.name()),
        ),
        Misleading::NoLimit => (
            "`-1` does not forbid connections beyond the pool, it lifts their limit".to_owned(),
            "write `0` for none beyond the pool, or a number".to_owned(),
        ),
        Misleading::Pooler(port) => (
            format!(
                "port {port} is that of a pooler, where prepared statements fail if it pools transactions"
            ),
            format!("set `{}` to `0`, or use the port of the database", Field::StatementCacheSize.name()),
        ),
        Misleading::NoPlugins(wanted) => (
            "plugins are switched off, so Prefect logs in without this, by the password of its settings, if any".to_owned(),
            format!("set `{wanted}` to `true`"),
        ),
        Misleading::Loopback => (
            "the database is looked for in the pod itself, and nothing else runs in it".to_owned(),
            "write the host of the database, or add the proxy as a native sidecar".to_owned(),
        ),
    }
}
