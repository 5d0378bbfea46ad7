//! How the migration is called, for each way in which a server may be: the same program in the same surroundings.

use crate::support::generate::review;
use crate::support::mutated;
use prefect_guard::policy::Policy;
use serde_json::{Value, json};

/// The command line of the migration for a server with this one, `LOCK` in place of the script that takes the lock.
fn migration_of(image: &str, argv: &str) -> String {
    let env = json!([{"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}]);
    migration_with(image, argv, &env)
}

fn migration_with(image: &str, argv: &str, env: &Value) -> String {
    let argv: Vec<&str> = argv.split(' ').collect();
    let server = json!({"name": "server", "image": image, "command": argv, "env": env});
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "prefect", "namespace": "data"},
        "spec": {"selector": {"matchLabels": {"app": "p"}}, "template": {
            "metadata": {"labels": {"app": "p"}}, "spec": {"containers": [server]}}}});
    let after = mutated(&review(&object, None), &Policy::default());
    let ours = &after["spec"]["template"]["spec"]["initContainers"][0];
    let words =
        |key: &str| ours[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let words: Vec<String> = words("command").chain(words("args")).collect();
    words
        .join(" ")
        .replace(prefect_guard::migration::script::SCRIPT, "LOCK")
        .replace("-c LOCK --on-newer-schema=fail", "LOCK")
        .replace("-c LOCK --on-newer-schema=continue", "LOCK")
}

#[test]
fn it_runs_in_the_surroundings_of_the_server() {
    let official = "prefecthq/prefect:3.8.8-python3.12";
    let private = "registry.example/data/orchestrator:1";
    let cases = [
        (official, "prefect server start", "python LOCK prefect server database upgrade -y"),
        (official, "env A=b prefect server start", "env A=b python LOCK prefect server database upgrade -y"),
        // A module is not put behind another module.
        (official, "coverage run -m prefect server start", "python LOCK prefect server database upgrade -y"),
        (
            private,
            "/v/bin/coverage run -m prefect server start",
            "/v/bin/python LOCK /v/bin/prefect server database upgrade -y",
        ),
        (official, "memray run -m prefect server start", "python LOCK prefect server database upgrade -y"),
        (private, "uv run -m prefect server start", "uv run python LOCK prefect server database upgrade -y"),
        (
            private,
            "uv run --module prefect --profile x server start",
            "uv run python LOCK prefect --profile x server database upgrade -y",
        ),
        (
            private,
            "python -m debugpy --listen 5678 -m prefect server start",
            "python LOCK python -m prefect server database upgrade -y",
        ),
        // The wrapper stays, and it is no ASGI server.
        (
            private,
            "/vault/vault-env uvicorn --factory prefect.server.api.server:create_app",
            "/vault/vault-env prefect server database upgrade -y",
        ),
        (
            private,
            "/wait-for-it.sh db:1 -- uvicorn --factory prefect.server.api.server:create_app",
            "/wait-for-it.sh db:1 -- prefect server database upgrade -y",
        ),
        (
            private,
            "opentelemetry-instrument uvicorn --factory prefect.server.api.server:create_app",
            "opentelemetry-instrument prefect server database upgrade -y",
        ),
        (
            private,
            "/v/bin/uvicorn --factory prefect.server.api.server:create_app",
            "/v/bin/python LOCK /v/bin/prefect server database upgrade -y",
        ),
        // What a tool fetches has no Python beside it that could be named.
        (official, "uvx prefect@3.8.8 server start", "uvx prefect@3.8.8 server database upgrade -y"),
        (official, "uv tool run prefect server start", "uv tool run prefect server database upgrade -y"),
        (official, "hatch run dev:prefect server start", "hatch run dev:prefect server database upgrade -y"),
        // An option that stands behind `server` goes with the program.
        (
            official,
            "prefect server --profile x start",
            "python LOCK prefect --profile x server database upgrade -y",
        ),
        (official, "prefect -p x server start", "python LOCK prefect -p x server database upgrade -y"),
        (
            official,
            "runuser -u prefect -- prefect server start",
            "runuser -u prefect -- python LOCK prefect server database upgrade -y",
        ),
        (
            official,
            "start-stop-daemon --exec /usr/bin/prefect -- server start",
            "/usr/bin/python LOCK /usr/bin/prefect server database upgrade -y",
        ),
    ];
    let mut wrong = Vec::new();
    for (image, argv, wanted) in cases {
        let found = migration_of(image, argv);
        if found != wanted {
            wrong.push(format!("{argv}\n  found  {found}\n  wanted {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrapper_that_sets_the_url_sets_it_for_the_migration() {
    let official = "prefecthq/prefect:3.8.8-python3.12";
    for wrapper in ["op run --", "env PREFECT_SERVER_DATABASE_CONNECTION_URL=postgresql+asyncpg://db/prefect"]
    {
        let found = migration_with(official, &format!("{wrapper} prefect server start"), &json!([]));
        assert_eq!(found, format!("{wrapper} python LOCK prefect server database upgrade -y"));
    }
}
