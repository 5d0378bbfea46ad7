//! The database that Prefect would use, and what is wrong with the settings that say so.
//!
//! Prefect looks at the environment first, then at `.env`, `prefect.toml`, `pyproject.toml` and the active
//! profile (`prefect/settings/base.py`). With nothing set it does not fail: it makes an SQLite file in its home.

use std::borrow::Cow;

use super::asyncpg::{Address, Overrides};
use super::judge::{Aim, Around, Implicit, UrlFault, judge};
use super::placeholder::{self, Part};
use super::settings::{Field, Rank, Settings};
use super::sqlite::{self, Backing, Path, Place};
use super::url::{Grammar, SQLALCHEMY};
use super::values::{Kind, boolean};
use super::version::Version;
use super::{elsewhere, near, template};
use crate::workload::command::Invocation;
use crate::workload::env::{Environment, HIDDEN, Source, Value};
use crate::workload::{Container, Workload};

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
    pub invocation: &'r Invocation<'r>,
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
        invocation: &'r Invocation<'r>,
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
}

impl Origin {
    fn of(source: Source) -> Self {
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
    /// The setting can only come from where we do not see.
    Unseen(Origin),
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
        let decided_by = reader.settings.get(Field::Url).or(reader.settings.get(Field::Driver));
        Database { target, problems: reader.problems, origin, decided_by }
    }

    /// The manifest itself says SQLite, or leaves Prefect to its default on a volume.
    pub fn is_visibly_sqlite(&self) -> bool {
        match &self.target {
            Target::Sqlite { chosen, backing, .. } => *chosen || *backing == Backing::Persistent,
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

    /// The only setting there is comes from the server's own shell script.
    pub fn is_only_in_script(&self) -> bool {
        self.origin == Some(Origin::CommandLine)
    }

    /// Where the setting comes from, for the audit log: `literal`, `secret`, `envFrom`….
    pub fn source(&self) -> Option<&'static str> {
        Some(match self.origin? {
            Origin::Literal => "literal",
            Origin::Secret => "secret",
            Origin::ConfigMap => "configMap",
            Origin::Other => "field",
            Origin::Injector => "injector",
            Origin::CommandLine => "script",
            Origin::EnvFrom => "envFrom",
            Origin::Profile => "profile",
            Origin::File => "file",
        })
    }
}

/// Prefixes of values that a secret injector replaces: bank-vaults, 1Password, AWS, vals, Argo CD Vault plugin.
const OPAQUE: [&str; 6] = ["vault:", ">>vault:", "op://", "arn:aws:", "ref+", "<path:"];

pub(super) struct Reader<'r> {
    pub(super) reading: &'r Reading<'r>,
    pub(super) settings: Settings,
    pub(super) problems: Vec<Problem>,
    version: Option<Version>,
}

impl<'r> Reader<'r> {
    fn new(reading: &'r Reading<'r>) -> Self {
        let version = Version::of_image(&reading.container.image);
        let mut settings = Settings::find(reading.environment);
        let mut problems = Vec::new();
        if let Some(version) = version {
            for (variable, wanted) in settings.drop_unknown_to(version) {
                problems.push(Problem {
                    fault: Fault::UnknownToVersion(version, wanted),
                    variable: Some(variable),
                });
            }
        }
        if !version.is_some_and(|version| version.is_before(2, 14, 0)) {
            settings.forget(Field::OrionUrl);
        }
        Reader { reading, settings, problems, version }
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
        OPAQUE.iter().copied().chain(own).any(|prefix| text.starts_with(prefix))
    }

    /// Every setting that is set must be of its kind, whether the URL needs it or not.
    fn validity(&mut self) {
        let set: Vec<(Field, usize)> = self.settings.all().collect();
        for (field, index) in set {
            let value = self.environment().value(index);
            for name in &value.undefined {
                let shown = template::is_safe_name(self.environment(), name).then(|| name.clone());
                self.report(index, Fault::Undefined(shown));
            }
            let kind = field.kind();
            let visible = !value.is_partly_hidden() && !self.is_opaque(&value.text);
            if visible && value.undefined.is_empty() && !kind.accepts(&value.text) {
                self.report(index, Fault::Invalid(Invalid::Kind(kind)));
            }
            let is_placeholder = || placeholder::component(&value.text, Part::Password).is_some();
            if field == Field::Password && visible && !value.text.is_empty() && !is_placeholder() {
                self.report(index, Fault::Password);
            }
        }
    }

    /// Where Prefect would go.
    fn target(&mut self) -> (Target, Option<Origin>) {
        if let Some((index, text)) = self.json_url() {
            return self.url(index, &text);
        }
        let orion = self.settings.get(Field::OrionUrl);
        if let Some(index) = self.settings.get(Field::Url).or(orion) {
            self.conflicts(index);
            return self.given_url(index);
        }
        match self.settings.get(Field::Driver) {
            Some(driver) => self.components(driver),
            None => self.missing(),
        }
    }

    /// `PREFECT_SERVER_DATABASE={"connection_url": …}` beats everything else.
    fn json_url(&self) -> Option<(usize, Cow<'r, str>)> {
        let read = |field: Field, path: &str| {
            let index = self.settings.get(field)?;
            let value = self.environment().value(index);
            let json: serde_json::Value = serde_json::from_str(&value.text).ok()?;
            Some((index, Cow::Owned(json.pointer(path)?.as_str()?.to_owned())))
        };
        read(Field::ServerJson, "/database/connection_url")
            .or_else(|| read(Field::DatabaseJson, "/connection_url"))
    }

    fn given_url(&mut self, index: usize) -> (Target, Option<Origin>) {
        let variable = self.environment().at(index).expect("the index comes from this environment");
        let fallback = self.settings.by_name(Field::Url, Rank::Second).is_some_and(|other| other != index);
        let optional = matches!(
            variable.source,
            Source::Secret { optional: true } | Source::ConfigMap { optional: true }
        );
        if optional && !fallback {
            self.report(index, Fault::Optional);
        }
        let value = self.environment().value(index);
        if value.is_hidden() {
            if variable.source == Source::CommandLine {
                self.report(index, Fault::Unseen(Origin::CommandLine));
            }
            return (Target::NotVisible, Some(Origin::of(variable.source)));
        }
        if self.is_opaque(&value.text) {
            return (Target::NotVisible, Some(Origin::Injector));
        }
        if value.undefined.is_empty() {
            return self.url(index, &value.text);
        }
        // What Kubernetes leaves unexpanded is the fault; the rest is read as if it were filled in.
        let mut text = value.text.into_owned();
        for name in &value.undefined {
            text = text.replace(&format!("$({name})"), HIDDEN.encode_utf8(&mut [0; 4]));
        }
        self.url(index, &text)
    }

    /// Judges a URL after filling in the password.
    pub(super) fn url(&mut self, index: usize, text: &str) -> (Target, Option<Origin>) {
        let origin = self.environment().at(index).map(|variable| Origin::of(variable.source));
        let text = match template::fill_password(self, text) {
            Ok(text) => text,
            Err(invalid) => {
                self.report(index, Fault::Invalid(invalid));
                return (Target::Broken, origin);
            }
        };
        let working_directory = self.working_directory();
        let around = Around {
            grammar: self.reading.grammar,
            overrides: self.overrides(),
            working_directory: &working_directory,
            environment: self.libpq_environment(),
        };
        let (aim, faults) = judge(&text, &around);
        for fault in faults {
            // A password that is filled in stands in a variable of its own, and is the fault of that one.
            let filled_in = self.settings.get(Field::Password).filter(|_| self.fills_password(index));
            match (&fault, filled_in) {
                (UrlFault::Password, Some(_)) => {}
                (UrlFault::Placeholder { in_password: true, .. }, Some(own)) => {
                    self.report(own, Fault::Url(fault))
                }
                _ => self.report(index, Fault::Url(fault)),
            }
        }
        let target = match aim {
            Aim::Postgres(address) => Target::Postgres(address),
            Aim::Sqlite(place) => self.sqlite(place, true),
            Aim::NotVisible => Target::NotVisible,
            Aim::Broken => Target::Broken,
        };
        (target, origin)
    }

    /// Whether the URL at `index` has its password from the setting of that name.
    pub(super) fn fills_password(&self, index: usize) -> bool {
        let is_component = Some(index) == self.settings.get(Field::Driver);
        is_component || template::mentions_password(self.environment().written(index))
    }

    pub(super) fn sqlite(&self, place: Place, chosen: bool) -> Target {
        let backing = match &place {
            Place::File(path) => self.backing(path),
            Place::Memory => Backing::None,
            Place::NotVisible => Backing::Unknown,
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

    fn overrides(&self) -> Overrides {
        let is_set = |field| self.settings.get(field).is_some();
        // A whole group as JSON may hold them too.
        let in_json = |name: &str| {
            [
                Field::ServerJson,
                Field::DatabaseJson,
                Field::SqlalchemyJson,
                Field::ConnectArgsJson,
                Field::TlsJson,
            ]
            .iter()
            .filter_map(|field| self.value(*field))
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

    fn libpq_environment(&self) -> Implicit {
        let may_be_set =
            |name| self.environment().get(name).is_some() || self.environment().env_from_may_define(name);
        Implicit {
            host: may_be_set("PGHOST"),
            user: may_be_set("PGUSER"),
            database: may_be_set("PGDATABASE"),
        }
    }

    /// No setting in the environment: where else could it be?
    fn missing(&mut self) -> (Target, Option<Origin>) {
        if let Some(origin) = elsewhere::origin(self) {
            self.problems.push(Problem { fault: Fault::Unseen(origin), variable: None });
            return (Target::NotVisible, Some(origin));
        }
        let place = elsewhere::default_place(self);
        let target = self.sqlite(place, false);
        let on_a_volume =
            matches!(target, Target::Sqlite { backing: Backing::Persistent | Backing::Unknown, .. });
        let explained = self.problems.iter().any(|p| matches!(p.fault, Fault::UnknownToVersion(..)));
        if !explained {
            let (missing, variable) = match self.lonely_component() {
                Some(component) => (Missing::NoDriver, Some(component)),
                None => match near::miss(self.environment(), self.version) {
                    Some(variable) => (Missing::NearMiss, Some(variable)),
                    None => (Missing::Nothing, None),
                },
            };
            if missing != Missing::Nothing || !on_a_volume {
                self.problems.push(Problem { fault: Fault::Missing(missing), variable });
            }
        }
        (target, None)
    }

    /// The first component that is set, driver aside.
    fn lonely_component(&self) -> Option<usize> {
        self.settings.all().find(|(field, _)| field.is_component()).map(|(_, index)| index)
    }
}
