//! The settings found in an environment: which variable gives which one.

use super::settings::{FIELDS, Field, Rank, SETTINGS};
use super::version::{Release, Version};
use crate::environment::{Environment, Source, Variable};

/// The settings found in an environment: which variable gives which field.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    slots: [[Option<u16>; 2]; FIELDS],
    /// Pairs (overridden, winner) of variables that give the same field by the same name.
    pub(super) duplicates: Vec<(usize, usize)>,
}

impl Settings {
    /// Looks through the environment once. A later variable of the same name wins.
    pub(super) fn find(environment: &Environment<'_>) -> Self {
        let mut settings = Settings { slots: [[None; 2]; FIELDS], duplicates: Vec::new() };
        for variable in environment.variables() {
            if let Some((field, rank)) = Field::named(variable.name) {
                settings.take(field, rank, variable);
            }
        }
        settings
    }

    fn take(&mut self, field: Field, rank: Rank, variable: Variable<'_>) {
        let slot = &mut self.slots[field as usize][rank as usize];
        // The command line means to replace what the pod says: no conflict.
        if let Some(earlier) = slot.filter(|_| variable.source != Source::CommandLine) {
            self.duplicates.push((usize::from(earlier), variable.index));
        }
        // The API server takes no object with that many variables.
        *slot = u16::try_from(variable.index).ok();
    }

    /// Takes away the names that `version` does not read yet or any more. Returns the variables that would have decided
    /// which database is used, each with the name that is read in its place.
    pub(super) fn drop_unknown_to(&mut self, version: Version) -> Vec<(usize, &'static str)> {
        let mut ignored = Vec::new();
        for rank in Rank::ALL {
            for setting in &SETTINGS {
                let known =
                    setting.names.get(rank as usize).is_none_or(|name| !version.is_older_than(name.since));
                let lost =
                    if known { None } else { self.slots[setting.field as usize][rank as usize].take() };
                if let Some(index) = lost.filter(|_| self.is_missed(setting.field, rank)) {
                    ignored.push((usize::from(index), Field::Url.name_for(Some(version))));
                }
            }
        }
        for setting in &SETTINGS {
            let Some((_, by)) = setting.replaced.filter(|(until, _)| version.is_as_new_as(*until)) else {
                continue;
            };
            if self.get(by).is_none() {
                let lost = self.slots[setting.field as usize][0].take();
                ignored.extend(lost.map(|index| (usize::from(index), by.name_for(Some(version)))));
            }
        }
        ignored
    }

    /// Whether Prefect would have taken its database from this name, were it read.
    fn is_missed(&self, field: Field, rank: Rank) -> bool {
        match (field, rank) {
            (Field::Url, Rank::First) => self.by_name(Field::Url, Rank::Second).is_none(),
            (Field::Url | Field::Driver, Rank::Second) => {
                self.get(Field::Url).is_none() && self.get(Field::OrionUrl).is_none()
            }
            _ => false,
        }
    }

    /// Takes away what came only after `version`, and says which variables those are and which release reads them.
    pub(super) fn drop_later_than(&mut self, version: Version) -> Vec<(usize, Field, Release)> {
        let mut ignored = Vec::new();
        for setting in &SETTINGS {
            let slot = &mut self.slots[setting.field as usize][0];
            let Some(index) = *slot else { continue };
            if let Some(since) = setting.field.since().filter(|since| version.is_older_than(*since)) {
                *slot = None;
                ignored.push((usize::from(index), setting.field, since));
            }
        }
        ignored
    }

    /// Takes a field away.
    pub(super) fn forget(&mut self, field: Field) {
        self.slots[field as usize] = [None; 2];
    }

    /// The variable that gives `field` under this name.
    pub(super) fn by_name(&self, field: Field, rank: Rank) -> Option<usize> {
        self.slots[field as usize][rank as usize].map(usize::from)
    }

    /// The variable that Prefect takes for `field`.
    pub(super) fn get(&self, field: Field) -> Option<usize> {
        self.by_name(field, Rank::First).or(self.by_name(field, Rank::Second))
    }

    /// Every field that is set, with its variable.
    pub(super) fn all(&self) -> impl Iterator<Item = (Field, usize)> + '_ {
        SETTINGS.iter().filter_map(|setting| Some((setting.field, self.get(setting.field)?)))
    }
}
