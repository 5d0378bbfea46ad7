//! Our own annotations, read from the pod template only.

use super::migration::MigrationMode;
use super::settings::{OnNewerSchema, Serialize, Settings};
pub use crate::kubernetes::annotations::PREFIX;
use crate::kubernetes::pod::Annotations;
use crate::rule::{self, Catalogue, Rule};

/// Where our initContainer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position<'a> {
    /// After all others.
    Last,
    /// Before all others.
    First,
    /// Right before the initContainer of this name.
    Before(&'a str),
    /// Right after the initContainer of this name.
    After(&'a str),
}

/// What a pod template's annotations say to us.
#[derive(Debug, Clone, Default)]
pub struct Own<'a> {
    /// `inject`.
    pub inject: Option<bool>,
    /// `container`.
    pub container: Option<&'a str>,
    /// `allow`: the rules named, in the order written.
    pub allow: Vec<&'static Rule>,
    /// `allow-reason`: why an exemption is right, in the author's words.
    pub allow_reason: Option<&'a str>,
    /// `position`.
    pub position: Option<Position<'a>>,
    /// `serialize`.
    pub serialize: Option<Serialize>,
    /// `on-newer-schema`.
    pub on_newer_schema: Option<OnNewerSchema>,
    /// `migration`: who migrates, and the Job that is waited for.
    pub migration: Option<(MigrationMode, Option<&'a str>)>,
    /// Keys and values that we do not know.
    pub unknown: Vec<Unknown<'a>>,
}

/// An annotation of ours that we do not understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown<'a> {
    /// The key after the prefix.
    pub key: &'a str,
    /// What may stand there instead.
    pub expected: String,
    /// Whether the key is known and only the value is not.
    pub value_only: bool,
}

/// Every key we know, with the values it takes.
pub const KEYS: [(&str, &str); 8] = [
    ("inject", "`\"true\"` or `\"false\"`"),
    ("container", "the name of a container"),
    ("allow", "rule names or ids, separated by commas"),
    ("allow-reason", "a text: why the exemption is right"),
    ("position", "`last`, `first`, `before:NAME` or `after:NAME`"),
    ("serialize", "`auto`, `always` or `never`"),
    ("on-newer-schema", "`continue` or `fail`"),
    ("migration", "`run`, `wait` or `wait:JOB`"),
];

impl<'a> Own<'a> {
    /// Reads the annotations of a pod template; the rules they name are those of `catalogue`.
    pub fn read(annotations: &'a Annotations<'a>, catalogue: Catalogue) -> Self {
        let mut own = Own::default();
        for (name, value) in annotations.iter() {
            if let Some(key) = name.strip_prefix(PREFIX) {
                own.take(key, value, catalogue);
            }
        }
        own
    }

    fn take(&mut self, key: &'a str, value: &'a str, catalogue: Catalogue) {
        let understood = match key {
            "inject" => {
                self.inject = value.parse().ok();
                self.inject.is_some()
            }
            "container" => {
                self.container = Some(value).filter(|name| !name.is_empty());
                self.container.is_some()
            }
            "allow" => return self.take_allow(value, catalogue),
            "allow-reason" => {
                self.allow_reason = Some(value.trim()).filter(|reason| !reason.is_empty());
                self.allow_reason.is_some()
            }
            "position" => {
                self.position = position(value);
                self.position.is_some()
            }
            "serialize" => {
                self.serialize = Serialize::parse(value);
                self.serialize.is_some()
            }
            "on-newer-schema" => {
                self.on_newer_schema = OnNewerSchema::parse(value);
                self.on_newer_schema.is_some()
            }
            "migration" => {
                self.migration = migration(value);
                self.migration.is_some()
            }
            _ => {
                let keys: Vec<String> = KEYS.iter().map(|(key, _)| format!("`{key}`")).collect();
                let expected = format!("write one of {}, or remove it", keys.join(", "));
                return self.not_known(Unknown { key, expected, value_only: false });
            }
        };
        if !understood {
            let expected = KEYS.iter().find(|(known, _)| *known == key).map_or("", |(_, values)| values);
            self.not_known(Unknown { key, expected: expected.to_owned(), value_only: true });
        }
    }

    /// A few hundred are counted; megabytes of them are nobody's.
    fn not_known(&mut self, unknown: Unknown<'a>) {
        const COUNTED: usize = 1_000;
        if self.unknown.len() < COUNTED {
            self.unknown.push(unknown);
        }
    }

    fn take_allow(&mut self, value: &str, catalogue: Catalogue) {
        // Of two annotations of one name the last counts, as in Go.
        self.allow.clear();
        for word in value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match catalogue.find(word) {
                Some(rule) if self.allow.contains(&rule) => {}
                Some(rule) => self.allow.push(rule),
                None => {
                    let expected = match self.unknown.len() {
                        0..=rule::REPORTED => {
                            format!("rule names or ids; the closest is `{}`", catalogue.nearest(word))
                        }
                        // More than that is never reported.
                        _ => String::new(),
                    };
                    self.not_known(Unknown { key: "allow", expected, value_only: true });
                }
            }
        }
    }

    /// Whether the template asks for no injection and the policy lets it.
    pub fn opts_out(&self, settings: &Settings) -> bool {
        self.inject == Some(false) && settings.may_opt_out()
    }
}

fn migration(value: &str) -> Option<(MigrationMode, Option<&str>)> {
    let is_name = |name: &str| {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        !name.is_empty() && name.len() <= 253 && name.chars().all(known)
    };
    match value.split_once(':') {
        None if value == "run" => Some((MigrationMode::Run, None)),
        None if value == "wait" => Some((MigrationMode::Wait, None)),
        Some(("wait", job)) if is_name(job) => Some((MigrationMode::Wait, Some(job))),
        _ => None,
    }
}

fn position(value: &str) -> Option<Position<'_>> {
    match value.split_once(':') {
        None if value == "last" => Some(Position::Last),
        None if value == "first" => Some(Position::First),
        Some(("before", name)) if !name.is_empty() => Some(Position::Before(name)),
        Some(("after", name)) if !name.is_empty() => Some(Position::After(name)),
        _ => None,
    }
}
