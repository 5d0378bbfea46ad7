//! An environment as Prefect's settings read it, and what was found wrong in it so far.

use std::borrow::Cow;

use super::asyncpg::Overrides;
use super::given::Settings;
use super::problem::{Fault, Problem, Target};
use super::settings::{Field, SETTINGS};
use super::sqlite::{self, Backing, Path, Place};
use super::url::{Grammar, SQLALCHEMY};
use super::values::boolean;
use super::version::Version;
use crate::environment::{Environment, HIDDEN, Value};
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

/// Beginnings of values that something fills in later: bank-vaults, 1Password, AWS, vals, Argo CD's Vault plugin,
/// berglas and other clients of cloud secret stores, and SOPS, which Flux decrypts.
const OPAQUE: [&str; 22] = [
    "vault:",
    ">>vault:",
    "bao:",
    ">>bao:",
    "op://",
    "arn:aws:",
    "ref+",
    "secretref+",
    "<path:",
    "sm://",
    "gsm://",
    "awssm://",
    "aws-sm://",
    "ssm://",
    "aws-ssm://",
    "berglas://",
    "gcp:secretmanager:",
    "azure:keyvault:",
    "azurekeyvault",
    "akv://",
    "keyvault://",
    "ENC[",
];

pub(super) struct Reader<'r> {
    pub(super) reading: &'r Reading<'r>,
    pub(super) settings: Settings,
    pub(super) problems: Vec<Problem>,
    pub(super) version: Option<Version>,
    /// The group of settings as JSON that says there is no URL, where one is given all the same.
    pub(super) taken_back: Option<usize>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(reading: &'r Reading<'r>) -> Self {
        let version = Version::of_image(&reading.container.image);
        let mut settings = Settings::find(reading.environment);
        let mut problems = Vec::new();
        if let Some(version) = version {
            for (variable, field, since) in settings.drop_later_than(version) {
                let fault = Fault::CameLater { version, field, since };
                problems.push(Problem { fault, variable: Some(variable) });
            }
            for (variable, wanted) in settings.drop_unknown_to(version) {
                problems.push(Problem {
                    fault: Fault::UnknownToVersion(version, wanted),
                    variable: Some(variable),
                });
            }
        }
        // `prefect orion` is gone from every release that has forgotten the name.
        let orion_call = reading.invocation.main_call().is_some_and(|call| call.orion);
        if !orion_call && !version.is_some_and(|version| version.is_before(2, 14, 0)) {
            settings.forget(Field::OrionUrl);
        }
        Reader { reading, settings, problems, version, taken_back: None }
    }

    pub(super) fn environment(&self) -> &'r Environment<'r> {
        self.reading.environment
    }

    pub(super) fn report(&mut self, variable: usize, fault: Fault) {
        self.problems.push(Problem { fault, variable: Some(variable) });
    }

    /// The value that Prefect takes for `field`.
    pub(super) fn value(&self, field: Field) -> Option<Value<'r>> {
        self.settings.get(field).map(|index| self.environment().value(index))
    }

    pub(super) fn is_opaque(&self, text: &str) -> bool {
        let own = self.reading.opaque.iter().map(String::as_str);
        // `NAME@azurekeyvault` is how the Azure Key Vault injector is asked.
        let asks_azure = !text.contains("://") && text.contains("@azurekeyvault");
        asks_azure || OPAQUE.iter().copied().chain(own).any(|prefix| text.starts_with(prefix))
    }

    /// What a group given as JSON says of `key`, a setting of the database.
    pub(super) fn in_json(&self, key: &str) -> Option<(usize, serde_json::Value)> {
        let read = |field: Field, within: &str| {
            let index = self.settings.get(field)?;
            let json = super::values::json(&self.environment().value(index).text)?;
            Some((index, json.pointer(&format!("{within}/{key}"))?.clone()))
        };
        read(Field::ServerJson, "/database").or_else(|| read(Field::DatabaseJson, ""))
    }

    /// Whether a group given as JSON holds a setting of the database, or may hold it out of our sight.
    pub(super) fn json_may_hold(&self, field: Field) -> bool {
        let groups = [Field::ServerJson, Field::DatabaseJson].map(|group| self.value(group));
        groups.iter().flatten().any(Value::is_partly_hidden)
            || groups.iter().any(Option::is_some)
                && self.in_json(&field.key()).is_some_and(|(_, value)| !value.is_null())
    }

    pub(super) fn sqlite(&self, place: Place, chosen: bool) -> Target {
        let backing = match &place {
            Place::File(path) => self.backing(path),
            Place::Memory => Backing::None,
            Place::NotVisible => sqlite::best_backing(self.reading.container, self.reading.workload),
        };
        Target::Sqlite { place, backing, chosen }
    }

    pub(super) fn backing(&self, path: &Path) -> Backing {
        sqlite::backing(path, self.reading.container, self.reading.workload)
    }

    /// Where a relative path starts. The official image works in `/opt/prefect`.
    pub(super) fn working_directory(&self) -> Cow<'r, str> {
        match self.reading.container.working_dir.as_deref() {
            Some(directory) if !directory.is_empty() => Cow::Borrowed(directory),
            _ => Cow::Borrowed("/opt/prefect"),
        }
    }

    pub(super) fn overrides(&self) -> Overrides {
        let is_set = |field| self.settings.get(field).is_some();
        // A whole group as JSON may hold them too.
        let in_json = |name: &str| {
            let groups = SETTINGS.iter().map(|setting| setting.field).filter(|field| field.is_group());
            groups
                .filter_map(|field| self.value(field))
                .any(|value| value.text.contains(name) || value.text.contains(HIDDEN))
        };
        let tls = self.value(Field::TlsEnabled).is_some_and(|value| boolean(&value.text) != Some(false));
        Overrides {
            tls: tls || in_json("enabled"),
            statement_cache_size: is_set(Field::StatementCacheSize) || in_json("\"statement_cache_size"),
            server_settings: is_set(Field::ApplicationName)
                || is_set(Field::SearchPath)
                || in_json("application_name")
                || in_json("search_path"),
        }
    }
}
