//! The tables of recorded reviews: what both endpoints say of each, in a line that a person can read.

use prefect_guard::decision::Endpoint;
use serde_json::Value;

use super::{patch_of, patched, root, rules_of, with_objects};

/// Compares the answers of `ask` with `tests/fixtures/<table>`; `UPDATE_TABLES=1` writes the table anew.
pub fn compare(table: &str, reviews: &[(String, Vec<u8>)], ask: &dyn Fn(Endpoint, &[u8]) -> Value) {
    let path = root().join("tests/fixtures").join(table);
    let head = format!("{:<86} | {:<44} | {:<5} | rules (! denies)\n", "review", "mutate", "then");
    let lines: String = reviews.iter().map(|(name, body)| line(name, body, ask) + "\n").collect();
    if std::env::var_os("UPDATE_TABLES").is_some() {
        std::fs::write(&path, head.clone() + &lines).expect("a writable table");
    }
    let expected = std::fs::read_to_string(&path).expect("the table is checked in");
    for (ours, wanted) in (head + &lines).lines().zip(expected.lines()) {
        assert_eq!(ours, wanted);
    }
    assert_eq!(expected.lines().count(), reviews.len() + 1, "{table} has a line for each review");
}

/// `mutate` on the review as recorded, `validate` on what mutate made of it.
fn line(name: &str, body: &[u8], ask: &dyn Fn(Endpoint, &[u8]) -> Value) -> String {
    let response = ask(Endpoint::Mutate, body);
    let operations: Vec<String> = patch_of(&response)
        .0
        .iter()
        .map(|operation| serde_json::to_value(operation).expect("JSON"))
        .map(|operation| short(&operation))
        .collect();
    let review: Value = serde_json::from_slice(body).expect("JSON");
    let after = match review["request"]["object"].is_null() {
        true => body.to_vec(),
        false => with_objects(body, &patched(body, &response), None),
    };
    let verdict = ask(Endpoint::Validate, &after);
    let allowed = if verdict["allowed"] == true { "allow" } else { "deny" };
    let or_dash = |list: Vec<String>| if list.is_empty() { "-".to_owned() } else { list.join(", ") };
    format!("{name:<86} | {:<44} | {allowed:<5} | {}", or_dash(operations), or_dash(rules_of(&verdict)))
}

fn short(operation: &Value) -> String {
    let path = operation["path"].as_str().expect("a path").trim_start_matches("/spec/template/spec");
    let path = if path == "/metadata/annotations" { "annotations" } else { path };
    format!("{} {path}", operation["op"].as_str().expect("an op"))
}
