//! The real server on recorded reviews: each file goes byte for byte over HTTPS into the binary, to both doors, and
//! what comes back is what the engine answers and what the tables of `tests/reviews.rs` say.

mod serving;
mod support;

use std::cell::RefCell;

use prefect_guard::admission::answer;
use prefect_guard::decision::Door;
use prefect_guard::policy::Policy;
use serde_json::Value;
use serving::client::{Reply, Stream, post};
use serving::process::Process;
use support::table::compare;
use support::{json_files, read, root, shared};

const DOORS: [(Door, &str); 2] =
    [(Door::Mutate, "/mutate?timeout=10s"), (Door::Validate, "/validate?timeout=10s")];

/// Asks over one connection, as the API server does.
fn send(stream: &mut Stream, door: Door, body: &[u8]) -> Reply {
    let (_, path) = DOORS.into_iter().find(|(known, _)| *known == door).expect("a door");
    post(stream, path, body).expect("an answer")
}

/// Sends every review, checks the answers and compares them with a table.
fn conform(table: &str, reviews: &[(String, Vec<u8>)]) {
    assert!(reviews.len() > 15, "the reviews are there: {}", reviews.len());
    let server = Process::start(&[]);
    let stream = RefCell::new(server.client().connect());
    for (name, body) in reviews {
        for (door, path) in DOORS {
            let reply = send(&mut stream.borrow_mut(), door, body);
            assert_eq!(reply.status, 200, "{name} {path}: {}", reply.body);
            assert!(reply.has("content-type: application/json"), "{name} {path}: {}", reply.head);
            let engine = answer(door, body, &Policy::default());
            assert_eq!(reply.body.as_bytes(), engine.body, "{name} {path}");
        }
    }
    compare(table, reviews, &|door, body| -> Value {
        let reply = send(&mut stream.borrow_mut(), door, body);
        assert_eq!(reply.status, 200, "{}", reply.body);
        read(door, body, reply.body.as_bytes())
    });
    let decided = "prefect_guard_admission_duration_seconds_count";
    assert_eq!(server.metric(decided), (reviews.len() * 4) as f64, "every answer is counted");
    serving::wait_until("every answer is logged", || server.said("decision").len() == reviews.len() * 4);
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
