//! What must hold for any input. The fuzz targets call these functions, and so does `tests/it/regressions.rs`, with the
//! seeds and with every input that once broke something.

use base64::Engine as _;
use prefect_guard::answer::answer;
use prefect_guard::decision::annotation::{CHECKED_BY, FINDINGS};
use prefect_guard::decision::{Endpoint, decide as decide_request};
use prefect_guard::manifest::{self, edit, emit};
use prefect_guard::policy::Policy;
use prefect_guard::review::Request;
use prefect_guard::rule::MESSAGE_LIMIT;
use prefect_guard::shell::reading;
use serde_json::{Value, json};

const OURS: &str = "prefect-guard-migrate";

/// No input holds it by chance.
const CANARY: &str = "zq7canary";

/// Any bytes as the body of a POST: an answer, well-formed, with the uid that came in.
pub fn decode(bytes: &[u8]) {
    for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
        let answer = answer(endpoint, bytes, &Policy::default());
        let json: Value = serde_json::from_slice(&answer.body).expect("the answer is JSON");
        let response = &json["response"];
        match answer.status {
            400 => assert!(json["error"].is_string()),
            200 => {
                assert!(response["uid"].as_str().is_some_and(|uid| !uid.is_empty()));
                assert!(response["allowed"].is_boolean());
                assert!(endpoint == Endpoint::Validate || response["allowed"] == true, "mutate never denies");
                assert_eq!(response.get("patch").is_some(), response.get("patchType").is_some());
            }
            other => panic!("status {other}"),
        }
        for warning in response["warnings"].as_array().into_iter().flatten() {
            let warning = warning.as_str().expect("a string");
            assert!(warning.len() <= 256 && !warning.chars().any(char::is_control), "{warning:?}");
        }
        same_uid(bytes, response);
    }
}

/// The uid is echoed, wherever a reader of the whole review can tell which it is.
fn same_uid(bytes: &[u8], response: &Value) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let is_plain = text.matches("\"uid\"").count() == 1
        && text.matches("\"request\"").count() == 1
        && !text.contains('\\');
    if let Ok(review) = serde_json::from_str::<Value>(text)
        && is_plain
        && let (Some(sent), Some(back)) = (review["request"]["uid"].as_str(), response["uid"].as_str())
    {
        assert_eq!(sent, back);
    }
}

/// Any JSON as an object, or as a review with one: the patch applies, touches nothing else, and is enough.
pub fn decide(bytes: &[u8]) {
    let Ok(mut object) = serde_json::from_slice::<Value>(bytes) else { return };
    if let Some(inner) = object.pointer_mut("/request/object") {
        object = inner.take();
    }
    mark(&mut object);
    judge(&object);
}

/// Puts the canary at the end of every literal value of a variable.
fn mark(object: &mut Value) {
    let spec = "/spec/template/spec";
    for list in ["containers", "initContainers"] {
        for container in
            object.pointer_mut(&format!("{spec}/{list}")).and_then(Value::as_array_mut).into_iter().flatten()
        {
            for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(Value::String(value)) = variable.get_mut("value") {
                    value.push_str(CANARY);
                }
            }
        }
    }
}

fn review(object: &Value) -> Vec<u8> {
    let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "u", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "name": "prefect", "namespace": "n", "operation": "CREATE", "object": object}});
    serde_json::to_vec(&review).expect("JSON")
}

fn mutate(object: &Value) -> (Value, usize) {
    let answer = answer(Endpoint::Mutate, &review(object), &Policy::default());
    let json: Value = serde_json::from_slice(&answer.body).expect("the answer is JSON");
    let Some(text) = json["response"]["patch"].as_str() else { return (object.clone(), 0) };
    let patch = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("an RFC 6902 document");
    let mut after = object.clone();
    json_patch::patch(&mut after, &patch).expect("the patch applies");
    (after, patch.0.len())
}

/// The object without our containers and annotations, and without the images of the others; no list is an empty list.
fn rest(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(own) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            own.retain(|name, _| !matches!(name.as_str(), FINDINGS | CHECKED_BY));
        }
        if metadata.get("annotations").is_some_and(|own| own.is_null() || own == &json!({})) {
            metadata.remove("annotations");
        }
    }
    if let Some(spec) = object.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
        let mut list = spec.remove("initContainers").unwrap_or_default();
        if let Some(list) = list.as_array_mut() {
            list.retain(|container| container["name"] != OURS);
            for container in list {
                container.as_object_mut().map(|container| container.remove("image"));
            }
        }
        if !list.is_null() && list != json!([]) {
            spec.insert("initContainers".to_owned(), list);
        }
    }
    object
}

fn judge(object: &Value) {
    let (once, _) = mutate(object);
    assert_eq!(rest(object), rest(&once), "the patch touched something else");
    let (_, more) = mutate(&once);
    assert_eq!(more, 0, "mutating again changes more");
    for (stage, object) in [("before", object), ("after", &once)] {
        let body = review(object);
        let answer = answer(Endpoint::Validate, &body, &Policy::default());
        let text = String::from_utf8(answer.body).expect("UTF-8");
        assert!(!text.contains(CANARY), "a value of a variable came out: {text}");
        assert!(!format!("{:?}", answer.record).contains(CANARY));
        let text = with_kind(object).to_string();
        let Ok(request) = Request::of_manifest(&text) else { continue };
        let Ok(decision) = decide_request(Endpoint::Validate, &request, &Policy::default()) else { continue };
        assert!(!format!("{request:?} {decision:?}").contains(CANARY));
        for finding in decision.findings {
            let message = finding.message();
            assert!(message.len() <= MESSAGE_LIMIT && !message.chars().any(char::is_control), "{message:?}");
            assert!(message.matches('`').count() % 2 == 0, "{message}");
            assert!(stage == "before" || finding.fix.is_none(), "left for mutate to mend: {message}");
        }
    }
}

fn with_kind(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), json!("apps/v1"));
        map.insert("kind".to_owned(), json!("Deployment"));
    }
    object
}

fn deployment(container: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "prefect", "namespace": "n"},
        "spec": {"template": {"spec": {"containers": [container]}}}})
}

/// Lines `NAME=VALUE` as the environment of a server; `SECRET` in a value stands for what nobody may see.
pub fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let env: Vec<Value> =
        pairs.map(|(name, value)| json!({"name": name, "value": value.replace("SECRET", CANARY)})).collect();
    judge(&deployment(&json!({"name": "api", "image": "prefecthq/prefect:3.8.8",
        "command": ["prefect", "server", "start"], "env": env})));
}

/// A script for `sh -c`, and the same text as an argv.
pub fn shell(bytes: &[u8]) {
    let script = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = script.split_whitespace().collect();
    let lookup = |name: &str| (name == "START").then(|| "prefect server start".to_owned());
    for argv in [vec!["sh", "-c", &script, "zero", "prefect", "server", "start"], words] {
        let invocation = reading::read(&argv, &lookup);
        for call in &invocation.calls {
            if let Some(position) = call.position {
                assert!(position.program < argv.len() && position.subcommand <= argv.len());
            }
        }
        let split = argv.len() / 2;
        judge(&deployment(&json!({"name": "api", "image": "prefecthq/prefect:3.8.8",
            "command": argv[..split], "args": argv[split..], "env": [{"name": "P", "value": CANARY}]})));
    }
}

/// A policy file: settings, or an error that can be read.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Policy::from_yaml(text, prefect_guard::rules::CATALOGUE) {
        Ok(policy) => {
            let object = deployment(&json!({"name": "api", "command": ["prefect", "server", "start"]}));
            answer(Endpoint::Validate, &review(&object), &policy);
        }
        Err(error) => {
            let error = error.to_string();
            assert!(
                error.len() > 10 && error.len() < 1_000 && !error.chars().any(char::is_control),
                "{error:?}"
            );
        }
    }
}

/// A manifest as `check` and `inject` read it; what we write as YAML reads as what it was.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for document in manifest::read(text) {
        let Ok(Some(root)) = &document.content else { continue };
        let json = root.to_json();
        for lists in [emit::Lists::Flush, emit::Lists::Indented] {
            let written = emit::block(&json, lists);
            let read = manifest::parse(&written).ok().flatten().map(|node| node.to_json());
            assert_eq!(read.unwrap_or_default(), json, "written as\n{written}");
        }
        for object in document.objects() {
            let text = object.node.to_json().to_string();
            let Ok(request) = Request::of_manifest(&text) else { continue };
            for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
                let _ = decide_request(endpoint, &request, &Policy::default());
            }
            let change = edit::Change::Add(format!("{}/metadata", object.pointer), json!({"name": "x"}));
            edit::apply(&text, &[change]);
        }
    }
}
