//! `${PREFECT_SERVER_DATABASE_PASSWORD}` in a URL.

use std::borrow::Cow;

use super::elsewhere;
use super::problem::{Invalid, Origin};
use super::reader::Reader;
use super::settings::Field;
use crate::environment::Environment;

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
            let origin = elsewhere::origin_of(reader, Field::Password).ok_or(Invalid::NoPassword)?;
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
