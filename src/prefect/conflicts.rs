//! Settings that are good on their own and do not agree, and numbers that only PostgreSQL's driver refuses.

use super::asyncpg::is_ssl_mode;
use super::database::{Conflict, Fault, Invalid, Target};
use super::reader::Reader;
use super::settings::Field;
use super::url::{Port, Url, python_int};
use super::values::{float, integer};
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

    /// Variables of libpq's that asyncpg reads where the URL at `text` leaves something out (`connect_utils.py`). It
    /// refuses a bad one before it connects.
    pub(super) fn libpq(&mut self, text: &str) {
        let Some(url) = Url::parse(text, self.reading.grammar) else { return };
        let has = |option: &str| url.option(option).next().is_some();
        let no_port = url.port.is_none() && !has("port") && !has("host");
        let no_ssl = !has("ssl") && !self.overrides().tls;
        let is_port =
            |text: &str| text.is_empty() || python_int(text).is_some_and(|port| (0..=65535).contains(&port));
        if no_port {
            self.judge_libpq("PGPORT", Invalid::LibpqPort, is_port);
        }
        if no_ssl {
            // Unlike the port, an empty mode counts.
            self.judge_libpq("PGSSLMODE", Invalid::LibpqSslMode, is_ssl_mode);
        }
    }

    fn judge_libpq(&mut self, name: &str, invalid: Invalid, accepts: impl Fn(&str) -> bool) {
        let Some(variable) = self.environment().get(name) else { return };
        let value = self.environment().value(variable.index);
        if !value.is_partly_hidden() && !self.is_opaque(&value.text) && !accepts(&value.text) {
            self.report(variable.index, Fault::Invalid(invalid));
        }
    }

    /// Names close to those of settings, which do nothing. Nobody writes more than a few.
    pub(super) fn misspelt(&mut self) {
        const LOOKED_AT: usize = 64;
        const PREFIXES: [&[u8]; 2] = [b"prefect_server_database_", b"prefect_api_database_"];
        let environment = self.environment();
        let ours = |name: &str| {
            PREFIXES.iter().any(|prefix| {
                name.as_bytes().get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
            })
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

    /// What can only be said once it is known where Prefect goes.
    pub(super) fn after(&mut self, target: &Target) {
        if matches!(target, Target::Postgres(_)) {
            self.number_for_asyncpg(Field::Timeout, Invalid::NotPositive, &|text| {
                float(text).is_some_and(|number| number <= 0.0)
            });
            // A timeout of `nan` is over at once.
            self.number_for_asyncpg(Field::ConnectionTimeout, Invalid::NotPositive, &|text| {
                float(text).is_some_and(|number| number <= 0.0 || number.is_nan())
            });
            self.number_for_asyncpg(Field::StatementCacheSize, Invalid::Negative, &|text| {
                integer(text).is_some_and(|number| number < 0)
            });
            self.pool();
        }
        for (loser, winner) in std::mem::take(&mut self.settings.duplicates) {
            self.duplicate(loser, winner);
        }
    }

    /// A pool that may never open a connection (`QueuePool._inc_overflow`): no overflow is `-1`, no limit is a
    /// size of 0.
    fn pool(&mut self) {
        let read = |field: Field, default: i64| match self.value(field) {
            Some(value) => integer(&value.text),
            None => Some(default),
        };
        let (Some(size), Some(overflow)) = (read(Field::PoolSize, 5), read(Field::MaxOverflow, 10)) else {
            return;
        };
        let opens = overflow == -1 || size == 0 || size.saturating_add(overflow) > 0;
        if let Some(index) = self.settings.get(Field::MaxOverflow).or(self.settings.get(Field::PoolSize))
            && !opens
        {
            self.report(index, Fault::Invalid(Invalid::NoConnections));
        }
    }

    fn number_for_asyncpg(&mut self, field: Field, invalid: Invalid, refused: &dyn Fn(&str) -> bool) {
        let Some(index) = self.settings.get(field) else { return };
        let value = self.environment().value(index);
        if !value.is_partly_hidden() && refused(&value.text) {
            self.report(index, Fault::Invalid(invalid));
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
