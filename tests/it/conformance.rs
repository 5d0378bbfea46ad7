//! The real server on recorded reviews: each file goes byte for byte over HTTPS into the binary, to both endpoints, and
//! what comes back is what the engine answers and what the tables of `tests/it/reviews.rs` say.

use std::cell::RefCell;

use crate::serving::client::{Reply, Stream, post};
use crate::serving::process::Process;
use crate::support::table::compare;
use crate::support::{json_files, read, root, shared};
use prefect_guard::answer::answer;
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use serde_json::Value;

const DOORS: [(Endpoint, &str); 2] =
    [(Endpoint::Mutate, "/mutate?timeout=10s"), (Endpoint::Validate, "/validate?timeout=10s")];

/// Asks over one connection, as the API server does.
fn send(stream: &mut Stream, endpoint: Endpoint, body: &[u8]) -> Reply {
    let (_, path) = DOORS.into_iter().find(|(known, _)| *known == endpoint).expect("a endpoint");
    post(stream, path, body).expect("an answer")
}

/// Sends every review, checks the answers and compares them with a table.
fn conform(table: &str, reviews: &[(String, Vec<u8>)]) {
    assert!(reviews.len() > 15, "the reviews are there: {}", reviews.len());
    let server = Process::start(&[]);
    let stream = RefCell::new(server.client().connect());
    for (name, body) in reviews {
        for (endpoint, path) in DOORS {
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
    conform("reviews.table", &json_files(&root().join("tests/fixtures/reviews")));
}

#[test]
#[ignore = "needs the recorded reviews in ../shared; `tests/run` runs it where they are"]
fn the_server_answers_every_review_recorded_beside_the_repository() {
    let folder = shared("reviews").expect("the recorded reviews beside the repository");
    let (chart, others): (Vec<_>, Vec<_>) =
        json_files(&folder).into_iter().partition(|(name, _)| name.starts_with("chart-"));
    conform("chart-reviews.table", &chart);
    conform("reviews.table", &others);
}
