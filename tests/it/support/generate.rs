//! Plausible and odd workloads for the property tests: what people, charts, other webhooks and our own earlier
//! answers leave in a pod template.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

/// The password that must never come out again.
pub const CANARY: &str = "hunter2-canary";

/// The reserved name of the injected container.
pub const OURS: &str = "prefect-guard-migrate";

const IMAGES: [&str; 10] = [
    "registry-of-a-company-with-a-rather-long-name.eu-central-1.example.org:5000/platform/data/orchestration/prefecthq/prefect:1.0.0-with-a-long-suffix-built-by-the-pipeline-of-the-platform-team-2026-11-23-12345",
    "registry-of-a-company-with-a-rather-long-name.eu-central-1.example.org:5000/platform/data/orchestration/prefecthq/prefect:latest-with-a-long-suffix-built-by-the-pipeline-of-the-platform-team-2026-11-23-12345",
    "prefecthq/prefect:3.8.8-python3.12",
    "prefecthq/prefect:3.4.0",
    "mirror.corp:5000/hub/prefecthq/prefect@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "prefecthq/prefect",
    "ghcr.io/acme/orchestrator:2026.11",
    "nginx:1.29",
    "https://robot:hunter2-canary@registry.corp/prefect:3",
    "",
];

const SERVERS: [&[&str]; 17] = [
    &["prefect", "server", "start", "--host", "0.0.0.0"],
    &["/app/.venv/bin/prefect", "--profile", "prod", "server", "start"],
    &["/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh", "prefect", "server", "start"],
    &["uv", "run", "--frozen", "prefect", "server", "start"],
    &["python", "-u", "-m", "prefect", "server", "start"],
    &["python3", "/usr/local/bin/prefect", "server", "start"],
    &["env", "TOKEN=hunter2-canary", "prefect", "server", "start"],
    &["sh", "-c", "exec prefect server start --password hunter2-canary"],
    &["sh", "-c", "export X=hunter2-canary; prefect server database upgrade -y && prefect server start"],
    &[
        "sh",
        "-c",
        "export PREFECT_API_DATABASE_CONNECTION_URL=postgresql://u:hunter2-canary@h/d; prefect server start",
    ],
    &["uvicorn", "--factory", "prefect.server.api.server:create_app"],
    &["python", "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"],
    &["prefect", "server", "services", "start"],
    &["prefect", "orion", "start"],
    &["$(RUNNER)", "server", "start"],
    &["wait-for-it", "u:hunter2-canary@db:5432", "--", "prefect", "server", "start"],
    &["/start.sh", "prefect", "server", "start"],
];

const OTHERS: [&[&str]; 12] = [
    &["prefect", "worker", "start", "--pool", "hunter2-canary"],
    &["prefect", "server", "database", "upgrade", "-y"],
    &["sh", "-c", "until nc -z db 5432; do sleep 1; done; prefect server database upgrade -y"],
    &["prefect", "server", "database", "upgrade", "--dry-run"],
    &["prefect", "server", "database", "reset", "-y"],
    &["sh", "-c", "PGPASSWORD=hunter2-canary prefect server database downgrade -y"],
    &["sh", "-c", "prefect 'hunter2-canary"],
    &["sh", "-c", "for i in 1 2; do echo \"$(prefect version)\"; done"],
    &["nginx", "-g", "daemon off;"],
    &["python", "-c", "print('hunter2-canary')"],
    &["/app/run.sh", "hunter2-canary"],
    &[],
];

const VALUES: [&str; 22] = [
    "postgresql+asyncpg://u:hunter2-canary@db:5432/prefect",
    "postgresql://u:hunter2-canary@db/prefect",
    "postgresql+psycopg2://u:hunter2-canary@db/prefect?sslmode=require",
    "postgresql+asyncpg://u:hunter2-canary@1@db:5432/prefect",
    "postgresql+asyncpg://u:p@db:hunter2-canary/prefect",
    "postgresql+asyncpg://u:p?hunter2-canary=1@db/prefect",
    "postgresql+asyncpg://u:p/hunter2-canary@db/prefect",
    "postgresql+asyncpg://u:hunter2-canary#x@db/prefect?application_name=x&options=-c",
    "postgresql+asyncpg://$(DB_USER):$(DB_PASSWORD)@$(DB_HOST):5432/$(NOWHERE)",
    "hunter2-canary://u:p@h/d",
    "mysql+hunter2-canary://u:p@h/d",
    " postgresql+asyncpg://u:hunter2-canary@db/prefect ",
    "\"postgresql+asyncpg://u:hunter2-canary@db/prefect\"",
    "postgresql+asyncpg://u:<hunter2-canary>@{{ host }}/${hunter2-canary}",
    "sqlite+aiosqlite:////data/hunter2-canary.db",
    "sqlite+aiosqlite:///:memory:",
    "vault:secret/data/hunter2-canary",
    "hunter2-canary",
    "prefect",
    "",
    "5432",
    "véry`hunter2-canary`\n\u{202e}",
];

const NAMES: [&str; 18] = [
    "PREFECT_API_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "prefect_server_database_connection_url",
    "PREFECT_DATABASE_CONNECTION_URL",
    "PREFECT_ORION_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_DATABASE_DRIVER",
    "PREFECT_SERVER_DATABASE_HOST",
    "PREFECT_SERVER_DATABASE_PORT",
    "PREFECT_API_DATABASE_PASSWORD",
    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START",
    "PREFECT_HOME",
    "PREFECT_PROFILE",
    "DATABASE_URL",
    "DB_USER",
    "DB_PASSWORD",
    "DB_HOST",
    "RUNNER",
    "HOME",
];

fn strings(list: &[&str]) -> Value {
    list.iter().map(|text| json!(text)).collect()
}

/// One entry of `env`.
pub fn variable() -> impl Strategy<Value = Value> {
    let source = select(vec![
        json!({"secretKeyRef": {"name": "db", "key": "url"}}),
        json!({"secretKeyRef": {"name": "db2", "key": "url", "optional": true}}),
        json!({"configMapKeyRef": {"name": "c", "key": "k"}}),
        json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}),
        json!({"fileKeyRef": {"path": "x", "key": "hunter2-canary", "volumeName": "v"}}),
    ]);
    (select(&NAMES[..]), 0..8u8, select(&VALUES[..]), source).prop_map(|(name, form, value, source)| {
        match form {
            0 => json!({"name": name}),
            1 => json!({"name": name, "value": null}),
            2 | 3 => json!({"name": name, "valueFrom": source}),
            _ => json!({"name": name, "value": value}),
        }
    })
}

/// A container without a name; `argvs` are the command lines it may have.
fn container(argvs: &'static [&'static [&'static str]]) -> impl Strategy<Value = Value> {
    let resources = select(vec![
        json!({}),
        json!({"limits": {"memory": "128Mi"}}),
        json!({"limits": {"memory": "1Gi", "cpu": 1}, "claims": [{"name": "hunter2-canary"}]}),
    ]);
    let mounts = vec(select(vec!["data", "tmp", "gone"]), 0..3).prop_map(|names| {
        names
            .into_iter()
            .map(|name| json!({"name": name, "mountPath": format!("/{name}")}))
            .collect::<Value>()
    });
    let extras = (0..64u8, option::of(resources), mounts);
    (select(argvs), any::<Index>(), select(&IMAGES[..]), vec(variable(), 0..6), extras).prop_map(
        |(argv, split, image, env, (bits, resources, mounts))| {
            let split = split.index(argv.len() + 1);
            let mut container = Map::new();
            container.insert("image".to_owned(), json!(image));
            if split > 0 {
                container.insert("command".to_owned(), strings(&argv[..split]));
            }
            if split < argv.len() {
                container.insert("args".to_owned(), strings(&argv[split..]));
            }
            container.insert("env".to_owned(), if bits & 1 == 0 { env.into() } else { Value::Null });
            if bits & 2 == 0 {
                container.insert("imagePullPolicy".to_owned(), json!("IfNotPresent"));
            }
            if bits & 4 == 0 {
                container.insert(
                    "envFrom".to_owned(),
                    json!([{"prefix": "PREFECT_", "configMapRef": {"name": "hunter2-canary"}}, {"secretRef": {"name": "s"}}]),
                );
            }
            if bits & 8 == 0 {
                container.insert("x-future".to_owned(), json!({"deep": [null, 1.5, {"a~b/c": "hunter2-canary"}]}));
                container.insert("securityContext".to_owned(), json!({"runAsUser": 1001, "x": null}));
            }
            if bits & 16 == 0 {
                container.insert("volumeMounts".to_owned(), mounts);
                container.insert("workingDir".to_owned(), json!("/srv/hunter2-canary"));
            }
            if let Some(resources) = resources {
                container.insert("resources".to_owned(), resources);
            }
            Value::Object(container)
        },
    )
}

/// Our own container as somebody else could have left it.
fn stale_ours() -> impl Strategy<Value = Value> {
    let restart = select(vec![Value::Null, Value::Null, json!("Always")]);
    (container(&OTHERS), restart).prop_map(|(mut container, restart)| {
        container["name"] = json!(OURS);
        if !restart.is_null() {
            container["restartPolicy"] = restart;
        }
        container
    })
}

/// An initContainer of somebody else: a migration, a native sidecar that serves, anything.
fn init_container() -> impl Strategy<Value = Value> {
    (prop_oneof![3 => container(&OTHERS), 1 => container(&SERVERS)], any::<bool>()).prop_map(
        |(mut container, sidecar)| {
            if sidecar {
                container["restartPolicy"] = json!("Always");
            }
            container
        },
    )
}

fn annotations() -> impl Strategy<Value = Value> {
    let pairs = vec![
        ("prefect-guard.io/inject", "true"),
        ("prefect-guard.io/inject", "false"),
        ("prefect-guard.io/inject", "hunter2-canary"),
        ("prefect-guard.io/container", "c1"),
        ("prefect-guard.io/container", "nobody"),
        ("prefect-guard.io/allow", "sync-driver, PSG203,hunter2-canary"),
        ("prefect-guard.io/allow", "missing-migration"),
        ("prefect-guard.io/position", "first"),
        ("prefect-guard.io/position", "before:i1"),
        ("prefect-guard.io/position", "after:i0"),
        ("prefect-guard.io/position", "after:hunter2-canary"),
        ("prefect-guard.io/serialize", "never"),
        ("prefect-guard.io/serialize", "always"),
        ("prefect-guard.io/on-newer-schema", "fail"),
        ("prefect-guard.io/migration", "run"),
        ("prefect-guard.io/migration", "wait:migrate"),
        ("prefect-guard.io/injekt", "hunter2-canary"),
        ("vault.hashicorp.com/agent-inject", "true"),
        ("sidecar.istio.io/inject", "true"),
        ("example.org/note", "hunter2-canary"),
    ];
    vec(select(pairs), 0..3).prop_map(|pairs| {
        Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect())
    })
}

/// Gives containers names that are unique in the pod, as the API server demands.
fn named(prefix: &str, list: Vec<Value>) -> Vec<Value> {
    let with_name = |(index, mut container): (usize, Value)| {
        if container["name"].is_null() {
            container["name"] = json!(match index {
                3 => format!("{prefix}-{}", "long-".repeat(12)),
                _ => format!("{prefix}{index}"),
            });
        }
        container
    };
    list.into_iter().enumerate().map(with_name).collect()
}

/// A pod template.
pub fn template() -> impl Strategy<Value = Value> {
    let containers = vec(prop_oneof![3 => container(&SERVERS), 2 => container(&OTHERS)], 0..4);
    let inits = option::weighted(0.7, vec(init_container(), 0..4));
    let ours = option::weighted(0.4, (stale_ours(), any::<Index>()));
    let volumes = select(vec![
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "hunter2-canary"}}]),
        json!([{"name": "data", "emptyDir": {}}, {"name": "tmp"}]),
        Value::Null,
    ]);
    (containers, inits, ours, annotations(), volumes, any::<bool>()).prop_map(
        |(containers, inits, ours, annotations, volumes, odd)| {
            let mut spec = Map::new();
            let absent = inits.is_none();
            let mut list = named("i", inits.unwrap_or_default());
            let with_ours = ours.is_some();
            if let Some((ours, at)) = ours {
                list.insert(at.index(list.len() + 1), ours);
            }
            if !absent || with_ours {
                spec.insert("initContainers".to_owned(), list.into());
            } else if odd {
                spec.insert("initContainers".to_owned(), Value::Null);
            }
            spec.insert("containers".to_owned(), named("c", containers).into());
            spec.insert("volumes".to_owned(), volumes);
            if odd {
                spec.insert("x~future/field".to_owned(), json!([{"k": null}]));
            }
            json!({"metadata": {"annotations": annotations, "labels": {"app": "prefect"}}, "spec": spec})
        },
    )
}

/// A kind, its group and version, and where its template is.
pub const KINDS: [(&str, &str, &str, &str); 5] = [
    ("apps", "v1", "Deployment", "/spec/template"),
    ("apps", "v1", "StatefulSet", "/spec/template"),
    ("batch", "v1", "Job", "/spec/template"),
    ("batch", "v1", "CronJob", "/spec/jobTemplate/spec/template"),
    ("argoproj.io", "v1alpha1", "Rollout", "/spec/template"),
];

/// Wraps a template into an object of the kind.
#[expect(clippy::needless_pass_by_value, reason = "every caller has just made it")]
pub fn object_of(kind: usize, template: Value) -> Value {
    let (group, version, kind, pointer) = KINDS[kind];
    let spec = match pointer {
        "/spec/template" => json!({"replicas": 2, "template": template, "x-future": true}),
        _ => json!({"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}}),
    };
    json!({
        "apiVersion": format!("{group}/{version}"), "kind": kind,
        "metadata": {"name": "prefect", "namespace": "data", "annotations": {"note": CANARY}},
        "spec": spec,
    })
}

/// A whole object; sometimes owned by a controller.
pub fn object() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![6 => Just(0usize), 2 => Just(1), 1 => 2..5usize];
    (kind, template(), 0..10u8).prop_map(|(kind, template, owner)| {
        let mut object = object_of(kind, template);
        if owner == 0 {
            object["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "p/v1", "kind": "PrefectServer", "name": "x", "uid": "u", "controller": true}]);
        }
        object
    })
}

/// The review of creating `object`, or of updating `old` to it.
pub fn review(object: &Value, old: Option<&Value>) -> Vec<u8> {
    let api_version = object["apiVersion"].as_str().expect("an apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": group, "version": version, "kind": object["kind"]},
            "resource": {"group": group, "version": version, "resource": "things"},
            "name": object["metadata"]["name"].as_str().unwrap_or_default(), "namespace": "data",
            "operation": if old.is_some() { "UPDATE" } else { "CREATE" },
            "userInfo": {"username": "dev"},
            "object": object, "oldObject": old, "dryRun": false, "options": null,
        },
    });
    serde_json::to_vec(&review).expect("JSON")
}

/// Policies of every mode, and of the settings that decide what is injected; each knows Rollouts.
pub fn policy() -> impl Strategy<Value = String> {
    let mode = select(vec!["enforce", "enforce", "enforce", "warn", "audit"]);
    let rules = select(vec![
        "{}",
        "{missing-migration: \"off\"}",
        "{stale-migration: warn, floating-image: deny}",
        "{migration-image-drift: \"off\", plaintext-database-password: deny}",
        "{destructive-database-command: warn}",
    ]);
    let rules = rules.prop_filter("a rule of this build", |text| {
        !text.contains("plaintext") || prefect_guard::rules::find("plaintext-database-password").is_some()
    });
    let exemptions = select(vec!["{}", "{allowed: false}", "{forbidden: [missing-migration]}"]);
    let migration = select(vec![
        "{}",
        "{inject: false}",
        "{adopted: deny}",
        "{adopted: warn, serialize: never}",
        "{serialize: always, onNewerSchema: fail}",
    ]);
    let annotation = select(vec![true, true, false]);
    (mode, rules, exemptions, migration, annotation).prop_map(
        |(mode, rules, exemptions, migration, annotation)| {
            format!(
                "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nmode: {mode}\nrules: {rules}\n\
             exemptions: {exemptions}\nmigration: {migration}\nreport: {{annotation: {annotation}}}\n\
             kinds: [{{group: argoproj.io, kind: Rollout}}]\n"
            )
        },
    )
}

/// The same value with the keys of every object in reverse order.
pub fn reordered(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.iter().rev().map(|(key, value)| (key.clone(), reordered(value))).collect())
        }
        Value::Array(list) => list.iter().map(reordered).collect(),
        other => other.clone(),
    }
}

/// Any JSON at all, a few levels deep.
pub fn any_json() -> impl Strategy<Value = Value> {
    let key = select(vec![
        "spec",
        "template",
        "metadata",
        "containers",
        "initContainers",
        "env",
        "name",
        "value",
        "valueFrom",
        "command",
        "args",
        "annotations",
        "image",
        "resources",
        "volumes",
        "replicas",
        "strategy",
        "ownerReferences",
        "request",
        "object",
        "oldObject",
        "kind",
        "uid",
        "operation",
        "apiVersion",
        "deletionTimestamp",
        "secretKeyRef",
        "é`\n",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|b| json!(b)),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        select(&VALUES[..]).prop_map(|s| json!(s)),
        ".{0,12}".prop_map(|s| json!(s)),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}
