//! Every measured case of `tests/fixtures/truth/database-settings.json`, as a Deployment through the rules.
//!
//! The cases were run as `prefect server database upgrade -y` in a fresh home against a real PostgreSQL 15 with
//! Prefect 3.8.8: `env` is what the process saw, `prefect_exit` and `prefect_error` what it did, `expect` the verdict
//! that follows for a manifest: `deny`, `allow`, or `either` where versions of Prefect differ.

use std::collections::BTreeMap;

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
