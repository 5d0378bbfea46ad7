//! The demo's scenes: recorded reviews, and the same with one thing made wrong.

use serde_json::{Value, json};

/// Recorded from a real Kubernetes 1.36 API server.
const CREATE: &str = include_str!("../../../tests/fixtures/reviews/create.json");
const WORKER: &str = include_str!("../../../tests/fixtures/reviews/create-worker.json");
const RESET: &str = include_str!("../../../tests/fixtures/reviews/create-cronjob-reset.json");

/// How a scenario should come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Patched, then admitted.
    Injected,
    /// Admitted as it is.
    Untouched,
    /// Refused, for this rule.
    Refused(&'static str),
}

/// One review and how it should come out.
pub(super) struct Scenario {
    pub(super) title: &'static str,
    pub(super) review: Value,
    pub(super) expected: Expected,
}

/// The database setting of the recorded server, which takes it from a Secret.
const SETTING: &str = "/request/object/spec/template/spec/containers/0/env/0";

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            title: "A Prefect server that takes its database URL from a Secret",
            review: read(CREATE),
            expected: Expected::Injected,
        },
        Scenario {
            title: "The same with a synchronous driver: Prefect would not start",
            review: with_url("postgresql+psycopg2://prefect:hunter2@db:5432/prefect"),
            expected: Expected::Refused("PSG103"),
        },
        Scenario {
            title: "The same without any database URL: Prefect would use a SQLite file in the container",
            review: without_url(),
            expected: Expected::Refused("PSG101"),
        },
        Scenario {
            title: "A CronJob that resets the database every night",
            review: read(RESET),
            expected: Expected::Refused("PSG203"),
        },
        Scenario {
            title: "A Prefect worker: not a server, and none of our business",
            review: read(WORKER),
            expected: Expected::Untouched,
        },
    ]
}

/// Reviews for `curl`: a name, the endpoint, the review.
pub(super) fn to_try() -> Vec<(&'static str, &'static str, Scenario)> {
    let mut all = all().into_iter();
    let (good, sync) = (all.next().expect("five scenarios"), all.next().expect("five scenarios"));
    vec![("server", "/mutate", good), ("sync-driver", "/validate", sync)]
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("the recorded reviews are JSON")
}

fn with_url(url: &str) -> Value {
    let mut review = read(CREATE);
    let setting = review.pointer_mut(SETTING).expect("the recorded server has a database setting");
    *setting = json!({"name": "PREFECT_API_DATABASE_CONNECTION_URL", "value": url});
    review
}

fn without_url() -> Value {
    let mut review = read(CREATE);
    let list = SETTING.rsplit_once('/').expect("a pointer").0;
    let env = review.pointer_mut(list).and_then(Value::as_array_mut);
    env.expect("the recorded server has an environment").remove(0);
    review
}
