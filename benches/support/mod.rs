//! Reviews to measure with, written as the API server writes them: compact, its order of keys, `managedFields` and
//! the last applied configuration in place. Their shape is that of the official chart's server Deployment.
#![allow(dead_code, unreachable_pub, reason = "each bench uses a part of it")]

use prefect_guard_core::decision::{Endpoint, decide};
use prefect_guard_core::migration;
use prefect_guard_core::policy::Policy;
use prefect_guard_core::review::Request;
use serde_json::{Map, Value, json};

/// Whose object a review carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// A Prefect server: gets a patch.
    Server,
    /// A Prefect worker: names Prefect, is no server.
    Worker,
    /// A Deployment that names Prefect nowhere.
    Unrelated,
}

/// A size of review: how it is named in reports, and what is in it.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Its name, about the size of the body.
    pub name: &'static str,
    /// Variables of the leading container.
    variables: usize,
    /// Further containers, each with twelve variables, probes and mounts.
    sidecars: usize,
    /// Applied by `kubectl apply`, which leaves the whole manifest in an annotation (at most 256 KiB).
    applied: bool,
}

/// `kubectl apply --server-side` of a small manifest.
pub const SMALL: Size = Size { name: "4 KB", variables: 2, sidecars: 0, applied: false };
/// `kubectl apply` of what the official chart renders.
pub const CHART: Size = Size { name: "13 KB", variables: 22, sidecars: 0, applied: true };
/// A pod with a dozen containers.
pub const LARGE: Size = Size { name: "100 KB", variables: 22, sidecars: 14, applied: true };
/// As large as objects get (etcd takes 1.5 MiB).
pub const HUGE: Size = Size { name: "1 MB", variables: 22, sidecars: 260, applied: false };

/// As large as a body may be (7 MiB), nearly: only the sum of two objects gets there.
pub const SEVEN_MIB: Size = Size { name: "7 MiB", variables: 22, sidecars: 1_850, applied: false };

/// The sizes that decisions are measured with, smallest first.
pub const SIZES: [Size; 4] = [SMALL, CHART, LARGE, HUGE];

/// The CREATE review of an object.
pub fn review(whose: Whose, size: Size) -> Vec<u8> {
    bytes(&create(&deployment(whose, size)))
}

/// The same review after `/mutate` and the API server: what `/validate` gets, and what an apply of the live object
/// sends.
pub fn mutated(review: &[u8]) -> Vec<u8> {
    bytes(&create(&mutate(review)))
}

/// The UPDATE review of `kubectl set image` on an object that was mutated before.
pub fn image_bump(whose: Whose, size: Size) -> Vec<u8> {
    let old = mutate(&review(whose, size));
    let mut new = old.clone();
    new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("prefecthq/prefect:3.6.1-python3.12");
    let mut update = create(&new);
    update["request"]["operation"] = json!("UPDATE");
    update["request"]["oldObject"] = old;
    bytes(&update)
}

fn mutate(review: &[u8]) -> Value {
    let mut review: Value = serde_json::from_slice(review).expect("a review is JSON");
    let mut object = review["request"]["object"].take();
    let text = object.to_string();
    let request = Request::of_manifest(&text).expect("a review's object is a manifest");
    let decision = decide(Endpoint::Mutate, &request, &Policy::default()).expect("the object is readable");
    migration::apply(&mut object, &decision.operations).expect("the patch fits");
    object
}

fn bytes(review: &Value) -> Vec<u8> {
    serde_json::to_vec(review).expect("a JSON value serialises")
}

fn create(object: &Value) -> Value {
    let kind = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    let resource = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "6f1c2a34-0b5d-4e5f-9a21-3a1de7f0c9d4",
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": object["metadata"]["name"],
            "namespace": "data",
            "operation": "CREATE",
            "userInfo": {"username": "admin", "uid": "admin", "groups": ["system:authenticated"]},
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldValidation": "Strict"},
        },
    })
}

fn deployment(whose: Whose, size: Size) -> Value {
    let word = if whose == Whose::Unrelated { "storefront" } else { "prefect" };
    let labels = json!({
        "app.kubernetes.io/component": "server",
        "app.kubernetes.io/instance": word,
        "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/name": format!("{word}-server"),
        "helm.sh/chart": format!("{word}-server-1.2.3"),
    });
    let spec = json!({
        "replicas": 1,
        "selector": {"matchLabels": {"app.kubernetes.io/name": format!("{word}-server")}},
        "template": {"metadata": {"labels": labels}, "spec": pod(whose, word, size)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    });
    let mut metadata = json!({"name": format!("{word}-server"), "namespace": "data", "labels": labels});
    if size.applied {
        let manifest =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec});
        let text = manifest.to_string();
        metadata["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": text});
    }
    metadata["managedFields"] = json!([{
        "manager": "kubectl-client-side-apply",
        "operation": "Update",
        "apiVersion": "apps/v1",
        "time": "2026-11-23T00:22:20Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": owned(&metadata), "f:spec": owned(&spec)},
    }]);
    json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": metadata, "spec": spec, "status": {}})
}

fn pod(whose: Whose, word: &str, size: Size) -> Value {
    let mut containers = vec![leading(whose, word, size.variables)];
    containers.extend((0..size.sidecars).map(sidecar));
    json!({
        "volumes": [{"name": "scratch", "emptyDir": {}}],
        "containers": containers,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": format!("{word}-server"),
        "securityContext": {"runAsUser": 1001, "runAsNonRoot": true, "fsGroup": 1001},
        "schedulerName": "default-scheduler",
    })
}

fn leading(whose: Whose, word: &str, variables: usize) -> Value {
    let (image, command, args) = match whose {
        Whose::Server => (
            "prefecthq/prefect:3.6.0-python3.12",
            json!(["/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh"]),
            json!(["prefect", "server", "start", "--no-services", "--port", "4200"]),
        ),
        Whose::Worker => (
            "prefecthq/prefect:3.6.0-python3.12",
            json!(["/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh"]),
            json!(["prefect", "worker", "start", "--type", "kubernetes", "--pool", "default"]),
        ),
        Whose::Unrelated => (
            "registry.example.com/storefront/web:12.4.0",
            json!(["/usr/bin/tini", "-g", "--", "/opt/storefront/run"]),
            json!(["gunicorn", "--bind", "0.0.0.0:8000", "--workers", "4", "storefront.wsgi"]),
        ),
    };
    let prefix = word.to_uppercase();
    let url = json!({
        "name": format!("{prefix}_SERVER_DATABASE_CONNECTION_URL"),
        "valueFrom": {"secretKeyRef": {"name": format!("{word}-connection"), "key": "connection-string"}},
    });
    let plain = (1..variables).map(
        |n| json!({"name": format!("{prefix}_SERVER_OPTION_{n}"), "value": format!("{word}-option-{n}")}),
    );
    let env: Vec<Value> = std::iter::once(url).chain(plain).collect();
    container(&format!("{word}-server"), image, (command, args), &env)
}

fn sidecar(index: usize) -> Value {
    let env: Vec<Value> = (0..12)
        .map(|n| json!({"name": format!("SIDECAR_OPTION_{n}"), "value": format!("value of option {n}")}))
        .collect();
    let command =
        (json!(["/usr/local/bin/sidecar"]), json!(["--listen", format!("127.0.0.1:{}", 9000 + index)]));
    container(&format!("sidecar-{index}"), "registry.example.com/mesh/sidecar:1.9.2", command, &env)
}

fn container(name: &str, image: &str, (command, args): (Value, Value), env: &[Value]) -> Value {
    let probe = |path: &str| {
        json!({
            "httpGet": {"path": path, "port": 4200, "scheme": "HTTP"},
            "initialDelaySeconds": 10, "timeoutSeconds": 5, "periodSeconds": 10,
            "successThreshold": 1, "failureThreshold": 3,
        })
    };
    json!({
        "name": name,
        "image": image,
        "command": command,
        "args": args,
        "workingDir": "/home/app",
        "ports": [{"containerPort": 4200, "protocol": "TCP"}],
        "env": env,
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "512Mi"}},
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/home/app", "subPathExpr": "home"},
            {"name": "scratch", "mountPath": "/tmp", "subPathExpr": "tmp"},
        ],
        "livenessProbe": probe("/api/health"),
        "readinessProbe": probe("/api/ready"),
        "startupProbe": probe("/api/health"),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "capabilities": {"drop": ["ALL"]}, "runAsUser": 1001, "runAsNonRoot": true,
            "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
        },
    })
}

/// What `managedFields` says of a value: its shape, with list entries by their name.
fn owned(value: &Value) -> Value {
    let mut fields = Map::new();
    match value {
        Value::Object(object) => {
            fields.extend(object.iter().map(|(key, value)| (format!("f:{key}"), owned(value))));
        }
        Value::Array(list) => {
            let entries = list.iter().filter_map(|entry| Some((entry.get("name")?, owned(entry))));
            fields.extend(entries.map(|(name, entry)| (format!("k:{{\"name\":{name}}}"), entry)));
        }
        _ => {}
    }
    Value::Object(fields)
}
