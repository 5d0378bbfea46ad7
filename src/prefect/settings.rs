//! The names under which Prefect reads its database settings.
//!
//! `prefect/settings/models/server/database.py` of Prefect 3.8.8. Names are read in any case. Where a setting has
//! two names the first one in the environment wins over the second, even when it is empty.

use super::near;
use super::values::Kind;
use super::version::{Release, Version};
use crate::environment::{Environment, Source, Variable};

/// A setting that has a say in which database Prefect uses, or whether it starts at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Field {
    /// The connection URL.
    Url,
    /// Dialect and driver of a URL made of components.
    Driver,
    /// Component of the URL.
    Host,
    /// Component of the URL.
    Port,
    /// Component of the URL.
    User,
    /// Component of the URL, and what `${PREFECT_SERVER_DATABASE_PASSWORD}` stands for.
    Password,
    /// Component of the URL: the database, or the path of an SQLite file.
    Name,
    /// Logs every statement.
    Echo,
    /// Whether the server migrates when it starts.
    MigrateOnStart,
    /// Statement timeout in seconds.
    Timeout,
    /// Connection timeout in seconds.
    ConnectionTimeout,
    /// Statement timeout of migrations in seconds.
    MigrationTimeout,
    /// Connections kept.
    PoolSize,
    /// Seconds until a connection is replaced.
    PoolRecycle,
    /// Seconds to wait for a connection.
    PoolTimeout,
    /// Connections beyond the pool.
    MaxOverflow,
    /// The name PostgreSQL shows for the connection.
    ApplicationName,
    /// Schemas, in order.
    SearchPath,
    /// asyncpg's statement cache; 0 for PgBouncer in transaction mode.
    StatementCacheSize,
    /// SQLAlchemy's statement cache.
    PreparedStatementCacheSize,
    /// TLS by Prefect's own settings.
    TlsEnabled,
    /// Whether the certificate must name the host.
    TlsCheckHostname,
    /// Whole group as JSON.
    ServerJson,
    /// Whole group as JSON; beats the single settings.
    DatabaseJson,
    /// Whole group as JSON.
    SqlalchemyJson,
    /// Whole group as JSON.
    ConnectArgsJson,
    /// Whole group as JSON.
    TlsJson,
    /// The port the server listens on: no setting of the database, but a Service can stop Prefect with it.
    ApiPort,
    /// Where Prefect keeps its files, the default SQLite database among them.
    Home,
    /// Which profile is active.
    Profile,
    /// The file with the profiles.
    ProfilesPath,
    /// The URL of Prefect before 2.14.
    OrionUrl,
}

/// Whether a name may be that of a field, by two letters of what follows `prefect_`: most settings of a server have
/// nothing to do with the database.
fn may_be_known(suffix: &[u8]) -> bool {
    let letter = |at: usize| suffix.get(at).map(u8::to_ascii_lowercase);
    match letter(0) {
        Some(b'a' | b'h' | b'o' | b'p') => true,
        // `server`, `server_api_…`, `server_database…`, `sqlalchemy_…`
        Some(b's') => matches!(letter(7), None | Some(b'a' | b'd' | b'e')),
        _ => false,
    }
}

/// How many fields there are.
const FIELDS: usize = Field::OrionUrl as usize + 1;

/// Under which of its names a setting was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// `PREFECT_SERVER_DATABASE_…`, or the only name there is.
    First,
    /// The alias: `PREFECT_API_DATABASE_…`, `PREFECT_SQLALCHEMY_…`.
    Second,
}

impl Field {
    /// What the setting must hold.
    pub fn kind(self) -> Kind {
        match self {
            Field::Driver => Kind::Driver,
            Field::Echo | Field::MigrateOnStart | Field::TlsEnabled | Field::TlsCheckHostname => Kind::Bool,
            Field::Timeout | Field::ConnectionTimeout | Field::PoolTimeout => Kind::Float,
            Field::MigrationTimeout => Kind::PositiveFloat,
            Field::Port
            | Field::ApiPort
            | Field::PoolSize
            | Field::PoolRecycle
            | Field::MaxOverflow
            | Field::StatementCacheSize
            | Field::PreparedStatementCacheSize => Kind::Int,
            Field::ServerJson
            | Field::DatabaseJson
            | Field::SqlalchemyJson
            | Field::ConnectArgsJson
            | Field::TlsJson => Kind::Json,
            Field::Url
            | Field::Host
            | Field::User
            | Field::Password
            | Field::Name
            | Field::ApplicationName
            | Field::SearchPath
            | Field::Home
            | Field::Profile
            | Field::ProfilesPath
            | Field::OrionUrl => Kind::Text,
        }
    }

    /// The first release that reads the setting, where that is later than 3.0.11 with its `PREFECT_SERVER_DATABASE_*`.
    /// Found in the wheels: `prefect/settings/models/server/database.py`.
    pub fn since(self) -> Option<Release> {
        Some(match self {
            Field::PoolRecycle
            | Field::PoolTimeout
            | Field::ApplicationName
            | Field::SqlalchemyJson
            | Field::ConnectArgsJson => Release(3, 1, 13),
            Field::StatementCacheSize | Field::PreparedStatementCacheSize => Release(3, 2, 7),
            Field::TlsEnabled | Field::TlsCheckHostname | Field::TlsJson => Release(3, 4, 3),
            Field::SearchPath => Release(3, 6, 6),
            Field::MigrationTimeout => Release(3, 8, 0),
            _ => return None,
        })
    }

    /// The setting that `name` gives, in any case.
    pub fn named(name: &str) -> Option<(Field, Rank)> {
        const PREFIX: &[u8] = b"prefect_";
        let bytes = name.as_bytes();
        let mut buffer = [0; 80];
        let is_ours = bytes.get(..PREFIX.len()).is_some_and(|head| head.eq_ignore_ascii_case(PREFIX));
        if bytes.len() > buffer.len()
            || bytes.len() == PREFIX.len()
            || !is_ours
            || !may_be_known(&bytes[PREFIX.len()..])
        {
            return None;
        }
        // Python lowers the whole name by Unicode's rules; the only letters outside ASCII that end up in it, the
        // Kelvin sign and the dotted capital I, may not stand in a variable's name that anybody types.
        let lower = &mut buffer[..bytes.len()];
        lower.copy_from_slice(bytes);
        lower.make_ascii_lowercase();
        Field::of_suffix(std::str::from_utf8(&lower[PREFIX.len()..]).ok()?)
    }

    /// `suffix` is in lower case and without `prefect_`.
    fn of_suffix(suffix: &str) -> Option<(Field, Rank)> {
        if let Some(rest) = suffix.strip_prefix("server_database") {
            return Field::of_database_suffix(rest).map(|field| (field, Rank::First));
        }
        if let Some(rest) = suffix.strip_prefix("api_database_") {
            return Field::shared(rest).map(|field| (field, Rank::Second));
        }
        let (field, rank) = match suffix {
            "sqlalchemy_pool_size" => (Field::PoolSize, Rank::Second),
            "sqlalchemy_max_overflow" => (Field::MaxOverflow, Rank::Second),
            "server" => (Field::ServerJson, Rank::First),
            "server_api_port" => (Field::ApiPort, Rank::First),
            "home" => (Field::Home, Rank::First),
            "profile" => (Field::Profile, Rank::First),
            "profiles_path" => (Field::ProfilesPath, Rank::First),
            "orion_database_connection_url" => (Field::OrionUrl, Rank::First),
            _ => return None,
        };
        Some((field, rank))
    }

    /// The settings that `PREFECT_SERVER_DATABASE_` and `PREFECT_API_DATABASE_` have in common.
    fn shared(rest: &str) -> Option<Field> {
        Some(match rest {
            "connection_url" => Field::Url,
            "driver" => Field::Driver,
            "host" => Field::Host,
            "port" => Field::Port,
            "user" => Field::User,
            "password" => Field::Password,
            "name" => Field::Name,
            "echo" => Field::Echo,
            "migrate_on_start" => Field::MigrateOnStart,
            "timeout" => Field::Timeout,
            "connection_timeout" => Field::ConnectionTimeout,
            _ => return None,
        })
    }

    /// `rest` follows `server_database`.
    fn of_database_suffix(rest: &str) -> Option<Field> {
        if rest.is_empty() {
            return Some(Field::DatabaseJson);
        }
        let rest = rest.strip_prefix('_')?;
        Field::shared(rest).or_else(|| {
            Some(match rest {
                "migration_timeout" => Field::MigrationTimeout,
                "sqlalchemy" => Field::SqlalchemyJson,
                "sqlalchemy_pool_size" => Field::PoolSize,
                "sqlalchemy_pool_recycle" => Field::PoolRecycle,
                "sqlalchemy_pool_timeout" => Field::PoolTimeout,
                "sqlalchemy_max_overflow" => Field::MaxOverflow,
                "sqlalchemy_connect_args" => Field::ConnectArgsJson,
                "sqlalchemy_connect_args_application_name" => Field::ApplicationName,
                "sqlalchemy_connect_args_search_path" => Field::SearchPath,
                "sqlalchemy_connect_args_statement_cache_size" => Field::StatementCacheSize,
                "sqlalchemy_connect_args_prepared_statement_cache_size" => Field::PreparedStatementCacheSize,
                "sqlalchemy_connect_args_tls" => Field::TlsJson,
                "sqlalchemy_connect_args_tls_enabled" => Field::TlsEnabled,
                "sqlalchemy_connect_args_tls_check_hostname" => Field::TlsCheckHostname,
                _ => return None,
            })
        })
    }

    /// Known by its only name in every version.
    fn is_old(self) -> bool {
        matches!(self, Field::ApiPort | Field::Home | Field::Profile | Field::ProfilesPath | Field::OrionUrl)
    }

    /// One of the parts that Prefect makes a URL of.
    pub fn is_component(self) -> bool {
        matches!(
            self,
            Field::Driver | Field::Host | Field::Port | Field::User | Field::Password | Field::Name
        )
    }
}

/// The settings found in an environment: which variable gives which field.
#[derive(Debug, Clone)]
pub struct Settings {
    slots: [[Option<u16>; 2]; FIELDS],
    /// Pairs (overridden, winner) of variables that give the same field by the same name.
    pub duplicates: Vec<(usize, usize)>,
}

impl Settings {
    /// Looks through the environment once. A later variable of the same name wins.
    pub fn find(environment: &Environment<'_>) -> Self {
        let mut settings = Settings { slots: [[None; 2]; FIELDS], duplicates: Vec::new() };
        for variable in environment.variables() {
            if let Some((field, rank)) = Field::named(variable.name) {
                settings.take(field, rank, variable);
            }
        }
        settings
    }

    fn take(&mut self, field: Field, rank: Rank, variable: Variable<'_>) {
        let slot = &mut self.slots[field as usize][rank as usize];
        // The command line means to replace what the pod says: no conflict.
        if let Some(earlier) = slot.filter(|_| variable.source != Source::CommandLine) {
            self.duplicates.push((usize::from(earlier), variable.index));
        }
        // The API server takes no object with that many variables.
        *slot = u16::try_from(variable.index).ok();
    }

    /// Takes away what `version` does not read, and says which variables those are and what it reads instead.
    /// `PREFECT_SERVER_DATABASE_*` came with 3.0.11, components with 3.0.0, `PREFECT_API_DATABASE_*` with 2.8.1 in
    /// place of `PREFECT_ORION_DATABASE_*`, which went by 2.14.0.
    pub(super) fn drop_unknown_to(&mut self, version: Version) -> Vec<(usize, &'static str)> {
        let mut ignored = Vec::new();
        if version.is_before(3, 0, 11) {
            for field in ALL.into_iter().filter(|field| !field.is_old()) {
                let lost = self.slots[field as usize][0].take();
                let alias = self.slots[field as usize][1].is_some();
                if field == Field::Url && !alias {
                    ignored.extend(lost.map(|index| (usize::from(index), near::recommended(Some(version)))));
                }
            }
        }
        if version.is_before(2, 8, 1) {
            for field in ALL.into_iter().filter(|field| !field.is_old()) {
                let lost = self.slots[field as usize][1].take();
                if field == Field::Url && self.get(Field::OrionUrl).is_none() {
                    ignored.extend(lost.map(|index| (usize::from(index), near::ORION)));
                }
            }
        }
        if version.is_before(3, 0, 0) {
            for field in ALL.into_iter().filter(|field| field.is_component() && *field != Field::Password) {
                let lost = self.slots[field as usize][1].take();
                if field == Field::Driver && self.get(Field::Url).is_none() {
                    ignored.extend(lost.map(|index| (usize::from(index), near::ALIAS)));
                }
            }
        }
        if version.is_at_least(2, 14, 0) && self.get(Field::Url).is_none() {
            let lost = self.slots[Field::OrionUrl as usize][0].take();
            ignored.extend(lost.map(|index| (usize::from(index), near::recommended(Some(version)))));
        }
        ignored
    }

    /// Takes away what came only after `version`, and says which variables those are and which release reads them.
    pub(super) fn drop_later_than(&mut self, version: Version) -> Vec<(usize, Field, Release)> {
        let mut ignored = Vec::new();
        for field in ALL {
            let slot = &mut self.slots[field as usize][0];
            let Some(index) = *slot else { continue };
            if let Some(since) = field.since().filter(|since| version.is_older_than(*since)) {
                *slot = None;
                ignored.push((usize::from(index), field, since));
            }
        }
        ignored
    }

    /// Takes a field away.
    pub(super) fn forget(&mut self, field: Field) {
        self.slots[field as usize] = [None; 2];
    }

    /// The variable that gives `field` under this name.
    pub fn by_name(&self, field: Field, rank: Rank) -> Option<usize> {
        self.slots[field as usize][rank as usize].map(usize::from)
    }

    /// The variable that Prefect takes for `field`.
    pub fn get(&self, field: Field) -> Option<usize> {
        self.by_name(field, Rank::First).or(self.by_name(field, Rank::Second))
    }

    /// Every field that is set, with its variable.
    pub fn all(&self) -> impl Iterator<Item = (Field, usize)> + '_ {
        ALL.iter().filter_map(|field| Some((*field, self.get(*field)?)))
    }
}

/// Every field, in the order of the enumeration.
const ALL: [Field; FIELDS] = [
    Field::Url,
    Field::Driver,
    Field::Host,
    Field::Port,
    Field::User,
    Field::Password,
    Field::Name,
    Field::Echo,
    Field::MigrateOnStart,
    Field::Timeout,
    Field::ConnectionTimeout,
    Field::MigrationTimeout,
    Field::PoolSize,
    Field::PoolRecycle,
    Field::PoolTimeout,
    Field::MaxOverflow,
    Field::ApplicationName,
    Field::SearchPath,
    Field::StatementCacheSize,
    Field::PreparedStatementCacheSize,
    Field::TlsEnabled,
    Field::TlsCheckHostname,
    Field::ServerJson,
    Field::DatabaseJson,
    Field::SqlalchemyJson,
    Field::ConnectArgsJson,
    Field::TlsJson,
    Field::ApiPort,
    Field::Home,
    Field::Profile,
    Field::ProfilesPath,
    Field::OrionUrl,
];

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
    fn rules_out_by_two_letters_no_name_that_is_known() {
        const OWN: [&str; 8] = [
            "sqlalchemy_pool_size",
            "sqlalchemy_max_overflow",
            "server",
            "server_api_port",
            "home",
            "profile",
            "profiles_path",
            "orion_database_connection_url",
        ];
        const SHARED: [&str; 11] = [
            "connection_url",
            "driver",
            "host",
            "port",
            "user",
            "password",
            "name",
            "echo",
            "migrate_on_start",
            "timeout",
            "connection_timeout",
        ];
        const DATABASE: [&str; 14] = [
            "migration_timeout",
            "sqlalchemy",
            "sqlalchemy_pool_size",
            "sqlalchemy_pool_recycle",
            "sqlalchemy_pool_timeout",
            "sqlalchemy_max_overflow",
            "sqlalchemy_connect_args",
            "sqlalchemy_connect_args_application_name",
            "sqlalchemy_connect_args_search_path",
            "sqlalchemy_connect_args_statement_cache_size",
            "sqlalchemy_connect_args_prepared_statement_cache_size",
            "sqlalchemy_connect_args_tls",
            "sqlalchemy_connect_args_tls_enabled",
            "sqlalchemy_connect_args_tls_check_hostname",
        ];
        let shared = SHARED
            .iter()
            .flat_map(|rest| [format!("server_database_{rest}"), format!("api_database_{rest}")]);
        let database = DATABASE.iter().map(|rest| format!("server_database_{rest}"));
        let own = OWN.iter().map(|name| (*name).to_owned()).chain(["server_database".to_owned()]);
        let mut fields = std::collections::BTreeSet::new();
        for suffix in own.chain(shared).chain(database) {
            let found = Field::named(&format!("PREFECT_{}", suffix.to_uppercase()));
            assert_eq!(found, Field::of_suffix(&suffix), "{suffix}");
            fields.insert(found.expect("a known name").0 as usize);
        }
        // The list above leaves no field out.
        assert_eq!(fields.len(), FIELDS);
    }

    #[test]
    fn lists_every_field_once_in_order() {
        assert!(ALL.iter().enumerate().all(|(index, field)| *field as usize == index));
    }
}
