//! Ways to get a bad server past the guard, each tried, and each with a line in `docs/bypasses.md`.

use std::collections::BTreeMap;

use crate::support::golden::{Golden, files};
use crate::support::root;

#[test]
fn every_attempt_ends_as_its_header_says() {
    let fixtures = files("bypass");
    assert!(fixtures.len() >= 15, "only {} attempts", fixtures.len());
    let mut wrong = Vec::new();
    for path in fixtures {
        let outcome = std::panic::catch_unwind(|| {
            let golden = Golden::read(&path);
            assert!(golden.header("shows").is_some(), "{} does not say what it shows", golden.name);
            assert!(golden.expected().is_some(), "{} does not say what it expects", golden.name);
            golden.check(&golden.run());
        });
        if let Err(panic) = outcome {
            wrong.push(
                panic.downcast_ref::<String>().cloned().unwrap_or_else(|| format!("{}", path.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{} attempts end otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

/// The document's table: attempt → verdict.
fn table() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join("docs/bypasses.md")).expect("docs/bypasses.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert!(cells.len() == 4 && cells.iter().all(|cell| !cell.is_empty()), "four cells: {row}");
        (cells[0].trim_matches('`').to_owned(), cells[2].to_owned())
    })
    .collect()
}

#[test]
fn the_document_lists_every_attempt_with_its_verdict() {
    let table = table();
    let mut missing = Vec::new();
    let fixtures = files("bypass");
    for path in &fixtures {
        let golden = Golden::read(path);
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let mut verdict = golden.header("expect").expect("an expectation").to_owned();
        if golden.header("edits") == Some("add") {
            verdict.push_str(", migrated");
        }
        if table.get(&name) != Some(&verdict) {
            missing.push(format!("{name}: {verdict}"));
        }
    }
    assert!(missing.is_empty(), "docs/bypasses.md differs:\n{}", missing.join("\n"));
    assert_eq!(table.len(), fixtures.len(), "docs/bypasses.md lists attempts that are not there");
}
