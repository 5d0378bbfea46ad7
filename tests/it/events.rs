//! Events: what is worth one, what it says, and that nobody ever waits for it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::core::v1::Event;
use prefect_guard::answer::answer;
use prefect_guard::answer::notice::{Notice, Reason};
use prefect_guard::cluster::events::{Writer, event};
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use prefect_guard::rules::CATALOGUE;
use prefect_guard::serve::Engine;
use prefect_guard::telemetry::notices;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::serving::api::kubeconfig;
use crate::serving::client::Client;
use crate::serving::process::{Process, fails};
use crate::serving::{noted_parts, parts, pki, roomy, wait_until};

const CANARY: &str = "hunter2-canary";

/// A review of a server with this variable for its database.
fn review(env: &Value, request: &Value) -> Vec<u8> {
    let mut variable = json!({"name": "PREFECT_API_DATABASE_CONNECTION_URL"});
    variable.as_object_mut().unwrap().extend(env.as_object().unwrap().clone());
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "prefect-server", "namespace": "data", "uid": "1-2-3"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "api", "image": "prefecthq/prefect:3.4.20-python3.12",
                "args": ["prefect", "server", "start"], "env": [variable]}]},
        }},
    });
    let mut whole = json!({
        "uid": "u", "operation": "CREATE", "namespace": "data", "name": "prefect-server",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"}, "userInfo": {},
        "object": object,
    });
    whole.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": whole})
        .to_string()
        .into()
}

fn bad() -> Value {
    json!({"value": format!("postgresql://prefect:{CANARY}@db/prefect")})
}

fn good() -> Value {
    json!({"valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}})
}

/// A server whose database is reached through an ordinary container of its pod.
fn proxied() -> Vec<u8> {
    let url = json!({"value": "postgresql+asyncpg://prefect@127.0.0.1/prefect"});
    let mut review: Value = serde_json::from_slice(&review(&url, &json!({}))).unwrap();
    let proxy = json!({"name": "cloud-sql-proxy", "image": "gcr.io/cloud-sql-connectors/cloud-sql-proxy:2"});
    let spec = &mut review["request"]["object"]["spec"]["template"]["spec"];
    spec["containers"].as_array_mut().unwrap().push(proxy);
    review.to_string().into()
}

fn noted(endpoint: Endpoint, body: &[u8], policy: &str) -> Option<Notice> {
    let text = format!("apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\n{policy}");
    let policy = Policy::from_yaml(&text, CATALOGUE).unwrap();
    Notice::of(endpoint, body, &answer(endpoint, body, &policy))
}

#[test]
fn a_refusal_is_noted_in_the_words_of_the_answer() {
    let notice = noted(Endpoint::Validate, &review(&bad(), &json!({})), "").unwrap();
    assert_eq!(notice.reason, Reason::Refused);
    assert_eq!((&*notice.api_version, &*notice.kind), ("apps/v1", "Deployment"));
    assert_eq!((&*notice.namespace, &*notice.name), ("data", "prefect-server"));
    assert_eq!(notice.uid, None, "what was refused as it was made never existed");
    assert!(notice.message.contains("PSG103") && notice.message.contains("help:"), "{}", notice.message);
    assert!(
        !notice.message.contains(CANARY) && !notice.message.contains('\n') && notice.message.len() <= 1_024
    );

    let mut update: Value = serde_json::from_slice(&review(&bad(), &json!({"operation": "UPDATE"}))).unwrap();
    let old: Value = serde_json::from_slice(&review(&good(), &json!({}))).unwrap();
    update["request"]["oldObject"] = old["request"]["object"].clone();
    let notice = noted(Endpoint::Validate, update.to_string().as_bytes(), "").unwrap();
    assert_eq!(notice.uid.as_deref(), Some("1-2-3"), "what exists is found by its uid");
}

#[test]
fn a_migration_that_something_prevents_is_noted_and_one_that_nobody_wants_is_not() {
    let notice = noted(Endpoint::Validate, &proxied(), "mode: warn\n").unwrap();
    assert_eq!((notice.reason, notice.uid.as_deref()), (Reason::NotInjected, Some("1-2-3")));
    assert!(notice.message.contains("cloud-sql-proxy"), "{}", notice.message);
    let quiet = "rules: {unreachable-database-proxy: \"off\"}\n";
    assert_eq!(noted(Endpoint::Validate, &proxied(), quiet), None, "the policy wants to hear nothing of it");
    let mut review: Value = serde_json::from_slice(&review(&good(), &json!({}))).unwrap();
    review["request"]["object"]["spec"]["template"]["metadata"]["annotations"] =
        json!({"prefect-guard.io/inject": "false"});
    assert_eq!(noted(Endpoint::Validate, review.to_string().as_bytes(), ""), None);
}

#[test]
fn dry_runs_audits_and_mutations_are_not_noted() {
    let dry = review(&bad(), &json!({"dryRun": true}));
    assert_eq!(noted(Endpoint::Validate, &dry, ""), None);
    let wet = review(&bad(), &json!({}));
    assert_eq!(noted(Endpoint::Mutate, &wet, ""), None);
    assert_eq!(noted(Endpoint::Validate, &wet, "mode: audit\n"), None);
    assert_eq!(noted(Endpoint::Validate, &wet, "mode: warn\n"), None, "a warning refuses nothing");
    assert_eq!(noted(Endpoint::Validate, b"{}", ""), None);
}

fn notice(name: &str) -> Notice {
    Notice {
        reason: Reason::Refused,
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: "data".to_owned(),
        name: name.to_owned(),
        uid: None,
        message: "PSG103 sync-driver".to_owned(),
    }
}

#[test]
fn one_notice_is_one_event_whoever_writes_it_and_when() {
    let now = SystemTime::now();
    let name = |notice: &Notice, now| event(notice, now).metadata.name.unwrap();
    let first = notice("prefect-server");
    assert_eq!(name(&first, now), name(&first, now + Duration::from_secs(60)));
    for other in [
        Notice { message: "PSG102".to_owned(), ..first.clone() },
        Notice { kind: "StatefulSet".to_owned(), ..first.clone() },
        Notice { uid: Some("1".to_owned()), ..first.clone() },
        Notice { reason: Reason::NotInjected, ..first.clone() },
    ] {
        assert_ne!(name(&first, now), name(&other, now));
    }
    // Wherever the name is cut off, behind a dot too.
    for before in 1..252 {
        let long = name(&notice(&format!("{}.{}", "a".repeat(before), "x".repeat(252 - before))), now);
        assert!(long.len() <= 253 && !long.contains("…") && !long.contains(".."), "{long}");
    }
    let event = event(&first, now);
    assert_eq!(event.involved_object.name.as_deref(), Some("prefect-server"));
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert!(event.first_timestamp.is_some() && event.first_timestamp == event.last_timestamp);
}

/// An API server that takes Events, as far as it goes.
#[derive(Clone)]
struct Api(Arc<Mutex<(u16, Vec<Event>)>>);

impl Api {
    fn new(status: u16) -> Api {
        Api(Arc::new(Mutex::new((status, Vec::new()))))
    }

    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().1.clone()
    }

    fn router(&self) -> Router {
        Router::new().fallback(take).with_state(self.clone())
    }

    fn client(&self) -> kube::Client {
        let router = self.router();
        let service = router
            .map_request(|request: http::Request<kube::client::Body>| request.map(axum::body::Body::new));
        kube::Client::new(service, "default")
    }
}

async fn take(State(api): State<Api>, method: Method, uri: Uri, body: Bytes) -> Response {
    assert_eq!(method, Method::POST, "the right is `create`");
    let event: Event = serde_json::from_slice(&body).unwrap();
    let namespace = event.metadata.namespace.clone().unwrap();
    assert_eq!(uri.path(), format!("/api/v1/namespaces/{namespace}/events"));
    let mut taken = api.0.lock().unwrap();
    let known = taken.1.iter().any(|other| other.metadata.name == event.metadata.name);
    let status = if known { 409 } else { taken.0 };
    if status == 201 {
        taken.1.push(event.clone());
    }
    let body = match status {
        201 => serde_json::to_value(&event).unwrap(),
        code => {
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no"})
        }
    };
    (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
}

fn counted(metrics: &str) -> [f64; 4] {
    ["dropped", "failed", "repeated", "written"].map(|outcome| {
        crate::serving::metric(metrics, &format!("prefect_guard_events_total{{outcome=\"{outcome}\"}}"))
    })
}

/// Writes these with writers of their own, one after the other, as replicas do.
async fn written(api: &Api, replicas: &[&[Notice]]) -> [f64; 4] {
    let metrics = parts(Engine::real(), roomy()).metrics;
    for these in replicas {
        let (sender, receiver) = notices::channel(&metrics);
        these.iter().for_each(|notice| sender.take(notice.clone()));
        drop(sender);
        Writer::new(api.client(), receiver, Arc::clone(&metrics)).run().await;
    }
    counted(&metrics.render())
}

#[tokio::test(start_paused = true)]
async fn repeats_are_written_once() {
    let (a, b) = (notice("a"), notice("b"));
    let api = Api::new(201);
    // The first replica knows its own repeat; the other learns from the API server.
    assert_eq!(written(&api, &[&[a.clone(), a.clone(), b], &[a]]).await, [0.0, 0.0, 2.0, 2.0]);
    assert_eq!(api.events().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_refuses_is_counted_and_tried_again() {
    let a = notice("a");
    for status in [403, 500] {
        let api = Api::new(status);
        assert_eq!(written(&api, &[&[a.clone(), a.clone()]]).await, [0.0, 2.0, 0.0, 0.0], "{status}");
    }
}

#[test]
fn where_too_many_wait_they_are_dropped() {
    let metrics = parts(Engine::real(), roomy()).metrics;
    let (sender, receiver) = notices::channel(&metrics);
    (0..300).for_each(|number| sender.take(notice(&number.to_string())));
    assert_eq!(counted(&metrics.render()), [44.0, 0.0, 0.0, 0.0]);
    drop(receiver);
}

/// Nobody takes them out at the other end: the answers come all the same.
#[tokio::test]
async fn an_answer_never_waits_for_an_event() {
    let mut kept = None;
    let parts = noted_parts(Engine::real(), roomy(), |metrics| {
        let (sender, receiver) = notices::channel(metrics);
        kept = Some(receiver);
        Some(sender)
    });
    for number in 0..300 {
        let body = review(&bad(), &json!({"uid": number.to_string()}));
        let request = http::Request::post("/validate").header("content-type", "application/json");
        let response =
            parts.router.clone().oneshot(request.body(axum::body::Body::from(body)).unwrap()).await;
        assert_eq!(response.unwrap().status(), 200);
    }
    assert_eq!(counted(&parts.metrics.render())[0], 44.0);
    assert_eq!(kept.unwrap().len(), 256);
}

/// The program over HTTPS, with an API server that takes Events.
#[test]
fn the_program_writes_them_where_they_are_asked_for() {
    let api = Api::new(201);
    let folder = kubeconfig(api.router());
    let guard = |arguments: &[&str]| {
        Process::start_in(TempDir::new().unwrap(), arguments, |_, command| {
            command.env("KUBECONFIG", folder.path().join("config"));
        })
    };
    let silent = guard(&[]);
    assert_eq!(silent.client().post("/validate", &review(&bad(), &json!({}))).status, 200);
    let speaking = guard(&["--events"]);
    let client: Client = speaking.client();
    assert_eq!(client.post("/validate", &review(&bad(), &json!({"dryRun": true}))).status, 200);
    assert_eq!(client.post("/mutate", &proxied()).status, 200);
    for body in [review(&bad(), &json!({})), review(&bad(), &json!({})), proxied()] {
        assert_eq!(client.post("/validate", &body).status, 200);
    }
    wait_until("two are written", || counted(&speaking.admin("/metrics").1) == [0.0, 0.0, 1.0, 2.0]);
    let reasons: Vec<String> = api.events().into_iter().filter_map(|event| event.reason).collect();
    assert_eq!(reasons, ["PrefectServerRefused", "PrefectMigrationNotInjected"]);
    assert!(!format!("{:?}", api.events()).contains(CANARY));
}

#[test]
fn without_a_cluster_it_does_not_start() {
    let folder = TempDir::new().unwrap();
    let pair = pki::pair();
    std::fs::write(folder.path().join("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(folder.path().join("tls.key"), &pair.key).unwrap();
    let (code, text) = fails(&["--events", "--tls-cert", "tls.crt", "--tls-key", "tls.key"], folder.path());
    assert_eq!(code, 2);
    assert!(text.contains("--events") && text.contains("KUBECONFIG"), "{text}");
}
