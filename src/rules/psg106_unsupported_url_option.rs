//! PSG106: an option in the URL that asyncpg refuses.

use super::{Subject, problems};
use crate::prefect::asyncpg::Refusal;
use crate::prefect::database::Fault;
use crate::prefect::judge::{Startup, UrlFault};
use crate::prefect::settings::Field;
use crate::prefect::version::Version;
use crate::rule::{Level, OfSecret, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG106",
    name: "unsupported-url-option",
    default: Level::Deny,
    since: "0.1.0",
    secret: OfSecret::JudgesUrl,
    summary: "an option in the database URL that asyncpg refuses",
    page: include_str!("psg106_unsupported_url_option.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Url(UrlFault::Option { name, refusal, mode, startup }) => {
            Some((name.as_deref(), *refusal, *mode, *startup))
        }
        _ => None,
    });
    for (server, variable, (name, refusal, mode, startup)) in found {
        let shown = name.map_or("an option".to_owned(), |name| format!("option `{name}`"));
        let what = match refusal {
            Refusal::Unknown => format!("{shown} of the URL is none that asyncpg takes"),
            Refusal::Value => format!("{shown} of the URL has a value that is refused"),
            Refusal::NeverText => format!("{shown} cannot be given in a URL, where every value is a text"),
            Refusal::Repeated => format!("{shown} is given more than once"),
            Refusal::NeedsTls => format!("{shown} needs `ssl=require` or stricter"),
            Refusal::Hosts => format!("{shown}: hosts and ports of the URL do not fit together"),
        };
        let version = Version::of_image(&server.container.image);
        let help = match startup.filter(|_| name == Some("options")) {
            Some(startup) => of_startup(startup, version),
            None => help(name.unwrap_or_default(), refusal, mode, version),
        };
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
    let more = problems::picked(subject, |fault| match fault {
        Fault::Url(UrlFault::MoreOptions(more)) => Some(*more),
        _ => None,
    });
    for (server, variable, more) in more {
        let what = format!("and {more} more options of the URL are refused");
        let help = "write the URL anew: what stands behind the `?` is hardly what was meant";
        problems::report(report, &RULE, subject, (server, variable), what, help);
    }
}

/// `take it out and set NAME`, as far as the image's version reads that setting.
fn set(field: Field, how: &str, version: Option<Version>) -> String {
    let name = field.name_for(version);
    match field.since() {
        Some(since) if version.is_some_and(|version| version.is_older_than(since)) => {
            format!("take it out; from Prefect {since} on one can set `{name}`{how}")
        }
        Some(since) if !version.is_some_and(|version| version.is_as_new_as(since)) => {
            format!("take it out and set `{name}`{how} (Prefect {since} and later)")
        }
        _ => format!("take it out and set `{name}`{how}"),
    }
}

/// What does what libpq's `options` was to do.
fn of_startup(startup: Startup, version: Option<Version>) -> String {
    match startup {
        Startup::Endpoint => {
            "take it out: asyncpg sends the host name when TLS begins, and the provider finds the endpoint by it".to_owned()
        }
        Startup::StatementTimeout => set(Field::Timeout, " (seconds)", version),
        Startup::SearchPath => set(Field::SearchPath, "", version),
    }
}

/// `sslmode` in asyncpg's words: as strict as it was.
fn ssl(mode: Option<&str>) -> String {
    match mode {
        Some(mode @ ("verify-ca" | "verify-full")) => format!(
            "write `ssl=` in place of `sslmode=`: `?ssl={mode}`, with the root certificate in `~/.postgresql/root.crt`"
        ),
        Some(mode) => format!("write `ssl=` in place of `sslmode=`: `?ssl={mode}`"),
        None => "write `ssl=` in place of `sslmode=`, with one of libpq's modes, such as `?ssl=require`"
            .to_owned(),
    }
}

/// What does what was meant, for an option of libpq, JDBC or another driver.
fn help(name: &str, refusal: Refusal, mode: Option<&str>, version: Option<Version>) -> String {
    let args = |field: Field, how: &str| set(field, how, version);
    match name {
        "host" | "port" => {
            "write `?host=HOST1:PORT1&host=HOST2:PORT2`, or `?host=HOST1,HOST2&port=PORT1,PORT2`".to_owned()
        }
        "ssl" => "write `ssl=` with one of `disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full`".to_owned(),
        "sslmode" => ssl(mode),
        "usessl" | "useSSL" | "tls" | "encrypt" | "requiressl" => "write `?ssl=require`, or a stricter mode".to_owned(),
        "sslnegotiation" => "take it out; `ssl=` alone says how TLS is used".to_owned(),
        "sslrootcert" | "sslcert" | "sslkey" | "sslpassword" | "sslcrl" => {
            let files = " to `true`, with `…_TLS_CA_FILE`, `…_TLS_CERT_FILE`, `…_TLS_KEY_FILE`";
            args(Field::TlsEnabled, files)
        }
        "application_name" | "applicationName" | "ApplicationName" | "fallback_application_name" => {
            args(Field::ApplicationName, "")
        }
        "options" => "take it out: asyncpg sends no `options`; `ALTER ROLE USER SET …` sets them for the role".to_owned(),
        "search_path" | "schema" | "currentSchema" => args(Field::SearchPath, ""),
        "statement_cache_size" | "pgbouncer" | "prepareThreshold" => {
            args(Field::StatementCacheSize, " (`0` behind PgBouncer)")
        }
        "prepared_statement_cache_size" => "write a whole number, such as `0`".to_owned(),
        "connect_timeout" | "connectTimeout" | "loginTimeout" => args(Field::ConnectionTimeout, " (seconds)"),
        "statement_timeout" | "socketTimeout" | "tcp_user_timeout" => args(Field::Timeout, " (seconds)"),
        "pool_size" => args(Field::PoolSize, ""),
        "max_overflow" => args(Field::MaxOverflow, ""),
        "pool_recycle" | "pool_pre_ping" => args(Field::PoolRecycle, ""),
        "pool_timeout" => args(Field::PoolTimeout, ""),
        "dbname" => "write the database behind the host: `HOST:5432/NAME`".to_owned(),
        "username" => "write the user before the host: `USER:PASSWORD@HOST`".to_owned(),
        "target_session_attrs" => "write `any`, `primary`, `standby`, `prefer-standby`, `read-write` or `read-only`".to_owned(),
        "direct_tls" => "add `ssl=require`, or take `direct_tls` out".to_owned(),
        _ if refusal == Refusal::Repeated => "give it once".to_owned(),
        _ => "take it out; asyncpg takes `ssl`, `host`, `port`, `target_session_attrs`, `passfile`, `krbsrvname`, `gsslib`"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefect::asyncpg::SSL_MODES;

    #[test]
    fn a_mode_is_never_lowered() {
        for mode in SSL_MODES {
            let help = help("sslmode", Refusal::Unknown, Some(mode), None);
            assert!(help.contains(&format!("`?ssl={mode}`")), "{help}");
            assert_eq!(help.contains("root.crt"), mode.starts_with("verify"), "{help}");
        }
    }
}
