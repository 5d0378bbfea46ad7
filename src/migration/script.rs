//! The scripts that pods carry, each put together from the parts that its mode needs, and the options they take.
//!
//! Kubernetes expands `$(VAR)` and halves `$$` in commands: no script holds either (a test says so).

use std::borrow::Cow;
use std::num::NonZeroU32;

use crate::policy::annotations::Own;
use crate::policy::{MigrationMode, Mode, OnNewerSchema, Serialize, Settings, Timeouts};

/// Runs the upgrade under a database lock.
pub const SCRIPT: &str = concat!(
    include_str!("script/database.py"),
    "\n\n",
    include_str!("script/diagnosis.py"),
    "\n\n",
    include_str!("script/lock.py"),
);

/// Only waits until the schema is there.
pub const WAIT: &str = concat!(
    include_str!("script/database.py"),
    "\n\n",
    include_str!("script/diagnosis.py"),
    "\n\n",
    include_str!("script/wait.py"),
);

/// The option for a server that is let through although its database is in doubt.
pub(super) const ON_SQLITE: &str = "--on-sqlite=continue";

/// How the migration is wished for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Whether it takes the lock.
    pub serialize: Serialize,
    /// What it does on a newer schema.
    pub on_newer_schema: OnNewerSchema,
    /// A server that is exempted, or only warned of, starts on SQLite whatever its variables say: so does the
    /// migration.
    pub exempted: bool,
    /// Who migrates.
    pub mode: MigrationMode,
    /// The Job that is waited for, where its name is known.
    pub job: Option<&'a str>,
    /// Bounds.
    pub timeouts: Timeouts,
    /// Only say what would be done.
    pub preview: bool,
}

impl<'a> Wish<'a> {
    /// What the policy and the annotations say.
    pub fn of(settings: &Settings, own: &Own<'a>) -> Self {
        let (mode, job) = own.migration.unwrap_or((settings.migration.mode, None));
        Wish {
            serialize: own.serialize.unwrap_or(settings.serialize),
            on_newer_schema: own.on_newer_schema.unwrap_or(settings.on_newer_schema),
            exempted: settings.mode != Mode::Enforce || !own.allow.is_empty(),
            mode,
            job,
            timeouts: settings.migration.timeouts,
            preview: false,
        }
    }

    /// The options of [`SCRIPT`].
    pub(super) fn lock_options<'w>(&self) -> Vec<Cow<'w, str>> {
        let bounds = self.timeouts;
        let mut options = vec![self.on_newer()];
        options.extend(seconds("database-timeout", bounds.database));
        options.extend(seconds("lock-timeout", bounds.lock));
        options.extend(seconds("statement-timeout", bounds.statement));
        options.extend(self.preview.then_some(Cow::Borrowed("--plan=only")));
        options.extend(self.exempted.then_some(Cow::Borrowed(ON_SQLITE)));
        options
    }

    /// The options of [`WAIT`]; a profile decides which database is asked.
    pub(super) fn wait_options<'w>(&self, profile: Option<String>) -> Vec<Cow<'w, str>> {
        let bounds = self.timeouts;
        let mut options = vec![self.on_newer()];
        options.extend(seconds("database-timeout", bounds.database));
        options.extend(seconds("wait-timeout", bounds.wait));
        options.extend(self.exempted.then_some(Cow::Borrowed(ON_SQLITE)));
        options.extend(self.job.map(|job| Cow::Owned(format!("--job={job}"))));
        options.extend(profile.map(|name| Cow::Owned(format!("--profile={name}"))));
        options
    }

    fn on_newer<'w>(&self) -> Cow<'w, str> {
        Cow::Owned(format!("--on-newer-schema={}", self.on_newer_schema.as_str()))
    }
}

fn seconds<'w>(name: &str, bound: Option<NonZeroU32>) -> Option<Cow<'w, str>> {
    bound.map(|seconds| Cow::Owned(format!("--{name}={seconds}")))
}
