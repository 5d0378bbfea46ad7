//! One URL in its surroundings: the password filled in, what asyncpg reads beside it, and where it leads.

use super::asyncpg::is_ssl_mode;
use super::judge::{Aim, Around, Implicit, UrlFault, judge};
use super::problem::{Fault, Invalid, Origin, Target};
use super::reader::Reader;
use super::settings::Field;
use super::sqlite::Backing;
use super::template;
use super::url::{Url, python_int};

impl Reader<'_> {
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
                self.pooler(index, &text);
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

    fn libpq_environment(&self) -> Implicit {
        let may_be_set =
            |name| self.environment().get(name).is_some() || self.environment().env_from_may_define(name);
        Implicit {
            host: may_be_set("PGHOST"),
            user: may_be_set("PGUSER"),
            database: may_be_set("PGDATABASE"),
        }
    }

    /// Says where a part of the database may come from; nothing of `envFrom` and JSON, which are ordinary places for
    /// parts.
    pub(super) fn not_seen(&mut self, variable: usize, origin: Option<Origin>) {
        if let Some(origin) = origin.filter(|origin| !matches!(origin, Origin::EnvFrom | Origin::Other)) {
            self.report(variable, Fault::Unseen(origin));
        }
    }

    /// Variables of libpq's that asyncpg reads where the URL at `text` leaves something out (`connect_utils.py`). It
    /// refuses a bad one before it connects.
    fn libpq(&mut self, text: &str) {
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
}
