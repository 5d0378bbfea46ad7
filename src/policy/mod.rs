//! The operator's settings as the core needs them.
//!
//! [`file`] is what stands in the policy file; here it is settled, once, into one [`Settings`] per namespace, so
//! that a decision only looks things up.

mod file;

use std::collections::BTreeMap;

use crate::rule::{Level, Rule};
use crate::rules::REGISTER;
pub use file::{KindSetting, PolicyError};

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
    /// Nothing is denied, warned of or patched; logs, metrics and audit annotations tell.
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
    /// Levels by position in the register.
    levels: Vec<Option<Set>>,
    /// Whether annotations may exempt at all.
    pub exemptions_allowed: bool,
    /// Rules from which no annotation exempts.
    forbidden: Vec<&'static Rule>,
    /// Whether `/mutate` injects.
    pub inject: bool,
    /// Whether the migration takes a lock.
    pub serialize: Serialize,
    /// What the migration does on a newer schema.
    pub on_newer_schema: OnNewerSchema,
    /// What is done with the user's own migration container.
    pub adopted: Adopted,
    /// Prefixes of values that something fills in later, beside the built-in ones.
    pub opaque_values: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            mode: Mode::default(),
            levels: vec![None; REGISTER.len()],
            exemptions_allowed: true,
            forbidden: Vec::new(),
            inject: true,
            serialize: Serialize::default(),
            on_newer_schema: OnNewerSchema::default(),
            adopted: Adopted::default(),
            opaque_values: Vec::new(),
        }
    }
}

impl Settings {
    /// What the policy file says of a rule, if anything.
    pub fn set(&self, rule: &Rule) -> Option<Set> {
        // Every rule there is stands in the register: the place in memory tells as much as the id does.
        let position = REGISTER.iter().position(|entry| std::ptr::eq(entry.rule, rule));
        debug_assert!(position.is_some(), "{rule:?} is not registered");
        let position = position?;
        self.levels.get(position).copied().flatten()
    }

    /// The level that holds for a rule.
    pub fn level(&self, rule: &Rule) -> Level {
        self.set(rule).map_or(rule.default, |set| set.level)
    }

    /// Whether an annotation may exempt from this rule.
    pub fn may_exempt(&self, rule: &Rule) -> bool {
        self.exemptions_allowed && !self.forbidden.contains(&rule)
    }
}

/// The whole policy.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    general: Settings,
    namespaces: BTreeMap<String, Settings>,
    kinds: Vec<KindSetting>,
}

impl Policy {
    /// Reads a policy file (YAML or JSON).
    ///
    /// # Errors
    /// What is wrong, in which line, and what may stand there.
    pub fn from_yaml(text: &str) -> Result<Self, PolicyError> {
        file::read(text)
    }

    /// The JSON Schema of the policy file.
    pub fn schema() -> serde_json::Value {
        file::schema()
    }

    /// What holds in a namespace.
    pub fn settings(&self, namespace: &str) -> &Settings {
        self.namespaces.get(namespace).unwrap_or(&self.general)
    }

    /// The kinds that are judged beside Deployments and StatefulSets.
    pub fn kinds(&self) -> &[KindSetting] {
        &self.kinds
    }
}
