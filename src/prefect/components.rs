//! The URL that Prefect makes of components.

use std::borrow::Cow;

use super::elsewhere;
use super::problem::{Fault, Invalid, Origin, Target};
use super::reader::Reader;
use super::settings::Field;
use super::values::integer;
use crate::environment::{HIDDEN, Source};

impl Reader<'_> {
    /// The URL that Prefect makes of components (`prefect/settings/models/_defaults.py`).
    pub(super) fn components(&mut self, driver: usize) -> (Target, Option<Origin>) {
        let value = self.environment().value(driver);
        let source = self.environment().at(driver).map_or(Source::Literal, |variable| variable.source);
        if matches!(source, Source::Secret { optional: true } | Source::ConfigMap { optional: true }) {
            self.report(driver, Fault::Optional);
        }
        if value.is_partly_hidden() || self.is_opaque(&value.text) {
            return (Target::NotVisible, self.component_origin());
        }
        match &*value.text {
            "postgresql+asyncpg" => self.postgres_components(driver),
            "sqlite+aiosqlite" => {
                let name = self.value(Field::Name).map(|value| value.text).unwrap_or_default();
                if name.is_empty() {
                    let place = elsewhere::default_place(self);
                    return (self.sqlite(place, true), Some(Origin::Literal));
                }
                self.url(driver, &format!("sqlite+aiosqlite:///{name}"))
            }
            // Reported already: no driver that Prefect takes.
            _ => (Target::Broken, Some(Origin::Literal)),
        }
    }

    fn postgres_components(&mut self, driver: usize) -> (Target, Option<Origin>) {
        let mut complete = true;
        let mut unseen = None;
        for field in [Field::Host, Field::User, Field::Name] {
            if self.settings.get(field).is_some() {
                continue;
            }
            match elsewhere::origin_of(self, field) {
                Some(origin) => unseen = unseen.or(Some(origin)),
                None => {
                    self.report(driver, Fault::Invalid(Invalid::MissingComponent(field)));
                    complete = false;
                }
            }
        }
        // A password may be left out. A script that reads a file rather has it from there.
        let by_script = Some(Origin::CommandLine);
        if self.settings.get(Field::Password).is_none()
            && elsewhere::origin_of(self, Field::Password) == by_script
        {
            unseen = unseen.or(by_script);
        }
        self.not_seen(driver, unseen.filter(|_| complete));
        let broken_port = self.problems.iter().any(|problem| {
            problem.variable.is_some()
                && problem.variable == self.settings.get(Field::Port)
                && matches!(problem.fault, Fault::Invalid(_))
        });
        if !complete || broken_port {
            return (Target::Broken, self.component_origin());
        }
        let text = self.composed();
        let (target, _) = self.url(driver, &text);
        (target, self.component_origin())
    }

    /// `URL.render_as_string` of SQLAlchemy.
    fn composed(&self) -> String {
        let text = |field: Field| {
            self.value(field).map_or(Cow::Borrowed("\u{fdd0}"), |value| {
                if self.is_opaque(&value.text) { Cow::Borrowed("\u{fdd0}") } else { value.text }
            })
        };
        let mut url = String::from("postgresql+asyncpg://");
        url.push_str(&quote(&text(Field::User), " +"));
        if self.settings.get(Field::Password).is_some() && !text(Field::Password).is_empty() {
            url.push(':');
            url.push_str(&quote(&text(Field::Password), " +"));
        }
        url.push('@');
        let host = text(Field::Host);
        if host.contains(':') {
            url.push_str(&format!("[{host}]"));
        } else {
            url.push_str(&host);
        }
        let port = self.value(Field::Port).map(|value| match integer(&value.text) {
            Some(0) => Cow::Borrowed("5432"),
            Some(number) => Cow::Owned(number.to_string()),
            None => value.text,
        });
        url.push(':');
        url.push_str(port.as_deref().unwrap_or("5432"));
        url.push('/');
        url.push_str(&quote(&text(Field::Name), " +/"));
        url
    }

    /// Where the components come from: the least visible of them decides.
    fn component_origin(&self) -> Option<Origin> {
        let sources = self.settings.all().filter(|(field, _)| field.is_component());
        let mut origin = Origin::Literal;
        for (_, index) in sources {
            match self.environment().at(index)?.source {
                Source::Secret { .. } => return Some(Origin::Secret),
                Source::ConfigMap { .. } => origin = Origin::ConfigMap,
                Source::CommandLine => origin = Origin::CommandLine,
                Source::Literal | Source::Other => {}
            }
        }
        Some(origin)
    }
}

/// `urllib.parse.quote`; hidden pieces stay.
fn quote(text: &str, safe: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '~') || safe.contains(c) || c == HIDDEN
        {
            out.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}
