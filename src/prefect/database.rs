//! The database that Prefect would use, and what is wrong with the settings that say so.
//!
//! Prefect looks at the environment first, then at `.env`, `prefect.toml`, `pyproject.toml` and the active
//! profile (`prefect/settings/base.py`). With nothing set it does not fail: it makes an SQLite file in its home.

use super::asyncpg::Address;
use super::judge::UrlFault;
use super::reader::Reader;
use super::settings::Field;
use super::sqlite::{Backing, Place};
use super::url::{Grammar, SQLALCHEMY};
use super::values::Kind;
use super::version::{Release, Version};
use crate::environment::{Environment, Source};
use crate::kubernetes::{Container, Workload};
use crate::shell::command::Invocation;

/// What is looked at to find the database.
#[derive(Clone, Copy)]
pub struct Reading<'r> {
    /// The environment of the process, with what its command line sets.
    pub environment: &'r Environment<'r>,
    /// The container.
    pub container: &'r Container<'r>,
    /// The workload it belongs to.
    pub workload: &'r Workload<'r>,
    /// What the container runs.
    pub invocation: &'r Invocation,
    /// Prefixes of values that something fills in later, beside the built-in ones.
    pub opaque: &'r [String],
    /// The grammar of URLs; a test breaks it to see that it is noticed.
    pub grammar: &'r Grammar,
}

impl<'r> Reading<'r> {
    /// The usual reading, by SQLAlchemy's grammar.
    pub fn new(
        workload: &'r Workload<'r>,
        container: &'r Container<'r>,
        invocation: &'r Invocation,
        environment: &'r Environment<'r>,
        opaque: &'r [String],
    ) -> Self {
        Reading { environment, container, workload, invocation, opaque, grammar: &SQLALCHEMY }
    }
}

/// What Prefect would connect to.
#[derive(Debug, Clone, Default)]
pub struct Database {
    /// Where it would go.
    pub target: Target,
    /// What is wrong, in the order found.
    pub problems: Vec<Problem>,
    /// Where the deciding setting comes from; `None` when there is none.
    pub origin: Option<Origin>,
    /// The variable with the deciding setting, by its index in the environment.
    pub decided_by: Option<usize>,
}

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
    MissingComponent(&'static str),
    /// asyncpg reads `PGPORT`, and it is no port.
    LibpqPort,
    /// asyncpg reads `PGSSLMODE`, and it is no mode.
    LibpqSslMode,
    /// The URL asks for a password and there is none.
    NoPassword,
}

impl Database {
    /// Reads the settings as Prefect would.
    pub fn read(reading: &Reading<'_>) -> Self {
        let mut reader = Reader::new(reading);
        reader.validity();
        let (target, origin) = reader.target();
        reader.after(&target);
        reader.misspelt();
        let deciding = [Field::Url, Field::OrionUrl, Field::Driver];
        let decided_by = deciding.into_iter().find_map(|field| reader.settings.get(field));
        reader.doubt(decided_by);
        Database { target, problems: reader.problems, origin, decided_by }
    }

    /// The manifest itself says SQLite, or leaves Prefect to its default on a volume.
    pub fn is_visibly_sqlite(&self) -> bool {
        match &self.target {
            Target::Sqlite { chosen, backing, .. } => {
                *chosen || matches!(backing, Backing::Persistent | Backing::Unknown)
            }
            _ => false,
        }
    }

    /// SQLite by the manifest's own words, in memory or on no volume that outlives the pod.
    pub fn is_throwaway_sqlite(&self) -> bool {
        match &self.target {
            Target::Sqlite { chosen: true, place, backing } => {
                *place == Place::Memory || matches!(backing, Backing::None | Backing::Lost)
            }
            _ => false,
        }
    }

    /// Reached on the loopback interface or a unix socket, or at an address the manifest does not show.
    pub fn may_be_local(&self) -> bool {
        match &self.target {
            Target::Postgres(address) => *address != Address::Remote,
            Target::NotVisible => true,
            Target::Sqlite { .. } | Target::Broken => false,
        }
    }

    /// The address, where it is visible and may be in the pod itself.
    pub fn local_address(&self) -> Option<Address> {
        match self.target {
            Target::Postgres(address @ (Address::Loopback | Address::Socket)) => Some(address),
            _ => None,
        }
    }

    /// A setting that is needed can only come from the server's own shell script.
    pub fn is_only_in_script(&self) -> bool {
        let unseen = Fault::Unseen(Origin::CommandLine);
        self.origin == Some(Origin::CommandLine)
            || self.problems.iter().any(|problem| problem.fault == unseen)
    }

    /// Where the setting comes from, for the audit log: `literal`, `secret`, `envFrom`….
    pub fn source(&self) -> Option<&'static str> {
        Some(match self.origin? {
            Origin::Literal => "literal",
            Origin::Secret => "secret",
            Origin::ConfigMap => "configMap",
            Origin::Other => "field",
            Origin::Injector => "injector",
            Origin::CommandLine | Origin::Doubted => "script",
            Origin::EnvFrom => "envFrom",
            Origin::Profile => "profile",
            Origin::File => "file",
        })
    }
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
