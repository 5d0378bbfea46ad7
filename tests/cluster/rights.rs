//! Each command works with the rights that `docs/security.md` names for it, and with no others.

use serde_json::{Value, json};

use crate::manifests::server;
use crate::world::{World, until};

/// A row of the page's table: the command, and its verbs on `resource.group`.
struct Row {
    command: Vec<String>,
    rules: Vec<Value>,
}

fn rows() -> Vec<Row> {
    let page = include_str!("../../docs/security.md");
    let (_, table) = page.split_once("| command | verbs | on |\n").expect("the table");
    let mut audit: Vec<Value> = Vec::new();
    let mut rows = Vec::new();
    for line in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [command, verbs, on] = cells[..] else { panic!("{line}") };
        let Some(command) = command.strip_prefix("`prefect-guard ").and_then(|rest| rest.split('`').next())
        else {
            continue;
        };
        let verbs: Vec<&str> = verbs.split(", ").map(|verb| verb.trim_matches('`')).collect();
        let (on, more) = on.split_once("; ").unwrap_or((on, ""));
        let mut rules: Vec<Value> = on
            .split(", ")
            .map(|what| {
                let (resource, group) = what.split_once('.').unwrap_or((what, ""));
                json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
            })
            .collect();
        if command == "audit" {
            audit.clone_from(&rules);
        }
        if !more.is_empty() {
            assert_eq!(more, "and what `audit` needs");
            rules.extend(audit.clone());
        }
        rows.push(Row { command: command.split(' ').map(str::to_owned).collect(), rules });
    }
    rows
}

/// A namespaced kind of any shape.
fn definition(world: &World, group: &str, version: &str, kind: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}"), "labels": {"prefect-guard-test": world.name}},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    })
}

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn the_commands_need_what_the_page_says() {
    // Alone: the kinds of reports are the whole cluster's.
    let world = World::alone_and_bare("rights");
    for (group, version, kind, plural) in [
        ("wgpolicyk8s.io", "v1alpha2", "PolicyReport", "policyreports"),
        ("openreports.io", "v1alpha1", "Report", "reports"),
    ] {
        world.apply(&definition(&world, group, version, kind, plural).to_string()).done();
        until("the kind is served", || world.kubectl(&["get", &format!("{plural}.{group}")]).ok);
    }
    let injected = world.prefect_guard_on(&["inject", "-"], &server("prefect-server")).done();
    world.apply(&injected).done();
    let rows = rows();
    assert!(rows.len() >= 6, "{} rows", rows.len());
    for (number, Row { command, rules }) in rows.iter().enumerate() {
        let account = format!("reader-{number}");
        let meta = json!({"name": account, "namespace": world.name});
        let group = "rbac.authorization.k8s.io";
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
            {"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": meta, "rules": rules},
            {"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": meta,
                "roleRef": {"apiGroup": group, "kind": "Role", "name": account},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": world.name}]},
        ]});
        world.apply(&list.to_string()).done();
        let kubeconfig = world.account(&account);
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.extend(["--namespace", &world.name]);
        let said = world.prefect_guard_as(&kubeconfig, &arguments);
        // Nothing runs here, so the migration waits; what the account may not do is another matter.
        assert!(said.ok, "{command:?}: {said:?}");
        // With one right less it says which.
        let less: Vec<&Value> = rules.iter().skip(1).collect();
        world.apply(&json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": meta, "rules": less}).to_string()).done();
        until("the right is gone", || {
            let said = world.prefect_guard_as(&kubeconfig, &arguments);
            !said.ok && said.err.contains("not allowed to")
        });
        if command.contains(&"--yes".to_owned()) {
            world.apply(&injected).done();
        }
    }
}
