//! The filter held against generated objects, and against the library's own judgement.

use prefect_guard::decision::{Endpoint, decide};
use prefect_guard::policy::Policy;
use prefect_guard::review::Request;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::chart::filter::{Filter, Outcome, create, custom, deployment, jobs, servers};

/// Few cases, since each compiles a hundred regular expressions; `PROPTEST_CASES` asks for more.
fn runner(cases: u32) -> TestRunner {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    TestRunner::new(ProptestConfig::with_cases(asked.unwrap_or(cases)))
}

/// A value, or nothing, or null: what an author may leave of a field.
fn maybe(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    prop_oneof![3 => value.prop_map(Some), 1 => Just(Some(Value::Null)), 1 => Just(None)].boxed()
}

fn fields(parts: Vec<(&'static str, BoxedStrategy<Option<Value>>)>) -> BoxedStrategy<Value> {
    let (names, values): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    values
        .prop_map(move |values| {
            let pairs =
                names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
            Value::Object(pairs.collect())
        })
        .boxed()
}

fn list(item: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    let item = prop_oneof![5 => item, 1 => Just(Value::Null)];
    prop::collection::vec(item, 0..4).prop_map(Value::Array).boxed()
}

fn word() -> BoxedStrategy<Value> {
    const WORDS: &[&str] = &[
        "",
        "prefect",
        "server",
        "start",
        "worker",
        "nginx",
        "prefecthq/prefect:3",
        "$(X)",
        "database",
        "PREFECT_API_DATABASE_X",
    ];
    prop::sample::select(WORDS).prop_map(|word| json!(word)).boxed()
}

fn pod_template() -> BoxedStrategy<Value> {
    let env = fields(vec![("name", maybe(word())), ("value", maybe(word()))]);
    let container = fields(vec![
        ("name", maybe(word())),
        ("image", maybe(word())),
        ("command", maybe(list(word()))),
        ("args", maybe(list(word()))),
        ("env", maybe(list(env))),
    ]);
    let spec = fields(vec![
        ("containers", maybe(list(container.clone()))),
        ("initContainers", maybe(list(container))),
    ]);
    let annotations = fields(vec![("prefect-guard.io/inject", maybe(word())), ("other", maybe(word()))]);
    let metadata = fields(vec![("annotations", maybe(annotations))]);
    fields(vec![("metadata", maybe(metadata)), ("spec", maybe(spec))])
}

/// An object that keeps its template where a Deployment, a CronJob or the kind of the matrix does.
fn object() -> BoxedStrategy<Value> {
    let wrapped = |inner: BoxedStrategy<Value>, name: &'static str| fields(vec![(name, maybe(inner))]);
    let in_job = wrapped(wrapped(pod_template(), "template"), "spec");
    let spec = prop_oneof![
        wrapped(pod_template(), "template"),
        wrapped(in_job, "jobTemplate"),
        wrapped(wrapped(pod_template(), "template"), "pods"),
    ];
    let deleted = maybe(Just(json!("2026-01-01T00:00:00Z")));
    let metadata = fields(vec![("name", maybe(word())), ("deletionTimestamp", deleted)]);
    fields(vec![("metadata", maybe(metadata)), ("spec", maybe(spec.boxed()))])
}

fn any_request() -> BoxedStrategy<Value> {
    let operation = prop::sample::select(&["CREATE", "UPDATE", "DELETE"][..]);
    (operation, maybe(object()), maybe(object()), any::<bool>())
        .prop_map(|(operation, object, old, same)| {
            let object = object.unwrap_or(Value::Null);
            let old = if same { object.clone() } else { old.unwrap_or(Value::Null) };
            json!({"operation": operation, "namespace": "a", "resource": {"resource": "deployments"},
                "object": object, "oldObject": old})
        })
        .boxed()
}

#[test]
fn no_expression_ever_errs() {
    let all = [servers(), jobs(), custom()];
    let mut runner = runner(40);
    let outcome = runner.run(&any_request(), |request| {
        for filter in &all {
            prop_assert!(filter.evaluate(&request).is_ok(), "{:?}", filter.evaluate(&request));
        }
        Ok(())
    });
    outcome.expect("no expression errs");
}

#[test]
fn unchanged_terminating_and_bare_objects_are_spared() {
    let filter = servers();
    let mut runner = runner(30);
    let outcome = runner.run(&any_request(), |mut request| {
        request["object"]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        prop_assert_ne!(filter.evaluate(&request), Ok(Outcome::Sent));
        request["object"]["metadata"] = json!({});
        request["oldObject"] = request["object"].clone();
        request["operation"] = json!("UPDATE");
        prop_assert_ne!(filter.evaluate(&request), Ok(Outcome::Sent));
        Ok(())
    });
    outcome.expect("spared");
}

/// What the library finds in an object that the filter would have kept from it.
fn missed(filter: &Filter, object: &Value) -> Option<String> {
    let mut request = create(object);
    request["uid"] = json!("1");
    request["kind"] = json!({"group": if object["kind"] == "Job" { "batch" } else { "apps" }, "version": "v1", "kind": object["kind"]});
    if filter.evaluate(&request).expect("no error") == Outcome::Sent {
        return None;
    }
    let text = request.to_string();
    let request: Request<'_> = serde_json::from_str(&text).expect("a request");
    // An object that its kind does not allow is refused by the API server before any webhook.
    let decision = decide(Endpoint::Validate, &request, &Policy::default()).unwrap_or_default();
    let denied = decision.denies().then(|| decision.findings[0].rule.id.to_owned());
    denied.or((decision.servers > 0).then(|| "a server".to_owned()))
}

/// Words that make servers often, plainly and through what Kubernetes and shells expand.
fn telling_word() -> BoxedStrategy<Value> {
    const WORDS: &[&str] = &[
        "prefect",
        "server",
        "start",
        "services",
        "orion",
        "/app/.venv/bin/prefect",
        "python",
        "-m",
        "tini",
        "--",
        "sh",
        "-c",
        "exec prefect server start",
        "$(BIN)",
        "$(ROLE)",
        "prefect $ROLE start",
        "$BIN server start",
        "uvicorn",
        "prefect.server.api.server:create_app",
        "database",
        "reset",
        "-y",
        "worker",
        "/opt/prefect/entrypoint.sh",
        "/start.sh",
    ];
    prop::sample::select(WORDS).prop_map(|word| json!(word)).boxed()
}

fn telling_container() -> BoxedStrategy<Value> {
    const IMAGES: &[&str] = &["corp/base:1", "prefecthq/prefect:3.4.20", "corp/flows@sha256:00"];
    let words = || maybe(prop::collection::vec(telling_word(), 0..5).prop_map(Value::Array));
    let variable = |name: &'static str, values: &'static [&'static str]| {
        prop::sample::select(values).prop_map(move |value| json!({"name": name, "value": value})).boxed()
    };
    let env = [variable("BIN", &["prefect", "nginx"]), variable("ROLE", &["server", "worker"])];
    let image = prop::sample::select(IMAGES).prop_map(|image| json!(image));
    fields(vec![
        ("name", Just(Some(json!("a"))).boxed()),
        ("image", image.prop_map(Some).boxed()),
        ("command", words()),
        ("args", words()),
        ("env", maybe(env.prop_map(|variables| json!(variables)))),
    ])
}

/// The promise of the filter: whatever the library calls a server, or would refuse, reaches it.
#[test]
fn nothing_that_the_library_would_judge_is_filtered_out() {
    let filter = servers();
    let mut runner = runner(120);
    let servers = std::cell::Cell::new(0);
    let outcome = runner.run(&(telling_container(), any::<bool>()), |(container, init)| {
        let pod = match init {
            true => json!({"containers": [{"name": "web", "image": "nginx"}], "initContainers": [container]}),
            false => json!({"containers": [container]}),
        };
        let object = deployment(&pod);
        servers.set(servers.get() + usize::from(filter.evaluate(&create(&object)) == Ok(Outcome::Sent)));
        prop_assert_eq!(missed(&filter, &object), None);
        Ok(())
    });
    outcome.expect("nothing is missed");
    assert!(servers.get() > 12, "only {} of the cases were sent", servers.get());
}

#[test]
fn no_job_that_the_library_would_refuse_is_filtered_out() {
    let filter = jobs();
    for command in [
        json!(["prefect", "server", "database", "reset", "-y"]),
        json!(["sh", "-c", "prefect server database downgrade -y"]),
        json!(["prefect", "server", "database", "upgrade", "-y"]),
    ] {
        let container = json!({"name": "a", "image": "prefecthq/prefect:3.4.20", "command": command});
        let job = json!({"kind": "Job", "metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": [container]}}}});
        assert_eq!(missed(&filter, &job), None, "{job}");
        assert_eq!(filter.evaluate(&create(&job)), Ok(Outcome::Sent));
    }
}
