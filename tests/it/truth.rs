//! Every measured case of `tests/fixtures/truth/database-settings.json`, as a Deployment through the rules.
//!
//! The cases were run as `prefect server database upgrade -y` in a fresh home against a real PostgreSQL 15 with
//! Prefect 3.8.8: `env` is what the process saw, `prefect_exit` and `prefect_error` what it did, `expect` the verdict
//! that follows for a manifest: `deny`, `allow`, or `either` where versions of Prefect differ.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::settings::{deployment, judge};

#[derive(serde::Deserialize)]
struct Case {
    case: String,
    env: BTreeMap<String, String>,
    expect: String,
}

fn cases() -> Vec<Case> {
    let path = crate::support::root().join("tests/fixtures/truth/database-settings.json");
    let text = std::fs::read_to_string(path).expect("the cases are checked in");
    serde_json::from_str(&text).expect("a list of cases")
}

#[test]
fn judges_every_measured_case_as_prefect_did() {
    let cases = cases();
    let mut wrong = Vec::new();
    for Case { case, env, expect } in &cases {
        let found = judge(&deployment(env.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
        let verdict = if found.denied() { "deny" } else { "allow" };
        if expect != "either" && verdict != expect {
            wrong.push(format!("{case}: expected {expect}, got {verdict} {:?}", found.lines));
        }
    }
    assert!(cases.len() >= 100, "only {} cases", cases.len());
    assert!(wrong.is_empty(), "{} of {} disagree:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn says_nothing_of_any_value() {
    let canary = "hunter2-canary";
    for Case { case, env, .. } in cases() {
        let marked: Vec<(String, String)> =
            env.into_iter().map(|(name, value)| (name, mark(&value, canary))).collect();
        let found = judge(&deployment(marked.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
        for line in &found.lines {
            assert!(!line.contains("hunter2") && !line.contains("canary"), "{case}: {line}");
        }
    }
}

/// The value with the canary for user, password, host and database, where it has them in the usual places.
fn mark(value: &str, canary: &str) -> String {
    let mut marked = value.to_owned();
    for piece in ["prefect:pw@", "special:p", "pw", "127.0.0.1", "prefect "] {
        let with = match piece {
            "prefect:pw@" => format!("{canary}:{canary}@"),
            "special:p" => format!("{canary}:{canary}"),
            _ => canary.to_owned(),
        };
        marked = marked.replace(piece, &with);
    }
    marked
}

/// A case of `tests/fixtures/truth/commands.json`, which `tests/live/record_truth.py` writes.
#[derive(serde::Deserialize)]
struct Recorded {
    case: String,
    kind: String,
    command: Vec<String>,
    env: BTreeMap<String, String>,
    /// By the release of Prefect.
    runs: BTreeMap<String, Run>,
}

#[derive(serde::Deserialize)]
struct Run {
    exit: Option<i32>,
    said: String,
}

impl Recorded {
    /// The rule that has to find it, and whether it has to, by what that Prefect did.
    fn wanted(&self, run: &Run) -> (&'static str, bool) {
        match &*self.kind {
            "workers" => {
                let refused =
                    ["Multi-worker", "Number of workers"].iter().any(|what| run.said.starts_with(what));
                ("PSG401", run.exit == Some(1) && refused)
            }
            "name" => ("PSG203", run.exit == Some(0)),
            // Marked as migrated and not migrated: the upgrade has nothing left to do.
            "effect" => ("PSG203", run.exit == Some(0) && run.said == "1 version, without tables"),
            "tls" => ("PSG117", run.said == "ignored"),
            "plugins" => ("PSG117", run.said == "off"),
            other => panic!("{}: no such kind as {other}", self.case),
        }
    }

    /// A Job for what names a database command, a Deployment for the rest.
    fn manifest(&self, release: &str) -> Value {
        let env: Vec<Value> =
            self.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let image = format!("prefecthq/prefect:{release}-python3.12");
        let container = json!({"name": "it", "image": image, "command": self.command, "env": env});
        let spec = json!({"restartPolicy": "Never", "containers": [container]});
        let (group, kind) = if ["name", "effect"].contains(&&*self.kind) {
            ("batch/v1", "Job")
        } else {
            ("apps/v1", "Deployment")
        };
        json!({"apiVersion": group, "kind": kind, "metadata": {"name": "it", "namespace": "data"},
            "spec": {"replicas": 1, "template": {"spec": spec}}})
    }
}

#[test]
fn judges_every_recorded_command_as_each_prefect_did() {
    let path = crate::support::root().join("tests/fixtures/truth/commands.json");
    let text = std::fs::read_to_string(path).expect("the cases are checked in");
    let cases: Vec<Recorded> = serde_json::from_str(&text).expect("a list of cases");
    let mut wrong = Vec::new();
    let mut seen = BTreeMap::<(&str, bool), usize>::new();
    for case in &cases {
        for (release, run) in &case.runs {
            let (rule, wanted) = case.wanted(run);
            let found = judge(&case.manifest(release));
            *seen.entry((rule, wanted)).or_default() += 1;
            if found.lines.iter().any(|line| line.starts_with(rule)) != wanted {
                wrong.push(format!("{release} {}: {rule} is wanted: {wanted}; {:?}", case.case, found.lines));
            }
        }
    }
    for rule in ["PSG401", "PSG203", "PSG117"] {
        for wanted in [true, false] {
            assert!(seen.contains_key(&(rule, wanted)), "no case of {rule}, wanted: {wanted}");
        }
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}
