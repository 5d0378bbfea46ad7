//! Where an SQLite database lives, and whether the pod keeps that place.
//!
//! The place is found as SQLAlchemy's `pysqlite` dialect finds it (`create_connect_args`).

use std::collections::BTreeSet;

use super::asyncpg::{BadOption, Given, Refusal, each_name};
use super::url::{Url, is_python_space, python_int};
use crate::environment::HIDDEN;
use crate::kubernetes::pod::VolumeMount;
use crate::kubernetes::{Container, Workload};

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the memory of the process, or in a file that goes with the connection.
    Memory,
    /// A file.
    File(Path),
    /// The manifest does not show it.
    NotVisible,
}

/// An absolute path in the container. It is part of a setting's value, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Path(String);

impl std::fmt::Debug for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Path")
    }
}

impl Path {
    /// `path`, taken from `base` where it is relative, with `.`, `..` and doubled slashes gone.
    pub fn resolve(path: &str, base: &str) -> Path {
        let mut parts: Vec<&str> = Vec::new();
        let from = if path.starts_with('/') { "" } else { base };
        for part in from.split('/').chain(path.split('/')) {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                name => parts.push(name),
            }
        }
        Path(format!("/{}", parts.join("/")))
    }

    /// The path as text, for looking up what backs it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where the database of `url` is; relative paths start at `working_directory`.
pub fn place(url: &Url<'_>, working_directory: &str) -> Place {
    let uri = url.option("uri").next().is_some_and(|value| truth(value) == Some(true));
    let database = url.database.as_deref().unwrap_or_default();
    if database.contains(HIDDEN) {
        return Place::NotVisible;
    }
    if uri {
        return uri_place(url, database, working_directory);
    }
    match database {
        "" | ":memory:" => Place::Memory,
        path => Place::File(Path::resolve(path, working_directory)),
    }
}

/// An SQLite URI (<https://www.sqlite.org/uri.html>), where `uri=true` asks for one.
fn uri_place(url: &Url<'_>, database: &str, working_directory: &str) -> Place {
    let Some(name) = database.strip_prefix("file:") else {
        return match database {
            "" | ":memory:" => Place::Memory,
            path => Place::File(Path::resolve(path, working_directory)),
        };
    };
    if url.option("mode").any(|mode| mode == "memory") {
        return Place::Memory;
    }
    // `file://host/path`: only an empty host or `localhost` is allowed.
    let name = match name.strip_prefix("//") {
        Some(after) => after.find('/').map_or("", |slash| &after[slash..]),
        None => name,
    };
    match &*super::url::unquote(name) {
        // An empty name is a private database in a temporary file.
        "" | ":memory:" => Place::Memory,
        path => Place::File(Path::resolve(path, working_directory)),
    }
}

/// Whether SQLAlchemy refuses the form: `sqlite+aiosqlite://prefect.db` names a host, not a file.
pub fn has_wrong_form(url: &Url<'_>) -> bool {
    let present = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
    let port = !matches!(url.port, None | Some(super::url::Port::Number(0)));
    present(url.user.as_deref()) || present(url.password.as_deref()) || present(url.host) || port
}

/// The options that stop SQLAlchemy; those it does not know are ignored.
pub fn refused<'u>(url: &'u Url<'_>) -> Vec<BadOption<'u>> {
    let mut bad: Vec<BadOption<'u>> = Vec::new();
    for Given { name, value, repeated } in each_name(url) {
        if value.contains(HIDDEN) {
            continue;
        }
        let good = match name {
            // A repeated one is a tuple, and that is true.
            "uri" | "check_same_thread" => repeated || truth(value).is_some(),
            "timeout" => !repeated && python_float(value),
            "detect_types" | "cached_statements" => !repeated && python_int(value).is_some(),
            "isolation_level" => !repeated,
            _ => true,
        };
        if !good {
            let refusal = if repeated { Refusal::Repeated } else { Refusal::Value };
            bad.push(BadOption { name, refusal });
        }
    }
    bad
}

/// `asbool` of SQLAlchemy.
fn truth(text: &str) -> Option<bool> {
    match text.trim_matches(is_python_space).to_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "t" | "1" => Some(true),
        "false" | "no" | "off" | "n" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// Whether Python's `float()` takes `text`.
fn python_float(text: &str) -> bool {
    let text: String = super::url::trim_number(text)
        .chars()
        .map(|c| super::url::decimal(c).map_or(c, |digit| char::from(b'0' + digit)))
        .collect();
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let separators_are_fine = (0..bytes.len())
        .filter(|at| bytes[*at] == b'_')
        .all(|at| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)));
    separators_are_fine && text.replace('_', "").parse::<f64>().is_ok()
}

/// What keeps a path of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// A volume that outlives the pod: a claim, a node's or a network's disk.
    Persistent,
    /// A volume of a kind we do not know to be one or the other.
    Unknown,
    /// A volume that goes with the pod, or holds no files of its own, or is mounted read-only.
    Lost,
    /// No volume at all: the container's own file system.
    None,
}

/// What backs `path` in `container`.
pub fn backing(path: &Path, container: &Container<'_>, workload: &Workload<'_>) -> Backing {
    let Some(mount) = mount_of(path, container) else { return Backing::None };
    let is_directory = mount.sub_path.is_none() && path.as_str() == mount.mount_path.trim_end_matches('/');
    if mount.read_only || is_directory {
        return Backing::Lost;
    }
    backing_of_volume(&mount.name, workload)
}

/// Whether `path` is on a file server: SQLite's write-ahead log, which Prefect switches on, does not work there.
pub fn is_on_a_file_server(path: &Path, container: &Container<'_>, workload: &Workload<'_>) -> bool {
    let volume = mount_of(path, container).and_then(|mount| workload.volume(&mount.name));
    volume.is_some_and(|volume| matches!(&*volume.source, "nfs" | "azureFile" | "glusterfs"))
}

fn mount_of<'c, 'a>(path: &Path, container: &'c Container<'a>) -> Option<&'c VolumeMount<'a>> {
    let mounts = container.volume_mounts.iter().filter(|mount| is_inside(path.as_str(), &mount.mount_path));
    mounts.max_by_key(|mount| mount.mount_path.trim_end_matches('/').len())
}

/// What may back a file of `container` whose place is not visible: nothing, where no volume of it keeps anything.
pub fn best_backing(container: &Container<'_>, workload: &Workload<'_>) -> Backing {
    let keeps =
        |name: &str| matches!(backing_of_volume(name, workload), Backing::Persistent | Backing::Unknown);
    let writable = container.volume_mounts.iter().filter(|mount| !mount.read_only);
    let names: BTreeSet<&str> = writable.map(|mount| &*mount.name).collect();
    if names.into_iter().any(keeps) { Backing::Unknown } else { Backing::None }
}

fn backing_of_volume(name: &str, workload: &Workload<'_>) -> Backing {
    if workload.claim_templates.iter().any(|claim| **claim == *name) {
        return Backing::Persistent;
    }
    match workload.volume(name) {
        Some(volume) => backing_of_source(&volume.source),
        None => Backing::Unknown,
    }
}

fn backing_of_source(source: &str) -> Backing {
    match source {
        "persistentVolumeClaim"
        | "hostPath"
        | "nfs"
        | "awsElasticBlockStore"
        | "gcePersistentDisk"
        | "azureDisk"
        | "azureFile"
        | "cephfs"
        | "rbd"
        | "cinder"
        | "fc"
        | "iscsi"
        | "glusterfs"
        | "vsphereVolume"
        | "portworxVolume"
        | "photonPersistentDisk"
        | "quobyte"
        | "scaleIO"
        | "storageos"
        | "flocker" => Backing::Persistent,
        // A generic ephemeral volume is a claim that is deleted with its pod; `gitRepo` is an `emptyDir` with a clone.
        "" | "emptyDir" | "ephemeral" | "configMap" | "secret" | "projected" | "downwardAPI" | "image"
        | "gitRepo" => Backing::Lost,
        // An inline `csi` volume goes with the pod, or is a share of a file server: the driver decides.
        _ => Backing::Unknown,
    }
}

fn is_inside(path: &str, mount: &str) -> bool {
    let mount = mount.trim_end_matches('/');
    path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::super::url::SQLALCHEMY;
    use super::*;

    fn at(text: &str) -> Place {
        place(&Url::parse(text, &SQLALCHEMY).unwrap(), "/opt/prefect")
    }

    fn file(path: &str) -> Place {
        Place::File(Path(path.to_owned()))
    }

    #[test]
    fn finds_the_file() {
        assert_eq!(at("sqlite+aiosqlite:////data/prefect.db"), file("/data/prefect.db"));
        assert_eq!(at("sqlite+aiosqlite:///data/../prefect.db"), file("/opt/prefect/prefect.db"));
        assert_eq!(at("sqlite+aiosqlite:////data//./p.db?timeout=5"), file("/data/p.db"));
        assert_eq!(at("sqlite+aiosqlite:///file:/data/p.db?uri=true"), file("/data/p.db"));
        assert_eq!(at("sqlite+aiosqlite:///file:///data/p.db?uri=1&mode=rwc"), file("/data/p.db"));
        assert_eq!(at("sqlite+aiosqlite:///file:/data/p.db"), file("/opt/prefect/file:/data/p.db"));
    }

    #[test]
    fn finds_memory() {
        for text in [
            "sqlite+aiosqlite://",
            "sqlite+aiosqlite:///",
            "sqlite+aiosqlite:///:memory:",
            "sqlite+aiosqlite:///file::memory:?cache=shared&uri=true&check_same_thread=false",
            "sqlite+aiosqlite:///file:x?mode=memory&uri=true",
        ] {
            assert_eq!(at(text), Place::Memory, "{text}");
        }
    }

    #[test]
    fn accepts_and_rejects_options_as_sqlalchemy_does() {
        let bad = |text: &str| refused(&Url::parse(text, &SQLALCHEMY).unwrap()).len();
        assert_eq!(bad("sqlite+aiosqlite:////d/p.db?uri=yes&timeout=5&foo=bar&check_same_thread=0"), 0);
        assert_eq!(bad("sqlite+aiosqlite:////d/p.db?uri=maybe&timeout=soon&detect_types=x"), 3);
    }

    #[test]
    fn a_mount_covers_what_is_below_it() {
        assert!(is_inside("/data/p.db", "/data"));
        assert!(is_inside("/data/p.db", "/data/"));
        assert!(is_inside("/data/p.db", "/data/p.db"));
        assert!(is_inside("/data/p.db", "/"));
        assert!(!is_inside("/database/p.db", "/data"));
    }
}
