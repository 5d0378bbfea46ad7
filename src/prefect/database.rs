//! The database that Prefect would use, and what is wrong with the settings that say so.
//!
//! Prefect looks at the environment first, then at `.env`, `prefect.toml`, `pyproject.toml` and the active
//! profile (`prefect/settings/base.py`). With nothing set it does not fail: it makes an SQLite file in its home.

use super::asyncpg::Address;
pub use super::endpoint::Endpoint;
pub use super::problem::{Conflict, Fault, Invalid, Misleading, Missing, Origin, Problem, Target};
use super::reader::Reader;
pub use super::reader::Reading;
use super::settings::Field;
use super::sqlite::{Backing, Place};

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
    /// What several processes of a server would share, and the settings leave in the memory of each.
    pub in_memory: Vec<Field>,
    /// Where the server listens, as far as settings say.
    pub endpoint: Endpoint,
}

impl Database {
    /// Reads the settings as Prefect would.
    pub fn read(reading: &Reading<'_>) -> Self {
        let mut reader = Reader::new(reading);
        reader.validity();
        let (target, origin) = reader.target();
        reader.after(&target);
        reader.duplicates();
        reader.misspelt();
        reader.misleading(&target);
        let in_memory = reader.in_memory();
        let deciding = [Field::Url, Field::OrionUrl, Field::Driver];
        let decided_by = deciding.into_iter().find_map(|field| reader.settings.get(field));
        reader.doubt(decided_by);
        let endpoint = Endpoint::read(&reader);
        Database { target, problems: reader.problems, origin, decided_by, in_memory, endpoint }
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
