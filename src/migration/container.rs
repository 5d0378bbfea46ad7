//! The migration container: built from the server's, so that both run the same Prefect on the same database.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::call::{CommandLine, SCRIPT};
use super::json;
use crate::json::Raw;
use crate::kubernetes::Container;

/// The reserved name of our initContainer.
pub const NAME: &str = "prefect-guard-migrate";

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
static QUOTED_SCRIPT: LazyLock<Box<RawValue>> = LazyLock::new(|| json(&SCRIPT));

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
/// `resources` are the server's: initContainers run before it, so they add nothing to the pod's effective request.
/// There is no deadline: an interrupted `CREATE INDEX CONCURRENTLY` leaves an unusable index behind
/// (PrefectHQ/prefect#23032).
pub fn render(server: &Container<'_>, call: &CommandLine<'_>) -> Box<RawValue> {
    let copied = server.written();
    let container = Migration {
        name: NAME,
        image: &server.image,
        image_pull_policy: server.image_pull_policy.as_deref(),
        command: &call.command,
        args: &call.args,
        working_dir: server.working_dir.as_deref(),
        env_from: copied.env_from,
        env: copied.env,
        resources: server.resources,
        volume_mounts: copied.volume_mounts,
        volume_devices: server.volume_devices,
        // So that `kubectl describe pod` shows why a migration failed.
        termination_message_policy: "FallbackToLogsOnError",
        security_context: server.security_context,
    };
    json(&container)
}
