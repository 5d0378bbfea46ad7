//! Every rule on manifests someone could apply: what it finds, what it must not find, and the very words.
//!
//! A fixture below `tests/fixtures/rules/RULE/` begins with what it shows and what is expected:
//! `# expect: PSG103 deny, PSG112 warn`, or `clean`. The words are in `messages.txt` beside it, to be read;
//! `UPDATE_GOLDEN=1` writes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use prefect_guard::rules::REGISTER;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rules")
}

struct Fixture {
    name: String,
    /// `PSG103 deny`; empty where it should be clean.
    expected: BTreeSet<String>,
    arguments: Vec<String>,
}

fn fixtures(rule: &str) -> Vec<Fixture> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder().join(rule))
        .unwrap_or_else(|error| panic!("no fixtures for {rule}: {error}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    paths.sort();
    paths.iter().map(|path| fixture(path)).collect()
}

fn fixture(path: &Path) -> Fixture {
    let text = fs::read_to_string(path).unwrap();
    let header = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).map(str::trim);
    let expected =
        header("# expect:").unwrap_or_else(|| panic!("{} says not what is expected", path.display()));
    Fixture {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        expected: expected.split(',').map(|one| one.trim().to_owned()).filter(|one| one != "clean").collect(),
        arguments: header("# check").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
    }
}

fn check(rule: &str, fixture: &Fixture, format: &str) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_prefect-guard"))
        .current_dir(folder().join(rule))
        .args(["check", "--format", format])
        .args(&fixture.arguments)
        .arg(&fixture.name)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{rule}/{}", fixture.name);
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn folder_of(entry: &prefect_guard::rules::Entry) -> String {
    format!("{}_{}", entry.rule.id.to_lowercase(), entry.rule.name.replace('-', "_"))
}

#[test]
fn each_fixture_comes_out_as_its_header_says() {
    let mut broken = Vec::new();
    for entry in REGISTER {
        let rule = folder_of(entry);
        let fixtures = fixtures(&rule);
        let finds = |fixture: &&Fixture| fixture.expected.iter().any(|one| one.starts_with(entry.rule.id));
        assert!(fixtures.iter().any(|one| finds(&one)), "{rule}: no fixture that it finds");
        assert!(fixtures.iter().any(|one| !finds(&one)), "{rule}: no fixture that it lets pass");
        for fixture in &fixtures {
            let (code, json) = check(&rule, fixture, "json");
            let report: Value = serde_json::from_str(&json).unwrap();
            let findings = report["findings"].as_array().unwrap();
            let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
            let found: BTreeSet<String> = findings
                .iter()
                .map(|one| format!("{} {}", text(one, "rule"), text(one, "severity")))
                .collect();
            let denied = i32::from(fixture.expected.iter().any(|one| one.ends_with("deny")));
            if (&found, code) != (&fixture.expected, denied) {
                broken.push(format!(
                    "{rule}/{}: {found:?}, exit {code}; expected {:?}",
                    fixture.name, fixture.expected
                ));
            }
            for finding in findings {
                lint(&text(finding, "message"), &text(finding, "help"), &mut broken);
                assert!(finding["line"].as_u64().unwrap() > 3, "{rule}/{}: {finding}", fixture.name);
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The house style of messages.
fn lint(message: &str, help: &str, broken: &mut Vec<String>) {
    let mut fault = |what: &str| broken.push(format!("{what}: {message} / {help}"));
    let body = message.split_once(": ").unwrap().1;
    if message.len() > 256 || message.chars().any(char::is_control) {
        fault("too long, or a control character");
    }
    for text in [message, help] {
        if text.matches('`').count() % 2 != 0 {
            fault("a backtick without its other half");
        }
        if text.is_empty() || text.ends_with('.') || text.contains("please") || text.contains("error:") {
            fault("not in the style of the house");
        }
        if text.contains("hunter2") || text.contains("canary") {
            fault("a secret, or a part of one");
        }
    }
    if body.contains("invalid") || body.contains("Invalid") {
        fault("says `invalid`");
    }
    if help.chars().next().is_some_and(char::is_uppercase) {
        fault("the help begins with a capital");
    }
}

#[test]
fn the_words_are_those_that_were_read() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut stale = Vec::new();
    for entry in REGISTER {
        let rule = folder_of(entry);
        let words: String = fixtures(&rule)
            .iter()
            .map(|fixture| {
                let arguments: String =
                    fixture.arguments.iter().map(|argument| format!("{argument} ")).collect();
                format!(
                    "$ prefect-guard check {arguments}{}\n{}\n",
                    fixture.name,
                    check(&rule, fixture, "text").1
                )
            })
            .collect();
        assert!(!words.contains("hunter2") && !words.contains("canary"), "{words}");
        let path = folder().join(&rule).join("messages.txt");
        if update {
            fs::write(&path, &words).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != words {
            stale.push(rule);
        }
    }
    assert!(
        stale.is_empty(),
        "other words than in messages.txt: {stale:?}; `UPDATE_GOLDEN=1` writes them anew"
    );
}

#[test]
fn every_folder_belongs_to_a_rule() {
    let known: BTreeSet<String> = REGISTER.iter().map(folder_of).collect();
    let found: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, known);
}
