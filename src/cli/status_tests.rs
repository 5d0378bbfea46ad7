//! What `status` makes of servers and their pods, against an API server that a test plays.

use clap::Parser;
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock;

use super::*;
use crate::decision::{Endpoint, decide};

const IMAGE: &str = "prefecthq/prefect:3.8.8-python3.12";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// A Deployment with a server in it, as it would be stored: with the migration that the guard injects.
fn guarded(name: &str) -> Value {
    let mut object = bare(name);
    let text = object.to_string();
    let request = crate::review::request::Request::of_manifest(&text).unwrap();
    let decision = decide(Endpoint::Mutate, &request, &Policy::default()).unwrap();
    crate::migration::apply(&mut object, &decision.operations).unwrap();
    object
}

fn bare(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": name, "namespace": "data", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{
            "name": "api", "image": IMAGE, "command": ["prefect", "server", "start"],
            "env": [{"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL", "value": "postgresql+asyncpg://h/db"}],
        }]}}},
        "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1},
    })
}

fn pod(server: &str, state: &Value, last: &Value) -> Value {
    json!({
        "metadata": {
            "name": format!("{server}-7f9c-x"), "namespace": "data",
            "creationTimestamp": "2026-01-01T00:01:00Z",
            "labels": {"pod-template-hash": "7f9c"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{server}-7f9c"), "uid": "1",
                "controller": true,
            }],
        },
        "spec": {
            "initContainers": [{"name": "prefect-guard-migrate", "image": IMAGE}], "containers": [],
        },
        "status": {"phase": "Pending", "initContainerStatuses": [{
            "name": "prefect-guard-migrate", "image": IMAGE, "imageID": "", "ready": false, "restartCount": 3,
            "state": state, "lastState": last,
        }]},
    })
}

fn ended(code: i32, message: &str) -> Value {
    json!({"terminated": {
        "exitCode": code, "message": message, "finishedAt": "2026-01-01T00:02:00Z", "reason": "Error",
    }})
}

/// An API that serves these Deployments and Pods in pages of the size it is asked for; a list of what it was asked.
async fn fake(
    mut handle: mock::Handle<Request<Body>, Response<Body>>,
    mut rounds: Vec<(Vec<Value>, Vec<Value>)>,
) -> Vec<String> {
    let mut asked = Vec::new();
    while let Some((request, send)) = handle.next_request().await {
        let uri = request.uri().to_string();
        let value = |key: &str| {
            let pairs = uri.split_once('?').map_or("", |(_, query)| query).split('&');
            pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key).map(|(_, v)| v)
        };
        let (limit, from) = (value("limit").unwrap().parse::<usize>().unwrap(), value("continue"));
        let from: usize = from.map_or(0, |from| from.parse().unwrap());
        let path = request.uri().path();
        let items: &[Value] = match path.rsplit('/').next().unwrap() {
            "deployments" => &rounds[0].0,
            "pods" => &rounds[0].1,
            _ => &[],
        };
        let next = if from + limit < items.len() { (from + limit).to_string() } else { String::new() };
        let page: Vec<_> = items.iter().skip(from).take(limit).collect();
        let answer = json!({"metadata": {"continue": next}, "items": page}).to_string();
        if path.ends_with("pods") && next.is_empty() && rounds.len() > 1 {
            rounds.remove(0);
        }
        asked.push(uri);
        send.send_response(Response::new(Body::from(answer.into_bytes())));
    }
    asked
}

fn status(
    line: &[&str],
    rounds: Vec<(Vec<Value>, Vec<Value>)>,
) -> (anyhow::Result<Outcome>, String, Vec<String>) {
    let args = Line::parse_from([&["status"], line].concat()).args;
    let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let api = tokio::spawn(fake(handle, rounds));
        let client = Client::new(service, "default");
        let mut out = Vec::new();
        let outcome = carry_out(&client, &args, &Policy::default(), &mut out).await;
        drop(client);
        (outcome, String::from_utf8(out).unwrap(), api.await.unwrap())
    })
}

fn of_one(deployment: Value, pods: Vec<Value>) -> (Outcome, Value) {
    let (outcome, text, _) = status(&["--format", "json"], vec![(vec![deployment], pods)]);
    let report: Value = serde_json::from_str(&text).unwrap();
    (outcome.unwrap(), report["servers"][0].clone())
}

#[test]
fn each_state_is_told_from_the_pods() {
    let none = json!({});
    let backoff = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}});
    let refused = "Traceback\nasyncpg.exceptions.InvalidPasswordError: postgresql://u:geheim@h/db";
    let cases = [
        (ended(0, ""), none.clone(), "migrated", Outcome::Clean, ""),
        (
            json!({"running": {"startedAt": "2026-01-01T00:02:00Z"}}),
            none.clone(),
            "migrating",
            Outcome::Pending,
            "",
        ),
        (json!({"running": {}}), ended(1, "gaierror"), "migrating", Outcome::Pending, "try 4"),
        (
            json!({"waiting": {"reason": "PodInitializing"}}),
            none.clone(),
            "waiting",
            Outcome::Pending,
            "has not started",
        ),
        (backoff, ended(1, refused), "failing", Outcome::Refused, "refuses the user or the password"),
        (
            json!({"waiting": {"reason": "ErrImagePull", "message": "no"}}),
            none,
            "failing",
            Outcome::Refused,
            "ErrImagePull: no",
        ),
    ];
    for (state, last, expected, outcome, reason) in cases {
        let (got, server) = of_one(guarded("a"), vec![pod("a", &state, &last)]);
        assert_eq!((server["state"].as_str(), got), (Some(expected), outcome), "{server}");
        assert!(server["reason"].as_str().unwrap().contains(reason), "{server}");
        assert!(!server.to_string().contains("geheim"), "{server}");
        assert_eq!(server["image"], IMAGE);
    }
}

#[test]
fn a_template_that_is_not_as_the_guard_writes_it_is_told() {
    assert_eq!(of_one(bare("a"), vec![]).1["state"], "not-guarded");
    let mut drifted = guarded("a");
    drifted["spec"]["template"]["spec"]["containers"][0]["image"] = "prefecthq/prefect:3.8.9".into();
    assert_eq!(of_one(drifted, vec![]).1["state"], "drifted");
    let mut out = bare("a");
    out["spec"]["template"]["metadata"] = json!({"annotations": {"prefect-guard.io/inject": "false"}});
    let (outcome, server) = of_one(out, vec![]);
    assert_eq!((server["state"].as_str(), outcome), (Some("not-guarded"), Outcome::Refused));
    assert_eq!(server["exemption"], json!({"rules": [], "injection": true, "reason": null}));
    assert_eq!(of_one(guarded("a"), vec![]).1["exemption"], Value::Null);
}

#[test]
fn exemptions_stand_below_the_table_with_their_reason() {
    let exemption = |reason: Option<&str>| crate::decision::Exemption {
        rules: vec![crate::rules::find("PSG109").unwrap()],
        injection: reason.is_none(),
        reason: reason.map(str::to_owned),
    };
    let server = |name: &str, exemption| Server {
        kind: "Deployment".to_owned(),
        namespace: "data".to_owned(),
        name: name.to_owned(),
        image: IMAGE.to_owned(),
        state: State::Idle,
        since: None,
        reason: String::new(),
        pods: 0,
        exemption: Some(exemption),
    };
    let servers = [server("a", exemption(Some("a demo"))), server("b", exemption(None))];
    let mut out = Vec::new();
    print(&servers, Format::Table, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let below = "exempted: Deployment data/a: PSG109: a demo\n\
                 exempted: Deployment data/b: no injection, PSG109: no reason given\n";
    assert!(text.ends_with(below), "{text}");
}

#[test]
fn pods_of_an_earlier_template_prove_nothing() {
    let mut old = pod("a", &ended(0, ""), &json!({}));
    old["spec"]["initContainers"][0]["image"] = "prefecthq/prefect:3.4.0".into();
    assert_eq!(of_one(guarded("a"), vec![old]).1["state"], "waiting");
    let mut behind = guarded("a");
    behind["spec"]["replicas"] = 3.into();
    let (_, server) = of_one(behind, vec![pod("a", &ended(0, ""), &json!({}))]);
    assert_eq!(
        (server["state"].as_str(), server["reason"].as_str()),
        (Some("waiting"), Some("1 of 3 pods are of the present template"))
    );
    let mut unseen = guarded("a");
    unseen["metadata"]["generation"] = 3.into();
    assert_eq!(of_one(unseen, vec![pod("a", &ended(0, ""), &json!({}))]).1["state"], "waiting");
    let mut zero = guarded("a");
    zero["spec"]["replicas"] = 0.into();
    assert_eq!(of_one(zero, vec![]).1["state"], "idle");
}

#[test]
fn wait_ends_when_all_are_migrated_or_the_time_is_up() {
    let round = |state: Value| (vec![guarded("a")], vec![pod("a", &state, &json!({}))]);
    let rounds = vec![round(json!({"running": {}})), round(json!({"running": {}})), round(ended(0, ""))];
    let (outcome, text, asked) = status(&["--wait"], rounds);
    assert_eq!(outcome.unwrap(), Outcome::Clean);
    assert!(text.contains("data/a  migrated"), "{text}");
    assert_eq!(asked.iter().filter(|uri| uri.contains("/pods?")).count(), 3);
    let (outcome, _, _) = status(&["--wait", "--timeout", "1ms"], vec![round(json!({"running": {}}))]);
    assert_eq!(outcome.unwrap(), Outcome::Pending);
    let (outcome, _, _) = status(&["--wait"], vec![(vec![bare("a")], vec![])]);
    assert_eq!(outcome.unwrap(), Outcome::Refused);
    let (outcome, _, _) = status(&["b"], vec![round(ended(0, ""))]);
    assert!(outcome.unwrap_err().to_string().contains("no Prefect server `b`"));
}

#[test]
fn many_servers_are_read_in_pages_of_500() {
    let template = guarded("a");
    let named = |mut object: Value, number: usize| {
        object["metadata"]["name"] = format!("s{number}").into();
        object
    };
    let servers: Vec<_> = (0..1_200).map(|number| named(template.clone(), number)).collect();
    let pods = (0..1_200).map(|number| pod(&format!("s{number}"), &ended(0, ""), &json!({}))).collect();
    let (outcome, text, asked) = status(&[], vec![(servers, pods)]);
    assert_eq!(outcome.unwrap(), Outcome::Clean);
    assert_eq!(text.lines().filter(|line| line.contains("  migrated")).count(), 1_200);
    assert_eq!(asked.len(), 3 + 1 + 3);
    assert!(asked.iter().all(|uri| uri.contains("limit=500")));
}

#[test]
fn only_changes_are_printed_while_watching() {
    let server = |state| Server {
        kind: "Deployment".to_owned(),
        namespace: "data".to_owned(),
        name: "a".to_owned(),
        image: IMAGE.to_owned(),
        state,
        since: Some(0),
        reason: String::new(),
        pods: 1,
        exemption: None,
    };
    let before = BTreeMap::from([(id(&server(State::Migrating)), server(State::Migrating))]);
    let print = |servers: &[Server]| {
        let mut out = Vec::new();
        changes(Some(&before), servers, Format::Table, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(print(&[server(State::Migrating)]), "");
    assert!(print(&[server(State::Migrated)]).starts_with("data/a  migrated"));
    assert_eq!(print(&[]), "data/a is gone\n");
}

#[test]
fn ages_are_short() {
    let ages = [(-5, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (200_000, "2d")];
    for (seconds, expected) in ages {
        assert_eq!(age(seconds), expected);
    }
}
