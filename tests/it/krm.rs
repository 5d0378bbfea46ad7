//! `inject --krm`: what kustomize and kpt hand to a function, and what they are given back.
//!
//! The lists in `tests/fixtures/krm` were recorded from the two programs.

use std::fs;
use std::process::{Command, Stdio};

use prefect_guard::manifest;
use serde_json::{Value, json};

use crate::chart::helm::tool;
use crate::support::program::{self, Ran};
use crate::support::root;

impl Ran {
    fn list(&self) -> Value {
        read(&self.out)
    }

    fn results(&self) -> Vec<Value> {
        self.list()["results"].as_array().cloned().unwrap_or_default()
    }
}

fn function(arguments: &[&str], input: &str) -> Ran {
    program::run(&[&["inject", "--krm"], arguments].concat(), input)
}

fn recorded(name: &str) -> String {
    fs::read_to_string(root().join("tests/fixtures/krm").join(name)).unwrap()
}

/// The one document of a text.
fn read(text: &str) -> Value {
    let documents = manifest::read(text);
    assert_eq!(documents.len(), 1, "{text}");
    documents[0].content.as_ref().unwrap().as_ref().unwrap().to_json()
}

/// A list of these objects, with this configuration.
fn list(items: &[Value], config: &Value) -> String {
    let mut list = json!({"apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList", "items": items});
    if !config.is_null() {
        list["functionConfig"] = config.clone();
    }
    manifest::emit::block(&list, manifest::emit::Lists::Flush) + "\n"
}

/// A server that nothing can be said against, but for what `url` does to it.
fn server(name: &str, url: &Value) -> Value {
    let mut env = json!({"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL"});
    env.as_object_mut().unwrap().extend(url.as_object().unwrap().clone());
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "data", "annotations": {
            "internal.config.kubernetes.io/path": "prefect/server.yaml", "internal.config.kubernetes.io/index": "2",
        }},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{
                "name": "api", "image": "prefecthq/prefect:3.4.20-python3.12", "args": ["prefect", "server", "start"],
                "env": [env],
            }]},
        }},
    })
}

fn good() -> Value {
    server("good", &json!({"valueFrom": {"secretKeyRef": {"name": "prefect-db", "key": "url"}}}))
}

fn bad() -> Value {
    server("bad", &json!({"value": "postgresql://prefect:hunter2-canary@db/prefect"}))
}

fn policy(fields: &Value) -> Value {
    let mut policy =
        json!({"apiVersion": "prefect-guard.io/v1alpha1", "kind": "Policy", "metadata": {"name": "guard"}});
    policy.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    policy
}

fn migrates(object: &Value) -> bool {
    object
        .pointer("/spec/template/spec/initContainers/0/name")
        .is_some_and(|name| name == "prefect-guard-migrate")
}

#[test]
fn what_kustomize_and_kpt_hand_over_comes_back_with_the_migration() {
    for name in ["kustomize.yaml", "kpt.yaml"] {
        let before = recorded(name);
        let ran = function(&[], &before);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{name}");
        let (mut after, before) = (ran.list(), read(&before));
        assert!(after.get("results").is_none(), "{name}: nothing was found");
        let items = after["items"].as_array_mut().unwrap();
        let server = items.iter_mut().find(|item| item["kind"] == "Deployment").unwrap();
        assert!(migrates(server), "{name}: {server:#}");
        server["spec"]["template"]["spec"].as_object_mut().unwrap().shift_remove("initContainers");
        assert_eq!(after, before, "{name}: all the rest is as it was");
        assert_eq!(function(&[], &ran.out).out, ran.out, "{name}: twice is once");
    }
}

#[test]
fn comments_stay() {
    let (before, after) = (recorded("kpt.yaml"), function(&[], &recorded("kpt.yaml")).out);
    let mut lines = after.lines();
    for line in before.lines() {
        assert!(lines.any(|other| other == line), "the line {line:?} is gone or moved");
    }
}

#[test]
fn what_would_be_refused_is_an_error_among_the_results() {
    let ran = function(&[], &list(&[good(), bad()], &Value::Null));
    assert_eq!(ran.code, 1, "{}", ran.err);
    let results = ran.results();
    let errors: Vec<&Value> = results.iter().filter(|result| result["severity"] == "error").collect();
    let [error] = errors[..] else { panic!("{results:#?}") };
    assert_eq!(error["tags"]["rule"], "PSG103");
    assert_eq!(
        error["resourceRef"],
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "bad", "namespace": "data"})
    );
    assert_eq!(error["field"]["path"], "spec.template.spec.containers[0].env[0]");
    assert_eq!(error["file"], json!({"path": "prefect/server.yaml", "index": 2}));
    assert!(ran.err.contains("refused: Deployment data/bad: PSG103 sync-driver"), "{}", ran.err);
    assert!(!error.to_string().contains("hunter2-canary"));
    let items = &ran.list()["items"];
    assert!(migrates(&items[0]), "the list is complete all the same");
    // What is corrected and run again leaves no old results.
    let mut corrected = ran.list();
    corrected["items"] = json!([good()]);
    let again = function(&[], &manifest::emit::block(&corrected, manifest::emit::Lists::Flush));
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.list().get("results").is_none());
}

#[test]
fn the_policy_comes_with_the_list() {
    let warn = policy(&json!({"mode": "warn"}));
    let in_a_map = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "guard"}, "data": {"policy.yaml": text}});
    let text = "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nmode: warn\n";
    for config in [warn, in_a_map(text)] {
        let ran = function(&[], &list(&[bad()], &config));
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.results().iter().all(|result| result["severity"] == "warning"), "{:#?}", ran.results());
        assert!(!ran.results().is_empty());
        assert!(migrates(&ran.list()["items"][0]));
    }
    let quiet = policy(
        &json!({"namespaces": {"data": {"migration": {"inject": false}, "rules": {"missing-migration": "off"}}}}),
    );
    let ran = function(&[], &list(&[good()], &quiet));
    assert_eq!((ran.code, migrates(&ran.list()["items"][0])), (0, false), "{}", ran.err);
    for empty in [json!({}), json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})] {
        assert_eq!(function(&[], &list(&[good()], &empty)).code, 0);
    }
}

#[test]
fn what_it_cannot_work_with_ends_with_2_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    fs::write(&file, "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\n").unwrap();
    let both = ["--policy", file.to_str().unwrap()];
    let config = |config: Value| list(&[good()], &config);
    let cases: [(&[&str], String, &str); 7] = [
        (&[], config(policy(&json!({"mod": "warn"}))), "`functionConfig`: unknown field `mod`"),
        (&[], config(json!({"kind": "ConfigMap", "data": {"mode": "warn"}})), "has no `policy.yaml`"),
        (&[], config(json!({"apiVersion": "x/v1", "kind": "Other"})), "`functionConfig` is no policy"),
        (&both, config(policy(&json!({}))), "both hold a policy"),
        (&[], fs::read_to_string(root().join("examples/server.yaml")).unwrap(), "is not one document"),
        (&[], fs::read_to_string(root().join("tests/fixtures/cli/list.json")).unwrap(), "is no ResourceList"),
        (&[], "kind: [".to_owned(), "not readable as YAML"),
    ];
    for (arguments, input, said) in cases {
        let ran = function(arguments, &input);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{said}");
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    assert_eq!(function(&["-i"], "").code, 2, "there is no file to write");
}

/// All objects of a kustomization are one document, far larger than one object may be.
#[test]
fn a_large_list_is_read() {
    let mut items: Vec<Value> = (0..150)
        .map(|number| {
            let env: Vec<Value> =
                (0..200).map(|one| json!({"name": format!("A{one}"), "value": "some value"})).collect();
            let mut other = good();
            other["metadata"]["name"] = format!("other-{number}").into();
            other["spec"]["template"]["spec"]["containers"] =
                json!([{"name": "a", "image": "nginx:1", "env": env}]);
            other
        })
        .collect();
    items.push(good());
    let ran = function(&[], &list(&items, &Value::Null));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(migrates(&ran.list()["items"][150]));
}

/// kubectl's own kustomize runs no functions; what it renders goes through a pipe.
#[test]
fn what_kubectl_renders_is_taken_from_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::copy(root().join("examples/server.yaml"), at("server.yaml")).unwrap();
    fs::write(at("kustomization.yaml"), "namePrefix: eu-\nresources: [server.yaml]\n").unwrap();
    let kubectl = || Command::new(tool("kubectl", "PREFECT_GUARD_KUBECTL"));
    let help = kubectl().args(["kustomize", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("--enable-helm") && !help.contains("--enable-exec"), "the page says otherwise");
    let mut rendering =
        kubectl().arg("kustomize").arg(folder.path()).stdout(Stdio::piped()).spawn().expect("kubectl runs");
    let output = Command::new(env!("CARGO_BIN_EXE_prefect-guard"))
        .args(["inject", "-"])
        .stdin(rendering.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(rendering.wait().unwrap().success() && output.status.success());
    let documents = manifest::read(std::str::from_utf8(&output.stdout).unwrap());
    let objects: Vec<Value> =
        documents.iter().flat_map(manifest::Document::objects).map(|object| object.node.to_json()).collect();
    let server = objects.iter().find(|object| object["metadata"]["name"] == "eu-prefect-server").unwrap();
    assert!(migrates(server), "{server:#}");
}

/// Every configuration that the page shows is one that the function takes.
#[test]
fn the_examples_of_the_page_are_taken() {
    let page = fs::read_to_string(root().join("docs/check.md")).unwrap();
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let ours = |block: &&str| block.contains("config.kubernetes.io/function");
    let examples: Vec<&str> = blocks.filter(ours).collect();
    assert!(!examples.is_empty());
    for block in examples {
        let ran = function(&[], &list(&[bad()], &read(block)));
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.results().iter().any(|result| result["severity"] == "warning"));
        // The script that it names is the one that the page shows.
        let named = block.split("path: ./").nth(1).unwrap().lines().next().unwrap();
        assert!(page.contains(&format!("deploy/{named}")), "{named}");
    }
}
