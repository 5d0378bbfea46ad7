//! Settings that are good on their own and do not agree, and names that nothing reads.

use super::problem::{Conflict, Fault};
use super::reader::Reader;
use super::settings::{API_DATABASE, Field, Rank, SERVER_DATABASE};
use super::url::{Port, Url};
use super::values::integer;
use super::{near, template};
use crate::environment::HIDDEN;

impl Reader<'_> {
    /// What stands beside the URL at `url`.
    pub(super) fn conflicts(&mut self, url: usize) {
        self.alias_conflict(url);
        let components: Vec<(Field, usize)> =
            self.settings.all().filter(|(field, _)| field.is_component()).collect();
        if components.is_empty() {
            return;
        }
        let value = self.environment().value(url);
        let written = self.environment().written(url);
        let parsed = Url::parse(&value.text, self.reading.grammar);
        for (field, index) in components {
            let name = self.environment().at(index).map(|v| v.name.to_owned()).unwrap_or_default();
            if written.contains(&format!("$({name})")) {
                continue;
            }
            if field == Field::Password {
                self.password_conflict(url, index, &value.text);
                continue;
            }
            let own = self.environment().value(index);
            let agrees = own.text.contains(HIDDEN)
                || parsed.as_ref().is_none_or(|parsed| agrees(field, &own.text, parsed));
            if !agrees {
                self.report(index, Fault::Conflict(Conflict::BesideUrl { url }));
            }
        }
    }

    /// The alias of a URL beside its current name.
    fn alias_of_url(&self) -> Option<usize> {
        self.settings.by_name(Field::Url, Rank::First)?;
        self.settings.by_name(Field::Url, Rank::Second)
    }
    fn alias_conflict(&mut self, url: usize) {
        let Some(alias) = self.alias_of_url() else { return };
        let (first, second) = (self.environment().value(url), self.environment().value(alias));
        if first.text != second.text || first.is_partly_hidden() {
            self.report(alias, Fault::Conflict(Conflict::Alias { winner: url }));
        }
    }

    /// Prefect warns of a password that the URL does not use (`warn_on_database_password_value_without_usage`).
    fn password_conflict(&mut self, url: usize, index: usize, text: &str) {
        let password = self.environment().value(index);
        let used = password.text.is_empty()
            || template::mentions_password(text)
            || text.contains(HIDDEN)
            || text.contains(&*password.text);
        if !used {
            self.report(index, Fault::Conflict(Conflict::UnusedPassword { url }));
        }
    }

    /// Names close to those of settings, which do nothing. Nobody writes more than a few.
    pub(super) fn misspelt(&mut self) {
        const LOOKED_AT: usize = 64;
        let environment = self.environment();
        let ours = |name: &str| {
            [SERVER_DATABASE, API_DATABASE]
                .iter()
                .any(|prefix| name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix)))
        };
        let unread = environment
            .variables()
            .filter(|variable| ours(variable.name) && Field::named(variable.name).is_none())
            .take(LOOKED_AT);
        let found: Vec<(usize, String)> = unread
            .filter_map(|variable| Some((variable.index, near::misspelt(variable.name)?)))
            .filter(|(index, _)| !self.problems.iter().any(|problem| problem.variable == Some(*index)))
            .collect();
        for (index, wanted) in found {
            let reference = format!("$({})", environment.at(index).map_or("", |variable| variable.name));
            // A part of another value, named alike.
            let is_part = environment
                .variables()
                .any(|variable| environment.written(variable.index).contains(&reference));
            if !is_part {
                self.report(index, Fault::Misspelt(wanted));
            }
        }
    }

    /// The same setting in two variables.
    pub(super) fn duplicates(&mut self) {
        for (loser, winner) in std::mem::take(&mut self.settings.duplicates) {
            self.duplicate(loser, winner);
        }
    }

    fn duplicate(&mut self, loser: usize, winner: usize) {
        let environment = self.environment();
        let (Some(first), Some(second)) = (environment.at(loser), environment.at(winner)) else { return };
        let (a, b) = (environment.value(loser), environment.value(winner));
        if a.text == b.text && !a.is_partly_hidden() {
            return;
        }
        let conflict = if first.name == second.name {
            Conflict::Duplicate { winner }
        } else {
            Conflict::Case { other: winner }
        };
        self.report(loser, Fault::Conflict(conflict));
    }
}

/// Whether a component says the same as the URL.
fn agrees(field: Field, text: &str, url: &Url<'_>) -> bool {
    let same =
        |part: Option<&str>| part.unwrap_or_default() == text || part.is_some_and(|p| p.contains(HIDDEN));
    match field {
        Field::Driver => url.name == text,
        Field::Host => same(url.host) || url.option("host").next().is_some(),
        Field::User => same(url.user.as_deref()),
        Field::Name => same(url.database.as_deref()) || url.name.starts_with("sqlite"),
        Field::Port => match url.port {
            Some(Port::Number(port)) => integer(text) == Some(port),
            Some(Port::Hidden | Port::Broken) => true,
            None => integer(text) == Some(5432),
        },
        _ => true,
    }
}
