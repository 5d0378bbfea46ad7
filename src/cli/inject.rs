//! `prefect-guard inject`: the mutation of the webhook on manifests, without a cluster.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value};

use super::check::in_namespace;
use super::judge::ask;
use super::outcome::NO_FILE;
use super::policy::PolicyFile;
use super::{Outcome, note};
use crate::decision::Endpoint;
use crate::manifest::edit::{self, Change};
use crate::manifest::emit::{self, Lists};
use crate::manifest::files::{self, Input};
use crate::manifest::{self, Document, Node};
use crate::migration;
use crate::policy::Policy;

/// Puts the migration initContainer into manifests, as the webhook would, without a cluster.
///
/// The result goes to the standard output. Comments, the order of keys, quoting and every other document stay as
/// they are, byte for byte. Where the text does not allow for that (a pod spec behind a YAML alias), the document
/// is written again without its comments, and the standard error says so. A second run changes nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, directories, globs, or `-` for the standard input.
    #[arg(value_name = "PATH", required_unless_present = "krm")]
    paths: Vec<String>,

    /// Work as a KRM function of kustomize or kpt: a ResourceList comes on the standard input and goes to the standard
    /// output, with findings in its `results`. Its `functionConfig` may hold a policy. What would be refused ends with
    /// exit code 1.
    #[arg(long, conflicts_with_all = ["paths", "in_place", "output"])]
    krm: bool,

    /// Write the files instead of the standard output.
    #[arg(short, long)]
    in_place: bool,

    /// Write all documents again in this format, instead of as they were.
    #[arg(short, long, value_enum, conflicts_with = "in_place")]
    output: Option<Output>,

    #[command(flatten)]
    policy: PolicyFile,

    /// The namespace of objects that name none, for the policy's overrides.
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,
}

impl Args {
    /// Whether it runs as a function, with the policy of the command line and the namespace of objects that name none.
    pub(super) fn as_function(&self) -> anyhow::Result<Option<(Option<Policy>, &str)>> {
        if self.krm { Ok(Some((self.policy.given()?, &self.namespace))) } else { Ok(None) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// YAML documents; comments are lost.
    Yaml,
    /// One JSON value a document.
    Json,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let policy = args.policy.load()?;
    let inputs = files::find(&args.paths)?;
    if args.in_place && inputs.iter().any(|input| input.path.is_none()) {
        anyhow::bail!("the standard input cannot be changed in place; leave `--in-place` away");
    }
    if inputs.is_empty() {
        note(format_args!("{NO_FILE}"));
    }
    let mut inject = Inject { policy: &policy, namespace: &args.namespace, outcome: Outcome::Clean };
    let mut written = String::new();
    for input in &inputs {
        let before = input.read()?;
        let documents = inject.documents(input, &before)?;
        match (&input.path, args.in_place) {
            (Some(path), true) => {
                let after: String = documents.into_iter().map(|document| document.text).collect();
                if after != before {
                    replace(path, &after)?;
                    note(format_args!("changed `{}`", input.name));
                }
            }
            _ => {
                for document in documents {
                    append(&mut written, &document, args.output);
                }
            }
        }
    }
    out.write_all(written.as_bytes())?;
    Ok(inject.outcome)
}

/// A document as it comes out.
struct Injected {
    text: String,
    /// What it holds; none for comments and for what could not be read.
    value: Option<Value>,
}

/// The injection, and how it went so far.
pub(super) struct Inject<'a> {
    pub(super) policy: &'a Policy,
    pub(super) namespace: &'a str,
    pub(super) outcome: Outcome,
}

impl Inject<'_> {
    fn documents(&mut self, input: &Input, text: &str) -> anyhow::Result<Vec<Injected>> {
        let documents = manifest::read(text);
        // A byte order mark stands before the first document and stays there.
        let mut lead = text[..documents.first().map_or(0, |first| first.bytes.start)].to_owned();
        let mut injected = Vec::with_capacity(documents.len());
        for document in documents {
            let text = &text[document.bytes.clone()];
            let mut done = match &document.content {
                Ok(Some(root)) => self.document(input, text, (&document, root), None)?,
                Ok(None) => Injected { text: text.to_owned(), value: None },
                Err(error) => {
                    let place = format!("{}:{}:{}", input.name, error.line, error.column);
                    note(format_args!("{place}: {}\nhelp: {}", error.what, error.help));
                    self.outcome = Outcome::Failed;
                    Injected { text: text.to_owned(), value: None }
                }
            };
            done.text.insert_str(0, &std::mem::take(&mut lead));
            injected.push(done);
        }
        Ok(injected)
    }

    /// The text of a list with the injection in its items, and with these results in the place of any before.
    pub(super) fn list(
        &mut self,
        input: &Input,
        text: &str,
        list: (&Document, &Node),
        results: Vec<Value>,
    ) -> anyhow::Result<String> {
        let (before, own) = text.split_at(list.0.bytes.start);
        let own = &own[..list.0.bytes.len()];
        Ok(format!("{before}{}", self.document(input, own, list, Some(results))?.text))
    }

    fn document(
        &mut self,
        input: &Input,
        text: &str,
        (document, root): (&Document, &Node),
        results: Option<Vec<Value>>,
    ) -> anyhow::Result<Injected> {
        let mut wanted = root.to_json();
        let mut changes = Vec::new();
        for object in document.objects() {
            let place = || format!("{}:{}", input.name, object.node.place.line + document.first_line - 1);
            let namespace = object.namespace().unwrap_or(self.namespace);
            let decision =
                match ask(Endpoint::Mutate, &in_namespace(&object, namespace).to_string(), self.policy) {
                    Ok(decision) => decision,
                    Err(what) => {
                        note(format_args!("{}: {what}", place()));
                        self.outcome = Outcome::Failed;
                        continue;
                    }
                };
            let target = wanted.pointer_mut(&object.pointer).context("an object lies in its own document")?;
            migration::apply(target, &decision.operations)
                .with_context(|| format!("{}: the patch does not apply", place()))?;
            changes.extend(decision.operations.iter().map(|operation| change(operation, &object.pointer)));
        }
        if let (Some(results), Some(fields)) = (results, wanted.as_object_mut()) {
            changes.extend(set_results(fields, results));
        }
        if changes.is_empty() {
            return Ok(Injected { text: text.to_owned(), value: Some(wanted) });
        }
        let edited = edit::apply(text, &changes).filter(|edited| reads_as(edited, &wanted));
        let text = edited.unwrap_or_else(|| {
            note(format_args!(
                "{}:{}: this document was written anew, without its comments: its text does not allow for an edit",
                input.name, document.first_line
            ));
            anew(text, &wanted)
        });
        anyhow::ensure!(reads_as(&text, &wanted), "{}: the change cannot be written as YAML", input.name);
        Ok(Injected { text, value: Some(wanted) })
    }
}

/// Puts results into a list; those of an earlier run go.
fn set_results(list: &mut Map<String, Value>, results: Vec<Value>) -> Option<Change> {
    const KEY: &str = "results";
    if results.is_empty() {
        return list.shift_remove(KEY).map(|_| Change::Remove(format!("/{KEY}")));
    }
    list.insert(KEY.to_owned(), results.clone().into());
    Some(Change::Add(format!("/{KEY}"), results.into()))
}

/// The proof of an edit: read again, the text holds what the patch gives.
fn reads_as(text: &str, wanted: &Value) -> bool {
    manifest::parse(text).is_ok_and(|root| root.is_some_and(|root| root.to_json() == *wanted))
}

/// The whole document from its value, in the manner of the old text.
fn anew(text: &str, value: &Value) -> String {
    let begin = if text.starts_with("---") { "---\n" } else { "" };
    if text.trim_start().starts_with('{') {
        format!("{value:#}\n")
    } else {
        format!("{begin}{}\n", emit::block(value, Lists::Flush))
    }
}

fn append(written: &mut String, document: &Injected, output: Option<Output>) {
    let text = match (output, &document.value) {
        (None, _) => document.text.clone(),
        (Some(_), None) => return,
        (Some(Output::Json), Some(value)) => format!("{value:#}\n"),
        (Some(Output::Yaml), Some(value)) => format!("---\n{}\n", emit::block(value, Lists::Flush)),
    };
    if output.is_none() && !written.is_empty() {
        if !written.ends_with('\n') {
            written.push('\n');
        }
        if !text.starts_with("---") && !text.trim().is_empty() {
            written.push_str("---\n");
        }
    }
    written.push_str(&text);
}

/// Puts new text in the place of a file at one stroke, with the file's permissions; a link is followed.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    let real = path.canonicalize().with_context(|| format!("cannot find `{shown}`"))?;
    let mode = std::fs::metadata(&real).with_context(|| format!("cannot look at `{shown}`"))?.permissions();
    let mut beside = real.clone().into_os_string();
    beside.push(format!(".{}.tmp", std::process::id()));
    let written = std::fs::write(&beside, text)
        .and_then(|()| std::fs::set_permissions(&beside, mode))
        .and_then(|()| std::fs::rename(&beside, &real));
    if written.is_err() {
        // What is left of a failed write is of no use; the first failure is the one to report.
        let _ = std::fs::remove_file(&beside);
    }
    written.with_context(|| format!("cannot write `{shown}`"))
}

/// An operation of the engine as an edit of the document that holds the object.
fn change(operation: &migration::Operation, object: &str) -> Change {
    let pointer = format!("{object}{}", operation.path);
    let value = || {
        serde_json::to_value(&operation.value)
            .expect("the value of an operation is JSON: the patch was just applied")
    };
    match operation.op {
        migration::Op::Remove => Change::Remove(pointer),
        migration::Op::Replace => Change::Replace(pointer, value()),
        migration::Op::Add => Change::Add(pointer, value()),
    }
}
