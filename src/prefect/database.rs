//! The database that Prefect would use.

use std::marker::PhantomData;

/// What Prefect would connect to.
#[derive(Debug, Default)]
pub struct Database<'a>(PhantomData<&'a ()>);

impl Database<'_> {
    /// The manifest itself says SQLite.
    pub fn is_visibly_sqlite(&self) -> bool {
        false
    }

    /// Reached on the loopback interface or a unix socket, or at an address the manifest does not show.
    pub fn may_be_local(&self) -> bool {
        false
    }

    /// The only setting there is comes from the server's own shell script.
    pub fn is_only_in_script(&self) -> bool {
        false
    }

    /// SQLite in memory, or a file on no volume that outlives the container.
    pub fn is_throwaway_sqlite(&self) -> bool {
        false
    }

    /// Where the setting comes from, for the audit log: `literal`, `secret`, `envFrom`….
    pub fn source(&self) -> Option<&'static str> {
        None
    }
}
