//! What the policy says for a namespace, settled once, so that a decision only looks things up.

use std::collections::BTreeMap;

use super::migration::Migration;
use crate::kubernetes::kind::KindSetting;
use crate::rule::{FixAvailability, Level, Rule};

/// What happens to denials.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Denials deny, mutations happen.
    #[default]
    Enforce,
    /// Denials become warnings, mutations happen.
    Warn,
    /// Nothing is denied, warned of or patched; logs, metrics and audit annotations report the findings.
    Audit,
}

/// Whether the migration runs under a database lock.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Serialize {
    /// Where the server's Python can be named with confidence.
    #[default]
    Auto,
    /// Wherever the database is not visibly SQLite.
    Always,
    /// The plain call.
    Never,
}

impl Serialize {
    /// Reads an annotation's value.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Serialize::Auto),
            "always" => Some(Serialize::Always),
            "never" => Some(Serialize::Never),
            _ => None,
        }
    }
}

/// What the migration does when the database is newer than its image.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum OnNewerSchema {
    /// Say so and exit 0; the server decides for itself.
    #[default]
    Continue,
    /// Exit 1: the server does not start.
    Fail,
}

impl OnNewerSchema {
    /// Reads an annotation's value.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "continue" => Some(OnNewerSchema::Continue),
            "fail" => Some(OnNewerSchema::Fail),
            _ => None,
        }
    }

    /// The word in annotations and on the script's command line.
    pub fn as_str(self) -> &'static str {
        match self {
            OnNewerSchema::Continue => "continue",
            OnNewerSchema::Fail => "fail",
        }
    }
}

/// What is done with a migration initContainer that the user wrote, when its image differs from the server's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Adopted {
    /// Its image is set to the server's, with a warning.
    #[default]
    Pin,
    /// The object is refused.
    Deny,
    /// Only a warning.
    Warn,
}

/// A rule's level in the policy, and where that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// The level.
    pub level: Level,
    /// The line of the policy file.
    pub line: u64,
}

/// What the policy says for one namespace.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What happens to denials.
    pub mode: Mode,
    /// Levels of the rules that the policy file names.
    pub(super) levels: Vec<(&'static Rule, Set)>,
    /// Whether annotations may exempt at all.
    pub exemptions_allowed: bool,
    /// Whether an exemption without `prefect-guard.io/allow-reason` is reported.
    pub reason_required: bool,
    /// Rules from which no annotation exempts.
    pub(super) forbidden: Vec<&'static Rule>,
    /// Whether `/mutate` injects.
    pub inject: bool,
    /// Whether the migration takes a lock.
    pub serialize: Serialize,
    /// Whether `/mutate` leaves its findings on the workload.
    pub report_annotation: bool,
    /// What the migration does on a newer schema.
    pub on_newer_schema: OnNewerSchema,
    /// What is done with the user's own migration container.
    pub adopted: Adopted,
    /// What else is said of the migration.
    pub migration: Migration,
    /// Prefixes of values that something fills in later, beside the built-in ones.
    pub opaque_values: Vec<String>,
    /// Programs that fill the environment of what they run, beside the built-in ones.
    pub environment_programs: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            mode: Mode::default(),
            levels: Vec::new(),
            exemptions_allowed: true,
            reason_required: false,
            forbidden: Vec::new(),
            inject: true,
            serialize: Serialize::default(),
            report_annotation: true,
            on_newer_schema: OnNewerSchema::default(),
            adopted: Adopted::default(),
            migration: Migration::default(),
            opaque_values: Vec::new(),
            environment_programs: Vec::new(),
        }
    }
}

impl Settings {
    /// What the policy file says of a rule, if anything.
    pub fn set(&self, rule: &Rule) -> Option<Set> {
        self.levels.iter().find(|(named, _)| *named == rule).map(|(_, set)| *set)
    }

    /// The level that holds for a rule.
    pub fn level(&self, rule: &Rule) -> Level {
        self.set(rule).map_or(rule.default, |set| set.level)
    }

    /// Whether an annotation may exempt from this rule.
    pub fn may_exempt(&self, rule: &Rule) -> bool {
        self.exemptions_allowed && !self.forbidden.contains(&rule)
    }

    /// Whether `prefect-guard.io/inject: "false"` counts: it exempts from the rules whose fix injects.
    pub fn may_opt_out(&self) -> bool {
        self.exemptions_allowed && self.forbidden.iter().all(|rule| rule.fix != FixAvailability::Injects)
    }
}

/// The whole policy.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub(super) general: Settings,
    pub(super) namespaces: BTreeMap<String, Settings>,
    pub(super) kinds: Vec<KindSetting>,
}

impl Policy {
    /// What holds in a namespace.
    pub fn settings(&self, namespace: &str) -> &Settings {
        self.namespaces.get(namespace).unwrap_or(&self.general)
    }

    /// The same policy with one kind more.
    #[must_use]
    pub fn with_kind(mut self, kind: KindSetting) -> Self {
        self.kinds.push(kind);
        self
    }

    /// The kinds that are judged beside Deployments and StatefulSets.
    pub fn kinds(&self) -> &[KindSetting] {
        &self.kinds
    }
}
