//! One manifest through the engine, as a cluster would put it: mutated first, then validated.

use serde_json::Value;

use super::policy::PolicyFile;
use crate::decision::{Decision, Endpoint, Exemption, decide};
use crate::migration;
use crate::policy::Policy;
use crate::review::{Request, Unreadable};
use crate::rule::{self, Finding, Fix, Severity};

/// How objects are judged: what `check` and `audit` have in common on the command line.
#[derive(Debug, clap::Args)]
pub(super) struct Judging {
    #[command(flatten)]
    policy: PolicyFile,

    /// Count warnings as refusals.
    #[arg(long)]
    pub(super) strict: bool,

    /// Judge objects as they stand, for clusters without the mutating webhook: a server without a migration is then
    /// reported too.
    #[arg(long)]
    as_is: bool,
}

impl Judging {
    pub(super) fn policy(&self) -> anyhow::Result<Policy> {
        self.policy.load()
    }

    pub(super) fn how(&self) -> Judge {
        if self.as_is { Judge::AsWritten } else { Judge::AsApplied }
    }
}

/// Whether the mutating webhook is taken to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judge {
    /// The object is mutated, then validated.
    AsApplied,
    /// The object is validated as it stands.
    AsWritten,
}

/// The verdict on one object.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Whether it is of a kind we judge.
    pub(super) workload: bool,
    /// How many Prefect servers it holds.
    pub(super) servers: usize,
    /// What was found, in the order of the register; pointers lead into the object as it was written.
    pub(super) findings: Vec<Finding>,
    /// What annotations exempt it from.
    pub(super) exemption: Option<Exemption>,
}

/// Judges one object. The error says what of it could not be read, and holds no values.
pub(super) fn judge(object: &Value, policy: &Policy, how: Judge) -> Result<Verdict, Unreadable> {
    let written = object.to_string();
    let mut pinned = Vec::new();
    let mut applied = None;
    if how == Judge::AsApplied {
        let mutation = ask(Endpoint::Mutate, &written, policy)?;
        pinned = mutation.findings;
        pinned.retain(|finding| matches!(finding.fix, Some(Fix::Pin { .. })));
        if !mutation.operations.is_empty() {
            let mut mutated = object.clone();
            migration::apply(&mut mutated, &mutation.operations).map_err(|_| Unreadable {
                path: "spec".to_owned(),
                problem: "does not take the migration's patch".to_owned(),
            })?;
            applied = Some(mutated);
        }
    }
    let text = applied.as_ref().map_or(written, Value::to_string);
    let validation = ask(Endpoint::Validate, &text, policy)?;
    let exemption = validation.exemption();
    let mut findings = validation.findings;
    // `/mutate` warns of what it pinned, since the manifest still says otherwise; everything else is corrected by it.
    findings.extend(pinned.into_iter().map(|finding| Finding { severity: Severity::Warn, ..finding }));
    rule::fold(&mut findings);
    if how == Judge::AsWritten {
        // Where the mutating webhook does not run, "apply again" would lead nowhere.
        for finding in findings.iter_mut().filter(|finding| finding.fix.is_some()) {
            finding.help = "run `prefect-guard inject` over the manifest".to_owned();
        }
    }
    if validation.silent && how == Judge::AsApplied {
        // The webhook is there and leaves the object as it is: applying it again would change nothing.
        for finding in findings.iter_mut().filter(|finding| finding.fix.is_some()) {
            finding.help = "`mode: audit` injects nothing; set `warn` or `enforce`, or run `prefect-guard inject` over the \
                            manifest"
                .to_owned();
        }
    }
    if validation.silent {
        // In audit mode a cluster says nothing of this to anybody; whoever asks here wants to know.
        findings.iter_mut().for_each(|finding| finding.severity = Severity::Warn);
    }
    if let Some(mutated) = &applied {
        for finding in &mut findings {
            finding.place.pointer = back(&finding.place.pointer, mutated, object);
        }
    }
    let (workload, servers) = (validation.workload, validation.servers);
    Ok(Verdict { workload, servers, findings, exemption })
}

/// Asks one endpoint about an object given as JSON text.
pub(super) fn ask(endpoint: Endpoint, object: &str, policy: &Policy) -> Result<Decision, Unreadable> {
    decide(endpoint, &Request::of_manifest(object)?, policy)
}

/// The JSON pointer for a field's path: `spec.containers[0].env` is `/spec/containers/0/env`.
pub(super) fn pointer_of(path: &str) -> String {
    let parts = path.split(['.', '[']).map(|part| part.trim_end_matches(']')).filter(|part| !part.is_empty());
    parts.map(|part| format!("/{part}")).collect()
}

/// A pointer into the mutated object as a pointer into the original: items of lists are found by their names, and
/// what is not in the original ends at the closest place that is.
pub(super) fn back(pointer: &str, mutated: &Value, original: &Value) -> String {
    let mut found = String::new();
    let (mut there, mut here) = (mutated, original);
    for token in pointer.split('/').skip(1) {
        let (next_there, next_here, token) = match (there, here) {
            (Value::Array(new), Value::Array(old)) => {
                let Some(item) = token.parse::<usize>().ok().and_then(|index| new.get(index)) else { break };
                let name = item.get("name").filter(|name| name.is_string());
                let index = match name {
                    Some(name) => old.iter().position(|item| item.get("name") == Some(name)),
                    None => token.parse().ok(),
                };
                let Some(index) = index else { break };
                let Some(old) = old.get(index) else { break };
                (item, old, index.to_string())
            }
            (Value::Object(new), Value::Object(old)) => {
                let key = token.replace("~1", "/").replace("~0", "~");
                let (Some(new), Some(old)) = (new.get(&key), old.get(&key)) else { break };
                (new, old, token.to_owned())
            }
            _ => break,
        };
        found.push('/');
        found.push_str(&token);
        (there, here) = (next_there, next_here);
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_a_pointer() {
        assert_eq!(pointer_of("spec.containers[0].env[12].name"), "/spec/containers/0/env/12/name");
        assert_eq!(pointer_of(""), "");
    }

    #[test]
    fn leads_back_to_the_original_by_name() {
        let original =
            json!({"init": [{"name": "a", "x": 1}], "c": [{"name": "api", "env": [{"name": "U"}]}]});
        let mutated = json!({
            "init": [{"name": "ours"}, {"name": "a", "x": 1}],
            "c": [{"name": "api", "env": [{"name": "U"}]}],
        });
        assert_eq!(back("/init/1/x", &mutated, &original), "/init/0/x");
        assert_eq!(back("/init/0", &mutated, &original), "/init");
        assert_eq!(back("/c/0/env/0/value", &mutated, &original), "/c/0/env/0");
        assert_eq!(back("", &mutated, &original), "");
    }
}
