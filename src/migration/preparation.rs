//! What a server's own script prepares for a migration too: settings, packages, files that it sources.

use crate::environment::Environment;
use crate::kubernetes::Container;
use crate::prefect::settings::picks_database;
use crate::server::Server;
use crate::shell::command::{Call, Change, Preparation};

/// What a migration needs of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// What leads to the database.
    Proxy,
    /// A setting of the database.
    Setting,
    /// Packages that it installs.
    Packages,
    /// What a file that it sources may set.
    File,
}

/// The part of the script that a migration does too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeated<'a> {
    /// Index of the shell in the container's argv.
    pub shell: usize,
    /// Index of the script.
    pub script: usize,
    /// The text of the script before the call.
    pub before: &'a str,
}

/// The call of the server, where it stands in a script.
fn scripted<'s>(lead: &'s Server<'_>) -> Option<&'s Call> {
    lead.invocation.server().filter(|call| call.position.is_none())
}

/// What the script does before the server's call.
pub(super) fn of(lead: &Server<'_>) -> Preparation {
    scripted(lead).map(|call| call.preparation).unwrap_or_default()
}

/// What of that the migration needs, the most important first; `None` where it needs nothing of the script.
pub(super) fn needed(lead: &Server<'_>) -> Option<Need> {
    // What a wrapper in the argv sets (`env URL=…`, `op run --`) it sets for the migration too: it is copied.
    if lead.invocation.server().is_some() && scripted(lead).is_none() {
        return None;
    }
    let prepared = of(lead);
    let local = lead.database.local_address().is_some();
    match () {
        () if prepared.starts && (local || prepared.starts_proxy && lead.database.may_be_local()) => {
            Some(Need::Proxy)
        }
        () if lead.database.is_only_in_script() || sets_database(lead) => Some(Need::Setting),
        () if prepared.installs => Some(Need::Packages),
        () if prepared.sources => Some(Need::File),
        () => None,
    }
}

/// The part of the script before the server's call, where it only prepares and means the same in a migration.
pub(super) fn repeated<'a>(lead: &Server<'a>) -> Option<Repeated<'a>> {
    needed(lead)?;
    let call = scripted(lead)?;
    let place = call.script.as_ref()?;
    let before = place.before.as_deref()?;
    let prepared = call.preparation;
    // The arguments of the script are the migration's own call.
    if prepared.acts || prepared.starts || names_arguments(before) {
        return None;
    }
    let written = word(lead.container, place.script)?;
    // Where the kubelet puts something in, the text that was read is not the text that was written.
    let before = written.get(..before.len()).filter(|text| *text == before)?;
    Some(Repeated { shell: place.shell, script: place.script, before })
}

/// Whether a script asks for its arguments: `$1`, `$@`.
pub(super) fn names_arguments(script: &str) -> bool {
    script.split('$').skip(1).any(|rest| {
        rest.trim_start_matches('{').starts_with(|c: char| c.is_ascii_digit() || matches!(c, '@' | '*' | '#'))
    })
}

/// A word of the container's argv.
fn word<'a>(container: &'a Container<'a>, index: usize) -> Option<&'a str> {
    container.argv().nth(index)
}

/// Whether the server's script sets what a migration needs to reach the same database, otherwise than `env` does.
fn sets_database(lead: &Server<'_>) -> bool {
    let pod = Environment::new(lead.container, true);
    let is_new = |name: &str, value: Option<&str>| {
        pod.get(name).is_none_or(|known| value != Some(&*pod.value(known.index).text))
    };
    let sets = |change: &Change| match change {
        Change::Set { name, value, exported: true } => picks_database(name) && is_new(name, value.as_deref()),
        _ => false,
    };
    lead.invocation.changes_before_main().iter().any(sets)
        || lead.invocation.profile_settings.iter().any(|(name, _)| {
            picks_database(name) && !pod.variables().any(|known| known.name.eq_ignore_ascii_case(name))
        })
}
