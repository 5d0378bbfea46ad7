//! Install, upgrade, uninstall with Helm.

use crate::world::{Said, World};

/// What the guard writes into the live objects.
const BUNDLE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=";

fn helm(world: &World, verb: &[&str], rest: &[&str]) -> Said {
    let selector =
        format!(r#"webhook.namespaceSelector={{"matchLabels":{{"prefect-guard-test":"{}"}}}}"#, world.name);
    let mut arguments = verb.to_vec();
    arguments.extend([
        &*world.name,
        crate::world::chart(),
        "--namespace",
        &world.name,
        "--set-json",
        &selector,
    ]);
    arguments.extend(rest);
    world.helm(&arguments)
}

/// Writes what the guard would, as another field manager: the Secret's data and the caBundles.
fn fill_in(world: &World) {
    let patch = r#"{"data":{"ca.crt":"QQ==","tls.crt":"Qg==","tls.key":"Qw=="}}"#;
    let secret = format!("{}-prefect-guard-tls", world.name);
    world.kubectl(&["patch", "secret", &secret, "--field-manager=guard", "-p", patch]).done();
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        let patch =
            format!(r#"[{{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"{BUNDLE}"}}]"#);
        let name = format!("{}-prefect-guard", world.name);
        world.kubectl(&["patch", kind, &name, "--field-manager=guard", "--type=json", "-p", &patch]).done();
    }
}

fn assert_filled(world: &World, when: &str) {
    let secret = world.get(&format!("secret/{}-prefect-guard-tls", world.name));
    assert_eq!(secret["data"]["tls.key"], "Qw==", "{when}");
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        let configuration = world.get(&format!("{kind}/{}-prefect-guard", world.name));
        assert_eq!(configuration["webhooks"][0]["clientConfig"]["caBundle"], BUNDLE, "{when}: {kind}");
    }
}

fn keeps_what_the_guard_wrote(test: &str, flags: &[&str]) {
    let world = World::bare(test);
    helm(&world, &[&["install"], flags].concat(), &[]).done();
    fill_in(&world);
    assert_filled(&world, "at first");
    helm(&world, &[&["upgrade"], flags].concat(), &[]).done();
    assert_filled(&world, "after an upgrade that changes nothing");
    let more =
        ["--set", "webhook.mutate.timeoutSeconds=2,webhook.secrets.enabled=true,podLabels.a=b,image.tag=v9"];
    helm(&world, &[&["upgrade"], flags].concat(), &more).done();
    assert_filled(&world, "after an upgrade that changes the webhooks");
    world.helm(&["rollback", &world.name, "1", "--namespace", &world.name]).done();
    assert_filled(&world, "after a rollback");
    let configurations = "validatingwebhookconfiguration,mutatingwebhookconfiguration";
    let name = format!("{}-prefect-guard", world.name);
    world.kubectl(&["delete", configurations, &name]).done();
    helm(&world, &[&["upgrade"], flags].concat(), &[]).done();
    world.kubectl(&["get", configurations, &name]).done();
    world.helm(&["uninstall", &world.name, "--namespace", &world.name]).done();
    let kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings,\
                 secrets,configmaps,roles,rolebindings,serviceaccounts,services,deployments,poddisruptionbudgets,networkpolicies";
    let label = format!("app.kubernetes.io/instance={}", world.name);
    assert_eq!(world.kubectl(&["get", kinds, "-l", &label, "-o=name"]).done(), "", "after an uninstall");
}

/// Helm 3 merges three ways, and Helm 4 does with this flag.
#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn a_three_way_merge_keeps_what_the_guard_wrote() {
    let four = World::bare("helm").helm(&["version", "--template={{.Version}}"]).done().starts_with("v4");
    keeps_what_the_guard_wrote("merge", if four { &["--server-side=false"] } else { &[] });
}

#[test]
#[ignore = "needs an API server and Helm 4: run tests/cluster/run"]
fn a_server_side_apply_keeps_what_the_guard_wrote() {
    keeps_what_the_guard_wrote("ssa", &["--server-side=true"]);
}
