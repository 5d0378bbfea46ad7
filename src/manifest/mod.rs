//! Manifests as people keep them: YAML and JSON with the place of every value, changed as text.
//!
//! Everything here works on text that is already in memory; [`files`] alone touches the disk.

pub mod edit;
pub mod emit;
pub mod files;
pub mod mask;
pub mod node;

use std::ops::Range;

use serde_json::Value;

pub use node::{Content, Node, Place};

/// One document of a stream.
#[derive(Debug)]
pub struct Document {
    /// Its part of the stream's text, in bytes, with the `---` line that begins it.
    pub bytes: Range<usize>,
    /// The line of the stream on which it begins, from 1.
    pub first_line: usize,
    /// What it holds; `None` where there are only comments and white space.
    pub content: Result<Option<Node>, Unreadable>,
}

/// Why a document could not be read. Holds no values of the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Unreadable {
    /// The line of the stream, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

/// A Kubernetes object in a document: the document itself, or an item of a `List`.
#[derive(Debug, Clone)]
pub struct Object<'d> {
    /// JSON pointer from the document's root to the object; empty for the root.
    pub pointer: String,
    /// The object.
    pub node: &'d Node,
}

impl<'d> Object<'d> {
    /// `apiVersion`.
    pub fn api_version(&self) -> &'d str {
        self.field("apiVersion")
    }

    /// `kind`.
    pub fn kind(&self) -> &'d str {
        self.field("kind")
    }

    /// `metadata.name`, or `metadata.generateName`; empty when there is neither.
    pub fn name(&self) -> &'d str {
        let text = |field| self.node.get("metadata").and_then(|meta| meta.get(field)).and_then(Node::text);
        text("name").or_else(|| text("generateName")).unwrap_or_default()
    }

    /// `metadata.namespace`, when it is written.
    pub fn namespace(&self) -> Option<&'d str> {
        self.node.get("metadata")?.get("namespace")?.text().filter(|name| !name.is_empty())
    }

    fn field(&self, name: &str) -> &'d str {
        self.node.get(name).and_then(Node::text).unwrap_or_default()
    }
}

impl Document {
    /// Whether this is a Kubernetes manifest; a list without items is one too.
    pub fn is_manifest(&self) -> bool {
        let Ok(Some(node)) = &self.content else { return false };
        let root = Object { pointer: String::new(), node };
        !root.api_version().is_empty() && !root.kind().is_empty()
    }

    /// The Kubernetes objects in here; none when this is something else, such as a values file.
    pub fn objects(&self) -> Vec<Object<'_>> {
        let mut found = Vec::new();
        if let Ok(Some(root)) = &self.content {
            collect(root, String::new(), &mut found);
        }
        found
    }
}

/// Lists hold objects; a list in a list is what `kubectl get -o yaml` never writes but kubectl reads.
fn collect<'d>(node: &'d Node, pointer: String, found: &mut Vec<Object<'d>>) {
    let object = Object { pointer, node };
    if object.api_version().is_empty() || object.kind().is_empty() {
        return;
    }
    match node.get("items").filter(|_| object.kind().ends_with("List")) {
        Some(items) => {
            for (index, item) in items.items().iter().enumerate() {
                collect(item, format!("{}/items/{index}", object.pointer), found);
            }
        }
        None => found.push(object),
    }
}

/// The documents of a YAML stream or of a JSON file, in order. One that cannot be read does not hide the others.
pub fn read(text: &str) -> Vec<Document> {
    read_where(text, |_| true)
}

/// The same, of those documents alone whose text is `wanted`.
pub fn read_where(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut first_line = 1;
    for bytes in split(text) {
        let part = &text[bytes.clone()];
        if wanted(part) {
            let content = parse(part).map_err(|error| error.moved(first_line - 1));
            documents.push(Document { bytes, first_line, content });
        }
        first_line += part.matches('\n').count();
    }
    documents
}

/// Cuts a stream at its `---` lines. A line that begins with `---` ends the document wherever it stands, also in
/// the midst of a block scalar (YAML 1.2.2, `c-forbidden`), so no parser is needed to find it.
fn split(text: &str) -> Vec<Range<usize>> {
    // A byte order mark is no part of any document.
    let begin = text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len();
    let mut parts = Vec::new();
    let (mut start, mut position) = (begin, begin);
    for line in text[begin..].split_inclusive('\n') {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker && position > start {
            parts.push(start..position);
            start = position;
        }
        position += line.len();
    }
    parts.push(start..text.len());
    parts
}

/// Reads one document.
pub fn parse(text: &str) -> Result<Option<Node>, Unreadable> {
    if text.lines().all(is_blank) {
        return Ok(None);
    }
    match serde_saphyr::from_str_with_options::<Node>(text, options(text)) {
        Ok(node) => Ok(Some(node)),
        // JSON is not quite a subset of YAML: its surrogate pairs (`\ud83d\ude00`) are not.
        Err(error) => match serde_json::from_str::<Value>(text) {
            Ok(value) => Ok(Some(Node::unplaced(value))),
            Err(_) => Err(unreadable(&error, text)),
        },
    }
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#') || line.starts_with('%') || line == "---" || line == "..."
}

/// How kubectl reads YAML, as near as it goes, within bounds that a real manifest never meets: the largest object
/// the API server takes has 3 MiB. All objects that a kustomization makes are one document.
fn options(text: &str) -> serde_saphyr::Options {
    let objects = if text.contains("\nkind: ResourceList\n") { 20 } else { 1 };
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        // The snippet would show a line of the file, which may hold a password.
        with_snippet: false,
        emit_comments: false,
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_nodes: 100_000 * objects,
            max_events: 300_000 * objects,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: 1_000,
            max_recorded_anchor_events: 100_000,
            max_total_scalar_bytes: 8 * 1024 * 1024 * objects,
        },
    }
}

fn unreadable(error: &serde_saphyr::Error, text: &str) -> Unreadable {
    let (line, column) = error
        .location()
        .map_or((1, 1), |place| (place.line().max(1) as usize, place.column().max(1) as usize));
    if looks_templated(text) {
        return Unreadable {
            line,
            column,
            what: "this is a template, not a manifest".to_owned(),
            help: "render it first: `helm template … | prefect-guard check -`".to_owned(),
        };
    }
    let what = error.to_string();
    let what = what.lines().next().unwrap_or_default();
    if what.contains("budget breached") {
        return Unreadable {
            line,
            column,
            what: "this document is larger than any object an API server takes, or has too many aliases"
                .to_owned(),
            help: "split it with `---` lines, one object a document".to_owned(),
        };
    }
    // The library ends its texts with the place, which is said apart, and with advice for programmers.
    let what = what.split(" at line ").next().unwrap_or_default();
    let what = what
        .split(", set DuplicateKeyPolicy")
        .next()
        .unwrap_or_default()
        .split("; use Option")
        .next()
        .unwrap_or_default();
    Unreadable {
        line,
        column,
        what: format!("not readable as YAML: {what}"),
        help: "correct the YAML at this place; `kubectl apply --dry-run=client -f FILE` reads it too"
            .to_owned(),
    }
}

fn looks_templated(text: &str) -> bool {
    text.contains("{{") && text.contains("}}")
}

impl Unreadable {
    fn moved(mut self, lines: usize) -> Self {
        self.line += lines;
        self
    }
}

#[cfg(test)]
mod tests;
