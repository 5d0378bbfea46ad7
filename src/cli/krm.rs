//! `inject --krm`: the injection as a KRM function, for kustomize and kpt.
//!
//! What goes in and out is the ResourceList of the KRM Functions Specification, v1
//! (kubernetes-sigs/kustomize, cmd/config/docs/api-conventions/functions-spec.md).

use std::io::Write;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use super::inject::Inject;
use super::report::{Found, Report, Unread};
use super::{Outcome, check, note};
use crate::answer::respond::field_path;
use crate::manifest::emit::{self, Lists};
use crate::manifest::files::{Input, STDIN};
use crate::manifest::{self, Document, Node, Object};
use crate::policy::Policy;
use crate::rule::Severity;
use crate::rules::CATALOGUE;

/// Reads a ResourceList from the standard input and writes it with the migration in its items and the findings in its
/// results. The policy is the list's own or that of the command line.
pub(super) fn run(policy: Option<Policy>, namespace: &str, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let input = Input { name: STDIN.to_owned(), path: None, named: true };
    let text = input.read()?;
    let documents = manifest::read(&text);
    let (document, root) = only(&documents)?;
    let own = root.get("functionConfig").map(configured).transpose()?.flatten();
    let policy = match (own, policy) {
        (Some(_), Some(_)) => bail!("`--policy` and `functionConfig` both hold a policy; keep one"),
        (own, given) => own.or(given).unwrap_or_default(),
    };
    let report = check::report_on(&input, &text, document, (&policy, namespace));
    let mut inject = Inject { policy: &policy, namespace, outcome: Outcome::Clean };
    let results = results(&report, &document.objects());
    let written = inject.list(&input, &text, (document, root), results)?;
    out.write_all(written.as_bytes())?;
    say(&report);
    Ok(if inject.outcome == Outcome::Clean { report.outcome(false) } else { inject.outcome })
}

/// The one document of the stream, which has to be a ResourceList.
fn only(documents: &[Document]) -> anyhow::Result<(&Document, &Node)> {
    const HELP: &str = "run it as a function of kustomize or kpt, or name the manifests without `--krm`";
    let mut found = documents.iter().filter(|document| !matches!(document.content, Ok(None)));
    let (Some(document), None) = (found.next(), found.next()) else {
        bail!("the standard input is not one document, which a ResourceList is; {HELP}");
    };
    let root = match &document.content {
        Ok(root) => root.as_ref().context("a document with nothing in it was left out")?,
        Err(error) => bail!("{STDIN}:{}:{}: {}; {}", error.line, error.column, error.what, error.help),
    };
    let text = |key| root.get(key).and_then(Node::text).unwrap_or_default();
    if text("kind") != "ResourceList" || !text("apiVersion").starts_with("config.kubernetes.io/") {
        bail!("the standard input is no ResourceList of `config.kubernetes.io`; {HELP}");
    }
    Ok((document, root))
}

/// The policy in a function's configuration: a `Policy`, or a ConfigMap that holds one; none in an empty one.
fn configured(config: &Node) -> anyhow::Result<Option<Policy>> {
    let config = config.to_json();
    let Some(fields) = config.as_object().filter(|fields| !fields.is_empty()) else { return Ok(None) };
    let text = match fields.get("kind").and_then(Value::as_str) {
        Some("Policy") => {
            let mut fields = fields.clone();
            // Its name and what the orchestrator notes there; a policy has none.
            fields.remove("metadata");
            emit::block(&Value::Object(fields), Lists::Flush)
        }
        Some("ConfigMap") => match config.pointer("/data/policy.yaml") {
            Some(Value::String(text)) => text.clone(),
            _ if config.pointer("/data").is_none_or(|data| *data == json!({}) || data.is_null()) => {
                return Ok(None);
            }
            _ => bail!(
                "the ConfigMap in `functionConfig` has no `policy.yaml`; put the policy file under that key"
            ),
        },
        _ => bail!(
            "`functionConfig` is no policy; give one of kind `Policy`, or a ConfigMap with `policy.yaml`"
        ),
    };
    let policy = Policy::from_yaml(&text, CATALOGUE);
    // The lines are those of a text that nobody has before them.
    policy
        .map(Some)
        .map_err(|error| anyhow::anyhow!("cannot use the policy in `functionConfig`: {}", error.problem))
}

fn results(report: &Report, objects: &[Object<'_>]) -> Vec<Value> {
    let findings = report.findings.iter().map(|found| {
        let object = found.about.number.checked_sub(1).and_then(|index| objects.get(index));
        result(found, object)
    });
    let unread = report.unread.iter().map(|unread| json!({"message": in_words(unread), "severity": "error"}));
    findings.chain(unread).collect()
}

fn result(found: &Found, object: Option<&Object<'_>>) -> Value {
    let severity = if found.severity == Severity::Deny { "error" } else { "warning" };
    let mut result = Map::new();
    result.insert("message".to_owned(), format!("{}\nhelp: {}", found.message, found.help).into());
    result.insert("severity".to_owned(), severity.into());
    if let Some(object) = object {
        let mut reference =
            json!({"apiVersion": object.api_version(), "kind": object.kind(), "name": object.name()});
        if let Some(namespace) = object.namespace() {
            reference["namespace"] = namespace.into();
        }
        result.insert("resourceRef".to_owned(), reference);
        result.extend(file(object).map(|file| ("file".to_owned(), file)));
    }
    if !found.pointer.is_empty() {
        result.insert("field".to_owned(), json!({"path": field_path(&found.pointer)}));
    }
    result.insert("tags".to_owned(), json!({"rule": found.rule.id, "page": found.rule.url()}));
    Value::Object(result)
}

/// Where the orchestrator says that an object comes from.
fn file(object: &Object<'_>) -> Option<Value> {
    let annotations = object.node.get("metadata")?.get("annotations")?;
    let noted = |key: &str| {
        ["internal.config.kubernetes.io/", "config.kubernetes.io/"]
            .iter()
            .find_map(|prefix| annotations.get(&format!("{prefix}{key}"))?.text())
    };
    let mut file = json!({"path": noted("path")?});
    if let Some(index) = noted("index").and_then(|index| index.parse::<u64>().ok()) {
        file["index"] = index.into();
    }
    Some(file)
}

/// kustomize shows nobody the results; what a function writes to the standard error it does show.
fn say(report: &Report) {
    for found in &report.findings {
        let severity = if found.severity == Severity::Deny { "refused" } else { "warning" };
        note(format_args!("{severity}: {}: {}\nhelp: {}", found.about, found.message, found.help));
    }
    for unread in &report.unread {
        note(format_args!("{}", in_words(unread)));
    }
}

fn in_words(unread: &Unread) -> String {
    format!("{}\nhelp: {}", unread.what, unread.help)
}
