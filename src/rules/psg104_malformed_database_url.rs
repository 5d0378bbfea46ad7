//! PSG104: a URL that SQLAlchemy cannot parse, or reads otherwise than it was meant.

use super::{Subject, problems};
use crate::prefect::database::Fault;
use crate::prefect::judge::{Malformed, UrlFault};
use crate::rule::{Level, OfSecret, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG104",
    name: "malformed-database-url",
    default: Level::Deny,
    since: "0.1.0",
    secret: OfSecret::JudgesUrl,
    summary: "a database URL that SQLAlchemy cannot parse, or reads otherwise than it was meant",
    page: include_str!("psg104_malformed_database_url.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Url(UrlFault::Malformed(malformed)) => Some(*malformed),
        _ => None,
    });
    for (server, variable, malformed) in found {
        let (what, help) = words(malformed);
        let finding = problems::report(report, &RULE, subject, (server, variable), what, help);
        if malformed.only_suspicious() {
            finding.only_warn(None);
        }
    }
}

const SHAPE: &str = "write `postgresql+asyncpg://USER:PASSWORD@HOST:5432/NAME`";

/// What is wrong and what to do. Neither says anything of the value: what looks like the host may be half of the
/// password.
fn words(malformed: Malformed) -> (&'static str, &'static str) {
    match malformed {
        Malformed::Empty => (
            "the database URL is empty, and an empty one still counts",
            "remove the variable, or give it a URL",
        ),
        Malformed::Quoted => {
            ("the database URL stands in quotes of its own", "take the quotes out of the value")
        }
        Malformed::Space => (
            "white space at an end of the database URL or of one of its parts",
            "take the white space out; in YAML write the value on the line of its key",
        ),
        Malformed::Jdbc => ("a JDBC URL is none that SQLAlchemy reads", SHAPE),
        Malformed::Dsn => ("a libpq connection string is no URL", SHAPE),
        Malformed::NoScheme => ("the database URL does not begin with a dialect, a driver and `://`", SHAPE),
        Malformed::AtSign => (
            "a raw `@` or `/` in the user or password ends it early, and the rest of it is taken for the host",
            "percent-encode user and password: `@` is `%40`, `/` is `%2F`, `:` is `%3A`, `%` is `%25`",
        ),
        Malformed::Host => (
            "the host of the database URL is no host name and no IP address",
            "write one host name or IP address; IPv6 in brackets; a socket as `?host=/DIRECTORY`",
        ),
        Malformed::HostList => (
            "several hosts with commas are not read in this place",
            "write `postgresql+asyncpg://USER:PASSWORD@/NAME?host=HOST1:5432&host=HOST2:5432`",
        ),
        Malformed::BareIpv6 => (
            "the port of the database URL is no number; an IPv6 address needs brackets",
            "write the address as `[::1]` with the port behind the brackets",
        ),
        Malformed::EmptyPort | Malformed::Port => (
            "the port of the database URL is no number from 0 to 65535",
            "write the number of the port, or leave out the `:`; a `:`, `/` or `@` in a password is percent-encoded",
        ),
        Malformed::SqliteSlashes => (
            "an SQLite URL with two slashes names a host, not a file",
            "write four slashes before an absolute path: `sqlite+aiosqlite:////PATH`",
        ),
        Malformed::Ignored => (
            "SQLAlchemy drops what follows the bracket of the host, port and database included",
            "write `:PORT` or `/NAME` right behind the bracket",
        ),
        Malformed::Reference => (
            "the value is no URL; it looks like a reference that something fills in later",
            "where something does, name its beginning in the policy's `opaqueValues`; else write \
             `postgresql+asyncpg://USER:PASSWORD@HOST:5432/NAME`",
        ),
        Malformed::Underscore => (
            "the host has a `_`, and no Service can be called so",
            "write the Service's name as `kubectl get services` shows it",
        ),
        Malformed::DatabaseName => (
            "the name of the database holds a `/` or `#`, which begin no path and no fragment here",
            "write the plain name of the database behind the host; options go behind a `?`",
        ),
    }
}
