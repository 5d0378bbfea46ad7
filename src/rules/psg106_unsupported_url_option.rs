//! PSG106: an option in the URL that asyncpg refuses.

use super::{Subject, problems};
use crate::finding::{Level, Report, Rule};
use crate::prefect::asyncpg::Refusal;
use crate::prefect::database::Fault;
use crate::prefect::judge::UrlFault;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG106",
    name: "unsupported-url-option",
    default: Level::Deny,
    since: "0.1.0",
    fix: None,
    summary: "an option in the database URL that asyncpg refuses",
    page: include_str!("psg106_unsupported_url_option.md"),
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Url(UrlFault::Option { name, refusal }) => Some((name.as_deref(), *refusal)),
        _ => None,
    });
    for (server, variable, (name, refusal)) in found {
        let shown = name.map_or("an option".to_owned(), |name| format!("option `{name}`"));
        let what = match refusal {
            Refusal::Unknown => format!("{shown} of the URL is none that asyncpg takes"),
            Refusal::Value => format!("{shown} of the URL has a value that is refused"),
            Refusal::NeverText => format!("{shown} cannot be given in a URL, where every value is a text"),
            Refusal::Repeated => format!("{shown} is given more than once"),
            Refusal::NeedsTls => format!("{shown} needs `ssl=require` or stricter"),
            Refusal::Hosts => format!("{shown}: hosts and ports of the URL do not fit together"),
        };
        let help = help(name.unwrap_or_default(), refusal);
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

const ARGS: &str = "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_";

/// What does what was meant, for an option of libpq, JDBC or another driver.
fn help(name: &str, refusal: Refusal) -> String {
    let set = |variable: &str| format!("take it out and set `{ARGS}{variable}`");
    match name {
        "host" | "port" => {
            "write `?host=HOST1:PORT1&host=HOST2:PORT2`, or `?host=HOST1,HOST2&port=PORT1,PORT2`".to_owned()
        }
        "ssl" => "write `ssl=` with one of `disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full`".to_owned(),
        "sslmode" => "write `ssl=` in place of `sslmode=`: `?ssl=require`".to_owned(),
        "usessl" | "useSSL" | "tls" | "encrypt" | "requiressl" | "sslnegotiation" => "write `?ssl=require`".to_owned(),
        "sslrootcert" | "sslcert" | "sslkey" | "sslpassword" | "sslcrl" => {
            format!("take it out and set `{ARGS}TLS_ENABLED` to `true`, with `{ARGS}TLS_CA_FILE`, `…_CERT_FILE`, `…_KEY_FILE`")
        }
        "application_name" | "applicationName" | "ApplicationName" | "fallback_application_name" => set("APPLICATION_NAME"),
        "search_path" | "schema" | "currentSchema" | "options" => set("SEARCH_PATH"),
        "statement_cache_size" | "pgbouncer" | "prepareThreshold" => {
            format!("take it out and set `{ARGS}STATEMENT_CACHE_SIZE` (`0` behind PgBouncer)")
        }
        "prepared_statement_cache_size" => "write a whole number, such as `0`".to_owned(),
        "connect_timeout" | "connectTimeout" | "loginTimeout" => {
            "take it out and set `PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT` (seconds)".to_owned()
        }
        "statement_timeout" | "socketTimeout" | "tcp_user_timeout" => {
            "take it out and set `PREFECT_SERVER_DATABASE_TIMEOUT` (seconds)".to_owned()
        }
        "pool_size" | "max_overflow" | "pool_recycle" | "pool_timeout" | "pool_pre_ping" => format!(
            "take it out and set `PREFECT_SERVER_DATABASE_SQLALCHEMY_{}`",
            if name == "pool_pre_ping" { "POOL_RECYCLE".to_owned() } else { name.to_ascii_uppercase() }
        ),
        "dbname" => "write the database behind the host: `HOST:5432/NAME`".to_owned(),
        "username" => "write the user before the host: `USER:PASSWORD@HOST`".to_owned(),
        "target_session_attrs" => "write `any`, `primary`, `standby`, `prefer-standby`, `read-write` or `read-only`".to_owned(),
        "direct_tls" => "add `ssl=require`, or take `direct_tls` out".to_owned(),
        _ if refusal == Refusal::Repeated => "give it once".to_owned(),
        _ => "take it out; asyncpg takes `ssl`, `host`, `port`, `target_session_attrs`, `passfile`, `krbsrvname`, `gsslib`"
            .to_owned(),
    }
}
