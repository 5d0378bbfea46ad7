//! The migration container: built from the server's, so that both run the same Prefect on the same database.

use std::borrow::Cow;

use serde::Serialize;

use super::call::CommandLine;
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
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    command: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
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

/// The container as JSON text.
///
/// `resources` are the server's: initContainers run before it, so they add nothing to the pod's effective request.
/// There is no deadline: an interrupted `CREATE INDEX CONCURRENTLY` leaves an unusable index behind
/// (PrefectHQ/prefect#23032).
pub fn render(server: &Container<'_>, call: &CommandLine<'_>) -> String {
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
    serde_json::to_string(&container).expect("strings and JSON always serialise")
}
