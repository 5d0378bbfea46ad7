//! Every recorded review, answered by the engine as a checked-in table says.
//!
//! `tests/fixtures/reviews.table` is made to be read: one line a review and endpoint. Set `UPDATE_TABLES=1` to write it
//! anew, then read the difference. `tests/it/conformance.rs` holds the server to the same tables.

use crate::support::table::compare;
use crate::support::{ask, recorded_reviews};
use prefect_guard::answer::respond::respond;
use prefect_guard::decision::{Endpoint, decide, decide_around};
use prefect_guard::policy::Policy;
use prefect_guard::review;
use serde_json::{Value, json};

fn engine(endpoint: Endpoint, body: &[u8]) -> Value {
    ask(endpoint, body, &Policy::default())
}

#[test]
fn answers_the_recorded_reviews_as_the_table_says() {
    let (chart, others) = recorded_reviews();
    compare("reviews.table", &others, &engine);
    compare("chart-reviews.table", &chart, &engine);
}

/// What a review comes to when it is read with its objects in one pass, and when they are read after it. `None` where one
/// pass is not enough.
fn both_ways(endpoint: Endpoint, body: &[u8]) -> Option<[String; 2]> {
    let policy = Policy::default();
    let around = review::decode_around(body)?;
    let decided = decide_around(endpoint, &around, &policy)?;
    let request = review::decode(body).expect("what was read in one pass is a review");
    assert_eq!((&around.uid, &around.name, around.dry_run), (&request.uid, &request.name, request.dry_run));
    Some([decided, decide(endpoint, &request, &policy)].map(|decided| match decided {
        Ok(decision) => {
            let answer = respond(endpoint, &request.uid, &decision);
            format!("{decision:?}\n{}", String::from_utf8(answer).expect("JSON is text"))
        }
        Err(error) => error.to_string(),
    }))
}

#[test]
fn one_pass_comes_to_the_same_as_two() {
    let (chart, others) = recorded_reviews();
    let mut seen = 0;
    for (name, body) in chart.iter().chain(&others) {
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            if let Some([one, two]) = both_ways(endpoint, body) {
                assert_eq!(one, two, "{name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "{seen} reviews");
}

/// The same of objects that are not shaped as they should be.
#[test]
fn one_pass_comes_to_the_same_as_two_whatever_stands_there() {
    let (_, others) = recorded_reviews();
    let (_, body) = others.iter().find(|(name, _)| name == "update-image").expect("an update");
    let review: Value = serde_json::from_slice(body).expect("JSON");
    let fields = [
        "",
        "/metadata",
        "/metadata/annotations",
        "/metadata/ownerReferences",
        "/spec",
        "/spec/replicas",
        "/spec/strategy",
        "/spec/template",
        "/spec/template/metadata",
        "/spec/template/spec",
        "/spec/template/spec/containers",
        "/spec/template/spec/containers/0",
        "/spec/template/spec/containers/0/env",
        "/spec/template/spec/containers/0/ports",
        "/spec/template/spec/containers/0/livenessProbe",
        "/spec/template/spec/initContainers",
        "/spec/template/spec/volumes",
    ];
    let mut seen = 0;
    for (object, field) in
        ["/request/object", "/request/oldObject"].into_iter().flat_map(|o| fields.map(|f| (o, f)))
    {
        for odd in [json!(null), json!([]), json!([[]]), json!({}), json!("x"), json!(1), json!(true)] {
            let mut review = review.clone();
            let (parent, key) = format!("{object}{field}")
                .rsplit_once('/')
                .map(|(p, k)| (p.to_owned(), k.to_owned()))
                .unwrap();
            match review.pointer_mut(&parent).expect("what is around it") {
                Value::Array(items) => items[0] = odd.clone(),
                around => around[&key] = odd.clone(),
            }
            let body = review.to_string();
            for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
                if let Some([one, two]) = both_ways(endpoint, body.as_bytes()) {
                    assert_eq!(one, two, "{odd} at {object}{field}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 200, "{seen} reviews");
}
