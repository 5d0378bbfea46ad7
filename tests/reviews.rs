//! Every recorded review, answered by the engine as a checked-in table says.
//!
//! `tests/fixtures/reviews.table` is made to be read: one line a review and door. Set `UPDATE_TABLES=1` to write it
//! anew, then read the difference. `tests/conformance.rs` holds the server to the same tables.

mod support;

use prefect_guard::decision::Door;
use prefect_guard::policy::Policy;
use serde_json::Value;
use support::table::compare;
use support::{ask, json_files, root, shared};

fn engine(door: Door, body: &[u8]) -> Value {
    ask(door, body, &Policy::default())
}

#[test]
fn answers_the_recorded_reviews_as_the_table_says() {
    compare("reviews.table", &json_files(&root().join("tests/fixtures/reviews")), &engine);
}

#[test]
#[ignore = "needs the recorded chart reviews in ../shared; `tests/run` runs it where they are"]
fn answers_the_chart_reviews_as_the_table_says() {
    let folder = shared("reviews").expect("the recorded chart reviews beside the repository");
    let chart: Vec<_> =
        json_files(&folder).into_iter().filter(|(name, _)| name.starts_with("chart-")).collect();
    compare("chart-reviews.table", &chart, &engine);
}
