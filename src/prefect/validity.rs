//! Whether each setting holds what it must, whichever database is used.

use std::collections::BTreeSet;

use super::placeholder::{self, Part};
use super::problem::{Fault, Invalid, Target};
use super::reader::Reader;
use super::settings::Field;
use super::template;
use super::values::{float, integer};

impl Reader<'_> {
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
}

/// The first few names, each once: one value may hold hundreds.
fn distinct(names: &[String]) -> Vec<&String> {
    const FEW: usize = 12;
    let mut seen = BTreeSet::new();
    names.iter().filter(|name| seen.insert(name.as_str())).take(FEW).collect()
}
