//! `${PREFECT_SERVER_DATABASE_PASSWORD}` in a URL, and URLs that Prefect makes of components.

use std::borrow::Cow;

use super::database::{Fault, Invalid, Origin, Target};
use super::elsewhere;
use super::reader::Reader;
use super::settings::{Field, Rank};
use crate::environment::{Environment, HIDDEN, Source};

/// The two names that Prefect fills in, in the order in which it replaces them
/// (`prefect/settings/models/root.py`, `post_hoc_settings`).
const NAMES: [&str; 2] = ["PREFECT_API_DATABASE_PASSWORD", "PREFECT_SERVER_DATABASE_PASSWORD"];

/// Whether Prefect looks for the password setting because of this text. It looks for the bare name, with braces
/// or without.
pub(super) fn mentions_password(text: &str) -> bool {
    NAMES.iter().any(|name| text.contains(name))
}

/// Fills in the password, unquoted, as Prefect does: what the setting says by whatever way Prefect reads it. What may
/// hold it out of our sight is said beside.
pub(super) fn fill_password<'t>(
    reader: &Reader<'_>,
    text: &'t str,
) -> Result<(Cow<'t, str>, Option<Origin>), Invalid> {
    const ORION: &str = "${PREFECT_ORION_DATABASE_PASSWORD}";
    if reader.settings.get(Field::OrionUrl).is_some() && text.contains(ORION) {
        // Old releases fill this one in the same way.
        return Ok((Cow::Owned(text.replace(ORION, "\u{fdd0}")), None));
    }
    if !mentions_password(text) {
        return Ok((Cow::Borrowed(text), None));
    }
    let (password, unseen) = match reader.value(Field::Password) {
        Some(value) if reader.is_opaque(&value.text) => (Cow::Borrowed("\u{fdd0}"), None),
        Some(value) => (value.text, None),
        None => {
            let origin = elsewhere::origin_of(reader, "password").ok_or(Invalid::NoPassword)?;
            (Cow::Borrowed("\u{fdd0}"), Some(origin))
        }
    };
    let mut text = text.to_owned();
    for name in NAMES {
        text = text.replace(&format!("${{{name}}}"), &password);
    }
    Ok((Cow::Owned(text), unseen))
}

/// Whether the name in a `$(NAME)` may be shown: it is written as such names are, or a variable has it.
/// Otherwise it may be a piece of a password.
pub(super) fn is_safe_name(environment: &Environment<'_>, name: &str) -> bool {
    let shouted = name.len() <= 80
        && name.contains('_')
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    shouted || environment.get(name).is_some()
}

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
        for (field, suffix) in [(Field::Host, "HOST"), (Field::User, "USER"), (Field::Name, "NAME")] {
            if self.settings.get(field).is_some() {
                continue;
            }
            match elsewhere::origin_of(self, &suffix.to_ascii_lowercase()) {
                Some(origin) => unseen = unseen.or(Some(origin)),
                None => {
                    self.report(driver, Fault::Invalid(Invalid::MissingComponent(suffix)));
                    complete = false;
                }
            }
        }
        // A password may be left out. A script that reads a file rather has it from there.
        let by_script = Some(Origin::CommandLine);
        if self.settings.get(Field::Password).is_none() && elsewhere::origin_of(self, "password") == by_script
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

    /// Says where a part of the database may come from; nothing of `envFrom` and JSON, which are ordinary places for
    /// parts.
    pub(super) fn not_seen(&mut self, variable: usize, origin: Option<Origin>) {
        if let Some(origin) = origin.filter(|origin| !matches!(origin, Origin::EnvFrom | Origin::Other)) {
            self.report(variable, Fault::Unseen(origin));
        }
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
        let port = self.value(Field::Port).map(|value| match super::values::integer(&value.text) {
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

    /// The alias of a URL beside its current name.
    pub(super) fn alias_of_url(&self) -> Option<usize> {
        self.settings.by_name(Field::Url, Rank::First)?;
        self.settings.by_name(Field::Url, Rank::Second)
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
