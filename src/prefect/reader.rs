//! Walks through an environment as Prefect's settings do, and notes what is wrong on the way.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::asyncpg::Overrides;
use super::database::{Fault, Invalid, Missing, Origin, Problem, Reading, Target};
use super::judge::{Aim, Around, Implicit, UrlFault, judge};
use super::placeholder::{self, Part};
use super::settings::{Field, Rank, Settings};
use super::sqlite::{self, Backing, Path, Place};
use super::values::boolean;
use super::version::Version;
use super::{elsewhere, near, template};
use crate::environment::{Environment, HIDDEN, Source, Value};

/// Prefixes of values that a secret injector replaces: bank-vaults, 1Password, AWS, vals, Argo CD Vault plugin.
const OPAQUE: [&str; 6] = ["vault:", ">>vault:", "op://", "arn:aws:", "ref+", "<path:"];

pub(super) struct Reader<'r> {
    pub(super) reading: &'r Reading<'r>,
    pub(super) settings: Settings,
    pub(super) problems: Vec<Problem>,
    version: Option<Version>,
    /// The group of settings as JSON that says there is no URL, where one is given all the same.
    taken_back: Option<usize>,
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
        OPAQUE.iter().copied().chain(own).any(|prefix| text.starts_with(prefix))
    }

    /// Every setting that is set must be of its kind, whether the URL needs it or not.
    pub(super) fn validity(&mut self) {
        let set: Vec<(Field, usize)> = self.settings.all().collect();
        for (field, index) in set {
            let value = self.environment().value(index);
            for name in distinct(&value.undefined) {
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
    pub(super) fn target(&mut self) -> (Target, Option<Origin>) {
        match self.json_url() {
            Some((index, Some(text))) => return self.url(index, &text),
            Some((index, None)) => {
                let given = self.settings.get(Field::Url).or(self.settings.get(Field::OrionUrl));
                self.taken_back = given.map(|_| index);
                self.settings.forget(Field::Url);
                self.settings.forget(Field::OrionUrl);
            }
            None => {}
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

    /// `PREFECT_SERVER_DATABASE={"connection_url": …}` beats everything else; with `null` there is no URL at all.
    fn json_url(&self) -> Option<(usize, Option<Cow<'r, str>>)> {
        let (index, value) = self.in_json("connection_url")?;
        match value {
            serde_json::Value::Null => Some((index, None)),
            value => Some((index, Some(Cow::Owned(value.as_str()?.to_owned())))),
        }
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

    /// Whether a group given as JSON holds `key`, or may hold it out of our sight.
    pub(super) fn json_may_hold(&self, key: &str) -> bool {
        let hides = |field| self.value(field).is_some_and(|value| value.is_partly_hidden());
        hides(Field::ServerJson)
            || hides(Field::DatabaseJson)
            || self.in_json(key).is_some_and(|(_, value)| !value.is_null())
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
            Ok((text, unseen)) => {
                self.not_seen(index, unseen);
                text
            }
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
                    self.report(own, Fault::Url(fault));
                }
                _ => self.report(index, Fault::Url(fault)),
            }
        }
        let target = match aim {
            Aim::Postgres(address) => {
                self.libpq(&text);
                Target::Postgres(address)
            }
            Aim::Sqlite(place) => self.sqlite(place, true),
            Aim::NotVisible => Target::NotVisible,
            Aim::Broken => Target::Broken,
        };
        if matches!(target, Target::Sqlite { backing: Backing::Unknown, .. }) {
            self.report(index, Fault::UnseenFile);
        }
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
        if matches!(target, Target::Sqlite { backing: Backing::Unknown, .. }) {
            self.problems
                .push(Problem { fault: Fault::UnseenFile, variable: self.settings.get(Field::Home) });
        }
        let explained = self.problems.iter().any(|p| matches!(p.fault, Fault::UnknownToVersion(..)));
        if !explained {
            let (missing, variable) = match self.lonely_component() {
                _ if self.taken_back.is_some() => (Missing::TakenBack, self.taken_back),
                Some(component) => (Missing::NoDriver, Some(component)),
                None if self.environment().takes_away(decides) => (Missing::TakenAway, None),
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

    /// What the pod sets may not reach the program.
    pub(super) fn doubt(&mut self, decided_by: Option<usize>) {
        let from_pod = decided_by.filter(|index| self.environment().position_in_manifest(*index).is_some());
        if let Some(index) = from_pod.filter(|_| self.environment().is_doubted()) {
            self.report(index, Fault::Unseen(Origin::Doubted));
        }
    }

    /// The first component that is set, driver aside.
    fn lonely_component(&self) -> Option<usize> {
        self.settings.all().find(|(field, _)| field.is_component()).map(|(_, index)| index)
    }
}

/// The first few names, each once: one value may hold hundreds.
fn distinct(names: &[String]) -> Vec<&String> {
    const FEW: usize = 12;
    let mut seen = BTreeSet::new();
    names.iter().filter(|name| seen.insert(name.as_str())).take(FEW).collect()
}

/// Whether a variable of this name picks the database.
fn decides(name: &str) -> bool {
    matches!(
        Field::named(name),
        Some((Field::Url | Field::Driver | Field::ServerJson | Field::DatabaseJson, _))
    )
}
