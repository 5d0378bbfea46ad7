//! What an object may cost: in proportion to its length, whatever it repeats. Quadratic work takes minutes here.

use std::time::{Duration, Instant};

use crate::support::ask;
use crate::support::generate::review;
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use serde_json::{Value, json};

/// Far more than is needed in a build without optimisation on a busy machine.
const ENOUGH: Duration = Duration::from_secs(20);

const MANY: usize = 4_000;

fn deployment(containers: &[Value], inits: &[Value]) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "prefect", "namespace": "data"},
        "spec": {"selector": {"matchLabels": {"app": "p"}}, "template": {
            "metadata": {"labels": {"app": "p"}},
            "spec": {"containers": containers, "initContainers": inits}}}})
}

fn container(index: usize, command: &[&str], more: &Value) -> Value {
    let mut container =
        json!({"name": format!("c{index}"), "image": "prefecthq/prefect:3.8.8", "command": command});
    for (key, value) in more.as_object().expect("an object") {
        container[key] = value.clone();
    }
    container
}

/// Judged at both endpoints, as created and as an update of itself.
fn is_judged_in_time(what: &str, object: &Value) {
    let policy = Policy::default();
    let mut old = object.clone();
    old["spec"]["template"]["metadata"]["labels"]["old"] = json!("yes");
    for (endpoint, old) in
        [(Endpoint::Mutate, None), (Endpoint::Validate, None), (Endpoint::Validate, Some(&old))]
    {
        let body = review(object, old);
        let begun = Instant::now();
        ask(endpoint, &body, &policy);
        let took = begun.elapsed();
        assert!(took < ENOUGH, "{what} of {} bytes took {took:?} at {endpoint:?}", body.len());
    }
}

#[test]
fn many_containers_are_judged_in_time() {
    let serve: &[&str] = &["prefect", "server", "start"];
    let upgrade: &[&str] = &["prefect", "server", "database", "upgrade", "-y"];
    let sidecar = json!({"restartPolicy": "Always"});
    let many = |command: &[&str], more: &Value| -> Vec<Value> {
        (0..MANY).map(|index| container(index, command, more)).collect()
    };
    let one = [container(MANY, serve, &json!({}))];
    is_judged_in_time("servers", &deployment(&many(serve, &json!({})), &[]));
    is_judged_in_time("migrations", &deployment(&one, &many(upgrade, &json!({}))));
    is_judged_in_time("sidecars", &deployment(&one, &many(serve, &sidecar)));
    let mounts: Vec<Value> =
        (0..MANY).map(|i| json!({"name": format!("v{i}"), "mountPath": format!("/m{i}")})).collect();
    is_judged_in_time("mounts", &deployment(&[container(0, serve, &json!({"volumeMounts": mounts}))], &[]));
    let env: Vec<Value> =
        (0..MANY).map(|i| json!({"name": format!("PREFECT_{i}"), "value": "$(PREFECT_0)"})).collect();
    is_judged_in_time("variables", &deployment(&[container(0, serve, &json!({"env": env}))], &[]));
    let doubling: String = (1..27).map(|i| format!("A{i}=$A{0}$A{0};", i - 1)).collect();
    let script = format!("A0=xxxxxxxx;{doubling}prefect $A26 server start");
    is_judged_in_time("doubling", &deployment(&many(&["sh", "-c", &script], &json!({}))[..MANY / 4], &[]));
    let script = "prefect server start & export A=b; prefect server database reset; ".repeat(MANY);
    is_judged_in_time("calls", &deployment(&[container(0, &["sh", "-c", &script], &json!({}))], &[]));
}
