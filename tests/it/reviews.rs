//! Every recorded review, answered by the engine as a checked-in table says.
//!
//! `tests/fixtures/reviews.table` is made to be read: one line a review and endpoint. Set `UPDATE_TABLES=1` to write it
//! anew, then read the difference. `tests/it/conformance.rs` holds the server to the same tables.

use crate::support::table::compare;
use crate::support::{ask, recorded_reviews};
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use serde_json::Value;

fn engine(endpoint: Endpoint, body: &[u8]) -> Value {
    ask(endpoint, body, &Policy::default())
}

#[test]
fn answers_the_recorded_reviews_as_the_table_says() {
    let (chart, others) = recorded_reviews();
    compare("reviews.table", &others, &engine);
    compare("chart-reviews.table", &chart, &engine);
}
