//! The migration container: built from the server's, so that the migration runs the same Prefect, on the same
//! database, as the server will.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::call::{CommandLine, SCRIPT};
use crate::json::Unparsed;
use crate::workload::Container;
use crate::workload::view::List;

/// The reserved name of our initContainer.
pub const NAME: &str = "prefect-guard-migrate";

/// The container as JSON text. What is copied from the server is copied byte for byte.
///
/// `resources` are the server's: initContainers run before it, so they add nothing to the pod's effective request.
/// There is no deadline: an interrupted `CREATE INDEX CONCURRENTLY` leaves an unusable index behind
/// (PrefectHQ/prefect#23032).
pub fn render(server: &Container<'_>, call: &CommandLine<'_>) -> String {
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
struct Writer(String);

impl Writer {
    fn new() -> Self {
        Writer(String::with_capacity(8 * 1024))
    }

    fn key(&mut self, key: &str) {
        self.0.push_str(if self.0.is_empty() { "{\"" } else { ",\"" });
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        push_quoted(&mut self.0, value);
    }

    fn texts(&mut self, key: &str, values: &[Cow<'_, str>]) {
        if values.is_empty() {
            return;
        }
        self.key(key);
        let mut separator = '[';
        for value in values {
            self.0.push(separator);
            push_quoted(&mut self.0, value);
            separator = ',';
        }
        self.0.push(']');
    }

    fn raw(&mut self, key: &str, value: Option<Unparsed<'_>>) {
        if let Some(value) = value {
            self.key(key);
            self.0.push_str(value.get());
        }
    }

    fn list<T>(&mut self, key: &str, list: &List<'_, T>) {
        if !list.is_empty() {
            self.key(key);
            self.0.push_str(list.text());
        }
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// The lock script as a JSON string: most of what is written, and always the same.
pub(crate) static QUOTED_SCRIPT: LazyLock<String> = LazyLock::new(|| quote(SCRIPT));

/// Appends a JSON string.
pub(super) fn push_quoted(out: &mut String, text: &str) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text == SCRIPT {
        out.push_str(&QUOTED_SCRIPT);
    } else if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&quote(text));
    }
}

fn quote(text: &str) -> String {
    // Serialising a string to a string cannot fail.
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}
