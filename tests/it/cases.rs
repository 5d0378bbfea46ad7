//! Manifests as they went wrong for somebody, and streams whose objects speak of each other: what `check` says.
//!
//! A file below `tests/fixtures/cases` begins with what it shows, what is expected (`# expect: PSG103 deny`, or `clean`)
//! and, where it matters, a part of what is said (`# says: …`), in the report or beside it. A password in one of them is
//! `hunter2`, and is never said.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::root;

struct Case {
    name: String,
    text: String,
}

impl Case {
    fn header(&self, start: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(start)).map(str::trim)
    }
}

fn cases() -> Vec<Case> {
    let folder = root().join("tests/fixtures/cases");
    let mut cases: Vec<Case> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| Case {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect();
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(cases.len() > 50, "{}", cases.len());
    cases
}

/// The exit code, the report and what is said beside it.
fn check(case: &Case, format: &str) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_prefect-guard"))
        .current_dir(root().join("tests/fixtures/cases"))
        .args(["check", "--format", format, &case.name])
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn each_case_comes_out_as_its_header_says() {
    let mut broken = Vec::new();
    for case in cases() {
        let expected = case.header("# expect:").unwrap_or_else(|| panic!("{} expects nothing", case.name));
        let wanted: BTreeSet<String> =
            expected.split(',').map(|one| one.trim().to_owned()).filter(|one| one != "clean").collect();
        let (code, report, beside) = check(&case, "json");
        let report: Value = serde_json::from_str(&report).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
        let found: BTreeSet<String> =
            findings.iter().map(|one| format!("{} {}", text(one, "rule"), text(one, "severity"))).collect();
        let denied = i32::from(wanted.iter().any(|one| one.ends_with("deny")));
        if (&found, code) != (&wanted, denied) {
            broken.push(format!("{}: {found:?}, exit {code}; expected {wanted:?}", case.name));
        }
        let messages: Vec<String> = findings.iter().map(|one| text(one, "message")).collect();
        match case.header("# says:") {
            Some(says) if !messages.iter().any(|one| one.contains(says)) && !beside.contains(says) => {
                broken.push(format!("{}: says not `{says}`: {messages:?} {beside}", case.name));
            }
            None if !beside.is_empty() => broken.push(format!("{}: says {beside}", case.name)),
            _ => {}
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_format_shows_what_a_secret_holds() {
    for case in cases().iter().filter(|case| case.text.contains("hunter2") || case.text.contains("base64")) {
        for format in ["text", "json", "sarif"] {
            let (_, report, beside) = check(case, format);
            for said in [report, beside] {
                assert!(!said.contains("hunter2") && !said.contains("aHVudGVy"), "{}: {said}", case.name);
            }
        }
    }
}
