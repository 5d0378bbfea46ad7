//! What Prefect would do with one database URL.

use super::asyncpg::{self, Address, BadAddress, BadOption, Overrides, Refusal};
use super::placeholder::{self, Part, Placeholder};
use super::sqlite;
use super::url::{Grammar, Port, Url, is_python_space};
use crate::environment::HIDDEN;
use crate::text::basename;

/// Something wrong, or worth a word, in a URL. Holds nothing of the URL but names from lists of our own, and
/// option names that cannot be part of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlFault {
    /// Prefect supports no such database.
    Dialect(Option<&'static str>),
    /// The right database by the wrong driver.
    Driver(Driver),
    /// SQLAlchemy cannot parse it, or parses something else than was meant.
    Malformed(Malformed),
    /// Something was not filled in.
    Placeholder {
        /// What it looks like.
        found: Placeholder,
        /// It stands where the password belongs.
        in_password: bool,
    },
    /// asyncpg, or SQLAlchemy for SQLite, refuses an option.
    Option {
        /// Its name, where it is safe to show.
        name: Option<String>,
        /// Why.
        refusal: Refusal,
        /// The mode of TLS that it asks for, in libpq's words.
        mode: Option<&'static str>,
        /// What libpq's `options` was to set.
        startup: Option<Startup>,
    },
    /// So many more options are refused, beyond those that are named.
    MoreOptions(usize),
    /// A password stands in it.
    Password,
    /// Parts are missing and asyncpg will guess them.
    Implicit(Implicit),
}

/// What libpq's `options` asks of the server when a connection starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Startup {
    /// `endpoint=…`, `project=…`: which of a provider's databases is meant.
    Endpoint,
    /// `-c statement_timeout=…`
    StatementTimeout,
    /// `-c search_path=…`
    SearchPath,
}

impl Startup {
    fn read(value: &str) -> Option<Self> {
        let known = [
            ("statement_timeout", Startup::StatementTimeout),
            ("search_path", Startup::SearchPath),
            ("endpoint", Startup::Endpoint),
            ("project", Startup::Endpoint),
        ];
        known.into_iter().find(|(word, _)| value.contains(word)).map(|(_, found)| found)
    }
}

/// The wrong driver for a database that Prefect supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// What was written, where we know it: `postgres`, `postgresql+psycopg2`.
    pub written: Option<&'static str>,
    /// The driver to use: `postgresql+asyncpg` or `sqlite+aiosqlite`.
    pub wanted: &'static str,
    /// Why it does not work.
    pub why: DriverFault,
    /// The options of the URL whose names may be shown, for the corrected one.
    pub options: Vec<String>,
}

/// Why a driver does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverFault {
    /// None given: SQLAlchemy takes a synchronous one.
    None,
    /// Synchronous.
    Sync,
    /// Asynchronous, but Prefect passes it options of asyncpg's.
    NotAsyncpg,
    /// The right one in the wrong case.
    Case,
    /// `postgres://` is no name that SQLAlchemy knows.
    Alias,
    /// Something else.
    Unknown,
}

/// How a URL is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Nothing there.
    Empty,
    /// In quotes.
    Quoted,
    /// White space at the start, or at the end of a part.
    Space,
    /// `jdbc:…`
    Jdbc,
    /// `host=… dbname=…`
    Dsn,
    /// No `://` after a plain name.
    NoScheme,
    /// A raw `@` or `/` before the host makes the rest of the password the host.
    AtSign,
    /// No host name and no IP address.
    Host,
    /// Several hosts with commas.
    HostList,
    /// An IPv6 address without brackets.
    BareIpv6,
    /// No port.
    EmptyPort,
    /// No number, or out of range.
    Port,
    /// `sqlite+aiosqlite://file` names a host.
    SqliteSlashes,
    /// Text behind `[…]` that SQLAlchemy drops. Prefect starts all the same.
    Ignored,
    /// `_` in a host name that only a Service can have, and none can be called so.
    Underscore,
    /// A reference to a secret in a form that is not known.
    Reference,
    /// `/` or `#` in the database's name, where a path or a fragment was meant. It could be a name.
    DatabaseName,
}

impl Malformed {
    /// Prefect may work with it.
    pub fn only_suspicious(self) -> bool {
        matches!(self, Malformed::Ignored | Malformed::DatabaseName | Malformed::Underscore)
    }
}

/// Parts that a URL leaves to asyncpg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Implicit {
    /// No host.
    pub host: bool,
    /// No user.
    pub user: bool,
    /// No database.
    pub database: bool,
}

/// What surrounds a URL.
#[derive(Debug, Clone, Copy)]
pub struct Around<'r> {
    /// The grammar to parse by.
    pub grammar: &'r Grammar,
    /// Prefect's settings that are laid over the options.
    pub overrides: Overrides,
    /// Where relative SQLite paths start.
    pub working_directory: &'r str,
    /// `PGHOST`, `PGUSER`, `PGDATABASE` are set.
    pub environment: Implicit,
}

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// PostgreSQL through asyncpg.
    Postgres(Address),
    /// SQLite through aiosqlite.
    Sqlite(sqlite::Place),
    /// Not visible.
    NotVisible,
    /// Nowhere that Prefect could use.
    Broken,
}

/// Judges one URL, `${…PASSWORD}` already filled in.
pub fn judge(text: &str, around: &Around<'_>) -> (Aim, Vec<UrlFault>) {
    let mut faults = Vec::new();
    let hidden_scheme = match text.split_once("://") {
        Some((scheme, _)) => scheme.contains(HIDDEN),
        None => text.contains(HIDDEN),
    };
    if hidden_scheme {
        return (Aim::NotVisible, faults);
    }
    let Some(url) = Url::parse(text, around.grammar) else {
        faults.push(match placeholder::whole(text) {
            Some(found) => UrlFault::Placeholder { found, in_password: false },
            None => UrlFault::Malformed(why_unparsable(text)),
        });
        return (Aim::Broken, faults);
    };
    let aim = match url.name {
        "postgresql+asyncpg" => postgres(&url, around, &mut faults),
        "sqlite+aiosqlite" => sqlite(&url, around, &mut faults),
        _ => {
            faults.push(wrong_name(&url));
            faults.extend(placeholder_fault(&url));
            Aim::Broken
        }
    };
    if url.password.as_deref().is_some_and(|password| !password.is_empty() && !password.contains(HIDDEN))
        && !faults.iter().any(|fault| matches!(fault, UrlFault::Placeholder { .. }))
    {
        faults.push(UrlFault::Password);
    }
    (aim, faults)
}

fn why_unparsable(text: &str) -> Malformed {
    let trimmed = text.trim_matches(is_python_space);
    let lower = trimmed.to_ascii_lowercase();
    match () {
        () if trimmed.is_empty() => Malformed::Empty,
        () if trimmed.starts_with(['"', '\'', '`']) => Malformed::Quoted,
        () if lower.starts_with("jdbc:") => Malformed::Jdbc,
        () if !trimmed.contains("://") && (lower.contains("host=") || lower.contains("dbname=")) => {
            Malformed::Dsn
        }
        () if is_reference(trimmed) => Malformed::Reference,
        () if trimmed.len() < text.len() && text.starts_with(is_python_space) => Malformed::Space,
        () => Malformed::NoScheme,
    }
}

/// A path or a name with its store in front: `store:path/key`, `secret/data/db#url`, `/prod/db/url`. A host with its
/// port, a dialect and a file are a URL without its scheme.
fn is_reference(text: &str) -> bool {
    let scheme_is_missing = text.split_once(':').is_some_and(|(before, rest)| {
        let port = rest.split('/').next().unwrap_or_default();
        let dialect = before.split('+').next().unwrap_or_default();
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
            || is_postgres(dialect)
            || is_sqlite(dialect)
            || OTHER_DIALECTS.contains(&dialect)
    });
    let is_file = text.starts_with('/') && basename(text).contains('.');
    if scheme_is_missing || is_file {
        return false;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:#".contains(c);
    let store = text
        .split_once([':', '#', '/'])
        .is_some_and(|(store, rest)| !store.contains('.') && !rest.is_empty());
    store && text.chars().all(plain)
}

fn postgres(url: &Url<'_>, around: &Around<'_>, faults: &mut Vec<UrlFault>) -> Aim {
    let placeholder = placeholder_fault(url);
    let malformed = names_fault(url);
    let address = asyncpg::address(url, around.environment.host);
    // One fault of form is enough: the others follow from it.
    let filled_in = placeholder.is_none();
    faults.extend(placeholder);
    if filled_in {
        match (address, malformed) {
            (_, Some(fault)) if !fault.only_suspicious() => faults.push(UrlFault::Malformed(fault)),
            (Err(bad), _) => faults.push(UrlFault::Malformed(address_fault(url, bad))),
            (_, Some(fault)) => faults.push(UrlFault::Malformed(fault)),
            _ => {}
        }
    }
    refuse_options(url, &asyncpg::refused(url, around.overrides), faults);
    let implicit = implicit(url, around.environment);
    if implicit != Implicit::default() && filled_in && address.is_ok() {
        faults.push(UrlFault::Implicit(implicit));
    }
    match address {
        Ok(address) => Aim::Postgres(address),
        Err(_) => Aim::Broken,
    }
}

/// Faults in the parts that are names.
fn names_fault(url: &Url<'_>) -> Option<Malformed> {
    let padded = |text: &str| text.starts_with(is_python_space) || text.ends_with(is_python_space);
    let database = url.database.as_deref().unwrap_or_default();
    let no_user = url.user.as_deref().unwrap_or_default().is_empty();
    if no_user && database.contains('@') && !database.contains(HIDDEN) {
        // `//us/er:pw@host/db`: what was meant as user or password became the host.
        return Some(Malformed::AtSign);
    }
    if [url.user.as_deref(), url.host, Some(database)].into_iter().flatten().any(padded) {
        return Some(Malformed::Space);
    }
    if !url.ignored.is_empty() && !url.ignored.starts_with('\n') {
        return Some(Malformed::Ignored);
    }
    if database.contains(['/', '#']) {
        return Some(Malformed::DatabaseName);
    }
    url.host.is_some_and(is_no_service).then_some(Malformed::Underscore)
}

/// A name of the cluster's own DNS with a `_`: a Service is called by letters, digits and `-`.
fn is_no_service(host: &str) -> bool {
    let of_cluster = !host.contains('.') || host.contains(".svc.") || host.ends_with(".svc");
    of_cluster && host.contains('_') && !host.contains(HIDDEN) && !host.starts_with('/')
}

fn address_fault(url: &Url<'_>, bad: BadAddress) -> Malformed {
    let host = url.host.unwrap_or_default();
    let later_at = host.contains('@')
        || url.database.as_deref().is_some_and(|database| database.contains('@'))
        || url.suspicious_query;
    match bad {
        _ if later_at => Malformed::AtSign,
        BadAddress::Host if host.contains(',') => Malformed::HostList,
        BadAddress::Host => Malformed::Host,
        BadAddress::Port if host.contains(',') || url.port_is_list => Malformed::HostList,
        BadAddress::Port if url.port == Some(Port::Broken) && host.is_empty() && url.user.is_some() => {
            Malformed::BareIpv6
        }
        BadAddress::Port => Malformed::Port,
    }
}

fn implicit(url: &Url<'_>, environment: Implicit) -> Implicit {
    let lacks = |text: Option<&str>, option: &str| {
        text.unwrap_or_default().is_empty() && url.option(option).next().is_none()
    };
    // What is not visible may hold several parts at once.
    let authority_is_hidden = url.host.is_some_and(|host| host.contains(HIDDEN));
    Implicit {
        host: lacks(url.host, "host") && !environment.host,
        user: lacks(url.user.as_deref(), "user") && !environment.user && !authority_is_hidden,
        database: lacks(url.database.as_deref(), "database") && !environment.database && !authority_is_hidden,
    }
}

fn sqlite(url: &Url<'_>, around: &Around<'_>, faults: &mut Vec<UrlFault>) -> Aim {
    let found = url.database.as_deref().and_then(|path| placeholder::component(path, Part::Name));
    faults.extend(found.map(|found| UrlFault::Placeholder { found, in_password: false }));
    if sqlite::has_wrong_form(url) {
        faults.push(UrlFault::Malformed(Malformed::SqliteSlashes));
        return Aim::Broken;
    }
    refuse_options(url, &sqlite::refused(url), faults);
    let padded = |text: &str| text.starts_with(is_python_space) || text.ends_with(is_python_space);
    if url.database.as_deref().is_some_and(padded) {
        faults.push(UrlFault::Malformed(Malformed::Space));
    }
    Aim::Sqlite(sqlite::place(url, around.working_directory))
}

/// The most options of one URL that are named. A URL that was cut in the wrong place may have thousands.
const NAMED_OPTIONS: usize = 12;

fn refuse_options(url: &Url<'_>, refused: &[BadOption<'_>], faults: &mut Vec<UrlFault>) {
    let named = refused.iter().take(NAMED_OPTIONS);
    faults.extend(named.map(|bad| UrlFault::Option {
        name: safe_option_name(url, bad.name),
        refusal: bad.refusal,
        mode: url.option(bad.name).next().and_then(asyncpg::ssl_mode),
        startup: url.option(bad.name).next().and_then(Startup::read),
    }));
    if refused.len() > NAMED_OPTIONS {
        faults.push(UrlFault::MoreOptions(refused.len() - NAMED_OPTIONS));
    }
}

/// The first placeholder among the parts of a URL.
fn placeholder_fault(url: &Url<'_>) -> Option<UrlFault> {
    let names = [url.user.as_deref(), url.host, url.database.as_deref()].into_iter().flatten();
    let name = names.filter_map(|text| placeholder::component(text, Part::Name)).next();
    let elsewhere = name.or_else(|| url.options.iter().find_map(|(_, value)| placeholder::anywhere(value)));
    let password = || url.password.as_deref().and_then(|text| placeholder::component(text, Part::Password));
    match elsewhere {
        Some(found) => Some(UrlFault::Placeholder { found, in_password: false }),
        None => password().map(|found| UrlFault::Placeholder { found, in_password: true }),
    }
}

/// Dialects that people write, as SQLAlchemy or libpq or other tools call them.
const OTHER_DIALECTS: [&str; 21] = [
    "mysql",
    "mariadb",
    "mssql",
    "oracle",
    "cockroachdb",
    "redshift",
    "snowflake",
    "bigquery",
    "duckdb",
    "mongodb",
    "clickhouse",
    "db2",
    "firebird",
    "sybase",
    "hana",
    "trino",
    "presto",
    "awsathena",
    "redis",
    "http",
    "https",
];

/// Drivers that people write for PostgreSQL and SQLite, with why each does not work.
const DRIVERS: [(&str, DriverFault); 14] = [
    ("postgresql+psycopg2", DriverFault::Sync),
    ("postgresql+psycopg2cffi", DriverFault::Sync),
    ("postgresql+pg8000", DriverFault::Sync),
    ("postgresql+pygresql", DriverFault::Sync),
    ("postgresql+pypostgresql", DriverFault::Sync),
    ("postgresql+psycopg", DriverFault::NotAsyncpg),
    ("postgresql+psycopg_async", DriverFault::NotAsyncpg),
    ("postgresql+aiopg", DriverFault::NotAsyncpg),
    ("postgres+asyncpg", DriverFault::Alias),
    ("postgres+psycopg2", DriverFault::Alias),
    ("sqlite+pysqlite", DriverFault::Sync),
    ("sqlite+pysqlcipher", DriverFault::Sync),
    ("asyncpg", DriverFault::Unknown),
    ("aiosqlite", DriverFault::Unknown),
];

fn is_postgres(dialect: &str) -> bool {
    let names = ["postgresql", "postgres", "asyncpg", "pg", "psql", "pgsql"];
    names.iter().any(|name| dialect.eq_ignore_ascii_case(name))
}

fn is_sqlite(dialect: &str) -> bool {
    ["sqlite", "sqlite3", "aiosqlite"].iter().any(|name| dialect.eq_ignore_ascii_case(name))
}

fn wrong_name(url: &Url<'_>) -> UrlFault {
    let name = url.name;
    let (dialect, driver) = name.split_once('+').map_or((name, None), |(d, r)| (d, Some(r)));
    let is = |text: &str| dialect.eq_ignore_ascii_case(text);
    let postgres = is_postgres(dialect);
    if !postgres && !is_sqlite(dialect) {
        let known = OTHER_DIALECTS.iter().find(|known| is(known)).copied();
        return UrlFault::Dialect(known);
    }
    let wanted = if postgres { "postgresql+asyncpg" } else { "sqlite+aiosqlite" };
    let known = DRIVERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (written, why) = match (known, driver) {
        _ if name.eq_ignore_ascii_case(wanted) => (Some(wanted), DriverFault::Case),
        (Some((written, why)), _) => (Some(*written), *why),
        (None, None) if is("postgresql") => (Some("postgresql"), DriverFault::None),
        (None, None) if is("sqlite") => (Some("sqlite"), DriverFault::None),
        (None, None) if is("postgres") => (Some("postgres"), DriverFault::Alias),
        _ => (None, DriverFault::Unknown),
    };
    let options = url
        .options
        .iter()
        .filter_map(|(option, _)| safe_option_name(url, option))
        .filter(|_| postgres)
        .take(NAMED_OPTIONS)
        .collect();
    UrlFault::Driver(Driver { written, wanted, why, options })
}

/// An option's name, where it can be no part of a password: letters and `_` only, in a query without `@`, behind
/// a user that was read as one.
fn safe_option_name(url: &Url<'_>, name: &str) -> Option<String> {
    let plain =
        !name.is_empty() && name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    let clear = !url.suspicious_query && (url.user.is_some() || url.port != Some(Port::Broken));
    (plain && clear).then(|| name.to_owned())
}
