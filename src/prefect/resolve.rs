//! Which setting decides, in Prefect's order, and where it leads.

use std::borrow::Cow;

use super::problem::{Fault, Missing, Origin, Problem, Target};
use super::reader::Reader;
use super::settings::{Field, Rank};
use super::sqlite::Backing;
use super::{elsewhere, near};
use crate::environment::{HIDDEN, Source};

impl<'r> Reader<'r> {
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

/// Whether a variable of this name picks the database.
fn decides(name: &str) -> bool {
    matches!(
        Field::named(name),
        Some((Field::Url | Field::Driver | Field::ServerJson | Field::DatabaseJson, _))
    )
}
