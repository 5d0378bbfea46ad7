//! The real server on recorded reviews: each file goes byte for byte over HTTPS into the binary, to both endpoints, and
//! what comes back is what the engine answers and what the tables of `tests/it/reviews.rs` say.

use std::cell::RefCell;

use crate::serving::client::{Reply, Stream, post};
use crate::serving::process::Process;
use crate::support::table::compare;
use crate::support::{read, recorded_reviews};
use prefect_guard::answer::answer;
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use serde_json::Value;

const ENDPOINTS: [(Endpoint, &str); 2] =
    [(Endpoint::Mutate, "/mutate?timeout=10s"), (Endpoint::Validate, "/validate?timeout=10s")];

/// Asks over one connection, as the API server does.
fn send(stream: &mut Stream, endpoint: Endpoint, body: &[u8]) -> Reply {
    let (_, path) = ENDPOINTS.into_iter().find(|(known, _)| *known == endpoint).expect("an endpoint");
    post(stream, path, body).expect("an answer")
}

/// Sends every review, checks the answers and compares them with a table.
fn conform(table: &str, reviews: &[(String, Vec<u8>)]) {
    let server = Process::start(&[]);
    let stream = RefCell::new(server.client().connect());
    for (name, body) in reviews {
        for (endpoint, path) in ENDPOINTS {
            let reply = send(&mut stream.borrow_mut(), endpoint, body);
            assert_eq!(reply.status, 200, "{name} {path}: {}", reply.body);
            assert!(reply.has("content-type: application/json"), "{name} {path}: {}", reply.head);
            let engine = answer(endpoint, body, &Policy::default());
            assert_eq!(reply.body.as_bytes(), engine.body, "{name} {path}");
        }
    }
    compare(table, reviews, &|endpoint, body| -> Value {
        let reply = send(&mut stream.borrow_mut(), endpoint, body);
        assert_eq!(reply.status, 200, "{}", reply.body);
        read(endpoint, body, reply.body.as_bytes())
    });
    let decided = "prefect_guard_admission_duration_seconds_count";
    assert_eq!(server.metric(decided), (reviews.len() * 4) as f64, "every answer is counted");
    crate::serving::wait_until("every answer is logged", || {
        server.said("decision").len() == reviews.len() * 4
    });
}

#[test]
fn the_server_answers_every_recorded_review_as_the_table_says() {
    let (chart, others) = recorded_reviews();
    conform("reviews.table", &others);
    conform("chart-reviews.table", &chart);
}
