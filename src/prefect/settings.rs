//! The one table of Prefect's settings: their names, what they must hold, and which releases read them.
//!
//! From `prefect/settings/models/` of the wheels; the differential test compares it with the models of a real Prefect.
//! Names are read in any case. Where a setting has two names the first one in the environment wins over the second,
//! even when it is empty. What reads an environment, near-miss names, help texts and `docs/settings.md` are made from
//! this table; `tests/live/settings.json` is the same for Python.

use std::collections::BTreeMap;
use std::sync::LazyLock;

pub use super::field::{Field, Rank};
use super::values::Kind;
use super::version::{Release, Version};

/// A name under which a setting is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// As it is written: in capitals.
    pub text: &'static str,
    /// The first release that reads it; 2.0.0 stands for all.
    pub since: Release,
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Which one.
    pub field: Field,
    /// Its names, the one that wins first.
    pub names: &'static [Name],
    /// What it must hold.
    pub kind: Kind,
    /// The first release that reads it no more, and the setting that stands in its place.
    pub replaced: Option<(Release, Field)>,
    /// What it is for, in one sentence.
    pub about: &'static str,
}

const fn setting(field: Field, kind: Kind, names: &'static [Name], about: &'static str) -> Setting {
    Setting { field, names, kind, replaced: None, about }
}

/// A name and the first release that reads it.
const fn since(major: u32, minor: u32, patch: u32, text: &'static str) -> Name {
    Name { text, since: Release(major, minor, patch) }
}

/// Every setting, in the order of [`Field`].
pub static SETTINGS: [Setting; FIELDS] = [
    setting(
        Field::Url,
        Kind::Text,
        &[
            since(3, 0, 11, "PREFECT_SERVER_DATABASE_CONNECTION_URL"),
            since(2, 8, 1, "PREFECT_API_DATABASE_CONNECTION_URL"),
        ],
        "The connection URL.",
    ),
    setting(
        Field::Driver,
        Kind::Driver,
        &[since(3, 0, 11, "PREFECT_SERVER_DATABASE_DRIVER"), since(3, 0, 0, "PREFECT_API_DATABASE_DRIVER")],
        "Dialect and driver of a URL made of components.",
    ),
    setting(
        Field::Host,
        Kind::Text,
        &[since(3, 0, 11, "PREFECT_SERVER_DATABASE_HOST"), since(3, 0, 0, "PREFECT_API_DATABASE_HOST")],
        "Component of the URL.",
    ),
    setting(
        Field::Port,
        Kind::Int,
        &[since(3, 0, 11, "PREFECT_SERVER_DATABASE_PORT"), since(3, 0, 0, "PREFECT_API_DATABASE_PORT")],
        "Component of the URL.",
    ),
    setting(
        Field::User,
        Kind::Text,
        &[since(3, 0, 11, "PREFECT_SERVER_DATABASE_USER"), since(3, 0, 0, "PREFECT_API_DATABASE_USER")],
        "Component of the URL.",
    ),
    setting(
        Field::Password,
        Kind::Text,
        &[
            since(3, 0, 11, "PREFECT_SERVER_DATABASE_PASSWORD"),
            since(2, 8, 1, "PREFECT_API_DATABASE_PASSWORD"),
        ],
        "Component of the URL, and what `${PREFECT_SERVER_DATABASE_PASSWORD}` stands for.",
    ),
    setting(
        Field::Name,
        Kind::Text,
        &[since(3, 0, 11, "PREFECT_SERVER_DATABASE_NAME"), since(3, 0, 0, "PREFECT_API_DATABASE_NAME")],
        "Component of the URL: the database, or the path of an SQLite file.",
    ),
    setting(
        Field::Echo,
        Kind::Bool,
        &[since(3, 0, 11, "PREFECT_SERVER_DATABASE_ECHO"), since(2, 8, 1, "PREFECT_API_DATABASE_ECHO")],
        "Logs every statement.",
    ),
    setting(
        Field::MigrateOnStart,
        Kind::Bool,
        &[
            since(3, 0, 11, "PREFECT_SERVER_DATABASE_MIGRATE_ON_START"),
            since(2, 8, 1, "PREFECT_API_DATABASE_MIGRATE_ON_START"),
        ],
        "Whether the server migrates when it starts.",
    ),
    setting(
        Field::Timeout,
        Kind::Float,
        &[since(3, 0, 11, "PREFECT_SERVER_DATABASE_TIMEOUT"), since(2, 8, 1, "PREFECT_API_DATABASE_TIMEOUT")],
        "Statement timeout in seconds.",
    ),
    setting(
        Field::ConnectionTimeout,
        Kind::Float,
        &[
            since(3, 0, 11, "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT"),
            since(2, 8, 1, "PREFECT_API_DATABASE_CONNECTION_TIMEOUT"),
        ],
        "Connection timeout in seconds.",
    ),
    setting(
        Field::MigrationTimeout,
        Kind::PositiveFloat,
        &[since(3, 8, 0, "PREFECT_SERVER_DATABASE_MIGRATION_TIMEOUT")],
        "Statement timeout of migrations in seconds.",
    ),
    setting(
        Field::PoolSize,
        Kind::Int,
        &[
            since(3, 0, 11, "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE"),
            since(2, 8, 1, "PREFECT_SQLALCHEMY_POOL_SIZE"),
        ],
        "Connections kept.",
    ),
    setting(
        Field::PoolRecycle,
        Kind::Int,
        &[since(3, 1, 13, "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_RECYCLE")],
        "Seconds until a connection is replaced.",
    ),
    setting(
        Field::PoolTimeout,
        Kind::Float,
        &[since(3, 1, 13, "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_TIMEOUT")],
        "Seconds to wait for a connection.",
    ),
    setting(
        Field::MaxOverflow,
        Kind::Int,
        &[
            since(3, 0, 11, "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW"),
            since(2, 8, 1, "PREFECT_SQLALCHEMY_MAX_OVERFLOW"),
        ],
        "Connections beyond the pool; `-1` means without limit.",
    ),
    setting(
        Field::ApplicationName,
        Kind::Text,
        &[since(3, 1, 13, "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_APPLICATION_NAME")],
        "The name PostgreSQL shows for the connection.",
    ),
    setting(
        Field::SearchPath,
        Kind::Text,
        &[since(3, 6, 6, "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_SEARCH_PATH")],
        "Schemas, in order.",
    ),
    setting(
        Field::StatementCacheSize,
        Kind::Int,
        &[since(3, 2, 7, "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_STATEMENT_CACHE_SIZE")],
        "asyncpg's statement cache; `0` behind PgBouncer in transaction mode.",
    ),
    setting(
        Field::PreparedStatementCacheSize,
        Kind::Int,
        &[since(3, 2, 7, "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_PREPARED_STATEMENT_CACHE_SIZE")],
        "SQLAlchemy's statement cache.",
    ),
    setting(
        Field::TlsEnabled,
        Kind::Bool,
        &[since(3, 4, 3, "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLED")],
        "TLS by Prefect's own settings; without it the other ones of TLS are ignored.",
    ),
    setting(
        Field::TlsCaFile,
        Kind::Text,
        &[since(3, 4, 3, "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_CA_FILE")],
        "The certificate authority.",
    ),
    setting(
        Field::TlsCertFile,
        Kind::Text,
        &[since(3, 4, 3, "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_CERT_FILE")],
        "The client's certificate; ignored without its key.",
    ),
    setting(
        Field::TlsKeyFile,
        Kind::Text,
        &[since(3, 4, 3, "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_KEY_FILE")],
        "The key of the client's certificate.",
    ),
    setting(
        Field::TlsCheckHostname,
        Kind::Bool,
        &[since(3, 4, 3, "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_CHECK_HOSTNAME")],
        "Whether the certificate must name the host.",
    ),
    setting(
        Field::ServerJson,
        Kind::Json,
        &[since(3, 0, 11, "PREFECT_SERVER")],
        "All settings of the server as JSON.",
    ),
    setting(
        Field::DatabaseJson,
        Kind::Json,
        &[since(3, 0, 11, "PREFECT_SERVER_DATABASE")],
        "All settings of the database as JSON; beats the single ones.",
    ),
    setting(
        Field::SqlalchemyJson,
        Kind::Json,
        &[since(3, 1, 13, "PREFECT_SERVER_DATABASE_SQLALCHEMY")],
        "A group of settings as JSON.",
    ),
    setting(
        Field::ConnectArgsJson,
        Kind::Json,
        &[since(3, 1, 13, "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS")],
        "A group of settings as JSON.",
    ),
    setting(
        Field::TlsJson,
        Kind::Json,
        &[since(3, 4, 3, "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS")],
        "A group of settings as JSON.",
    ),
    setting(
        Field::ApiPort,
        Kind::Int,
        &[since(2, 0, 0, "PREFECT_SERVER_API_PORT")],
        "The port of the server. A Service named `prefect-server-api` fills it with a URL.",
    ),
    setting(
        Field::ApiHost,
        Kind::Text,
        &[since(2, 0, 0, "PREFECT_SERVER_API_HOST")],
        "The address the server listens on; `127.0.0.1` by default.",
    ),
    setting(
        Field::AuthString,
        Kind::Text,
        &[since(3, 1, 8, "PREFECT_SERVER_API_AUTH_STRING")],
        "User and password that the API asks for.",
    ),
    setting(
        Field::Home,
        Kind::Text,
        &[since(2, 0, 0, "PREFECT_HOME")],
        "Where Prefect keeps its files, the default SQLite database among them.",
    ),
    setting(Field::Profile, Kind::Text, &[since(2, 0, 0, "PREFECT_PROFILE")], "Which profile is active."),
    setting(
        Field::ProfilesPath,
        Kind::Text,
        &[since(2, 0, 0, "PREFECT_PROFILES_PATH")],
        "The file with the profiles.",
    ),
    setting(
        Field::MessagingBroker,
        Kind::Text,
        &[
            since(3, 0, 11, "PREFECT_SERVER_EVENTS_MESSAGING_BROKER"),
            since(2, 20, 0, "PREFECT_MESSAGING_BROKER"),
        ],
        "What carries events between servers; in memory by default.",
    ),
    setting(
        Field::MessagingCache,
        Kind::Text,
        &[
            since(3, 0, 11, "PREFECT_SERVER_EVENTS_MESSAGING_CACHE"),
            since(2, 20, 0, "PREFECT_MESSAGING_CACHE"),
        ],
        "What remembers which events were seen; in memory by default.",
    ),
    setting(
        Field::CausalOrdering,
        Kind::Text,
        &[since(3, 4, 12, "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING")],
        "What puts events into their order; in memory by default.",
    ),
    setting(
        Field::LeaseStorage,
        Kind::Text,
        &[since(3, 4, 9, "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE")],
        "What keeps the leases of concurrency limits; in memory by default.",
    ),
    setting(
        Field::DocketUrl,
        Kind::Text,
        &[since(3, 6, 0, "PREFECT_SERVER_DOCKET_URL")],
        "The queue of background work; `memory://` by default.",
    ),
    setting(
        Field::PluginsEnabled,
        Kind::Bool,
        &[since(3, 7, 0, "PREFECT_PLUGINS_ENABLED"), since(3, 4, 24, "PREFECT_EXPERIMENTS_PLUGINS_ENABLED")],
        "Whether plugins run; RDS IAM and Azure's managed identity need them.",
    ),
    Setting {
        replaced: Some((Release(2, 14, 0), Field::Url)),
        ..setting(
            Field::OrionUrl,
            Kind::Text,
            &[since(2, 0, 0, "PREFECT_ORION_DATABASE_CONNECTION_URL")],
            "The connection URL of Prefect before 2.14.",
        )
    },
];

/// How many fields there are.
pub const FIELDS: usize = Field::OrionUrl as usize + 1;

/// The prefix of the settings of the database.
pub const SERVER_DATABASE: &str = "PREFECT_SERVER_DATABASE_";
/// The prefix of their older names.
pub const API_DATABASE: &str = "PREFECT_API_DATABASE_";

/// Whether a variable has a say in which database is reached, or in whether it lets one in.
pub fn picks_database(name: &str) -> bool {
    let picks = |field: Field| {
        field.is_component()
            || field.is_group()
            || field.is_tls()
            || matches!(
                field,
                Field::Url | Field::OrionUrl | Field::SearchPath | Field::Profile | Field::ProfilesPath
            )
    };
    Field::named(name).is_some_and(|(field, _)| picks(field))
        // What asyncpg reads by itself.
        || matches!(
            name,
            "PGHOST" | "PGPORT" | "PGUSER" | "PGPASSWORD" | "PGPASSFILE" | "PGDATABASE" | "PGSSLMODE" | "PGSSLROOTCERT"
                | "PGSSLCERT" | "PGSSLKEY" | "PGSSLCRL" | "PGSERVICE" | "PGSERVICEFILE"
        )
}

impl Field {
    /// All that is known of it.
    pub fn setting(self) -> &'static Setting {
        &SETTINGS[self as usize]
    }

    /// What the setting must hold.
    pub fn kind(self) -> Kind {
        self.setting().kind
    }

    /// The name that wins.
    pub fn name(self) -> &'static str {
        self.setting().names[0].text
    }

    /// The name to give for an image of `version`: one that every release reads which its tag can stand for, else one
    /// that some of them read, else that of the setting which this one has replaced.
    pub fn name_for(self, version: Option<Version>) -> &'static str {
        let Some(version) = version else { return self.name() };
        let names = self.setting().names;
        let surely = names.iter().find(|name| version.is_as_new_as(name.since));
        let maybe = || names.iter().rev().find(|name| !version.is_older_than(name.since));
        let before = || {
            let replaced = |setting: &&Setting| setting.replaced.is_some_and(|(_, field)| field == self);
            SETTINGS.iter().find(replaced).map(|setting| &setting.names[0])
        };
        surely.or_else(maybe).or_else(before).map_or(self.name(), |name| name.text)
    }

    /// The first release that reads the setting, where that is later than 3.0.11 with its `PREFECT_SERVER_DATABASE_*`.
    pub fn since(self) -> Option<Release> {
        let since = self.setting().names[0].since;
        (since > FIRST_OF_GROUPS).then_some(since)
    }

    /// The setting that `name` gives, in any case.
    ///
    /// Python lowers the whole name by Unicode's rules; the only letters outside ASCII that end up in it, the Kelvin
    /// sign and the dotted capital I, may not stand in a variable's name that anybody types.
    pub fn named(name: &str) -> Option<(Field, Rank)> {
        type Known = (&'static str, Field, Rank);
        /// The names by their length: each variable of each container is looked up.
        static BY_LENGTH: LazyLock<BTreeMap<usize, Vec<Known>>> = LazyLock::new(|| {
            let mut names: BTreeMap<usize, Vec<Known>> = BTreeMap::new();
            for setting in &SETTINGS {
                for (name, rank) in setting.names.iter().zip(Rank::ALL) {
                    names.entry(name.text.len()).or_default().push((name.text, setting.field, rank));
                }
            }
            names
        });
        let known = BY_LENGTH.get(&name.len())?;
        let (_, field, rank) = known.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))?;
        Some((*field, *rank))
    }

    /// One of the parts that Prefect makes a URL of.
    pub fn is_component(self) -> bool {
        matches!(
            self,
            Field::Driver | Field::Host | Field::Port | Field::User | Field::Password | Field::Name
        )
    }

    /// Its key in the database's group of settings as JSON: `connection_url`.
    pub fn key(self) -> String {
        self.name().strip_prefix(SERVER_DATABASE).unwrap_or(self.name()).to_ascii_lowercase()
    }

    /// One of Prefect's own settings of TLS to PostgreSQL.
    pub fn is_tls(self) -> bool {
        matches!(
            self,
            Field::TlsEnabled
                | Field::TlsCaFile
                | Field::TlsCertFile
                | Field::TlsKeyFile
                | Field::TlsCheckHostname
                | Field::TlsJson
        )
    }

    /// A whole group of settings as JSON.
    pub fn is_group(self) -> bool {
        self.kind() == Kind::Json
    }
}

/// The release that brought groups of settings, and `PREFECT_SERVER_DATABASE_*` with them.
pub const FIRST_OF_GROUPS: Release = Release(3, 0, 11);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_names_in_any_case() {
        assert_eq!(Field::named("PREFECT_SERVER_DATABASE_CONNECTION_URL"), Some((Field::Url, Rank::First)));
        assert_eq!(Field::named("prefect_api_Database_connection_url"), Some((Field::Url, Rank::Second)));
        assert_eq!(Field::named("PREFECT_SQLALCHEMY_POOL_SIZE"), Some((Field::PoolSize, Rank::Second)));
        assert_eq!(Field::named("PREFECT_SERVER_DATABASE"), Some((Field::DatabaseJson, Rank::First)));
    }

    #[test]
    fn knows_no_other_names() {
        for name in [
            "PREFECT_DATABASE_CONNECTION_URL",
            "PREFECT__SERVER__DATABASE__CONNECTION_URL",
            "PREFECT_API_DATABASE_MIGRATION_TIMEOUT",
            "PREFECT_API_DATABASE_SQLALCHEMY_POOL_SIZE",
            "PREFECT_SQLALCHEMY_POOL_RECYCLE",
            "PREFECT_API_DATABASE",
            "CONNECTION_URL",
            "PREFECT_",
            "PREFECT",
            "",
        ] {
            assert_eq!(Field::named(name), None, "{name}");
        }
    }

    #[test]
    fn lists_every_field_once_in_order_and_no_name_twice() {
        assert!(SETTINGS.iter().enumerate().all(|(index, setting)| setting.field as usize == index));
        let names: Vec<&str> =
            SETTINGS.iter().flat_map(|setting| setting.names).map(|name| name.text).collect();
        let different: std::collections::BTreeSet<&&str> = names.iter().collect();
        assert_eq!(different.len(), names.len());
        for setting in &SETTINGS {
            assert!((1..=2).contains(&setting.names.len()), "{:?}", setting.field);
            for (name, rank) in setting.names.iter().zip(Rank::ALL) {
                assert_eq!(Field::named(name.text), Some((setting.field, rank)));
            }
        }
    }

    #[test]
    fn gives_the_name_that_a_version_reads() {
        let of = |image: &str| Field::Url.name_for(Version::of_image(image));
        assert_eq!(of("prefecthq/prefect:3.8.8"), "PREFECT_SERVER_DATABASE_CONNECTION_URL");
        assert_eq!(of("prefecthq/prefect:3-latest"), "PREFECT_API_DATABASE_CONNECTION_URL");
        assert_eq!(of("prefecthq/prefect:2-latest"), "PREFECT_API_DATABASE_CONNECTION_URL");
        assert_eq!(of("prefecthq/prefect:2.7.0"), "PREFECT_ORION_DATABASE_CONNECTION_URL");
        assert_eq!(of("prefecthq/prefect:3.0.5"), "PREFECT_API_DATABASE_CONNECTION_URL");
        assert_eq!(of("acme/prefect:1"), "PREFECT_SERVER_DATABASE_CONNECTION_URL");
    }
}
