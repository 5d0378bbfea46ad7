//! The CEL filter: the very text of the rendered chart, evaluated over reviews of a real API server and over manifests.

use std::collections::BTreeMap;

use cel::{Context, Program, Value as Cel};
use serde_json::{Value, json};

use crate::chart::helm::{self, render, webhooks};
use crate::chart::{read, repository};

/// A webhook's conditions, compiled.
pub(crate) struct Filter(Vec<(String, Program)>);

/// What the API server does with an object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Sent,
    /// Spared by the first condition that is false.
    Spared(String),
}

impl Filter {
    /// The filter of one webhook in a rendering.
    fn of(name: &str, arguments: &[&str]) -> Self {
        let objects = render(arguments);
        let webhook =
            *webhooks(&objects).iter().find(|webhook| webhook["name"] == name).expect("the webhook");
        let conditions = webhook["matchConditions"].as_array().expect("conditions").iter().map(|condition| {
            let text = condition["expression"].as_str().expect("an expression");
            let program = Program::compile(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            (condition["name"].as_str().expect("a name").to_owned(), program)
        });
        Filter(conditions.collect())
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Evaluates every condition, as the API server does; an error in any is a fault.
    pub(crate) fn evaluate(&self, request: &Value) -> Result<Outcome, String> {
        let mut context = Context::default();
        for (variable, field) in [("object", "object"), ("oldObject", "oldObject")] {
            let value = request.get(field).cloned().unwrap_or(Value::Null);
            context.add_variable(variable, value).map_err(|error| error.to_string())?;
        }
        context.add_variable("request", request.clone()).map_err(|error| error.to_string())?;
        let mut outcome = Outcome::Sent;
        for (name, program) in &self.0 {
            match program.execute(&context) {
                Ok(Cel::Bool(true)) => {}
                Ok(Cel::Bool(false)) if outcome == Outcome::Sent => outcome = Outcome::Spared(name.clone()),
                Ok(Cel::Bool(false)) => {}
                other => return Err(format!("{name}: {other:?}")),
            }
        }
        Ok(outcome)
    }
}

pub(crate) fn servers() -> Filter {
    Filter::of("validate.prefect-guard.io", &[])
}

pub(crate) fn jobs() -> Filter {
    Filter::of("jobs.prefect-guard.io", &[])
}

pub(crate) fn custom() -> Filter {
    Filter::of("validate-fleets.example.com.prefect-guard.io", &["--set-json", helm::KINDS])
}

/// The review that creates this object, as the API server lays it out.
pub(crate) fn create(object: &Value) -> Value {
    json!({
        "operation": "CREATE", "namespace": "data", "name": object["metadata"]["name"],
        "resource": {"group": "apps", "version": "v1", "resource": format!("{}s", object["kind"].as_str().unwrap_or("X").to_lowercase())},
        "object": object,
    })
}

/// Whether creating this Deployment would reach the guard.
pub(crate) fn reaches_us(object: &Value) -> bool {
    servers().evaluate(&create(object)) == Ok(Outcome::Sent)
}

pub(crate) fn deployment(pod: &Value) -> Value {
    json!({"kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": {"spec": pod}}})
}

fn container(fields: &Value) -> Value {
    deployment(&json!({"containers": [fields]}))
}

/// Whether the library calls one of the containers a server, or would have something to say of the object.
const SENT: &str = "";

/// Every recorded review that one of our rules selects, with the condition that spares it.
const REVIEWS: &[(&str, &str)] = &[
    ("create", SENT),
    ("create-cronjob-reset", SENT),
    ("create-dry-run", SENT),
    ("create-generate-name-sh-wrapper", SENT),
    ("create-job-presync", SENT),
    ("create-statefulset-server-side-apply", SENT),
    ("create-worker", "may-run-a-server"),
    ("delete", "has-pod-template"),
    ("update-annotation-only", "template-changed"),
    ("update-image", SENT),
    ("update-rollout-restart", SENT),
    ("update-statefulset-server-side-apply-dry-run", "template-changed"),
    ("update-terminating-finalizer-removal", "not-terminating"),
];

/// Reviews whose resource or subresource no rule of ours names: they never come as far as the filter.
const NOT_SELECTED: &[&str] = &[
    "create-pod-direct",
    "create-pod-owned",
    "create-replicaset-owned",
    "update-scale-subresource",
    "update-status-subresource",
];

fn request(path: &str) -> Value {
    let review: Value = serde_json::from_str(&read(path)).expect("JSON");
    review["request"].clone()
}

/// The filter of the webhook whose rules select this request.
fn filter_for<'f>(filters: &'f BTreeMap<&str, Filter>, request: &Value) -> Option<&'f Filter> {
    if request["subResource"].is_string() {
        return None;
    }
    match request["resource"]["resource"].as_str() {
        Some("deployments" | "statefulsets") => filters.get("servers"),
        Some("jobs" | "cronjobs") => filters.get("jobs"),
        _ => None,
    }
}

fn filters() -> BTreeMap<&'static str, Filter> {
    BTreeMap::from([("servers", servers()), ("jobs", jobs())])
}

#[test]
fn recorded_reviews_are_sent_or_spared_as_they_should_be() {
    let filters = filters();
    for (name, spared_by) in REVIEWS {
        let request = request(&format!("tests/fixtures/reviews/{name}.json"));
        let filter = filter_for(&filters, &request).expect("a webhook selects it");
        let expected = match *spared_by {
            SENT => Outcome::Sent,
            condition => Outcome::Spared(condition.to_owned()),
        };
        assert_eq!(filter.evaluate(&request), Ok(expected), "{name}");
    }
    for name in NOT_SELECTED {
        let request = request(&format!("tests/fixtures/reviews/{name}.json"));
        assert!(filter_for(&filters, &request).is_none(), "{name}");
    }
}

#[test]
fn every_recorded_review_is_in_a_table() {
    let tabled = REVIEWS.iter().map(|(name, _)| *name).chain(NOT_SELECTED.iter().copied());
    let mut tabled: Vec<String> = tabled.map(|name| format!("{name}.json")).collect();
    tabled.sort();
    // Those of the charts have a test of their own.
    let (_, others) = crate::support::recorded_reviews();
    let mut files: Vec<String> = others.into_iter().map(|(name, _)| name + ".json").collect();
    files.sort();
    assert_eq!(files, tabled);
}

#[test]
fn conditions_stand_in_the_order_of_the_design() {
    let common = ["not-terminating", "has-pod-template", "template-changed", "mentions-prefect"];
    let of = |first: &[&'static str], last: &'static str| [first, &common, &[last]].concat();
    assert_eq!(servers().names(), of(&["not-the-guard-itself"], "may-run-a-server"));
    assert_eq!(Filter::of("mutate.prefect-guard.io", &[]).names(), servers().names());
    assert_eq!(jobs().names(), of(&[], "mentions-database"));
    assert_eq!(custom().names(), of(&[], "may-run-a-server"));
}

/// The subset that this evaluator and the API server share.
#[test]
fn expressions_use_only_what_both_evaluators_know() {
    let objects = render(&["--set", "webhook.secrets.enabled=true", "--set-json", helm::KINDS]);
    for condition in
        webhooks(&objects).iter().flat_map(|webhook| webhook["matchConditions"].as_array().expect("list"))
    {
        let text = condition["expression"].as_str().expect("text");
        let program = Program::compile(text).expect("compiles");
        let references = program.references();
        // The parser turns macros (`has`, `exists`) and operators (`_&&_`, `@not_strictly_false`) into these.
        let functions: Vec<&str> =
            references.functions().into_iter().filter(|name| name.starts_with(char::is_alphabetic)).collect();
        assert!(
            functions.iter().all(|name| ["matches", "startsWith", "has", "exists"].contains(name)),
            "{functions:?}"
        );
        let variables = references.variables();
        assert!(variables.iter().all(|name| !name.contains("authorizer")), "{variables:?}");
    }
    let with_break_glass = render(&["--set", "breakGlass.enabled=true,webhook.secrets.enabled=true"]);
    for webhook in webhooks(&with_break_glass) {
        let last = webhook["matchConditions"].as_array().expect("list").last().expect("one");
        assert_eq!(last["name"], "break-glass", "the dearest comes last");
    }
}

/// Ways to write a server, and things that share a word with one.
#[test]
fn hand_written_workloads_are_sent_or_spared() {
    let filter = servers();
    let sent = [
        json!({"image": "prefecthq/prefect:3", "command": ["prefect", "server", "start"]}),
        json!({"image": "prefecthq/prefect:3", "args": ["prefect", "server", "start"]}),
        json!({"image": "PREFECTHQ/Prefect:3", "args": ["PREFECT", "SERVER", "START"]}),
        json!({"image": "corp/base:1", "command": ["/app/.venv/bin/prefect"], "args": ["server", "start"]}),
        json!({"image": "corp/base:1", "command": ["sh", "-c", "set -e\nprefect \\\n  server start"]}),
        json!({"image": "corp/base:1", "command": ["sh", "-c", "exec uvicorn --factory prefect.server.api.server:create_app"]}),
        json!({"image": "corp/base:1", "command": ["python", "-m", "prefect", "server", "services", "start"]}),
        json!({"image": "prefecthq/prefect:2.4", "args": ["prefect", "orion", "start"]}),
        json!({"image": "prefecthq/prefect:3", "args": ["prefect", "$(ROLE)", "start"], "env": [{"name": "ROLE", "value": "server"}]}),
        json!({"image": "corp/base:1", "args": ["$(BIN)", "$(ROLE)", "start"], "env": [{"name": "BIN", "value": "prefect"}, {"name": "ROLE", "value": "server"}]}),
        json!({"image": "corp/base:1", "args": ["sh", "-c", "exec $RUN"], "env": [{"name": "RUN", "value": "prefect server start"}]}),
        json!({"image": "prefecthq/prefect:3", "command": ["/start.sh"]}),
        json!({"image": "prefecthq/prefect:3", "command": ["python", "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]}),
        json!({"image": "localhost:5000/prefect-core@sha256:00"}),
        json!({"name": "prefect-server", "image": "corp/base:1"}),
        json!({"name": "api", "image": "corp/base:1", "env": [{"name": "PREFECT_API_DATABASE_CONNECTION_URL", "value": "x"}]}),
        json!({"image": "prefecthq/prefect:3", "args": ["prefect", "server", "database", "reset", "-y"]}),
    ];
    for container in &sent {
        assert_eq!(filter.evaluate(&create(&self::container(container))), Ok(Outcome::Sent), "{container}");
        let sidecar =
            json!({"containers": [{"name": "web", "image": "nginx"}], "initContainers": [container]});
        assert_eq!(
            filter.evaluate(&create(&deployment(&sidecar))),
            Ok(Outcome::Sent),
            "initContainer {container}"
        );
    }
    let spared = [
        (
            json!({"name": "web", "image": "nginx:1.29", "command": ["nginx", "-g", "daemon off;"]}),
            "mentions-prefect",
        ),
        (
            json!({"name": "server", "image": "corp/server:1", "args": ["server", "start"]}),
            "mentions-prefect",
        ),
        (
            json!({"name": "db", "image": "postgres:17", "env": [{"name": "DATABASE_URL", "value": "prefect"}]}),
            "mentions-prefect",
        ),
        (
            json!({"image": "prefecthq/prefect:3", "args": ["prefect", "worker", "start", "--pool", "k8s"]}),
            "may-run-a-server",
        ),
        (
            json!({"image": "prefecthq/prefect:2", "command": ["prefect", "agent", "start"]}),
            "may-run-a-server",
        ),
        (json!({"image": "prefecthq/prefect:3", "command": ["python", "flow.py"]}), "may-run-a-server"),
        (json!({"image": "prefecthq/prefect:3", "args": ["python", "-m", "flows"]}), "may-run-a-server"),
        (
            json!({"image": "prefecthq/prefect:3", "command": ["sh", "-c", "exec python3 /app/flow.py --all"]}),
            "may-run-a-server",
        ),
        (json!({"image": "prefecthq/prometheus-prefect-exporter:3"}), "may-run-a-server"),
        (
            json!({"image": "corp/flows:1", "command": ["python", "flow.py"], "env": [{"name": "PREFECT_API_URL", "value": "http://prefect-server/api"}]}),
            "may-run-a-server",
        ),
    ];
    for (container, condition) in &spared {
        let expected = Ok(Outcome::Spared((*condition).to_owned()));
        assert_eq!(filter.evaluate(&create(&self::container(container))), expected, "{container}");
    }
}

#[test]
fn our_annotations_are_always_seen() {
    let mut object = container(&json!({"image": "corp/base:1", "command": ["/run"]}));
    assert_eq!(servers().evaluate(&create(&object)), Ok(Outcome::Spared("mentions-prefect".into())));
    object["spec"]["template"]["metadata"] = json!({"annotations": {"prefect-guard.io/container": "api"}});
    assert_eq!(servers().evaluate(&create(&object)), Ok(Outcome::Sent));
}

#[test]
fn only_the_guards_own_deployment_is_left_out() {
    let filter = servers();
    let object = container(&json!({"image": "ghcr.io/prefect-guard/prefect-guard:1", "args": ["serve"]}));
    let mut request = create(&object);
    request["name"] = json!(helm::RELEASE);
    request["namespace"] = json!(helm::NAMESPACE);
    assert_eq!(filter.evaluate(&request), Ok(Outcome::Spared("not-the-guard-itself".into())));
    for (field, value) in [("name", json!("other")), ("namespace", json!("other"))] {
        let mut other = request.clone();
        other[field] = value;
        assert_eq!(filter.evaluate(&other), Ok(Outcome::Sent), "{field}");
    }
    request["resource"]["resource"] = json!("statefulsets");
    assert_eq!(filter.evaluate(&request), Ok(Outcome::Sent), "another kind of the same name is watched");
    request.as_object_mut().expect("a request").remove("name");
    assert_eq!(filter.evaluate(&request), Ok(Outcome::Sent), "generateName");
}

#[test]
fn jobs_reach_us_only_with_the_database_in_their_command() {
    let filter = jobs();
    let job = |container: Value| json!({"kind": "Job", "metadata": {}, "spec": {"template": {"spec": {"containers": [container]}}}});
    let flow_run = json!({"image": "prefecthq/prefect:3", "args": ["prefect", "flow-run", "execute"],
        "env": [{"name": "DATABASE_URL", "value": "x"}]});
    assert_eq!(filter.evaluate(&create(&job(flow_run))), Ok(Outcome::Spared("mentions-database".into())));
    let rails = json!({"image": "corp/web:1", "args": ["rake", "database:migrate"]});
    assert_eq!(filter.evaluate(&create(&job(rails))), Ok(Outcome::Spared("mentions-prefect".into())));
    let script =
        json!({"image": "corp/web:1", "command": ["sh", "-c", "prefect server database upgrade -y"]});
    assert_eq!(filter.evaluate(&create(&job(script.clone()))), Ok(Outcome::Sent));
    let cron =
        json!({"kind": "CronJob", "metadata": {}, "spec": {"jobTemplate": {"spec": job(script)["spec"]}}});
    assert_eq!(filter.evaluate(&create(&cron)), Ok(Outcome::Sent));
    let mut update = create(&cron);
    update["operation"] = json!("UPDATE");
    update["oldObject"] = cron.clone();
    update["object"]["spec"]["suspend"] = json!(true);
    assert_eq!(filter.evaluate(&update), Ok(Outcome::Spared("template-changed".into())));
}

#[test]
fn charts_and_manifests_of_others_are_sent_or_spared() {
    let filters = filters();
    let spared = ["worker", "exporter", "postgresql"];
    let folder = repository("tests/fixtures/reviews");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the recorded reviews") {
        let path = entry.expect("entry").path();
        let name = path.file_stem().expect("name").to_str().expect("UTF-8").to_owned();
        if !name.starts_with("chart-") {
            continue;
        }
        let review: Value =
            serde_json::from_str(&std::fs::read_to_string(&path).expect("text")).expect("JSON");
        let request = &review["request"];
        let outcome = filter_for(&filters, request).expect("selected").evaluate(request).expect("no error");
        let ours = !spared.iter().any(|word| name.ends_with(word));
        assert_eq!(outcome == Outcome::Sent, ours, "{name}: {outcome:?}");
        seen += 1;
    }
    assert!(seen > 10, "{seen} reviews");
    wild(&filters);
}

/// Manifests out of public repositories: every server is sent; of the others, none that plainly says what it runs.
fn wild(filters: &BTreeMap<&str, Filter>) {
    // `prefect dev start` is no server for production, and the library does not call it one.
    let not_servers = ["prefect-cli-dev.yaml"];
    let mut wrong = Vec::new();
    for (folder, servers) in [("server", true), ("other", false), ("job", false)] {
        for entry in
            std::fs::read_dir(repository("tests/fixtures/manifests").join(folder)).expect("the folder")
        {
            let path = entry.expect("entry").path();
            let name = path.file_name().expect("name").to_str().expect("UTF-8").to_owned();
            let outcomes = outcomes(filters, &path);
            let expected = (servers && !not_servers.contains(&name.as_str())) || name.contains("migration");
            if outcomes.contains(&Outcome::Sent) != expected {
                wrong.push((name, outcomes));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn outcomes(filters: &BTreeMap<&str, Filter>, path: &std::path::Path) -> Vec<Outcome> {
    let text = std::fs::read_to_string(path).expect("text");
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let objects = documents
        .into_iter()
        .flat_map(|document| document["items"].as_array().cloned().unwrap_or_else(|| vec![document.clone()]));
    objects
        .map(|object| create(&object))
        .filter_map(|request| Some(filter_for(filters, &request)?.evaluate(&request).expect("no error")))
        .collect()
}
