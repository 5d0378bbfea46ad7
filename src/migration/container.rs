//! The migration container: built from the server's, so that both run the same Prefect on the same database.

use std::borrow::Cow;

use super::call::CommandLine;
use super::scripted::Scripted;
use crate::json::{List, Unparsed};
use crate::kubernetes::Container;

/// The reserved name of our initContainer.
pub const NAME: &str = "prefect-guard-migrate";

/// The container as JSON text. What is copied from the server is copied byte for byte.
///
/// `resources` are the server's: initContainers run before it, so they add nothing to the pod's effective request.
/// There is no deadline: an interrupted `CREATE INDEX CONCURRENTLY` leaves an unusable index behind
/// (PrefectHQ/prefect#23032).
pub fn render(server: &Container<'_>, call: &CommandLine<'_>) -> Scripted {
    let mut json = Writer::new();
    json.text("name", NAME);
    json.text("image", &server.image);
    if let Some(policy) = &server.image_pull_policy {
        json.text("imagePullPolicy", policy);
    }
    json.texts("command", &call.command);
    json.texts("args", &call.args);
    if let Some(directory) = &server.working_dir {
        json.text("workingDir", directory);
    }
    json.list("envFrom", &server.env_from);
    json.list("env", &server.env);
    json.raw("resources", server.resources);
    json.list("volumeMounts", &server.volume_mounts);
    json.raw("volumeDevices", server.volume_devices);
    // So that `kubectl describe pod` shows why a migration failed.
    json.text("terminationMessagePolicy", "FallbackToLogsOnError");
    json.raw("securityContext", server.security_context);
    json.finish()
}

/// Writes one JSON object; absent parts leave no key.
struct Writer(Scripted);

impl Writer {
    fn new() -> Self {
        Writer(Scripted::with_capacity(4 * 1024))
    }

    fn key(&mut self, key: &str) {
        self.0.push(if self.0.is_empty() { "{\"" } else { ",\"" });
        self.0.push(key);
        self.0.push("\":");
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.0.push_quoted(value);
    }

    fn texts(&mut self, key: &str, values: &[Cow<'_, str>]) {
        if values.is_empty() {
            return;
        }
        self.key(key);
        let mut separator = "[";
        for value in values {
            self.0.push(separator);
            self.0.push_quoted(value);
            separator = ",";
        }
        self.0.push("]");
    }

    fn raw(&mut self, key: &str, value: Option<Unparsed<'_>>) {
        if let Some(value) = value {
            self.key(key);
            self.0.push(value.get());
        }
    }

    fn list<T>(&mut self, key: &str, list: &List<'_, T>) {
        if !list.is_empty() {
            self.key(key);
            self.0.push(list.text());
        }
    }

    fn finish(mut self) -> Scripted {
        self.0.push("}");
        self.0
    }
}
