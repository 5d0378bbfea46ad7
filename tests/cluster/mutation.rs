//! What is injected, and that applying the same again changes nothing.

use serde_json::Value;

use crate::manifests::{IMAGE, server};
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
