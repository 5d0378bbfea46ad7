//! What `eject` changes in a cluster, against an API server that a test plays.

use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock;

use super::*;

fn object(name: &str, init: &[&str]) -> Value {
    let init: Vec<Value> = init.iter().map(|name| json!({"name": name})).collect();
    json!({
        "metadata": {"name": name, "namespace": "data"},
        "spec": {"template": {"spec": {"initContainers": init, "containers": []}}},
    })
}

/// An API that keeps a few Deployments: it lists them, and applies JSON patches as the real one would.
async fn fake(
    mut handle: mock::Handle<Request<Body>, Response<Body>>,
    mut objects: Vec<Value>,
    hooks: Value,
    labels: Value,
    puts_back: bool,
) -> Vec<Value> {
    while let Some((request, send)) = handle.next_request().await {
        let path = request.uri().path().to_owned();
        let (status, answer) = if path.ends_with("webhookconfigurations") {
            (200, json!({"items": if path.contains("mutating") { hooks.clone() } else { json!([]) }}))
        } else if path.starts_with("/api/v1/namespaces/") && path.matches('/').count() == 4 {
            (200, json!({"metadata": {"labels": labels}}))
        } else if request.method() == "PATCH" {
            assert_eq!(request.headers()["content-type"], "application/json-patch+json");
            let target =
                objects.iter_mut().find(|o| path.ends_with(o["metadata"]["name"].as_str().unwrap())).unwrap();
            let bytes = request.into_body().collect().await.unwrap().to_bytes();
            let patch: json_patch::Patch = serde_json::from_slice(&bytes).unwrap();
            let before = target.clone();
            match json_patch::patch(target, &patch) {
                Ok(()) if puts_back => (200, before),
                Ok(()) => (200, target.clone()),
                Err(_) => (
                    422,
                    json!({"kind": "Status", "status": "Failure", "message": "test failed", "reason": "Invalid", "code": 422}),
                ),
            }
        } else {
            let items = if path.ends_with("deployments") { objects.clone() } else { Vec::new() };
            (200, json!({"items": items}))
        };
        let body = Body::from(answer.to_string().into_bytes());
        send.send_response(Response::builder().status(status).body(body).unwrap());
    }
    objects
}

fn eject(
    objects: Vec<Value>,
    (hooks, labels): (Value, Value),
    puts_back: bool,
    yes: bool,
) -> (anyhow::Result<Outcome>, String, Vec<Value>) {
    let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let api = tokio::spawn(fake(handle, objects, hooks, labels, puts_back));
        let client = Client::new(service, "default");
        let mut out = Vec::new();
        let outcome = carry_out(&client, None, &Policy::default(), yes, &mut out).await;
        drop(client);
        (outcome, String::from_utf8(out).unwrap(), api.await.unwrap())
    })
}

fn some() -> Vec<Value> {
    vec![object("a", &["wait", NAME, "last"]), object("b", &["wait"]), object("c", &[NAME])]
}

#[test]
fn without_yes_nothing_changes() {
    let (outcome, text, after) = eject(some(), (json!([]), json!({})), false, false);
    assert_eq!(outcome.unwrap(), Outcome::Clean);
    assert_eq!(after, some());
    assert!(text.contains("would remove `prefect-guard-migrate` from Deployment data/a"), "{text}");
    assert!(text.contains("2 found; nothing was changed"), "{text}");
}

#[test]
fn takes_ours_out_and_nothing_else() {
    let (outcome, text, after) = eject(some(), (json!([]), json!({})), false, true);
    assert_eq!(outcome.unwrap(), Outcome::Clean);
    assert_eq!(after, [object("a", &["wait", "last"]), object("b", &["wait"]), object("c", &[])]);
    assert!(text.ends_with("2 of 2 done\n"), "{text}");
    let (_, text, _) = eject(after, (json!([]), json!({})), false, true);
    assert_eq!(text, "nothing holds `prefect-guard-migrate`\n");
}

#[test]
fn refuses_while_the_webhook_watches() {
    let hooks =
        json!([{"metadata": {"name": "prefect-guard"}, "webhooks": [{"name": "mutate.prefect-guard.io"}]}]);
    let (outcome, _, after) = eject(some(), (hooks.clone(), json!({})), false, true);
    let text = format!("{:#}", outcome.unwrap_err());
    assert!(text.contains("kubectl delete mutatingwebhookconfiguration/prefect-guard"), "{text}");
    assert!(text.contains("kubectl label namespace data prefect-guard.io/enabled=false"), "{text}");
    assert_eq!(after, some());
    let labels = json!({"prefect-guard.io/enabled": "false"});
    let (outcome, text, _) = eject(some(), (hooks, labels), false, true);
    assert_eq!(outcome.unwrap(), Outcome::Clean, "{text}");
}

#[test]
fn says_when_something_puts_it_back() {
    let (outcome, text, _) = eject(vec![object("a", &[NAME])], (json!([]), json!({})), true, true);
    assert_eq!(outcome.unwrap(), Outcome::Refused);
    assert!(text.contains("put the container back") && text.ends_with("0 of 1 done\n"), "{text}");
}

#[test]
fn an_object_that_changed_in_the_meantime_is_left_alone() {
    let resource = list::known::<Deployment>();
    let listed = Listed::read(&resource, &object("a", &["x", NAME]).to_string()).unwrap();
    let patch = Target::of(&resource, listed, "/spec/template").unwrap().patch();
    let mut moved = object("a", &[NAME, "x"]);
    let before = moved.clone();
    assert!(json_patch::patch(&mut moved, &patch).is_err());
    assert_eq!(moved, before);
}
