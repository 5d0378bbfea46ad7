//! What a command line does to the environment of the programs that it starts.

use std::fmt;
use std::sync::Arc;

use crate::shell::budget::Budget;

/// One change of the environment.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// A variable is set.
    Set {
        /// Its name.
        name: String,
        /// Its value; `None` where it cannot be read.
        value: Option<String>,
        /// Programs see it. A shell keeps what is assigned without `export` to itself.
        exported: bool,
    },
    /// A variable is taken away: `unset NAME`, `env -u NAME`.
    Unset(String),
    /// Everything is taken away: `env -i`, `su -`, `exec -c`.
    Clear,
    /// Something may be taken away: what `sudo` and `doas` keep is written in a file of the image, and an `unset` may
    /// stand behind a condition.
    Doubt,
}

impl Change {
    /// The variable it is about.
    fn name(&self) -> Option<&str> {
        match self {
            Change::Set { name, .. } | Change::Unset(name) => Some(name),
            Change::Clear | Change::Doubt => None,
        }
    }
}

/// Names only: what a script sets may be a password.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or("*"))
    }
}

/// What is known of a variable that changes were made to.
pub(super) enum Changed<'c> {
    /// It has this value, as far as it can be read.
    To(Option<&'c str>),
    /// It is gone.
    Away,
    /// Everything is: a login may set it anew.
    Cleared,
}

/// The changes in force where the reader stands, in order.
#[derive(Default)]
pub(super) struct Changes {
    log: Vec<Change>,
    /// The log as a call has seen it, shared by the calls that follow until it changes.
    seen: Option<Arc<[Change]>>,
}

impl Changes {
    pub(super) fn push(&mut self, change: Change) {
        self.log.push(change);
        self.seen = None;
    }

    /// Where the log stands, for [`Changes::back_to`].
    pub(super) fn mark(&self) -> usize {
        self.log.len()
    }

    /// Forgets what a subshell, or one command for itself, has changed.
    pub(super) fn back_to(&mut self, mark: usize) {
        if mark < self.log.len() {
            self.log.truncate(mark);
            self.seen = None;
        }
    }

    /// What became of the variable `name`; `None` where nothing did, or where looking costs too much.
    pub(super) fn of(&self, name: &str, budget: &Budget) -> Option<Changed<'_>> {
        if !budget.step(self.log.len() / 8) {
            return Some(Changed::To(None));
        }
        self.log.iter().rev().find_map(|change| match change {
            Change::Set { name: known, value, .. } if known == name => Some(Changed::To(value.as_deref())),
            Change::Unset(known) if known == name => Some(Changed::Away),
            Change::Clear => Some(Changed::Cleared),
            _ => None,
        })
    }

    /// Whether programs see the variable `name` because of these changes; `None` where they say nothing.
    pub(super) fn exports(&self, name: &str, budget: &Budget) -> Option<bool> {
        if !budget.step(self.log.len() / 8) {
            return None;
        }
        self.log.iter().rev().find_map(|change| match change {
            Change::Set { name: known, exported, .. } if known == name => Some(*exported),
            Change::Unset(known) if known == name => Some(false),
            Change::Clear => Some(false),
            _ => None,
        })
    }

    /// The log for a call that is made here; `None` when copying it costs too much.
    pub(super) fn seen(&mut self, budget: &Budget) -> Option<Arc<[Change]>> {
        if self.seen.is_none() {
            let bytes: usize = self.log.iter().map(|change| change.name().map_or(0, str::len) + 64).sum();
            if !budget.step(bytes / 16) {
                return None;
            }
            self.seen = Some(self.log.iter().cloned().collect());
        }
        self.seen.clone()
    }
}
