//! Reading a text into a view, and why that failed: the path to the fault, and never a value.

use super::cursor::read as read_view;
use super::reader::Readable;

/// Why an object could not be read: the path to the fault and what is wrong there. Never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {problem}")]
pub struct Unreadable {
    /// The field's path: `spec.template.spec.containers[0].command`.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
}

/// Parses JSON text into a view; a failure names the path and never quotes a value.
pub fn parse<'a, T: serde::Deserialize<'a>>(json: &'a str) -> Result<T, Unreadable> {
    serde_json::from_str(json).map_err(|_| why::<T>(json, "is followed by something that is no JSON"))
}

/// How many objects a part of a review may hold. As text an object may be two bytes, as a container that was read it is
/// 500; the 1.5 MiB that etcd takes hold some 20 000 as people write them.
const MOST_OBJECTS: usize = 100_000;

/// Whether a text holds more objects than are read.
pub(crate) fn has_too_many_objects(text: &str) -> bool {
    text.len() > MOST_OBJECTS && memchr::memchr_iter(b'{', text.as_bytes()).count() > MOST_OBJECTS
}

/// Reads a part of a text that is known to be well-formed into a view.
pub(crate) fn read<'a, T: Readable<'a> + serde::Deserialize<'a>>(part: &'a str) -> Result<T, Unreadable> {
    if has_too_many_objects(part) {
        let problem = format!("holds more objects than are read ({MOST_OBJECTS})");
        return Err(Unreadable { path: ".".to_owned(), problem });
    }
    // What serde_json would take is a view written as the list of its values: the API server knows no such thing.
    read_view(part).ok_or_else(|| why::<T>(part, "should be an object"))
}

/// Parses once more to learn where it failed; the happy path does not pay for it. `otherwise` is what is wrong where
/// serde_json finds nothing.
fn why<'a, T: serde::Deserialize<'a>>(json: &'a str, otherwise: &str) -> Unreadable {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => Unreadable { path: ".".to_owned(), problem: otherwise.to_owned() },
        Err(error) => {
            let path = error.path().to_string();
            let inner = error.into_inner();
            let problem = match inner.classify() {
                serde_json::error::Category::Data => describe(&inner.to_string()),
                _ => format!("is no JSON (line {}, column {})", inner.line(), inner.column()),
            };
            Unreadable { path, problem }
        }
    }
}

/// serde's message without the value it quotes: `invalid type: string "hunter2", expected a sequence`.
fn describe(message: &str) -> String {
    match message.rsplit_once("expected ") {
        Some((_, expected)) => {
            let expected = match expected.split(" at line ").next().unwrap_or(expected) {
                "a map" => "an object",
                structure if structure.starts_with("struct ") => "an object",
                "a sequence" => "a list",
                "a borrowed string" => "a string",
                other => other,
            };
            format!("should be {expected}")
        }
        None if message.contains("missing field") => "lacks a field that it needs".to_owned(),
        None => "has an unexpected value".to_owned(),
    }
}
