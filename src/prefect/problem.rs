//! Where Prefect would go, and what can be wrong with the settings that say so: plain data.

use super::asyncpg::Address;
use super::judge::UrlFault;
use super::settings::Field;
use super::sqlite::{Backing, Place};
use super::values::Kind;
use super::version::{Release, Version};
use crate::environment::Source;

/// Where Prefect would go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Target {
    /// PostgreSQL.
    Postgres(Address),
    /// SQLite.
    Sqlite {
        /// Where the data is.
        place: Place,
        /// What keeps it there.
        backing: Backing,
        /// The manifest says SQLite; otherwise it is Prefect's own default, for want of any setting.
        chosen: bool,
    },
    /// The manifest does not show it.
    #[default]
    NotVisible,
    /// Nowhere: the settings stop Prefect.
    Broken,
}

/// Where the deciding setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Written in the manifest.
    Literal,
    /// A Secret, by key.
    Secret,
    /// A ConfigMap, by key.
    ConfigMap,
    /// Something else the pod fills in.
    Other,
    /// A secret injector fills it in.
    Injector,
    /// A shell script or wrapper of the container's command.
    CommandLine,
    /// Only `envFrom` can hold it.
    EnvFrom,
    /// Only a profile can hold it.
    Profile,
    /// Only a mounted file can hold it.
    File,
    /// The pod has it, and the command line may take it away: what `sudo` keeps is written in the image.
    Doubted,
}

impl Origin {
    pub(super) fn of(source: Source) -> Self {
        match source {
            Source::Literal => Origin::Literal,
            Source::Secret { .. } => Origin::Secret,
            Source::ConfigMap { .. } => Origin::ConfigMap,
            Source::Other => Origin::Other,
            Source::CommandLine => Origin::CommandLine,
        }
    }
}

/// Something wrong, and the variable it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub fault: Fault,
    /// The variable's index in the environment; `None` when it is about the container.
    pub variable: Option<usize>,
}

/// What can be wrong with database settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing that Prefect reads: it would use SQLite in the container.
    Missing(Missing),
    /// Something in the URL.
    Url(UrlFault),
    /// `$(NAME)` that Kubernetes leaves as it stands; the name where it is safe to show.
    Undefined(Option<String>),
    /// `optional: true` on the reference that decides.
    Optional,
    /// Two settings that do not agree.
    Conflict(Conflict),
    /// A password in the manifest, outside the URL.
    Password,
    /// A value that stops Prefect.
    Invalid(Invalid),
    /// A name that this version does not read; the name it does read.
    UnknownToVersion(Version, &'static str),
    /// A setting that came only after this version, which ignores it.
    CameLater {
        /// The image's version.
        version: Version,
        /// The setting.
        field: Field,
        /// The first release that reads it.
        since: Release,
    },
    /// A name that no version reads, close to the setting that is named.
    Misspelt(String),
    /// A setting, or what it holds, that does not do what it says.
    Misleading(Misleading),
    /// The setting can only come from where we do not see.
    Unseen(Origin),
    /// Where the SQLite file is, or whether that place is kept, is not visible.
    UnseenFile,
}

/// Why no setting was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// There is none.
    Nothing,
    /// A variable was probably meant to be it.
    NearMiss,
    /// Components, but no driver: Prefect ignores them.
    NoDriver,
    /// A group of settings as JSON says that there is no URL.
    TakenBack,
    /// The pod has one, and the command line takes it away from the program.
    TakenAway,
}

/// How two settings disagree. The variable of the problem is the one that loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The alias beside the current name.
    Alias {
        /// The variable that wins.
        winner: usize,
    },
    /// The same name twice.
    Duplicate {
        /// The variable that wins.
        winner: usize,
    },
    /// The same setting in two spellings of case: which wins is left to chance.
    Case {
        /// The other variable.
        other: usize,
    },
    /// A component that says something else than the URL.
    BesideUrl {
        /// The variable with the URL.
        url: usize,
    },
    /// A password that the URL does not use.
    UnusedPassword {
        /// The variable with the URL.
        url: usize,
    },
}

/// Why a value stops Prefect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// Of the wrong kind.
    Kind(Kind),
    /// asyncpg takes no timeout of zero or less.
    NotPositive,
    /// asyncpg takes no negative cache size.
    Negative,
    /// Pool size and overflow leave no connection.
    NoConnections,
    /// `DRIVER` says PostgreSQL and a component is not there.
    MissingComponent(Field),
    /// asyncpg reads `PGPORT`, and it is no port.
    LibpqPort,
    /// asyncpg reads `PGSSLMODE`, and it is no mode.
    LibpqSslMode,
    /// The URL asks for a password and there is none.
    NoPassword,
}

/// How a setting does something else than it says. Prefect starts all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misleading {
    /// No release reads the name.
    Unread,
    /// `…_FILE`: no release reads a setting from a file; the setting that was meant.
    File(Field),
    /// A setting of TLS without `TLS_ENABLED`.
    TlsOff,
    /// A certificate without its key, or the reverse: neither is used.
    HalfCertificate,
    /// `-1` lifts the limit of the pool.
    NoLimit,
    /// The usual port of a pooler, with prepared statements left on.
    Pooler(i64),
    /// A login by a cloud's identity without plugins; the setting that switches them on, for this version.
    NoPlugins(&'static str),
    /// `localhost`, with nothing else in the pod.
    Loopback,
}
