//! `prefect-guard status` against an API server that this file plays: three servers, one of them failing.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, SystemTime};

use prefect_guard::manifest;
use serde_json::{Value, json};

use super::printed;

/// The image of the example.
const IMAGE: &str = "prefecthq/prefect:3.4.20-python3.12";

/// What `status` prints. The server's thread ends with the process.
pub(super) fn status() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(&stream.unwrap()));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    printed(&["status", "--kubeconfig", path.to_str().unwrap()])
}

/// Answers one connection's requests, one after the other.
fn answer(stream: &TcpStream) {
    let mut lines = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if lines.read_line(&mut head).unwrap_or_default() == 0 {
                return;
            }
        }
        let path = head.split_whitespace().nth(1).unwrap().split('?').next().unwrap().to_owned();
        let items = match path.rsplit('/').next().unwrap() {
            "deployments" => vec![
                deployment("prefect-server", true),
                deployment("reports", true),
                deployment("staging", false),
            ],
            "pods" => vec![
                pod("prefect-server", 0, "the schema is current: nothing to migrate"),
                pod("reports", 1, "the database refuses the password of this user"),
            ],
            _ => Vec::new(),
        };
        let body = json!({"metadata": {}, "items": items}).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    }
}

/// Some time ago, far from where its rounding changes.
fn ago(minutes: u64) -> String {
    let then = SystemTime::now() - Duration::from_secs(minutes * 60 + 20);
    let seconds = then.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let output = Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%FT%TZ"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The example's server, with what `inject` puts into it or without.
fn deployment(name: &str, is_guarded: bool) -> Value {
    let text = match is_guarded {
        true => printed(&["inject", "examples/server.yaml"]),
        false => std::fs::read_to_string(crate::support::root().join("examples/server.yaml")).unwrap(),
    };
    let documents = manifest::read(&text);
    let mut objects = documents.iter().flat_map(manifest::Document::objects);
    let mut object = objects.find(|object| object.kind() == "Deployment").unwrap().node.to_json();
    object["metadata"]["name"] = json!(name);
    object["metadata"]["namespace"] = json!("data");
    object["metadata"]["generation"] = json!(1);
    object["metadata"]["creationTimestamp"] = json!(ago(180));
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
    object["status"] = json!({"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas});
    object
}

fn pod(server: &str, code: i32, message: &str) -> Value {
    let ended = json!({"terminated": {
        "exitCode": code, "message": message, "finishedAt": ago(4), "reason": if code == 0 { "Completed" } else { "Error" },
    }});
    let state = if code == 0 { ended.clone() } else { json!({"waiting": {"reason": "CrashLoopBackOff"}}) };
    json!({
        "metadata": {
            "name": format!("{server}-7f9c-x"), "namespace": "data", "creationTimestamp": ago(5),
            "labels": {"pod-template-hash": "7f9c"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{server}-7f9c"), "uid": "1",
                "controller": true,
            }],
        },
        "spec": {"initContainers": [{"name": "prefect-guard-migrate", "image": IMAGE}], "containers": []},
        "status": {"phase": "Pending", "initContainerStatuses": [{
            "name": "prefect-guard-migrate", "image": IMAGE, "imageID": "", "ready": code == 0, "restartCount": 3,
            "state": state, "lastState": if code == 0 { json!({}) } else { ended },
        }]},
    })
}
