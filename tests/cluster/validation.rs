//! What is refused, and how kubectl prints it.

use crate::manifests::{IMAGE, job, nginx, server, server_with};
use crate::world::{World, migration, until};

/// In every URL here; it may be in no output.
const CANARY: &str = "hunter2-canary";

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn a_refusal_names_the_place_and_the_remedy_and_no_secret() {
    let world = World::new("refusal", &[]);
    let bad = server_with("api", &format!("postgresql://prefect:{CANARY}@db:5432/prefect"));
    let said = world.apply(&bad).refused();
    assert!(said.contains(r#"admission webhook "validate.prefect-guard.io" denied the request:"#), "{said}");
    for word in
        ["PSG103", "container `api`", "`PREFECT_API_DATABASE_CONNECTION_URL`", "help:", "postgresql+asyncpg"]
    {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
    assert!(!said.contains("PSG201"), "what mutating mends is not held against the author: {said}");
    assert!(!said.contains(CANARY), "{said}");
    assert!(!world.kubectl(&["get", "deployment", "api"]).ok, "nothing was stored");
}

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn warnings_reach_the_terminal() {
    let world = World::new("warning", &[]);
    let said =
        world.apply(&server_with("api", &format!("postgresql+asyncpg://prefect:{CANARY}@db:5432/prefect")));
    assert!(said.ok && said.err.contains("Warning: ") && said.err.contains("PSG112"), "{said:?}");
    assert!(!format!("{said:?}").contains(CANARY), "{said:?}");
}

/// A server that was faulty before the guard came can be restarted and scaled; only new faults are refused.
#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn old_faults_only_warn() {
    let world = World::new("ratchet", &[]);
    world.kubectl(&["label", "namespace", &world.name, "prefect-guard.io/enabled=false"]).done();
    until("the namespace is left out", || world.apply(&server_with("api", "mysql://db/prefect")).ok);
    world.kubectl(&["label", "namespace", &world.name, "prefect-guard.io/enabled-"]).done();
    until("the namespace is watched again", || !world.apply(&server_with("other", "mysql://db/prefect")).ok);
    let said = world.kubectl(&["rollout", "restart", "deployment/api"]);
    assert!(said.ok && said.err.contains("PSG102"), "{said:?}");
    world
        .kubectl(&["set", "env", "deployment/api", "PREFECT_API_DATABASE_CONNECTION_URL=mssql://db/prefect"])
        .refused();
}

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn destructive_jobs_are_refused_and_flow_runs_are_not_looked_at() {
    let world = World::new("jobs", &[]);
    let said = world.apply(&job("reset", "prefect, server, database, reset, -y")).refused();
    assert!(said.contains(r#""jobs.prefect-guard.io" denied"#) && said.contains("PSG203"), "{said}");
    let before = world.guard().answered();
    world.apply(&job("flow-run", "prefect, flow-run, execute")).done();
    assert_eq!(world.guard().answered(), before);
}

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn labelled_secrets_are_checked_and_no_others_are_sent() {
    let world = World::new("secrets", &["--set", "webhook.secrets.enabled=true"]);
    let secret = |name: &str, labels: &str, url: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, labels: {{{labels}}}}}, stringData: {{url: '{url}'}}}}"
        )
    };
    let url = format!("postgresql://prefect:{CANARY}@db/prefect");
    let before = world.guard().answered();
    world.apply(&secret("other", "", &url)).done();
    assert_eq!(world.guard().answered(), before);
    let said = world.apply(&secret("db", "prefect-guard.io/database-url: url", &url)).refused();
    assert!(said.contains(r#""secrets.prefect-guard.io" denied"#) && said.contains("PSG103"), "{said}");
    assert!(!said.contains(CANARY), "{said}");
    world
        .apply(&secret(
            "db",
            "prefect-guard.io/database-url: url",
            &url.replace("postgresql:", "postgresql+asyncpg:"),
        ))
        .done();
}

/// Whoever holds the right passes; whoever does not is refused as before.
#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn the_glass_can_be_broken_by_whom_it_is_for() {
    let world = World::bare("glass");
    world.kubectl(&["create", "role", "deploy", "--verb=create", "--resource=deployments.apps"]).done();
    world.kubectl(&["create", "rolebinding", "deploy", "--role=deploy", "--user=jane", "--user=joe"]).done();
    // Nothing answers at that port: only those who pass by get anything done.
    std::fs::write(world.folder.path().join("ca.crt"), crate::foreign::throw_away_ca()).expect("a file");
    world.register(&["--set", "breakGlass.enabled=true"]);
    let binding = format!("{}-jane", world.name);
    let role = format!("--clusterrole={}-break-glass", world.name);
    world.kubectl(&["create", "clusterrolebinding", &binding, &role, "--user=jane"]).done();
    world
        .kubectl(&["label", "clusterrolebinding", &binding, &format!("prefect-guard-test={}", world.name)])
        .done();
    let create = |who: &str| world.run(&["create", "--dry-run=server", "--as", who, "-f=-"], &server("api"));
    until("the webhooks are in force", || create("joe").err.contains("validate.prefect-guard.io"));
    until("jane passes by", || create("jane").ok);
    create("joe").refused();
}

/// A kind of the policy's: its filter bears nulls, it is injected, and never blocks.
#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn a_kind_of_your_own_is_treated_as_a_deployment() {
    let mut world = World::bare("kinds");
    let group = format!("{}.example.com", world.name);
    world.apply(&crate::manifests::definition(&world.name)).done();
    let policy = world.folder.path().join("policy.yaml");
    let text = format!(
        "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nkinds: [{{group: {group}, kind: Fleet, template: /spec/pods/template}}]\n"
    );
    std::fs::write(&policy, text).expect("a file");
    world.start_guard(Some(&policy));
    let kinds = format!(
        r#"kinds=[{{"group":"{group}","versions":["v1"],"kind":"Fleet","resource":"fleets","template":"/spec/pods/template"}}]"#
    );
    world.register(&["--set-json", &kinds]);
    let fleet = |name: &str, template: &str| {
        format!(
            "{{apiVersion: {group}/v1, kind: Fleet, metadata: {{name: {name}}}, spec: {{pods: {{template: {template}}}}}}}"
        )
    };
    let template = format!(
        "{{spec: {{containers: [{{name: api, image: '{IMAGE}', args: [prefect, server, start], \
         env: [{{name: PREFECT_API_DATABASE_CONNECTION_URL, valueFrom: {{secretKeyRef: {{name: db, key: url}}}}}}]}}]}}}}"
    );
    until("the kind is served", || world.kubectl(&["get", "fleets"]).ok);
    until("the webhooks are in force", || {
        let said = world.run(&["create", "--dry-run=server", "-o=json", "-f=-"], &fleet("probe", &template));
        said.out.contains("prefect-guard-migrate")
    });
    world.apply(&fleet("none", "null")).done();
    world.apply(&fleet("empty", "{spec: null}")).done();
    world.apply(&fleet("nulls", "{metadata: null, spec: {containers: [null, {name: null, image: null, args: [null]}], initContainers: null}}")).done();
    let bad =
        template.replace("valueFrom: {secretKeyRef: {name: db, key: url}}", "value: 'mysql://db/prefect'");
    let said = world.apply(&fleet("bad", &bad)).refused();
    assert!(said.contains(&format!(r#""validate-fleets.{group}.prefect-guard.io" denied"#)), "{said}");
    world.stop_guard();
    world.apply(&fleet("bad", &bad)).done();
}

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn audit_and_eject_see_what_runs() {
    let mut world = World::alone("audit", &[]);
    world.apply(&server("api")).done();
    world.apply(&nginx("web")).done();
    let clean = world.prefect_guard(&["audit", "-n", &world.name]);
    assert!(clean.ok, "{clean:?}");
    world.kubectl(&["label", "namespace", &world.name, "prefect-guard.io/enabled=false"]).done();
    until("the namespace is left out", || {
        world.apply(&server_with("bad", &format!("postgresql://u:{CANARY}@db/p"))).ok
    });
    let faulty = world.prefect_guard(&["audit", "-n", &world.name]);
    assert!(!faulty.ok && faulty.out.contains("PSG103") && faulty.out.contains("bad"), "{faulty:?}");
    assert!(!format!("{faulty:?}").contains(CANARY), "{faulty:?}");
    assert!(migration(&world.get("deployment/api")).is_some());
    world.stop_guard();
    world
        .kubectl(&["delete", "validatingwebhookconfiguration,mutatingwebhookconfiguration", &world.name])
        .done();
    let shown = world.prefect_guard(&["eject", "-n", &world.name]);
    assert!(
        shown.out.contains("api") && migration(&world.get("deployment/api")).is_some(),
        "a dry run: {shown:?}"
    );
    world.prefect_guard(&["eject", "-n", &world.name, "--yes"]).done();
    assert!(migration(&world.get("deployment/api")).is_none());
}
