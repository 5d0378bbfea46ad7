//! What `audit` asks of a cluster and says of it, against an API server that a test plays.

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock;

use super::*;

fn server(name: &str, url: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "data"},
        "spec": {"template": {"spec": {"containers": [{
            "name": "api",
            "image": "prefecthq/prefect:3.8.8-python3.12",
            "command": ["prefect", "server", "start"],
            "env": [{"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL", "value": url}],
        }]}}},
    })
}

fn job(name: &str, owner: Option<&str>) -> Value {
    let owners = owner.map(|kind| json!([{"kind": kind, "name": "o", "controller": true}]));
    json!({
        "metadata": {"name": name, "namespace": "data", "ownerReferences": owners},
        "spec": {"template": {"spec": {"containers": [
            {"name": "m", "image": "p", "command": ["prefect", "server", "database", "reset", "-y"]},
        ]}}},
    })
}

/// Runs `work` against an API that answers the given paths (with their query) in this order.
fn scripted<T>(
    answers: Vec<(&'static str, u16, Value)>,
    work: impl AsyncFnOnce(Client) -> T,
) -> (T, Vec<String>) {
    let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let script = tokio::spawn(async move {
            let mut asked = Vec::new();
            for (path, status, answer) in answers {
                let (request, send) = handle.next_request().await.expect("another request");
                let got = request.uri().to_string();
                assert!(got.starts_with(path), "asked for {got}, expected {path}");
                asked.push(got);
                let body = Body::from(answer.to_string().into_bytes());
                send.send_response(Response::builder().status(status).body(body).unwrap());
            }
            asked
        });
        let outcome = work(Client::new(service, "default")).await;
        (outcome, script.await.unwrap())
    })
}

fn page(items: &[Value], next: &str) -> Value {
    json!({"kind": "List", "metadata": {"continue": next}, "items": items})
}

#[test]
fn reads_every_page_of_every_kind_and_judges_it() {
    let answers = vec![
        ("/apis/apps/v1/deployments?", 200, page(&[server("good", "postgresql+asyncpg://h/db")], "token")),
        ("/apis/apps/v1/deployments?", 200, page(&[json!({"metadata": {"name": "nginx"}})], "")),
        ("/apis/apps/v1/statefulsets?", 200, json!({"items": null})),
        ("/apis/batch/v1/cronjobs?", 200, page(&[], "")),
        ("/apis/batch/v1/jobs?", 200, page(&[job("reset", None), job("owned", Some("CronJob"))], "")),
        ("/api/v1/services?", 200, page(&[], "")),
    ];
    let policy = Policy::default();
    let (report, asked) =
        scripted(answers, async |client| examine(&client, None, &policy, Judge::AsApplied).await.unwrap());
    assert!(asked[0].contains("limit=500") && asked[1].contains("continue=token"), "{asked:?}");
    let found: Vec<_> = report.findings.iter().map(|one| (one.rule.id, one.about.to_string())).collect();
    assert!(found.contains(&("PSG203", "Job data/reset".to_owned())), "{found:?}");
    assert!(!found.iter().any(|(_, about)| about.contains("owned")), "{found:?}");
    assert_eq!(report.outcome(false), Outcome::Refused);
    assert_eq!((report.objects, report.servers), (2, 1), "nginx is not read");
    for format in [Format::Table, Format::Json, Format::Sarif] {
        let mut text = Vec::new();
        report.print(format, false, &mut text).unwrap();
        assert!(String::from_utf8(text).unwrap().contains("PSG203"));
    }
}

#[test]
fn exemptions_are_listed_with_their_reason() {
    let exempted = |name: &str, reason: Option<&str>| {
        let mut object = server(name, "sqlite+aiosqlite:////data/db");
        let own = &mut object["spec"]["template"]["metadata"]["annotations"];
        own["prefect-guard.io/allow"] = json!("ephemeral-sqlite");
        if let Some(reason) = reason {
            own["prefect-guard.io/allow-reason"] = json!(reason);
        }
        object
    };
    // Opted out of the injection, and nothing said of it.
    let mut out = server("out", "postgresql+asyncpg://prefect@db/prefect");
    out["spec"]["template"]["metadata"]["annotations"]["prefect-guard.io/inject"] = json!("false");
    let items = [exempted("demo", Some("a demo,\nnobody misses it")), exempted("silent", None), out];
    let empty = || page(&[], "");
    let answers = vec![
        ("/apis/apps/v1/deployments?", 200, page(&items, "")),
        ("/apis/apps/v1/statefulsets?", 200, empty()),
        ("/apis/batch/v1/cronjobs?", 200, empty()),
        ("/apis/batch/v1/jobs?", 200, empty()),
        ("/api/v1/services?", 200, empty()),
    ];
    let yaml = "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nexemptions: {requireReason: true}\n";
    let policy = Policy::from_yaml(yaml, crate::rules::CATALOGUE).unwrap();
    let (report, _) =
        scripted(answers, async |client| examine(&client, None, &policy, Judge::AsApplied).await.unwrap());
    let unexplained = report.findings.iter().filter(|one| one.rule.id == "PSG903");
    assert_eq!(unexplained.map(|one| one.about.resource.as_str()).collect::<Vec<_>>(), ["silent", "out"]);
    let print = |format| {
        let mut text = Vec::new();
        report.print(format, false, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let table = print(Format::Table);
    assert!(
        table.contains("\nexempted: Deployment data/demo: PSG109: a demo, nobody misses it\n"),
        "{table}"
    );
    assert!(table.contains("\nexempted: Deployment data/silent: PSG109: no reason given\n"), "{table}");
    assert!(table.contains("\nexempted: Deployment data/out: no injection: no reason given\n"), "{table}");
    let json: Value = serde_json::from_str(&print(Format::Json)).unwrap();
    assert_eq!(json["exempted"][2]["injection"], true);
    assert_eq!(json["exempted"][0]["reason"], "a demo, nobody misses it");
    assert_eq!(json["exempted"][1]["reason"], Value::Null);
}

#[test]
fn judged_as_they_stand_servers_without_a_migration_are_reported() {
    let answers = vec![
        (
            "/apis/apps/v1/namespaces/data/deployments?",
            200,
            page(&[server("old", "postgresql+asyncpg://u:p@h/db")], ""),
        ),
        ("/apis/apps/v1/namespaces/data/statefulsets?", 200, page(&[], "")),
        ("/apis/batch/v1/namespaces/data/cronjobs?", 200, page(&[], "")),
        ("/apis/batch/v1/namespaces/data/jobs?", 200, page(&[], "")),
        ("/api/v1/namespaces/data/services?", 200, page(&[], "")),
    ];
    let policy = Policy::default();
    let (report, _) = scripted(answers, async |client| {
        examine(&client, Some("data"), &policy, Judge::AsWritten).await.unwrap()
    });
    assert!(report.findings.iter().any(|one| one.rule.id == "PSG201"));
}

#[test]
fn says_which_right_is_missing() {
    let denied =
        json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403});
    let policy = Policy::default();
    let (outcome, _) = scripted(vec![("/apis/apps/v1/deployments?", 403, denied)], async |client| {
        examine(&client, None, &policy, Judge::AsApplied).await
    });
    let text = format!("{:#}", outcome.unwrap_err());
    assert_eq!(
        text,
        "not allowed to list deployments; grant the verb `list` on `deployments` to this account"
    );
}

#[test]
fn a_list_that_expired_is_begun_anew_once() {
    let gone = json!({"kind": "Status", "status": "Failure", "message": "expired", "reason": "Expired", "code": 410});
    let answers = vec![
        ("/apis/apps/v1/deployments?", 200, page(&[server("a", "x")], "t")),
        ("/apis/apps/v1/deployments?", 410, gone),
        ("/apis/apps/v1/deployments?", 200, page(&[server("a", "x"), server("b", "x")], "")),
    ];
    let resource = &list::workloads()[0];
    let keep = |json: &str| Listed::read(resource, json).map(Some);
    let (found, _) = scripted(answers, async |client| {
        Collection { resource, namespace: None }.list(&client, &keep, &mut |_| {}).await.unwrap()
    });
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].object["kind"], "Deployment");
}

fn one_of_each() -> Vec<(&'static str, u16, Value)> {
    vec![
        (
            "/apis/apps/v1/deployments?",
            200,
            page(
                &[
                    server("bad", "postgresql+psycopg2://u:geheim@h/db"),
                    server("good", "postgresql+asyncpg://h/db"),
                ],
                "",
            ),
        ),
        ("/apis/apps/v1/statefulsets?", 200, page(&[], "")),
        ("/apis/batch/v1/cronjobs?", 200, page(&[], "")),
        ("/apis/batch/v1/jobs?", 200, page(&[], "")),
        ("/api/v1/services?", 200, page(&[], "")),
    ]
}

#[test]
fn reports_for_dashboards_are_one_object_a_namespace() {
    let policy = Policy::default();
    let (report, _) = scripted(one_of_each(), async |client| {
        examine(&client, None, &policy, Judge::AsApplied).await.unwrap()
    });
    for (flavour, api_version) in [
        (Flavour::Openreports, "openreports.io/v1alpha1"),
        (Flavour::Policyreport, "wgpolicyk8s.io/v1alpha2"),
    ] {
        let mut text = Vec::new();
        report.print(Format::Objects(flavour), false, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains("geheim"));
        let list: Value = serde_json::from_str(&text).unwrap();
        let items = list["items"].as_array().unwrap();
        assert_eq!((list["kind"].as_str(), items.len()), (Some("List"), 1));
        assert_eq!(items[0]["apiVersion"], api_version);
        assert_eq!(items[0]["metadata"]["namespace"], "data");
        // The good one is warned of for other things, so neither passes.
        assert_eq!((&items[0]["summary"]["fail"], &items[0]["summary"]["pass"]), (&json!(1), &json!(0)));
        let denied =
            &items[0]["results"].as_array().unwrap().iter().find(|one| one["result"] == "fail").unwrap();
        assert_eq!((&denied["rule"], &denied["resources"][0]["name"]), (&json!("PSG103"), &json!("bad")));
    }
}

#[test]
fn a_report_is_applied_and_a_missing_kind_is_named() {
    let path = "/apis/openreports.io/v1alpha1/namespaces/data/reports/prefect-guard-audit?";
    let policy = Policy::default();
    let stored = json!({
        "apiVersion": "openreports.io/v1alpha1", "kind": "Report", "metadata": {"name": "prefect-guard-audit"},
    });
    let gone =
        json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "NotFound", "code": 404});
    for (status, answer) in [(200, stored), (404, gone)] {
        let mut answers = one_of_each();
        answers.push((path, status, answer));
        let (outcome, asked) = scripted(answers, async |client| {
            let report = examine(&client, None, &policy, Judge::AsApplied).await.unwrap();
            write(&client, &report, Flavour::Openreports).await
        });
        assert!(asked.last().unwrap().contains("fieldManager=prefect-guard-audit"), "{asked:?}");
        match outcome {
            Ok(()) => assert_eq!(status, 200),
            Err(error) => {
                assert!(error.to_string().contains("install that CustomResourceDefinition"), "{error}");
            }
        }
    }
}

#[test]
fn junit_holds_a_test_for_each_finding() {
    let policy = Policy::default();
    let (report, _) = scripted(one_of_each(), async |client| {
        examine(&client, None, &policy, Judge::AsApplied).await.unwrap()
    });
    let mut text = Vec::new();
    report.print(Format::Junit, false, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("failures=\"1\" errors=\"0\""), "{text}");
    assert!(text.contains("<failure message=\"sync-driver: ") && text.contains("PSG103"), "{text}");
    assert_eq!(text.matches("<testcase ").count(), text.matches("</testcase>").count());
    assert!(!text.contains("geheim") && !text.contains("& "), "{text}");
}
