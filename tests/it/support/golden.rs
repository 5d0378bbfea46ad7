//! Manifests with an expectation in their first lines.
//!
//! ```yaml
//! # shows: what the fixture is about
//! # expect: deny PSG203, warn PSG302 PSG112      (or `allow`)
//! # edits: inject                                (what `/mutate` does; only checked when given)
//! # inits: wait-for-db, prefect-guard-migrate    (the initContainers afterwards; only checked when given)
//! # endpoint: validate                               (judge the text as it stands, as if `/mutate` had been skipped)
//! # policy: {mode: warn}                         (the policy's keys on one line)
//! ```
//!
//! A file of two documents is an update: the stored object, then the new one.

use std::path::{Path, PathBuf};

use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use serde_json::Value;

use super::{ask, mutated, patch_of, root, rules_of};

/// One fixture, read.
pub struct Golden {
    /// The file below `tests/fixtures`.
    pub name: String,
    header: Vec<(String, String)>,
    old: Option<Value>,
    object: Value,
}

/// What came of a fixture.
pub struct Outcome {
    /// The final answer of `/validate`.
    pub verdict: Value,
    /// Rule ids, denials with a `!`, in order.
    pub rules: Vec<String>,
    /// The initContainers after `/mutate`.
    pub inits: Vec<String>,
    /// Operations of `/mutate`: `add`, `replace`, `remove`.
    pub operations: Vec<String>,
}

/// Every YAML file below a folder of `tests/fixtures`, in order.
pub fn files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder of fixtures") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "yaml") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("tests/fixtures").join(folder), &mut found);
    found.sort();
    found
}

impl Golden {
    /// Reads a fixture.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a readable fixture");
        let base = root().join("tests/fixtures");
        let name = path.strip_prefix(base).expect("a fixture").to_string_lossy().into_owned();
        let comments = text.lines().map_while(|line| line.strip_prefix('#'));
        let header: Vec<(String, String)> = comments
            .filter_map(|line| line.trim().split_once(": "))
            .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
            .collect();
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut documents = documents.into_iter().rev();
        let object = documents.next().unwrap_or_else(|| panic!("{name} holds no manifest"));
        Golden { name, header, object, old: documents.next() }
    }

    /// A line of the header.
    pub fn header(&self, key: &str) -> Option<&str> {
        self.header.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    fn policy(&self) -> Policy {
        let keys = self.header("policy").unwrap_or("{}");
        let keys =
            keys.strip_prefix('{').and_then(|keys| keys.strip_suffix('}')).expect("a policy in braces");
        let comma = if keys.is_empty() { "" } else { ", " };
        let yaml = format!("{{apiVersion: prefect-guard.io/v1alpha1, kind: Policy{comma}{keys}}}");
        Policy::from_yaml(&yaml, prefect_guard::rules::CATALOGUE)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Mutates, then validates, as a cluster would.
    pub fn run(&self) -> Outcome {
        let policy = self.policy();
        let body = super::generate::review(&self.object, self.old.as_ref());
        let (after, operations) = match self.header("endpoint") {
            Some("validate") => (self.object.clone(), Vec::new()),
            Some(other) => panic!("{}: no endpoint `{other}`", self.name),
            None => {
                let patch =
                    serde_json::to_value(patch_of(&ask(Endpoint::Mutate, &body, &policy))).expect("JSON");
                let operations = patch.as_array().expect("a list").iter();
                let operations = operations
                    .filter(|op| !op["path"].as_str().expect("a path").starts_with("/metadata/annotations"));
                let operations = operations.map(|operation| operation["op"].as_str().expect("op").to_owned());
                (mutated(&body, &policy), operations.collect())
            }
        };
        let verdict = ask(Endpoint::Validate, &super::generate::review(&after, self.old.as_ref()), &policy);
        let spec = match after["kind"].as_str() {
            Some("CronJob") => &after["spec"]["jobTemplate"]["spec"]["template"]["spec"],
            Some("Pod") => &after["spec"],
            _ => &after["spec"]["template"]["spec"],
        };
        let inits = spec["initContainers"].as_array().into_iter().flatten();
        let inits =
            inits.map(|container| container["name"].as_str().unwrap_or_default().to_owned()).collect();
        Outcome { rules: rules_of(&verdict), verdict, inits, operations }
    }

    /// The rules that the header expects, denials with a `!`, sorted.
    pub fn expected(&self) -> Option<Vec<String>> {
        let text = self.header("expect")?;
        let mut mark = "";
        let mut rules = Vec::new();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            match word {
                "deny" => mark = "!",
                "warn" | "allow" => mark = "",
                id if id.starts_with("PSG") => rules.push(format!("{mark}{id}")),
                other => panic!("{}: `{other}` is no expectation", self.name),
            }
        }
        rules.sort();
        Some(rules)
    }

    /// Compares what came with what the header, or the file's name, says.
    pub fn check(&self, outcome: &Outcome) {
        let mut found = outcome.rules.clone();
        found.sort();
        found.dedup();
        assert_eq!(Some(found), self.expected(), "{}: {}", self.name, outcome.verdict);
        if let Some(edits) = self.header("edits") {
            let operations =
                if outcome.operations.is_empty() { "none".to_owned() } else { outcome.operations.join(", ") };
            assert_eq!(operations, edits, "{}", self.name);
        }
        if let Some(inits) = self.header("inits") {
            assert_eq!(outcome.inits.join(", "), inits, "{}", self.name);
        }
    }
}
