//! The promise of docs/emergency.md, line by line, with the guard stopped and its webhooks standing.

use crate::manifests::{IMAGE, deployment, job, nginx, server, worker};
use crate::world::{World, until};

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn only_a_changed_server_is_refused_while_the_guard_is_down() {
    let mut world = World::new("outage", &[]);
    world.apply(&server("api")).done();
    world.apply(&worker("worker")).done();
    world.apply(&deployment(&world.name, &own_container())).done();
    world.stop_guard();
    let refused = |said: crate::world::Said| {
        let text = said.refused();
        assert!(text.contains(r#"failed calling webhook "validate.prefect-guard.io""#), "{text}");
    };
    until("the guard is missed", || !world.kubectl(&["rollout", "restart", "deployment/api"]).ok);
    refused(world.kubectl(&["rollout", "restart", "deployment/api"]));
    refused(world.kubectl(&["set", "image", "deployment/api", "api=prefecthq/prefect:3.6.0"]));
    refused(world.apply(&server("new")));

    world.apply(&nginx("web")).done();
    world.kubectl(&["set", "image", "deployment/web", "web=nginx:1.30"]).done();
    world.kubectl(&["rollout", "restart", "deployment/worker"]).done();
    world.apply(&worker("worker2")).done();
    world.apply(&job("flow-run", "prefect, flow-run, execute")).done();
    world.apply(&job("migrate", "prefect, server, database, upgrade, -y")).done();
    world.apply(&evicted()).done();
    world.kubectl(&["delete", "pod/api-evicted", "--grace-period=0", "--force"]).done();
    world.kubectl(&["scale", "deployment/api", "--replicas=1"]).done();
    world.kubectl(&["scale", "deployment/api", "--replicas=0"]).done();
    world.kubectl(&["annotate", "deployment/api", "a=b"]).done();
    world
        .kubectl(&[
            "patch",
            "deployment/api",
            "--subresource=status",
            "-p",
            r#"{"status":{"observedGeneration":1}}"#,
        ])
        .done();
    world
        .kubectl(&[
            "set",
            "image",
            &format!("deployment/{}", world.name),
            "guard=ghcr.io/prefect-guard/prefect-guard:9",
        ])
        .done();
    world.kubectl(&["rollout", "restart", &format!("deployment/{}", world.name)]).done();
    world
        .kubectl(&["patch", "deployment/api", "-p", r#"{"metadata":{"finalizers":["example.com/wait"]}}"#])
        .done();
    world.kubectl(&["delete", "deployment/api", "--cascade=foreground", "--wait=false"]).done();
    world.kubectl(&["patch", "deployment/api", "-p", r#"{"metadata":{"finalizers":null}}"#]).done();
}

/// The way out of docs/emergency.md.
#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn the_emergency_exit_opens() {
    let mut world = World::new("exit", &[]);
    world.stop_guard();
    world.apply(&server("api")).refused();
    world
        .kubectl(&["delete", "validatingwebhookconfiguration,mutatingwebhookconfiguration", &world.name])
        .done();
    until("servers go by again", || world.apply(&server("api")).ok);
}

/// A namespace goes away with servers in it, while the guard is down.
#[test]
#[ignore = "needs an API server and a controller manager: run tests/cluster/run"]
fn a_namespace_can_be_deleted_while_the_guard_is_down() {
    let mut world = World::new("namespace", &[]);
    world.apply(&server("api")).done();
    world.stop_guard();
    world.kubectl(&["delete", "namespace", &world.name, "--wait=false"]).done();
    until("the namespace is gone", || !world.kubectl(&["get", "namespace", &world.name]).ok);
}

/// A container as the chart's own Deployment has one.
fn own_container() -> String {
    "        - {name: guard, image: 'ghcr.io/prefect-guard/prefect-guard:1', args: [serve]}\n".to_owned()
}

/// What a ReplicaSet makes anew after an eviction.
fn evicted() -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: api-evicted, labels: {{app: api}}}}, \
         spec: {{nodeName: gone, containers: [{{name: api, image: '{IMAGE}', args: [prefect, server, start]}}]}}}}"
    )
}
