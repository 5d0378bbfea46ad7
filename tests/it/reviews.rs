//! Every recorded review, answered by the engine as a checked-in table says.
//!
//! `tests/fixtures/reviews.table` is made to be read: one line a review and endpoint. Set `UPDATE_TABLES=1` to write it
//! anew, then read the difference. `tests/it/conformance.rs` holds the server to the same tables.

use crate::support::table::compare;
use crate::support::{ask, json_files, root, shared};
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use serde_json::Value;

fn engine(endpoint: Endpoint, body: &[u8]) -> Value {
    ask(endpoint, body, &Policy::default())
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
