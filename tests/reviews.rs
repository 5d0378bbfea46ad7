//! Every recorded review, answered as a checked-in table says.
//!
//! `tests/fixtures/reviews.table` is made to be read: one line a review and door. Set `UPDATE_TABLES=1` to write it
//! anew, then read the difference.

mod support;

use prefect_guard::decision::Door;
use prefect_guard::policy::Policy;
use serde_json::Value;
use support::{ask, json_files, mutated, patch_of, root, rules_of, shared, with_objects};

/// What both doors say of one review: `mutate` on the review as recorded, `validate` on what mutate made of it.
fn line(name: &str, body: &[u8]) -> String {
    let policy = Policy::default();
    let response = ask(Door::Mutate, body, &policy);
    let operations: Vec<String> = patch_of(&response)
        .0
        .iter()
        .map(|operation| serde_json::to_value(operation).expect("JSON"))
        .map(|operation| short(&operation))
        .collect();
    let review: Value = serde_json::from_slice(body).expect("JSON");
    let after = match review["request"]["object"].is_null() {
        true => body.to_vec(),
        false => with_objects(body, &mutated(body, &policy), None),
    };
    let verdict = ask(Door::Validate, &after, &policy);
    let allowed = if verdict["allowed"] == true { "allow" } else { "deny" };
    let or_dash = |list: Vec<String>| if list.is_empty() { "-".to_owned() } else { list.join(", ") };
    format!("{name:<86} | {:<44} | {allowed:<5} | {}", or_dash(operations), or_dash(rules_of(&verdict)))
}

fn short(operation: &Value) -> String {
    let path = operation["path"].as_str().expect("a path").trim_start_matches("/spec/template/spec");
    format!("{} {path}", operation["op"].as_str().expect("an op"))
}

fn compare(table: &str, reviews: &[(String, Vec<u8>)]) {
    let path = root().join("tests/fixtures").join(table);
    let head = format!("{:<86} | {:<44} | {:<5} | rules (! denies)\n", "review", "mutate", "then");
    let lines: String = reviews.iter().map(|(name, body)| line(name, body) + "\n").collect();
    if std::env::var_os("UPDATE_TABLES").is_some() {
        std::fs::write(&path, head.clone() + &lines).expect("a writable table");
    }
    let expected = std::fs::read_to_string(&path).expect("the table is checked in");
    for (ours, wanted) in (head + &lines).lines().zip(expected.lines()) {
        assert_eq!(ours, wanted);
    }
    assert_eq!(expected.lines().count(), reviews.len() + 1, "{table} has a line for each review");
}

#[test]
fn answers_the_recorded_reviews_as_the_table_says() {
    compare("reviews.table", &json_files(&root().join("tests/fixtures/reviews")));
}

#[test]
#[ignore = "needs the recorded chart reviews in ../shared; `tests/run` runs it where they are"]
fn answers_the_chart_reviews_as_the_table_says() {
    let folder = shared("reviews").expect("the recorded chart reviews beside the repository");
    let chart: Vec<_> =
        json_files(&folder).into_iter().filter(|(name, _)| name.starts_with("chart-")).collect();
    compare("chart-reviews.table", &chart);
}
