//! Another mutating webhook that comes after ours and rewrites images, as a registry mirror does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::manifests::{IMAGE, server};
use crate::world::{World, migration, until};

/// What it puts before every image of Docker Hub.
const MIRROR: &str = "mirror.example.com/";

/// A CA in PEM that signed nothing.
pub(crate) fn throw_away_ca() -> String {
    generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate").cert.pem()
}

/// Serves until the process ends; returns the port and the certificate to trust, in PEM.
fn serve() -> (u16, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a pair");
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            std::thread::spawn(move || answer(StreamOwned::new(connection, stream)));
        }
    });
    (port, cert.pem())
}

/// One request, one response, then the connection is closed.
fn answer(mut stream: StreamOwned<ServerConnection, TcpStream>) -> Option<()> {
    let mut received = Vec::new();
    let (head, body) = loop {
        let mut part = [0; 16384];
        let length = stream.read(&mut part).ok().filter(|length| *length > 0)?;
        received.extend(&part[..length]);
        let text = String::from_utf8_lossy(&received);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let wanted: usize = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())?;
        let start = head.len() + 4;
        if received.len() >= start + wanted {
            break (head.len(), received[start..start + wanted].to_vec());
        }
    };
    assert!(head > 0);
    let review: Value = serde_json::from_slice(&body).ok()?;
    let containers = review["request"]["object"]["spec"]["template"]["spec"]["containers"].as_array()?;
    let patch: Vec<Value> = containers
        .iter()
        .enumerate()
        .filter(|(_, container)| container["image"].as_str().is_some_and(|image| !image.starts_with(MIRROR)))
        .map(|(index, container)| {
            let image = format!("{MIRROR}{}", container["image"].as_str().unwrap_or_default());
            json!({"op": "replace", "path": format!("/spec/template/spec/containers/{index}/image"), "value": image})
        })
        .collect();
    let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
    if !patch.is_empty() {
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(json!(patch).to_string()));
    }
    let text = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
        .to_string();
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )
    .ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}

/// Its configuration sorts behind ours, so that it is called after us.
fn registration(world: &World, port: u16, ca: &str) -> String {
    format!(
        "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {{name: zz-{0}, labels: {{prefect-guard-test: {0}}}}}
webhooks:
  - name: mirror.example.com
    clientConfig: {{url: 'https://127.0.0.1:{port}/', caBundle: {1}}}
    rules: [{{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}}]
    namespaceSelector: {{matchLabels: {{prefect-guard-test: {0}}}}}
    sideEffects: None
    failurePolicy: Fail
    admissionReviewVersions: [v1]
",
        world.name,
        STANDARD.encode(ca)
    )
}

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn an_image_that_another_webhook_rewrites_afterwards_is_followed() {
    let world = World::new("mirror", &[]);
    let (port, ca) = serve();
    world.apply(&registration(&world, port, &ca)).done();
    let create = || world.run(&["create", "--dry-run=server", "-o=json", "-f=-"], &server("probe"));
    until("the other webhook is in force", || create().out.contains(MIRROR));
    world.apply(&server("api")).done();
    let stored = world.get("deployment/api");
    let image = format!("{MIRROR}{IMAGE}");
    assert_eq!(stored["spec"]["template"]["spec"]["containers"][0]["image"], image);
    assert_eq!(migration(&stored).expect("injected")["image"], image);
    let before = world.generation("deployment/api");
    world.apply(&server("api")).done();
    assert_eq!(world.generation("deployment/api"), before, "the two do not fight");
}
