//! How the injected container calls the migration, for every way in which a server may be started.

mod surroundings;

use crate::support::generate::review;
use crate::support::{ask, patch_of};
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use serde_json::{Value, json};

const PRIVATE: &str = "registry.example.com/data/app:7.2.0";
const OFFICIAL: &str = "prefecthq/prefect:3.8.8-python3.12";

/// The command line of the injected container, the lock script left out; `None` where nothing is injected.
fn injected(image: &str, command: &[&str]) -> Option<Vec<String>> {
    let reference = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    let env = json!([{"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL", "valueFrom": reference}]);
    let container = container_of(&json!({"name": "s", "image": image, "command": command, "env": env}))?;
    let words = |field: &str| container[field].as_array().cloned().unwrap_or_default();
    let line = words("command").into_iter().chain(words("args"));
    let line: Vec<String> = line.filter_map(|word: Value| word.as_str().map(str::to_owned)).collect();
    Some(line.into_iter().filter(|word| !word.contains('\n')).collect())
}

/// The container that is injected before this one.
fn container_of(container: &Value) -> Option<Value> {
    let template = json!({"metadata": {}, "spec": {"containers": [container]}});
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "p"}, "spec": {"template": template},
    });
    let patch = patch_of(&ask(Endpoint::Mutate, &review(&object, None), &Policy::default()));
    let patch = serde_json::to_value(patch).expect("JSON");
    let of_ours =
        |operation: &&Value| operation["path"].as_str().is_some_and(|path| path.contains("/initContainers"));
    let container = patch.as_array()?.iter().find(of_ours)?["value"].clone();
    Some(if container.is_array() { container[0].clone() } else { container })
}

fn script(image: &str, script: &str) -> Option<String> {
    injected(image, &["sh", "-c", script]).map(|line| line.join(" "))
}

const LOCKED: &str = "-c --on-newer-schema=continue";

#[test]
fn a_script_that_names_the_program_is_followed() {
    let calls = [
        ("exec /opt/venv/bin/prefect server start", "/opt/venv/bin/python", "/opt/venv/bin/prefect"),
        ("cd /app && /opt/venv/bin/prefect server start", "/opt/venv/bin/python", "/opt/venv/bin/prefect"),
        ("/v/bin/python -m prefect server start", "/v/bin/python", "/v/bin/python -m prefect"),
    ];
    for (text, python, program) in calls {
        let wanted = format!("{python} {LOCKED} {program} server database upgrade -y");
        for image in [PRIVATE, OFFICIAL] {
            assert_eq!(script(image, text).as_deref(), Some(wanted.as_str()), "{text}");
        }
    }
}

#[test]
fn a_script_that_leaves_the_path_alone_is_followed() {
    let text = "sleep 1; exec prefect server start";
    assert_eq!(script(PRIVATE, text).as_deref(), Some("prefect server database upgrade -y"));
    let wanted = format!("python {LOCKED} prefect server database upgrade -y");
    assert_eq!(script(OFFICIAL, text).as_deref(), Some(wanted.as_str()));
}

#[test]
fn nothing_is_injected_where_only_the_script_finds_the_program() {
    for text in [
        "cd /app && ./.venv/bin/prefect server start",
        ". .venv/bin/activate && exec prefect server start",
        "uv run prefect server start",
        "poetry run prefect server start",
        "conda run -n prefect prefect server start",
        "export PATH=/opt/venv/bin:$PATH; prefect server start",
    ] {
        assert_eq!(script(PRIVATE, text), None, "{text}");
    }
}

#[test]
fn what_the_script_prepares_the_migration_prepares_too() {
    for before in [
        "export PREFECT_SERVER_DATABASE_PASSWORD=$(cat /run/secrets/pw); ",
        "export PGPASSWORD=$(cat /run/secrets/pw)\n",
        "export PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_CA_FILE=/ca.pem; ",
        "export PREFECT_PROFILE=prod && ",
        ". /vault/secrets/db && ",
        "pip install --no-cache-dir prefect-aws && ",
        "set -e; until nc -z db 5432; do sleep 2; done; uv pip install asyncpg; ",
        "apt-get update && apt-get install -y libpq5 && ",
    ] {
        let env = json!([{"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
        let script = format!("{before}exec prefect server start --host 0.0.0.0");
        let container = json!({"name": "s", "image": OFFICIAL, "command": ["tini", "--", "sh", "-ec"], "args": [script], "env": env});
        let injected = container_of(&container).unwrap_or_else(|| panic!("{before}"));
        assert_eq!(injected["command"], json!(["tini", "--", "sh", "-ec"]), "{before}");
        let args: Vec<&str> =
            injected["args"].as_array().expect("args").iter().filter_map(Value::as_str).collect();
        assert_eq!(args[0], format!("{before}exec \"$@\""));
        assert_eq!(args[1..4], ["sh", "python", "-c"], "{before}");
        assert!(args.ends_with(&["prefect", "server", "database", "upgrade", "-y"]), "{before}");
    }
}

#[test]
fn nothing_is_injected_where_only_the_script_can_prepare() {
    for text in [
        "PREFECT_API_DATABASE_HOST=db prefect server start",
        "export PGPASSWORD=$(cat /run/secrets/pw); prefect config set A=b; exec prefect server start",
        "export PGPASSWORD=$1; exec prefect server start",
        "{ export PGPASSWORD=x; prefect server start; }",
        "pip install prefect-aws && python seed.py && prefect server start",
        "pip install 'prefect>=3' && prefect server start",
        "cloud-sql-proxy --port 5432 p:r:i & sleep 5; exec prefect server start",
    ] {
        assert_eq!(script(OFFICIAL, text), None, "{text}");
    }
    for text in ["pip install -r requirements.txt; prefect server start", "uv sync && prefect server start"] {
        assert_eq!(script(PRIVATE, text), None, "{text}");
    }
}

#[test]
fn settings_that_a_migration_has_no_use_for_stay_in_the_script() {
    for text in [
        "export PREFECT_SERVER_DATABASE_MIGRATE_ON_START=false; exec prefect server start",
        "export PREFECT_LOGGING_LEVEL=DEBUG PREFECT_UI_ENABLED=false; exec prefect server start",
    ] {
        assert!(script(OFFICIAL, text).is_some(), "{text}");
    }
}

#[test]
fn a_restarter_does_not_run_the_migration() {
    for restarter in [
        &["watchmedo", "auto-restart", "--directory", "/app", "--"][..],
        &["watchexec", "-r", "--"],
        &["/usr/bin/nodemon", "--exec"],
        &["tini", "--", "watchmedo", "auto-restart", "--"],
    ] {
        let line: Vec<&str> = restarter.iter().copied().chain(["prefect", "server", "start"]).collect();
        let found = injected(PRIVATE, &line).unwrap_or_else(|| panic!("{line:?}"));
        assert_eq!(found.join(" "), "prefect server database upgrade -y", "{line:?}");
    }
    let kept = injected(PRIVATE, &["tini", "--", "prefect", "server", "start"]).expect("a migration");
    assert_eq!(kept.join(" "), "tini -- prefect server database upgrade -y");
}

/// Whether a migration is injected into a pod with this address, beside these containers and initContainers.
fn reaches(url: &str, others: &[Value], inits: &Value, spec: &Value) -> bool {
    let env = json!([{"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL", "value": url}]);
    let mounts = json!([{"name": "socket", "mountPath": "/run/pg"}]);
    let command = ["prefect", "server", "start"];
    let server =
        json!({"name": "s", "image": OFFICIAL, "command": command, "env": env, "volumeMounts": mounts});
    let containers: Vec<Value> = std::iter::once(server).chain(others.iter().cloned()).collect();
    let mut pod = json!({
        "containers": containers,
        "initContainers": inits,
        "volumes": [{"name": "socket", "emptyDir": {}}],
    });
    let fields = pod.as_object_mut().expect("a pod spec");
    fields.extend(spec.as_object().expect("an object").clone());
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "p"},
        "spec": {"template": {"metadata": {}, "spec": pod}},
    });
    let patch = patch_of(&ask(Endpoint::Mutate, &review(&object, None), &Policy::default()));
    serde_json::to_string(&patch).expect("JSON").contains("/spec/template/spec/initContainers")
}

#[test]
fn nothing_is_injected_that_would_wait_for_a_container_of_the_same_pod() {
    let beside = |image: &str| json!({"name": "other", "image": image});
    let local = ["127.0.0.1", "localhost", "[::1]", "127.1.2.3", "Localhost."];
    for image in
        ["postgres:16", "haproxy:3", "envoyproxy/envoy:v1.30", "dweomer/stunnel", "r.corp/anything:1"]
    {
        for host in local {
            let url = format!("postgresql+asyncpg://u@{host}/d");
            assert!(!reaches(&url, &[beside(image)], &json!([]), &json!({})), "{image} {host}");
        }
    }
    let socket = "postgresql+asyncpg://u@/d?host=/run/pg";
    let mounts = json!([{"name": "socket", "mountPath": "/var/run/postgresql"}]);
    let with_socket = json!({"name": "other", "image": "r.corp/anything:1", "volumeMounts": mounts});
    assert!(!reaches(socket, &[with_socket], &json!([]), &json!({})));
}

#[test]
fn a_database_that_an_init_container_can_reach_is_migrated() {
    let beside = |image: &str| json!({"name": "other", "image": image});
    let local = "postgresql+asyncpg://u@127.0.0.1/d";
    let (none, plain) = (json!([]), json!({}));
    let proxy = json!([{"name": "proxy", "image": "cloud-sql-proxy:2", "restartPolicy": "Always"}]);
    // The sidecar answers, not the exporter.
    assert!(reaches(local, &[beside("r.corp/exporter:1")], &proxy, &plain));
    assert!(!reaches(local, &[beside("postgres:16-alpine")], &proxy, &plain));
    // The node answers.
    assert!(reaches(local, &[beside("r.corp/exporter:1")], &none, &json!({"hostNetwork": true})));
    // A worker of the same image is no database.
    assert!(reaches(local, &[beside(OFFICIAL)], &none, &plain));
    assert!(reaches(local, &[], &none, &plain));
    assert!(reaches("postgresql+asyncpg://u@db/d", &[beside("postgres:16")], &none, &plain));
    // The socket is not the other container's.
    assert!(reaches("postgresql+asyncpg://u@/d?host=/run/pg", &[beside("postgres:16")], &none, &plain));
}
