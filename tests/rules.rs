//! Every fixture of a rule about settings: manifests that someone could apply, in `tests/fixtures/rules`.
//!
//! The name of a file says what its rule must do about it: `deny-…`, `warn-…`, `allow-…` (says nothing).

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prefect_guard::finding::{Finding, Level, Severity};
use prefect_guard::rules::{REGISTER, psg116_service_link_collision as psg116};
use support::settings::{Read, validated};

struct Fixture {
    rule: String,
    name: String,
    text: String,
}

fn fixtures() -> Vec<Fixture> {
    let mut found = Vec::new();
    for folder in sorted(&support::root().join("tests/fixtures/rules")) {
        for file in sorted(&folder) {
            let stem = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
            let rule = stem(&folder).split('-').next().expect("an id").to_uppercase();
            let text = std::fs::read_to_string(&file).expect("a readable fixture");
            found.push(Fixture { rule, name: format!("{}/{}", stem(&folder), stem(&file)), text });
        }
    }
    found
}

fn sorted(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// What is found in the documents of a manifest, after what mutate would mend was mended.
fn findings(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for document in prefect_guard::manifest::read(text) {
        for object in document.objects() {
            if object.kind() == "Service" {
                seen.push(psg116::Seen::service(object.namespace().unwrap_or_default(), object.name()));
                continue;
            }
            let manifest = object.node.to_json();
            findings.extend(validated(&manifest));
            Read::of(&manifest.to_string(), |subject| seen.push(psg116::Seen::of(subject, "data")));
        }
    }
    findings.extend(psg116::across(&seen).into_iter().map(|(_, finding)| finding));
    findings
}

#[test]
fn each_rule_does_what_the_names_of_its_fixtures_say() {
    let mut wrong = Vec::new();
    for Fixture { rule, name, text } in fixtures() {
        let all = findings(&text);
        let own: Vec<&Finding> = all.iter().filter(|finding| finding.rule.id == rule).collect();
        let worst = own.iter().map(|finding| finding.severity).max();
        let is = match worst {
            Some(Severity::Deny) => "deny",
            Some(Severity::Warn) => "warn",
            None => "allow",
        };
        if !name.contains(&format!("/{is}-")) {
            let said: Vec<String> = all.iter().map(Finding::message).collect();
            wrong.push(format!("{name}: {is} {said:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_settings_rule_has_fixtures_both_ways() {
    let mut kinds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Fixture { rule, name, .. } in fixtures() {
        let file = name.split('/').next_back().expect("a file");
        let verdict = file.split('-').next().expect("a verdict").to_owned();
        kinds.entry(rule).or_default().insert(verdict);
    }
    for entry in REGISTER.iter().filter(|e| e.rule.id.starts_with("PSG1") || e.rule.id.starts_with("PSG9")) {
        let own = kinds.get(entry.rule.id).cloned().unwrap_or_default();
        let wanted = if entry.rule.default == Level::Deny { "deny" } else { "warn" };
        assert!(own.contains(wanted) && own.contains("allow"), "{}: {own:?}", entry.rule.id);
    }
}

#[test]
fn messages_are_plain_and_hold_no_secret() {
    for Fixture { name, text, .. } in fixtures() {
        assert!(text.starts_with("# ") && text.contains("\n# Expected: "), "{name} has no header");
        for finding in findings(&text) {
            let (message, help) = (finding.message(), &finding.help);
            assert!(message.len() <= 256, "{name}: {message}");
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {help}");
            for line in [&message, help] {
                assert_eq!(line.matches('`').count() % 2, 0, "{name}: {line}");
                assert!(!line.contains("hunter2") && !line.contains("canary"), "{name}: {line}");
            }
        }
    }
}
