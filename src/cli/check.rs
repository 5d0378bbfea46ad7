//! `prefect-guard check`: the verdicts of the webhook on manifests, without a cluster.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::io::Write;

use json_patch::jsonptr::PointerBuf;
use serde_json::{Value, json};

use super::across::Across;
use super::judge::{Judge, Judging, Verdict, back, pointer_of};
use super::outcome::NO_FILE;
use super::passed_over::PassedOver;
use super::progress::Progress;
use super::report::{About, Format, Found, Report, Source, Unread};
use super::{Outcome, beside, discover, misplaced, note};
use crate::json::Unreadable;
use crate::manifest::files::{self, Input};
use crate::manifest::mask::Masked;
use crate::manifest::{self, Document, Node, Object};
use crate::policy::annotations::PREFIX;
use crate::policy::{KindSetting, Policy};
use crate::surroundings::Surroundings;
use crate::surroundings::fill::Filled;
use crate::text::printable;

/// Judges manifests as the webhook would, without a cluster.
///
/// Each object is mutated first and then validated, so a plain manifest that only lacks the migration
/// initContainer is clean: the webhook would inject it. `--as-is` judges the text without that change.
///
/// Secrets, ConfigMaps, autoscalers and Namespaces among the manifests are used for the workloads that refer to them. A
/// finding then names its source, and never a value of it.
///
/// Exit code: 0 clean or only warnings, 1 something would be refused, 2 something could not be read, or nothing was
/// there to judge.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, directories (`.yaml`, `.yml` and `.json` in them, `.gitignore` honoured), globs, or `-` for the
    /// standard input. Without any, the manifests below the current directory, but for Helm templates and
    /// kustomize patches, which have to be rendered first.
    #[arg(value_name = "PATH")]
    paths: Vec<String>,

    #[command(flatten)]
    judging: Judging,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Print the page of each rule that found something (with `--format text`).
    #[arg(long)]
    explain: bool,

    /// The namespace of objects that name none, for the policy's overrides.
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,

    /// Skip named files that hold no Kubernetes manifest. Without this flag, naming nothing else is an error. For hooks
    /// that name every changed file.
    #[arg(long)]
    skip_others: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let (policy, how) = (args.judging.policy()?, args.judging.how());
    let (inputs, missing) = match args.paths.as_slice() {
        [] => (discover::find()?, Vec::new()),
        paths => files::find_each(paths),
    };
    if inputs.is_empty() && missing.is_empty() {
        note(format_args!("{NO_FILE}"));
    }
    let mut check = Check::new(&policy, how, &args.namespace);
    check.look_round(&inputs);
    let mut without = Vec::new();
    let mut progress = Progress::new();
    for (number, input) in inputs.iter().enumerate() {
        progress.at(number, Some(inputs.len()), &input.name);
        if !check.input(number, input) {
            without.push(input);
        }
    }
    progress.wipe();
    let mut report = check.finish();
    for (name, error) in &missing {
        let help = "name a file, a directory or a glob that is there";
        report.unread.push(Unread::new(name, (1, 1), &error.to_string(), help));
    }
    if !args.skip_others {
        tell_of_others(&inputs, &without, &mut report);
    }
    report.print(args.format, args.explain, out)?;
    Ok(report.outcome(args.judging.strict))
}

/// What `check` says of one document with a list of objects in it.
pub(super) fn report_on(
    input: &Input,
    text: &str,
    list: &Document,
    (policy, namespace): (&Policy, &str),
) -> Report {
    let mut check = Check::new(policy, Judge::AsApplied, namespace);
    check.collect(list);
    check.document(input, text, list);
    check.finish()
}

/// Files without a manifest: beside others, the named ones are worth a word. On their own, nothing was judged, and
/// whoever named them meant something else.
fn tell_of_others(inputs: &[Input], without: &[&Input], report: &mut Report) {
    let nothing = without.len() == inputs.len();
    for input in without.iter().filter(|input| input.named) {
        let what = "this holds no Kubernetes manifest: nothing with `apiVersion` and `kind`";
        if nothing {
            let help = "name what would be applied; charts and overlays are rendered first";
            report.unread.push(Unread::new(&input.name, (1, 1), what, help));
        } else {
            note(format_args!("{}: {what}", printable(&input.name)));
        }
    }
    if nothing && !without.is_empty() && report.unread.is_empty() {
        note(format_args!("no Kubernetes manifest found: nothing was judged"));
    }
}

struct Check<'a> {
    policy: &'a Policy,
    /// The same, for Pods: the webhook leaves them alone.
    pods: Policy,
    how: Judge,
    namespace: &'a str,
    /// What stands beside the workloads.
    around: Surroundings,
    /// What can be read once only, by the number of its input.
    piped: BTreeMap<usize, anyhow::Result<String>>,
    across: Across<'a>,
    report: Report,
    passed_over: PassedOver,
}

impl<'a> Check<'a> {
    fn new(policy: &'a Policy, how: Judge, namespace: &'a str) -> Self {
        let pods = KindSetting { group: String::new(), kind: "Pod".to_owned(), template: PointerBuf::new() };
        Check {
            policy,
            pods: policy.clone().with_kind(pods),
            how,
            namespace,
            around: Surroundings::default(),
            piped: BTreeMap::new(),
            across: Across::new(policy),
            report: Report::default(),
            passed_over: PassedOver::default(),
        }
    }

    /// Everything found, with what only all objects together show.
    fn finish(self) -> Report {
        let Check { across, mut report, .. } = self;
        report.findings.extend(across.finish());
        report
    }

    /// Collects what workloads may refer to, wherever in the stream it stands.
    fn look_round(&mut self, inputs: &[Input]) {
        for (number, input) in inputs.iter().enumerate() {
            let text = input.read();
            for document in text.iter().flat_map(|text| manifest::read_where(text, Surroundings::may_be_in)) {
                self.collect(&document);
            }
            if input.is_pipe() {
                self.piped.insert(number, text);
            }
        }
    }

    fn collect(&mut self, document: &Document) {
        for object in document.objects() {
            let namespace = object.namespace().unwrap_or(self.namespace);
            self.around.collect(&object.node.to_json(), namespace);
        }
    }

    /// Judges what is in a file, and says whether there was anything to judge or to complain of.
    fn input(&mut self, number: usize, input: &Input) -> bool {
        let text = match self.piped.remove(&number).unwrap_or_else(|| input.read()) {
            Ok(text) => text,
            Err(error) => {
                let help = "name a readable file of UTF-8 text, or write manifests into the pipe";
                let what = format!("{error:#}");
                self.report.unread.push(Unread::new(&input.name, (1, 1), &what, help));
                return true;
            }
        };
        let mut some = false;
        for document in manifest::read(&text) {
            match &document.content {
                Ok(_) => {
                    some |= document.is_manifest();
                    self.document(input, &text, &document);
                }
                Err(error) if is_ours_to_report(input, &text[document.bytes.clone()]) => {
                    let place = (error.line, error.column);
                    self.report.unread.push(Unread::new(&input.name, place, &error.what, &error.help));
                    some = true;
                }
                Err(_) => {}
            }
        }
        some
    }

    fn document(&mut self, input: &Input, text: &str, document: &Document) {
        let Ok(Some(root)) = &document.content else { return };
        let lines = Lines {
            file: printable(&input.name),
            first: document.first_line,
            root,
            masked: LazyCell::new(|| Masked::new(&text[document.bytes.clone()], root)),
        };
        for object in document.objects() {
            self.report.objects += 1;
            let namespace = object.namespace().unwrap_or(self.namespace);
            let value = in_namespace(&object, namespace);
            let about = About::new(self.report.objects, object.kind(), namespace, object.name());
            let locate = |pointer: &str| Some(lines.locate(pointer, &object));
            match self.judge(&object, &value, namespace) {
                Ok((verdict, filled)) => {
                    self.report.workloads += usize::from(verdict.workload);
                    self.report.servers += verdict.servers;
                    self.report.exempt(&about, verdict.exemption);
                    let shown = filled.as_ref().map_or(&value, |filled| &filled.object);
                    self.across.add(shown, &about, &|pointer| locate(&back(pointer, shown, &value)));
                    let misplaced = misplaced::find(&value, self.policy);
                    self.report.findings.extend(verdict.findings.into_iter().chain(misplaced).map(
                        |finding| {
                            let source = locate(&finding.place.pointer);
                            Found::new(finding, about.clone(), source)
                        },
                    ));
                }
                Err(error) => {
                    let source = lines.locate(&pointer_of(&error.path), &object);
                    let what = format!("{about}: {error}");
                    let help =
                        "correct the object; `kubectl apply --dry-run=server -f FILE` checks its fields";
                    let place = (source.line, source.column);
                    self.report.unread.push(Unread::new(&input.name, place, &what, help));
                }
            }
        }
    }

    /// Judges an object with its surroundings, and says what an exit code would not.
    fn judge(
        &mut self,
        object: &Object<'_>,
        value: &Value,
        namespace: &str,
    ) -> Result<(Verdict, Option<Filled>), Unreadable> {
        let is_pod = (object.api_version(), object.kind()) == ("v1", "Pod");
        if is_pod {
            return self.pod(value, namespace);
        }
        let judged = beside::judge(value, namespace, (self.policy, self.how), &self.around)?;
        if !judged.0.workload {
            self.passed_over.unjudged(object, value);
            return Ok(judged);
        }
        self.passed_over.patch(object, value);
        let opted_out = self.around.namespace_label(namespace, &format!("{PREFIX}enabled")) == Some("false");
        if judged.0.servers > 0 && opted_out {
            self.passed_over.say(format!(
                "Namespace `{}` is labelled `{PREFIX}enabled: \"false\"`: it is judged here, and the webhook is not \
                 asked",
                printable(namespace)
            ));
        }
        Ok(judged)
    }

    /// A Pod without a controller is judged as it stands. One with a controller was judged there.
    fn pod(&mut self, value: &Value, namespace: &str) -> Result<(Verdict, Option<Filled>), Unreadable> {
        let owners = value.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        if owners.is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true)) {
            return Ok((Verdict::default(), None));
        }
        let mut judged = beside::judge(value, namespace, (&self.pods, Judge::AsWritten), &self.around)?;
        // Nothing is injected into a Pod, nor pinned.
        judged.0.findings.retain(|finding| finding.fix.is_none());
        if judged.0.servers > 0 {
            self.passed_over.say("Pods are judged here; the webhook leaves them alone".to_owned());
        }
        Ok(judged)
    }
}

/// A broken file that nobody named and that does not speak of Prefect is somebody else's.
fn is_ours_to_report(input: &Input, text: &str) -> bool {
    input.named || text.to_ascii_lowercase().contains("prefect")
}

/// The object as JSON, in the namespace it would be applied to.
pub(super) fn in_namespace(object: &Object<'_>, namespace: &str) -> Value {
    let mut value = object.node.to_json();
    if object.namespace().is_none()
        && let Some(fields) = value.as_object_mut()
    {
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if metadata.is_null() {
            *metadata = json!({});
        }
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
    }
    value
}

/// The lines of one document of a file, to find places in.
struct Lines<'d, F> {
    file: String,
    first: usize,
    root: &'d Node,
    /// Most documents have nothing to show.
    masked: LazyCell<Masked<'d>, F>,
}

impl<'d, F: FnOnce() -> Masked<'d>> Lines<'d, F> {
    /// Where a pointer into an object leads, with the line to show.
    fn locate(&self, pointer: &str, object: &Object<'_>) -> Source {
        let mut place = closest(self.root, &format!("{}{pointer}", object.pointer));
        // What the API server takes as `stringData` reaches the webhook as `data`.
        if let (true, Some(key)) = (object.kind() == "Secret", pointer.strip_prefix("/data/"))
            && self.root.at(&format!("{}{pointer}", object.pointer)).is_none()
        {
            place = closest(self.root, &format!("{}/stringData/{key}", object.pointer));
        }
        Source {
            file: self.file.clone(),
            line: place.line + self.first - 1,
            column: place.column,
            shown: (!place.bytes.is_empty()).then(|| self.masked.line(place.bytes.clone())),
        }
    }
}

/// The place to show for a pointer: the value where it is written out, else its name, else its key.
fn closest<'d>(root: &'d Node, pointer: &str) -> &'d manifest::Place {
    let (steps, _) = root.walk(pointer);
    for step in steps.iter().rev() {
        if step.node.is_scalar() && !step.node.place.bytes.is_empty() {
            return &step.node.place;
        }
        if let (None, Some(name)) = (step.key, step.node.get("name")) {
            return &name.place;
        }
        if let Some(key) = step.key {
            return &key.place;
        }
    }
    &root.place
}
