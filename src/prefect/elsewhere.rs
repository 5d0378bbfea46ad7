//! Where else a setting could be when the environment shows none, and where Prefect's own SQLite file would be.

use std::borrow::Cow;
use std::cell::LazyCell;

use super::problem::Origin;
use super::reader::Reader;
use super::settings::Field;
use super::sqlite::{Path, Place};
use crate::environment::HIDDEN;
use crate::text::basename;

/// What may hold the database out of our sight.
pub(super) fn origin(reader: &Reader<'_>) -> Option<Origin> {
    let in_json = reader.json_may_hold(Field::Url) || reader.json_may_hold(Field::Driver);
    let names = [Field::Url, Field::Driver].map(|field| field.setting().names);
    of(reader, names.into_iter().flatten().map(|name| name.text), in_json)
}

/// What may hold one part of the database out of our sight, such as the password.
pub(super) fn origin_of(reader: &Reader<'_>, part: Field) -> Option<Origin> {
    let names = part.setting().names.iter().map(|name| name.text);
    of(reader, names, reader.json_may_hold(part))
}

fn of<'n>(reader: &Reader<'_>, mut names: impl Iterator<Item = &'n str>, in_json: bool) -> Option<Origin> {
    let environment = reader.environment();
    let invocation = reader.reading.invocation;
    let is_set = |field| reader.settings.get(field).is_some();
    if names.any(|name| environment.env_from_may_define_in_any_case(name)) {
        return Some(Origin::EnvFrom);
    }
    if in_json {
        return Some(Origin::Other);
    }
    // A program that a script runs cannot set the script's own environment; a script that is not seen at all can.
    if invocation.opaque_exports || invocation.unreadable && invocation.main_call().is_none() {
        return Some(Origin::CommandLine);
    }
    let configured = invocation
        .profile_settings
        .iter()
        .any(|(name, _)| matches!(Field::named(name), Some((Field::Url | Field::Driver, _))));
    let profile = invocation.main_call().is_some_and(|call| call.profile.is_some());
    if configured || profile || is_set(Field::Profile) || is_set(Field::ProfilesPath) {
        return Some(Origin::Profile);
    }
    mounts_settings(reader).then_some(Origin::File)
}

/// A mounted file that Prefect reads settings from: `.env`, `prefect.toml` and `pyproject.toml` in the working
/// directory, `profiles.toml` in its home.
fn mounts_settings(reader: &Reader<'_>) -> bool {
    const FILES: [&str; 4] = ["prefect.toml", "pyproject.toml", "profiles.toml", ".env"];
    let working_directory = reader.working_directory();
    let holds_files = |name: &str| {
        let volume = reader.reading.workload.volume(name);
        volume.is_some_and(|volume| {
            matches!(&*volume.source, "configMap" | "secret" | "projected" | "csi" | "image")
        })
    };
    let home = LazyCell::new(|| home(reader));
    let is_home = |path: &str| {
        path.ends_with("/.prefect") || home.as_deref().is_some_and(|home| home.trim_end_matches('/') == path)
    };
    reader.reading.container.volume_mounts.iter().any(|mount| {
        let path = mount.mount_path.trim_end_matches('/');
        FILES.contains(&basename(path))
            || ((path == working_directory.trim_end_matches('/') || is_home(path))
                && holds_files(&mount.name))
    })
}

/// Where Prefect keeps its files: `PREFECT_HOME`, else `~/.prefect`; `None` where the manifest does not show it.
/// Without `HOME` the image's user decides, and the official image runs as root.
fn home<'r>(reader: &Reader<'r>) -> Option<Cow<'r, str>> {
    let user_home = || match reader.environment().get("HOME") {
        Some(variable) => {
            Some(reader.environment().value(variable.index).text).filter(|t| !t.contains(HIDDEN))
        }
        None => Some(Cow::Borrowed("/root")),
    };
    let Some(value) = reader.value(Field::Home) else {
        return Some(Cow::Owned(format!("{}/.prefect", user_home()?)));
    };
    if value.is_partly_hidden() {
        return None;
    }
    match value.text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            Some(Cow::Owned(format!("{}{rest}", user_home()?)))
        }
        _ => Some(value.text),
    }
}

/// Where Prefect's own SQLite database is.
pub(super) fn default_place(reader: &Reader<'_>) -> Place {
    let Some(home) = home(reader) else { return Place::NotVisible };
    let working_directory = reader.working_directory();
    let default = Path::resolve(&format!("{home}/prefect.db"), &working_directory);
    let says_home = reader.settings.get(Field::Home).is_some() || reader.environment().get("HOME").is_some();
    if says_home {
        return Place::File(default);
    }
    // The user's home is the image's business: a volume mounted at some `.prefect` is taken for it.
    let mount = reader
        .reading
        .container
        .volume_mounts
        .iter()
        .find(|m| m.mount_path.trim_end_matches('/').ends_with("/.prefect"));
    match mount {
        Some(mount) => Place::File(Path::resolve(&format!("{}/prefect.db", &*mount.mount_path), "/")),
        None => Place::File(default),
    }
}
