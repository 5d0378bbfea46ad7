//! Manifests as they went wrong for somebody, and streams whose objects speak of each other: what `check` says.
//!
//! A file below `tests/fixtures/cases` begins with what it shows, what is expected (`# expect: PSG103 deny`, or `clean`),
//! where it matters a part of what is said (`# says: …`), in the report or beside it, and what is injected (`# injects: …`,
//! the container's words, in which `SCRIPT` is ours; or `nothing`). A password in one of them is `hunter2`, and is never said.

use std::collections::BTreeSet;
use std::fs;

use prefect_guard::{manifest, migration};
use serde_json::Value;

use crate::support::program::{Ran, program, read, run};
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

fn check(case: &Case, format: &str) -> Ran {
    let mut program = program();
    program.current_dir(root().join("tests/fixtures/cases"));
    read(program.args(["check", "--format", format, &case.name]).output().unwrap())
}

/// The words of the containers that `inject` adds, each once; `nothing` where there are none.
fn injected(case: &Case) -> String {
    let ran = run(&["inject", "-"], &case.text);
    let mut found = BTreeSet::new();
    for document in manifest::read(&ran.out) {
        for object in document.objects() {
            ours(&object.node.to_json(), &mut found);
        }
    }
    if found.is_empty() { "nothing".to_owned() } else { found.into_iter().collect::<Vec<_>>().join(" and ") }
}

/// Gathers the words of our containers, wherever they are.
fn ours(value: &Value, found: &mut BTreeSet<String>) {
    if value["name"] == migration::container::NAME {
        let words = ["command", "args"].into_iter().filter_map(|list| value[list].as_array()).flatten();
        let shown = words.filter_map(Value::as_str).map(|word| match word {
            migration::script::SCRIPT => "SCRIPT",
            word => word,
        });
        found.insert(shown.collect::<Vec<_>>().join(" "));
    }
    match value {
        Value::Object(map) => map.values().for_each(|value| ours(value, found)),
        Value::Array(list) => list.iter().for_each(|value| ours(value, found)),
        _ => {}
    }
}

#[test]
fn each_case_comes_out_as_its_header_says() {
    let mut broken = Vec::new();
    for case in cases() {
        let expected = case.header("# expect:").unwrap_or_else(|| panic!("{} expects nothing", case.name));
        let wanted: BTreeSet<String> =
            expected.split(',').map(|one| one.trim().to_owned()).filter(|one| one != "clean").collect();
        let Ran { code, out, err: beside } = check(&case, "json");
        let report: Value = serde_json::from_str(&out).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
        let found: BTreeSet<String> =
            findings.iter().map(|one| format!("{} {}", text(one, "rule"), text(one, "severity"))).collect();
        let denied = i32::from(wanted.iter().any(|one| one.ends_with("deny")));
        if (&found, code) != (&wanted, denied) {
            broken.push(format!("{}: {found:?}, exit {code}; expected {wanted:?}", case.name));
        }
        let (injects, added) = (case.header("# injects:").unwrap_or("nothing is said"), injected(&case));
        if injects != added {
            broken.push(format!("{}: injects `{added}`, expected `{injects}`", case.name));
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
            let Ran { out, err, .. } = check(case, format);
            for said in [out, err] {
                assert!(!said.contains("hunter2") && !said.contains("aHVudGVy"), "{}: {said}", case.name);
            }
        }
    }
}
