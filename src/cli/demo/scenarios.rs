//! The demo's story: recorded reviews, and the same with one thing made wrong.

use serde_json::{Value, json};

/// Recorded from a real Kubernetes 1.36 API server.
const CREATE: &str = include_str!("../../../tests/fixtures/reviews/create.json");
const WORKER: &str = include_str!("../../../tests/fixtures/reviews/create-worker.json");
const RESET: &str = include_str!("../../../tests/fixtures/reviews/create-cronjob-reset.json");

/// The variable of the recorded server.
const URL: &str = "PREFECT_API_DATABASE_CONNECTION_URL";

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

/// One review, what led to it, and how it should come out.
pub(super) struct Scenario {
    pub(super) title: &'static str,
    /// What happens in the cluster without the guard, or what to look at.
    pub(super) story: &'static str,
    /// The file that is applied, as `kubectl` names it.
    pub(super) file: &'static str,
    pub(super) review: Value,
    pub(super) expected: Expected,
}

/// The database setting of the recorded server, which takes it from a Secret.
const SETTING: &str = "/request/object/spec/template/spec/containers/0/env/0";

/// The story: one server, three mistakes, the corrected one; then two neighbours.
pub(super) fn all() -> Vec<Scenario> {
    let server =
        |title, story, review, expected| Scenario { title, story, file: "server.yaml", review, expected };
    vec![
        server(
            "First try: the driver is not async",
            "Prefect would stop at its start, with a traceback about psycopg2.",
            with_setting(URL, "postgresql+psycopg2://prefect:hunter2@db:5432/prefect"),
            Expected::Refused("PSG103"),
        ),
        server(
            "Second try: the driver is right, and an option of another driver stands in the URL",
            "Every connection would fail: asyncpg knows no `sslmode`.",
            with_setting(URL, "postgresql+asyncpg://prefect:hunter2@db:5432/prefect?sslmode=require"),
            Expected::Refused("PSG106"),
        ),
        server(
            "Third try: the URL is right, and the variable is misspelt",
            "The worst of the three: Prefect would start, be green, and keep its data in a SQLite \
             file in the container, which is lost at the next restart.",
            with_setting(
                "PREFECT_API_DATABASE_CONECTION_URL",
                "postgresql+asyncpg://prefect:hunter2@db:5432/prefect",
            ),
            Expected::Refused("PSG101"),
        ),
        server(
            "The corrected server: the URL comes from a Secret",
            "It is admitted, with one initContainer more, which migrates the database before the \
             server starts. It has the server's own image, environment and mounts.",
            read(CREATE),
            Expected::Injected,
        ),
        Scenario {
            title: "Next to it, a CronJob that resets the database every night",
            story: "All flows, runs and deployments would be gone by morning.",
            file: "reset.yaml",
            review: read(RESET),
            expected: Expected::Refused("PSG203"),
        },
        Scenario {
            title: "And a Prefect worker",
            story: "It is not a server, so it passes unchanged, like everything else in the cluster.",
            file: "worker.yaml",
            review: read(WORKER),
            expected: Expected::Untouched,
        },
    ]
}

/// Reviews for `curl`: a name, the endpoint, the review.
pub(super) fn to_try() -> [(&'static str, &'static str, Value); 2] {
    let sync = with_setting(URL, "postgresql+psycopg2://prefect:hunter2@db:5432/prefect");
    [("server", "/mutate", read(CREATE)), ("sync-driver", "/validate", sync)]
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("the recorded reviews are JSON")
}

fn with_setting(name: &str, url: &str) -> Value {
    let mut review = read(CREATE);
    let setting = review.pointer_mut(SETTING).expect("the recorded server has a database setting");
    *setting = json!({"name": name, "value": url});
    review
}
