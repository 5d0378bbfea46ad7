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
    assert_eq!((report.objects, report.servers), (2, 1), "nginx is nobody's business");
    for format in [Format::Table, Format::Json, Format::Sarif] {
        let mut text = Vec::new();
        report.print(format, false, &mut text).unwrap();
        assert!(String::from_utf8(text).unwrap().contains("PSG203"));
    }
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
