//! What never reaches the guard.

use crate::manifests::{nginx, worker};
use crate::world::World;

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn what_is_no_server_is_never_sent() {
    let world = World::new("filter", &[]);
    let before = world.guard().answered();
    for manifest in [nginx("web"), worker("worker")] {
        world.apply(&manifest).done();
    }
    world.kubectl(&["set", "image", "deployment/web", "web=nginx:1.30"]).done();
    world.kubectl(&["rollout", "restart", "deployment/worker"]).done();
    assert_eq!(world.guard().answered(), before);
}

/// Every object that the chart can render, given to the API server as a user's pipeline would.
#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn every_rendering_is_accepted() {
    let world = World::bare("accept");
    let kinds = r#"kinds=[{"group":"argoproj.io","versions":["v1alpha1"],"kind":"Rollout","resource":"rollouts","template":"/spec/template"}]"#;
    let everything = "breakGlass.enabled=true,webhook.secrets.enabled=true,monitoring.dashboard.enabled=true";
    let rows: &[&[&str]] =
        &[&[], &["--set", everything, "--set-json", kinds], &["--set", "hostNetwork=true,port=10260"]];
    for row in rows {
        let mut arguments = vec!["template", &world.name, crate::world::chart(), "--namespace", &world.name];
        arguments.extend(*row);
        let rendered = world.helm(&arguments).done();
        let said = world.run(&["apply", "--dry-run=server", "--validate=strict", "-f=-"], &rendered);
        assert!(said.ok && said.err.is_empty(), "{row:?}: {said:?}");
    }
}
