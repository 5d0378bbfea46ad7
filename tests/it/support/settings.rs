//! A Deployment with an environment, judged by the rules about database settings.

use prefect_guard::decision::{Endpoint, decide};
use prefect_guard::kubernetes::object::{classify, locate};
use prefect_guard::policy::annotations::Own;
use prefect_guard::policy::{Policy, Settings};
use prefect_guard::review::request::Request;
use prefect_guard::rule::{Finding, Severity};
use prefect_guard::rules::CATALOGUE;
use prefect_guard::rules::Subject;
use serde_json::{Value, json};

/// What the rules PSG1xx and PSG9xx found.
#[derive(Debug, Default)]
pub struct Found {
    /// Id and severity, in order: `!PSG103` denies.
    pub rules: Vec<String>,
    /// Messages and helps.
    pub lines: Vec<String>,
}

impl Found {
    /// Whether one of them denies.
    pub fn denied(&self) -> bool {
        self.rules.iter().any(|rule| rule.starts_with('!'))
    }
}

/// A server that sees exactly this environment: a literal `$(` is written `$$(`. `/data` is on a claim.
pub fn deployment<'e>(env: impl Iterator<Item = (&'e str, &'e str)>) -> Value {
    let env: Vec<Value> =
        env.map(|(name, value)| json!({"name": name, "value": value.replace('$', "$$")})).collect();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "prefect", "namespace": "data"},
        "spec": {"replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": "prefect"}},
            "template": {"metadata": {"labels": {"app": "prefect"}}, "spec": {
                "containers": [{"name": "server", "image": "prefecthq/prefect:3.8.8-python3.12",
                    "command": ["prefect", "server", "start"], "env": env,
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "prefect"}}]}}}
    })
}

/// Judges a manifest as `/validate` would, keeping what is said of settings.
pub fn judge(manifest: &Value) -> Found {
    let text = manifest.to_string();
    let request = Request::of_manifest(&text).expect("a manifest");
    let decision = decide(Endpoint::Validate, &request, &Policy::default()).expect("a readable object");
    let mut found = Found::default();
    for finding in &decision.findings {
        let id = finding.rule.id;
        if id.starts_with("PSG1") || id.starts_with("PSG9") {
            let mark = if finding.severity == Severity::Deny { "!" } else { "" };
            found.rules.push(format!("{mark}{id}"));
        }
        found.lines.push(format!("{} / {}", finding.message(), finding.help));
    }
    found
}

/// A manifest read as far as the rules see it.
pub struct Read;

impl Read {
    /// Hands the subject of a workload to `look`.
    pub fn of(manifest: &str, look: impl FnOnce(&mut Subject<'_>)) {
        let request = Request::of_manifest(manifest).expect("a manifest");
        let found = classify(&request.kind, &[]).expect("a kind we judge");
        let object = request.object.expect("an object");
        let located = locate(object, found).expect("a readable object");
        let workload = located.read(request.kind.kind.0.clone()).expect("readable").expect("a template");
        let own = Own::read(&workload.template.metadata.annotations, CATALOGUE);
        let settings = Settings::default();
        look(&mut Subject::examine(&workload, &settings, &own, None));
    }
}

/// What `/validate` finds in a manifest after `/mutate` mended what it could.
pub fn validated(manifest: &Value) -> Vec<Finding> {
    let mut object = manifest.clone();
    let text = manifest.to_string();
    let request = Request::of_manifest(&text).expect("a manifest");
    let mended = decide(Endpoint::Mutate, &request, &Policy::default()).expect("a readable object");
    prefect_guard::migration::apply(&mut object, &mended.operations).expect("the patch applies");
    let text = object.to_string();
    let request = Request::of_manifest(&text).expect("a manifest");
    decide(Endpoint::Validate, &request, &Policy::default()).expect("a readable object").findings
}
