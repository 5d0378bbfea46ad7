//! The settings of Prefect that matter here, by our own names: keys of the table in `settings.rs`.

/// A setting that has a say in which database Prefect uses, or whether its server starts at all.
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
    /// Connections beyond the pool; `-1` means without limit.
    MaxOverflow,
    /// The name PostgreSQL shows for the connection.
    ApplicationName,
    /// Schemas, in order.
    SearchPath,
    /// asyncpg's statement cache; `0` behind PgBouncer in transaction mode.
    StatementCacheSize,
    /// SQLAlchemy's statement cache.
    PreparedStatementCacheSize,
    /// TLS by Prefect's own settings; without it the other ones of TLS are ignored.
    TlsEnabled,
    /// The certificate authority.
    TlsCaFile,
    /// The client's certificate; ignored without its key.
    TlsCertFile,
    /// The key of the client's certificate.
    TlsKeyFile,
    /// Whether the certificate must name the host.
    TlsCheckHostname,
    /// All settings of the server as JSON.
    ServerJson,
    /// All settings of the database as JSON; beats the single ones.
    DatabaseJson,
    /// A group of settings as JSON.
    SqlalchemyJson,
    /// A group of settings as JSON.
    ConnectArgsJson,
    /// A group of settings as JSON.
    TlsJson,
    /// The port of the server. A Service named `prefect-server-api` fills it with a URL.
    ApiPort,
    /// The address the server listens on.
    ApiHost,
    /// User and password that the API asks for.
    AuthString,
    /// Where Prefect keeps its files, the default SQLite database among them.
    Home,
    /// Which profile is active.
    Profile,
    /// The file with the profiles.
    ProfilesPath,
    /// What carries events between servers.
    MessagingBroker,
    /// What remembers which events were seen.
    MessagingCache,
    /// What puts events into their order.
    CausalOrdering,
    /// What keeps the leases of concurrency limits.
    LeaseStorage,
    /// The queue of background work.
    DocketUrl,
    /// Whether plugins run, such as those that log in by a cloud's identity.
    PluginsEnabled,
    /// The connection URL of Prefect before 2.14.
    OrionUrl,
}

/// Under which of its names a setting was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// `PREFECT_SERVER_DATABASE_…`, or the only name there is.
    First,
    /// The alias: `PREFECT_API_DATABASE_…`, `PREFECT_SQLALCHEMY_…`.
    Second,
}

impl Rank {
    /// Both, in order.
    pub const ALL: [Rank; 2] = [Rank::First, Rank::Second];
}
