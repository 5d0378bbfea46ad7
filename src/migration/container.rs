//! The migration container: built from the server's, so that both run the same Prefect on the same database.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::call::CommandLine;
use super::json;
use super::script::SCRIPT;
use crate::json::Raw;
use crate::kubernetes::Container;
use crate::kubernetes::pod::Written;
use crate::policy::Migration as Policy;

/// The reserved name of our initContainer.
pub const NAME: &str = "prefect-guard-migrate";

/// The `terminationMessagePolicy` with which `kubectl describe pod` shows why a migration failed.
pub(super) const FROM_LOGS: &str = "FallbackToLogsOnError";

/// The container as it is written. What is copied from the server is copied byte for byte.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Migration<'a> {
    name: &'static str,
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_pull_policy: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "words")]
    command: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "words")]
    args: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env_from: Vec<Raw<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    volume_mounts: Vec<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_devices: Option<Raw<'a>>,
    termination_message_policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_context: Option<Raw<'a>>,
}

/// The script as a JSON string, escaped once: it is most of what a patch holds.
static QUOTED_SCRIPT: LazyLock<Arc<RawValue>> = LazyLock::new(|| json(&SCRIPT));

fn words<S: Serializer>(words: &[Cow<'_, str>], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Word<'a> {
        Script(&'a RawValue),
        Text(&'a str),
    }
    serializer.collect_seq(words.iter().map(|word| match &**word {
        SCRIPT => Word::Script(&QUOTED_SCRIPT),
        text => Word::Text(text),
    }))
}

/// The container as JSON.
///
/// `resources` are the server's where the policy has none: initContainers run before it, so they add nothing to the
/// pod's effective request.
///
/// `command` and `args` are those of `call`, unchanged: staleness compares with `call`, and takes words that stand before it
/// for another webhook's.
///
/// There is no deadline: an interrupted `CREATE INDEX CONCURRENTLY` leaves an unusable index behind
/// (PrefectHQ/prefect#23032).
pub fn render(server: &Container<'_>, call: &CommandLine<'_>, policy: &Policy) -> Arc<RawValue> {
    let copied = lists(server, policy);
    let container = Migration {
        name: NAME,
        image: &server.image,
        image_pull_policy: server.image_pull_policy.as_deref(),
        command: &call.command,
        args: &call.args,
        working_dir: server.working_dir.as_deref(),
        env_from: copied.env_from,
        env: copied.env,
        resources: resources(server, policy),
        volume_mounts: copied.volume_mounts,
        volume_devices: server.volume_devices,
        termination_message_policy: FROM_LOGS,
        security_context: security_context(server, policy),
    };
    json(&container)
}

/// The names that a container's variables refer to as `$(NAME)`.
pub(super) fn referenced<'c>(container: &'c Container<'_>) -> impl Iterator<Item = &'c str> {
    let values = container.env.iter().filter_map(|variable| variable.value.as_deref());
    values.flat_map(|value| value.split("$(").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)))
}

/// The server's lists, with the variables that the policy has for the migration: in the place of one of the same name,
/// or after all others. A variable that others of the server refer to stays the server's: a URL may be made of it.
pub(super) fn lists<'a>(server: &Container<'a>, policy: &'a Policy) -> Written<'a> {
    let mut lists = server.written();
    let referenced: BTreeSet<&str> =
        if policy.env.is_empty() { BTreeSet::new() } else { referenced(server).collect() };
    let mut more: Vec<_> = policy.env.iter().filter(|(name, _)| !referenced.contains(&**name)).collect();
    for (entry, variable) in lists.env.iter_mut().zip(&server.env) {
        if let Some((_, own)) = more.iter().find(|(name, _)| *name == *variable.name) {
            *entry = Raw::from(&**own);
        }
    }
    more.retain(|(name, _)| !server.env.iter().any(|variable| *name == *variable.name));
    lists.env.extend(more.into_iter().map(|(_, own)| Raw::from(&**own)));
    lists
}

/// The policy's `resources`, or else the server's.
pub(crate) fn resources<'a>(server: &Container<'a>, policy: &'a Policy) -> Option<Raw<'a>> {
    policy.resources.as_ref().map(|own| Raw::from(&*own.0)).or(server.resources)
}

/// The policy's `securityContext`, or else the server's.
pub(super) fn security_context<'a>(server: &Container<'a>, policy: &'a Policy) -> Option<Raw<'a>> {
    policy.security_context.as_ref().map(|own| Raw::from(&*own.0)).or(server.security_context)
}
