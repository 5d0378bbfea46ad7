//! What is injected, and that applying the same again changes nothing.

use serde_json::Value;

use crate::manifests::{IMAGE, job, server};
use crate::world::{World, init_containers, migration};

const NEWER: &str = "prefecthq/prefect:3.6.0-python3.12";

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn a_created_server_gets_its_migration() {
    let world = World::new("create", &[]);
    let shown = world.run(&["create", "--dry-run=server", "-o=json", "-f=-"], &server("api")).done();
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert!(migration(&shown).is_some(), "a dry run shows it");
    assert!(!world.kubectl(&["get", "deployment", "api"]).ok, "and stores nothing");
    world.apply(&server("api")).done();
    let stored = world.get("deployment/api");
    let ours = migration(&stored).expect("injected");
    assert_eq!(ours["image"], IMAGE);
    assert_eq!(ours["env"], stored["spec"]["template"]["spec"]["containers"][0]["env"]);
    let words = ours["args"].as_array().or(ours["command"].as_array()).expect("a command");
    assert_eq!(words[words.len() - 4..], ["server", "database", "upgrade", "-y"].map(Value::from));
}

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn set_image_takes_the_migration_along() {
    let world = World::new("image", &[]);
    world.apply(&server("api")).done();
    world.kubectl(&["set", "image", "deployment/api", &format!("api={NEWER}")]).done();
    let ours = migration(&world.get("deployment/api")).expect("still there");
    assert_eq!(ours["image"], NEWER);
}

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn applying_again_from_the_client_makes_no_new_generation() {
    let world = World::new("client", &[]);
    world.apply(&server("api")).done();
    let before = world.generation("deployment/api");
    for _ in 0..2 {
        let said = world.apply(&server("api")).done();
        assert!(said.contains("unchanged"), "{said}");
    }
    assert_eq!(world.generation("deployment/api"), before);
    world.apply(&server("api").replace("name: db, key: url", "name: other, key: url")).done();
    let stored = world.get("deployment/api");
    assert!(
        migration(&stored).expect("there").to_string().contains("other"),
        "a changed Secret reference is followed"
    );
}

/// As Argo CD does with `ServerSideApply=true`: another manager, forced, the same manifest at every sync.
#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn applying_again_from_the_server_makes_no_new_generation() {
    let world = World::new("server", &[]);
    let sync = |manager: &str, manifest: &str| {
        let manager = format!("--field-manager={manager}");
        world.run(&["apply", "--server-side", "--force-conflicts", &manager, "-f=-"], manifest).done()
    };
    sync("argocd-controller", &server("api"));
    let before = world.generation("deployment/api");
    sync("argocd-controller", &server("api"));
    sync("argocd-controller", &server("api"));
    assert_eq!(world.generation("deployment/api"), before);
    let stored = world.get("deployment/api");
    let managers = stored["metadata"]["managedFields"].to_string();
    assert!(migration(&stored).is_some());
    assert!(
        !managers.contains("prefect-guard-migrate"),
        "nobody owns it, so nobody's next apply takes it away: {managers}"
    );
    sync("argocd-controller", &server("api").replace(IMAGE, NEWER));
    assert_eq!(migration(&world.get("deployment/api")).expect("there")["image"], NEWER);
    let mended = world.generation("deployment/api");
    sync("kustomize-controller", &server("api").replace(IMAGE, NEWER));
    assert_eq!(world.generation("deployment/api"), mended, "another manager with the same manifest");
}

/// An initContainer that joins by server-side apply is stored behind ours; ours has to come last again.
#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn ours_stays_behind_an_init_container_that_joins_and_goes() {
    let world = World::new("order", &[]);
    let with_wait = server("api").replace(
        "      containers:\n",
        "      initContainers: [{name: wait-for-db, image: 'busybox:1.37', command: [sh, -c, 'sleep 1']}]\n      containers:\n",
    );
    let apply: &[&[&str]] = &[&["apply", "--server-side", "--force-conflicts", "-f=-"], &["apply", "-f=-"]];
    for (round, apply) in apply.iter().enumerate() {
        let name = format!("api{round}");
        let named = |manifest: &str| {
            manifest
                .replace("name: api\n", &format!("name: {name}\n"))
                .replace("app: api", &format!("app: {name}"))
        };
        let names = || -> Vec<String> {
            let stored = world.get(&format!("deployment/{name}"));
            init_containers(&stored)
                .iter()
                .map(|container| container["name"].as_str().expect("name").to_owned())
                .collect()
        };
        world.run(apply, &named(&server("api"))).done();
        world.run(apply, &named(&with_wait)).done();
        assert_eq!(names(), ["wait-for-db", "prefect-guard-migrate"], "{apply:?}");
        let before = world.generation(&format!("deployment/{name}"));
        world.run(apply, &named(&with_wait)).done();
        assert_eq!(world.generation(&format!("deployment/{name}")), before, "{apply:?}");
        world.run(apply, &named(&server("api"))).done();
        assert_eq!(names(), ["prefect-guard-migrate"], "{apply:?}");
    }
}

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn opting_out_takes_it_away_again() {
    let world = World::new("optout", &[]);
    world.apply(&server("api")).done();
    let out = server("api").replace(
        "    metadata: {labels: {app: api}}",
        "    metadata: {labels: {app: api}, annotations: {prefect-guard.io/inject: 'false'}}",
    );
    let said = world.apply(&out);
    assert!(said.ok && said.err.contains("PSG201"), "a warning says what was given up: {said:?}");
    assert!(migration(&world.get("deployment/api")).is_none());
}

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn what_leaves_the_template_alone_goes_by() {
    let world = World::new("calm", &[]);
    world.apply(&server("api")).done();
    let before = world.guard().answered();
    world.kubectl(&["scale", "deployment/api", "--replicas=1"]).done();
    world.kubectl(&["scale", "deployment/api", "--replicas=0"]).done();
    world.kubectl(&["annotate", "deployment/api", "a=b"]).done();
    world.kubectl(&["label", "deployment/api", "a=b"]).done();
    world
        .kubectl(&["patch", "deployment/api", "-p", r#"{"metadata":{"finalizers":["example.com/wait"]}}"#])
        .done();
    world.kubectl(&["delete", "deployment/api", "--wait=false"]).done();
    world.kubectl(&["patch", "deployment/api", "-p", r#"{"metadata":{"finalizers":null}}"#]).done();
    assert_eq!(world.guard().answered(), before, "none of these is asked about");
    world.apply(&server("api")).done();
    world.kubectl(&["rollout", "restart", "deployment/api"]).done();
    assert!(world.guard().answered() > before, "a restart changes the template");
    assert!(migration(&world.get("deployment/api")).is_some());
}

/// A stand-in for prefect-operator: at each reconcile it puts the whole spec in the place of what is stored.
#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn an_operator_that_replaces_the_spec_makes_no_new_generation() {
    let world = World::new("operator", &[]);
    let owner = "metadata:\n  ownerReferences: [{apiVersion: prefect.io/v1, kind: PrefectServer, name: p, \
         uid: 5f1c4f6a-0000-4000-8000-000000000000, controller: true}]\n  name: api\n";
    let owned = server("api").replace("metadata:\n  name: api\n", owner);
    world.run(&["create", "-f=-"], &owned).done();
    let before = world.get("deployment/api");
    assert!(migration(&before).is_some() && before["metadata"]["ownerReferences"].is_array());
    for _ in 0..10 {
        world.run(&["replace", "-f=-"], &owned).done();
    }
    let after = world.get("deployment/api");
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(
        after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"],
        "nothing was stored"
    );
}

const MESSAGE_POLICY: &str = "/spec/containers/0/terminationMessagePolicy";

/// A Job that runs the upgrade, with something before its `args`.
fn upgrade(name: &str, arguments: &str, more: &str) -> String {
    let database =
        "env: [{name: PREFECT_API_DATABASE_CONNECTION_URL, valueFrom: {secretKeyRef: {name: db, key: url}}}]";
    job(name, arguments).replace("args:", &format!("{database}, {more}args:"))
}

/// A Job with the template of another, in which the field that shows the last lines is what the API server makes of none.
/// A command with the lock in it is left alone, so it is stored like that.
fn locked_before(name: &str, template: &Value) -> String {
    let mut template = template.clone();
    template["metadata"] = serde_json::json!({});
    *template.pointer_mut(MESSAGE_POLICY).expect("there") = Value::from("File");
    let spec = serde_json::json!({"suspend": true, "template": template});
    serde_json::json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
        .to_string()
}

/// The template of a Job is immutable: what the guard makes of it has to come out the same ever after.
#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn a_locked_job_is_applied_again_as_it_stands() {
    const UPGRADE: &str = "prefect, server, database, upgrade, -y";
    const SCRIPT: &str = "'set -e; prefect server database upgrade -y'";
    let world = World::new("job", &[]);
    let jobs = [
        ("plain", UPGRADE, ""),
        ("written", UPGRADE, "terminationMessagePolicy: File, "),
        ("script", SCRIPT, "command: [sh, -c], "),
    ];
    let ways: [&[&str]; 2] = [&["apply", "-f=-"], &["apply", "--server-side", "--force-conflicts", "-f=-"]];
    for (apply, way) in ways.into_iter().zip(["client", "server"]) {
        for (what, arguments, more) in jobs {
            let spec = |name: &str| world.get(&format!("job/{name}"))["spec"].clone();
            let again = |name: &str| {
                let before = spec(name);
                world.run(apply, &upgrade(name, arguments, more)).done();
                world.run(apply, &upgrade(name, arguments, more)).done();
                assert_eq!(spec(name), before, "{name}");
                before["template"].clone()
            };
            let name = format!("{what}-{way}");
            world.run(apply, &upgrade(&name, arguments, more)).done();
            let template = again(&name);
            assert_eq!(template.pointer(MESSAGE_POLICY), Some(&Value::from("FallbackToLogsOnError")));
            assert!(template.to_string().contains("prefectg"), "it takes the lock");
            assert_eq!(world.generation(&format!("job/{name}")), 1);
            let earlier = format!("earlier-{name}");
            world.run(&["create", "-f=-"], &locked_before(&earlier, &template)).done();
            assert_eq!(again(&earlier).pointer(MESSAGE_POLICY), Some(&Value::from("File")));
        }
    }
}
