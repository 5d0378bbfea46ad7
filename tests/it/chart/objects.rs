//! What is rendered: accepted by an API server, within the restricted Pod Security Standard, with the least rights.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::chart::helm::{self, MATRIX, NAMESPACE, only, render, template, webhooks};
use crate::chart::{read, strict};

/// The set of values by its name in the matrix.
fn rendered(name: &str) -> Vec<Value> {
    let (_, arguments) = MATRIX.iter().find(|(known, _)| *known == name).expect("a row of the matrix");
    render(arguments)
}

#[test]
fn lint_is_clean() {
    let chart = crate::chart::repository("charts/prefect-guard");
    let chart = chart.to_str().expect("UTF-8");
    let said = helm::helm(&["lint", "--strict", chart]).expect("helm lint passes");
    assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{said}");
}

#[test]
fn default_rendering_is_what_was_reviewed() {
    insta::assert_snapshot!(template(&[]).expect("the defaults render"));
}

#[test]
fn every_object_decodes_without_an_unknown_field() {
    for (name, arguments) in MATRIX {
        for object in render(arguments) {
            let faults = strict::faults(&object);
            assert!(faults.is_empty(), "{name}: {} {faults:?}", object["kind"]);
        }
    }
}

#[test]
fn names_are_unique_short_and_in_the_release_namespace() {
    let cluster = [
        "ClusterRole",
        "ClusterRoleBinding",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ];
    for (row, arguments) in MATRIX {
        let mut seen = BTreeSet::new();
        for object in render(arguments) {
            let kind = object["kind"].as_str().expect("kind").to_owned();
            let metadata = &object["metadata"];
            let name = metadata["name"].as_str().expect("name").to_owned();
            assert!(name.len() <= 63, "{row}: {name}");
            let namespace = if cluster.contains(&kind.as_str()) { Value::Null } else { json!(NAMESPACE) };
            assert_eq!(metadata["namespace"], namespace, "{row}: {kind}");
            assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "Helm", "{row}: {kind}");
            assert!(seen.insert((kind, name)), "{row}: twice");
        }
    }
}

/// `kubectl describe` shows it to whoever wonders why calls fail.
#[test]
fn webhook_configurations_name_the_page_about_failing_calls() {
    for (row, arguments) in MATRIX {
        let objects = render(arguments);
        for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            for object in objects.iter().filter(|object| object["kind"] == kind) {
                let page = &object["metadata"]["annotations"]["prefect-guard.io/when-calls-fail"];
                crate::chart::leads_to_a_page(page.as_str().expect(row));
            }
        }
    }
}

#[test]
fn nothing_stays_behind_after_uninstall() {
    for (row, arguments) in MATRIX {
        for object in render(arguments) {
            let annotations = object["metadata"]["annotations"].to_string();
            assert!(
                !annotations.contains("helm.sh/"),
                "{row}: hooks and kept objects outlive a release: {annotations}"
            );
        }
    }
}

/// The guard fills it in; a rendering with data would wipe or overwrite that on the next upgrade.
#[test]
fn the_managed_secret_is_rendered_empty() {
    let objects = rendered("default");
    let secret = only(&objects, "Secret");
    assert_eq!(secret["type"], "Opaque");
    assert!(secret.get("data").is_none() && secret.get("stringData").is_none());
    for row in ["cert-manager", "secret", "url-own-ca"] {
        assert!(rendered(row).iter().all(|object| object["kind"] != "Secret"), "{row}");
    }
}

#[test]
fn ca_bundle_is_rendered_only_when_it_was_given() {
    for (row, arguments) in MATRIX {
        let given = arguments.iter().any(|word| word.contains("caBundle"));
        for webhook in webhooks(&render(arguments)) {
            let bundle = webhook["clientConfig"].get("caBundle");
            assert_eq!(bundle.is_some(), given, "{row}");
            if let Some(bundle) = bundle {
                use base64::Engine;
                let text = base64::engine::general_purpose::STANDARD.decode(bundle.as_str().expect("text"));
                assert_eq!(text.expect("base64"), helm::CA.as_bytes(), "{row}");
            }
        }
    }
    let configuration = only(&rendered("cert-manager"), "ValidatingWebhookConfiguration").clone();
    let injected = &configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
    assert_eq!(*injected, json!(format!("{NAMESPACE}/prefect-guard")));
}

#[test]
fn rights_are_the_least() {
    let own = json!([
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["prefect-guard-tls"], "verbs": ["get", "patch"]},
        {"apiGroups": ["admissionregistration.k8s.io"],
         "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
         "resourceNames": ["prefect-guard"], "verbs": ["get", "patch"]},
    ]);
    let rules = |row: &str| -> Vec<Value> {
        let objects = rendered(row);
        let roles =
            objects.iter().filter(|object| matches!(object["kind"].as_str(), Some("Role" | "ClusterRole")));
        let mut rules: Vec<Value> =
            roles.flat_map(|role| role["rules"].as_array().expect("rules").clone()).collect();
        rules.sort_by_key(ToString::to_string);
        rules
    };
    assert_eq!(json!(rules("default")), own);
    assert_eq!(rules("cert-manager"), Vec::<Value>::new());
    assert_eq!(rules("secret"), Vec::<Value>::new());
    let with_break_glass = rules("secrets-webhook");
    assert_eq!(with_break_glass.len(), 3);
    assert!(with_break_glass.contains(&json!({"apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["validatingwebhookconfigurations"], "resourceNames": ["prefect-guard"], "verbs": ["break-glass"]})));
}

#[test]
fn no_rule_names_everything_and_every_rule_names_its_objects() {
    for (row, arguments) in MATRIX {
        let objects = render(arguments);
        for object in objects.iter().filter(|object| object["rules"].is_array()) {
            for rule in object["rules"].as_array().expect("rules") {
                assert!(!rule.to_string().contains("\"*\""), "{row}: {rule}");
                // The audit reads what others made, whose names nobody knows; it may do nothing else.
                let named =
                    |ending| object["metadata"]["name"].as_str().is_some_and(|name| name.ends_with(ending));
                let report = json!(["create", "patch"]) == rule["verbs"]
                    && rule["resources"].as_array().is_some_and(|resources| {
                        resources
                            .iter()
                            .all(|name| name.as_str().is_some_and(|name| name.ends_with("reports")))
                    });
                let audit = named("-audit") && (rule["verbs"] == json!(["list"]) || report);
                // An Event is about what anybody made, and is itself given a name by nobody before.
                let event = named("-events")
                    && *rule == json!({"apiGroups": [""], "resources": ["events"], "verbs": ["create"]});
                let creates = rule["verbs"].to_string().contains("create");
                assert!(event || (audit && report) || !creates, "{row}: {rule}");
                if !audit && !event {
                    assert_eq!(rule["resourceNames"].as_array().map(Vec::len), Some(1), "{row}: {rule}");
                }
            }
        }
        for binding in objects.iter().filter(|object| object["subjects"].is_array()) {
            assert_ne!(binding["roleRef"]["name"], "prefect-guard-break-glass", "bound to nobody");
        }
    }
}

#[test]
fn the_token_is_mounted_only_where_it_is_used() {
    for (row, arguments) in MATRIX {
        for object in render(arguments).iter().filter(|object| object["kind"] == "Deployment") {
            let spec = &object["spec"]["template"]["spec"];
            let arguments = spec["containers"][0]["args"].to_string();
            let used = arguments.contains("--tls-managed") || arguments.contains("--events");
            assert_eq!(spec["automountServiceAccountToken"], json!(used), "{row}");
        }
    }
}

/// What Events need, and what they make of the webhooks: `/validate` writes them, and on no dry run.
#[test]
fn events_come_with_their_right_and_their_side_effects() {
    for (row, arguments) in MATRIX {
        let objects = render(arguments);
        let on = row.starts_with("events");
        let role = objects.iter().any(|object| object["metadata"]["name"] == "prefect-guard-events");
        assert_eq!(role, on, "{row}");
        for webhook in webhooks(&objects) {
            let validates = webhook.get("reinvocationPolicy").is_none();
            let wanted = if on && validates { "NoneOnDryRun" } else { "None" };
            assert_eq!(webhook["sideEffects"], wanted, "{row}: {}", webhook["name"]);
        }
        for deployment in objects.iter().filter(|object| object["kind"] == "Deployment") {
            let container = &deployment["spec"]["template"]["spec"]["containers"][0];
            assert_eq!(container["args"].to_string().contains("--events"), on, "{row}");
        }
    }
    let egress = |row: &str| only(&rendered(row), "NetworkPolicy")["spec"]["egress"].clone();
    assert_eq!(egress("secret"), json!([]), "it calls nobody");
    assert_eq!(egress("events-only"), egress("default"), "the API server");
}

/// What the restricted Pod Security Standard finds wrong (its controls in the order of its document).
fn pod_security(spec: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut say = |fault: bool, what: &str| {
        if fault {
            faults.push(what.to_owned());
        }
    };
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        say(spec.get(field).is_some_and(|value| value != false), field);
    }
    let allowed = [
        "name",
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        say(
            volume.as_object().expect("volume").keys().any(|key| !allowed.contains(&key.as_str())),
            "volume type",
        );
    }
    say(spec["securityContext"].get("sysctls").is_some(), "sysctls");
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array().into_iter().flatten() {
            let context = &container["securityContext"];
            say(context.get("privileged").is_some_and(|value| value != false), "privileged");
            say(context["capabilities"] != json!({"drop": ["ALL"]}), "capabilities");
            say(context.get("procMount").is_some(), "procMount");
            say(context["allowPrivilegeEscalation"] != false, "allowPrivilegeEscalation");
            say(context["runAsNonRoot"] != true, "runAsNonRoot");
            say(context["seccompProfile"]["type"] != "RuntimeDefault", "seccompProfile");
            say(container["ports"].to_string().contains("hostPort"), "hostPort");
        }
    }
    say(spec["securityContext"]["runAsUser"] == 0, "runAsUser");
    faults
}

#[test]
fn pods_are_within_the_restricted_standard() {
    for (row, arguments) in MATRIX {
        for object in render(arguments).iter().filter(|object| object["kind"] == "Deployment") {
            let spec = &object["spec"]["template"]["spec"];
            // The one value that breaks it says so in its comment.
            let expected: &[&str] = if *row == "host-network" { &["hostNetwork"] } else { &[] };
            assert_eq!(pod_security(spec), expected, "{row}");
            assert_eq!(spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true, "{row}");
            assert!(spec["containers"][0]["resources"]["limits"]["memory"].is_string(), "{row}");
        }
    }
}

#[test]
fn registration_is_as_the_design_says() {
    let objects = render(&["--set", "webhook.secrets.enabled=true", "--set-json", helm::KINDS]);
    let expected = [
        ("mutate.prefect-guard.io", "Ignore", "/mutate"),
        ("mutate-jobs.prefect-guard.io", "Ignore", "/mutate"),
        ("mutate-rollouts.argoproj.io.prefect-guard.io", "Ignore", "/mutate"),
        ("mutate-fleets.example.com.prefect-guard.io", "Ignore", "/mutate"),
        ("validate.prefect-guard.io", "Fail", "/validate"),
        ("jobs.prefect-guard.io", "Ignore", "/validate"),
        ("validate-rollouts.argoproj.io.prefect-guard.io", "Ignore", "/validate"),
        ("validate-fleets.example.com.prefect-guard.io", "Ignore", "/validate"),
        ("secrets.prefect-guard.io", "Ignore", "/validate"),
    ];
    let webhooks = webhooks(&objects);
    assert_eq!(webhooks.len(), expected.len());
    for (webhook, (name, policy, path)) in webhooks.iter().zip(expected) {
        assert_eq!(webhook["name"], name);
        assert_eq!(webhook["failurePolicy"], policy, "{name}");
        assert_eq!(webhook["clientConfig"]["service"]["path"], path, "{name}");
        assert_eq!(webhook["clientConfig"]["service"]["namespace"], NAMESPACE, "{name}");
        assert_eq!(webhook["sideEffects"], "None", "{name}");
        assert_eq!(webhook["matchPolicy"], "Equivalent", "{name}");
        assert_eq!(webhook["admissionReviewVersions"], json!(["v1"]), "{name}");
        assert!(webhook["timeoutSeconds"].as_u64().expect("timeout") <= 3, "{name}");
        let reinvocation = if path == "/mutate" { json!("IfNeeded") } else { Value::Null };
        assert_eq!(webhook["reinvocationPolicy"], reinvocation, "{name}");
        for rule in webhook["rules"].as_array().expect("rules") {
            assert_eq!(rule["operations"], json!(["CREATE", "UPDATE"]), "{name}");
            assert_eq!(rule["scope"], "Namespaced", "{name}");
            assert!(!rule.to_string().contains(['*', '/']), "no wildcard, no subresource: {name}");
        }
        let selector = webhook["namespaceSelector"].to_string();
        assert!(selector.contains("kube-system") && selector.contains("prefect-guard.io/enabled"), "{name}");
        assert!(!selector.contains(NAMESPACE), "no namespace is left out for our sake: {name}");
    }
    let selector = &webhooks[8]["objectSelector"]["matchExpressions"];
    assert_eq!(*selector, json!([{"key": "prefect-guard.io/database-url", "operator": "Exists"}]));
}

#[test]
fn validation_fails_closed_only_where_something_is_enforced() {
    let policy = |row: &str| webhooks(&rendered(row))[2]["failurePolicy"].clone();
    assert_eq!(policy("default"), "Fail");
    assert_eq!(policy("audit"), "Ignore");
    assert_eq!(policy("policy"), "Fail");
    assert_eq!(policy("audit-but-one"), "Fail");
}

#[test]
fn a_url_takes_the_place_of_the_service() {
    let objects = rendered("url-own-ca");
    assert_eq!(webhooks(&objects)[0]["clientConfig"]["url"], "https://127.0.0.1:8443/mutate");
    assert_eq!(webhooks(&objects)[2]["clientConfig"]["url"], "https://127.0.0.1:8443/validate");
    for kind in ["Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"] {
        assert!(objects.iter().all(|object| object["kind"] != kind), "{kind}");
    }
}

#[test]
fn kinds_reach_the_rules_and_the_policy_file() {
    let objects = rendered("kinds");
    let policy = only(&objects, "ConfigMap")["data"]["policy.yaml"].as_str().expect("text").to_owned();
    assert!(policy.starts_with("apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\n"), "{policy}");
    let policy: Value = serde_saphyr::from_str(&policy).expect("YAML");
    assert_eq!(
        policy["kinds"],
        json!([
            {"group": "argoproj.io", "kind": "Rollout", "template": "/spec/template"},
            {"group": "example.com", "kind": "Fleet", "template": "/spec/pods/template"},
        ])
    );
    assert_eq!(webhooks(&objects)[3]["rules"][0]["resources"], json!(["fleets"]));
    assert_eq!(webhooks(&objects)[3]["rules"][0]["apiVersions"], json!(["v1", "v1beta1"]));
}

/// A policy is mounted as a folder and named in no checksum: it is read again without a restart.
#[test]
fn a_changed_policy_restarts_nothing() {
    let (one, other) = (rendered("default"), render(&["--set", "policy.rules.floating-image=deny"]));
    assert_eq!(only(&one, "Deployment"), only(&other, "Deployment"));
    assert_ne!(only(&one, "ConfigMap"), only(&other, "ConfigMap"));
    assert!(!only(&one, "Deployment").to_string().contains("subPath"));
}

#[test]
fn every_rendered_policy_is_one_that_the_program_accepts() {
    for (row, arguments) in MATRIX {
        let objects = render(arguments);
        let maps = objects.iter().filter(|object| object["kind"] == "ConfigMap");
        for text in maps.filter_map(|map| map["data"]["policy.yaml"].as_str()) {
            let read = prefect_guard::policy::Policy::from_yaml(text, prefect_guard::rules::CATALOGUE);
            assert!(read.is_ok(), "{row}: {:?}\n{text}", read.err());
        }
    }
}

#[test]
fn the_deployment_survives_the_loss_of_a_node() {
    let objects = rendered("default");
    let spec = &only(&objects, "Deployment")["spec"];
    assert_eq!(spec["replicas"], 2);
    assert_eq!(spec["strategy"]["rollingUpdate"], json!({"maxUnavailable": 0, "maxSurge": 1}));
    assert_eq!(spec["template"]["spec"]["topologySpreadConstraints"].as_array().map(Vec::len), Some(2));
    assert_eq!(only(&objects, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    assert_eq!(
        only(&rendered("host-network"), "Deployment")["spec"]["strategy"]["rollingUpdate"]["maxSurge"],
        0
    );
    assert!(
        spec["template"]["spec"]["terminationGracePeriodSeconds"].as_u64() > Some(10),
        "the drain has to end before the kubelet does"
    );
}

#[test]
fn only_managed_may_call_out() {
    let egress = |row: &str| only(&rendered(row), "NetworkPolicy")["spec"]["egress"].clone();
    assert_eq!(egress("secret"), json!([]));
    assert_eq!(
        egress("default")[0]["ports"],
        json!([{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}])
    );
}

#[test]
fn the_version_stands_in_one_place() {
    let chart: Value = serde_saphyr::from_str(&read("charts/prefect-guard/Chart.yaml")).expect("YAML");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["kubeVersion"], ">=1.30.0-0");
    let objects = rendered("default");
    let image = &only(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"];
    assert!(image.as_str().expect("image").ends_with(concat!(":", env!("CARGO_PKG_VERSION"))), "{image}");
}

#[test]
fn older_clusters_are_refused() {
    assert!(
        template(&["--kube-version", "1.29.9"])
            .expect_err("1.29 has no stable matchConditions")
            .contains("1.30")
    );
    assert!(template(&["--kube-version", "v1.30.4-gke.100"]).is_ok());
    assert!(template(&["--kube-version", "1.37.0"]).is_ok());
}

/// The program takes every argument that the chart gives it; it stops later, at files that are not here.
#[test]
fn the_program_knows_every_rendered_argument() {
    let mut seen = BTreeSet::new();
    for (row, arguments) in MATRIX {
        let objects = render(arguments);
        let Some(deployment) = objects.iter().find(|object| object["kind"] == "Deployment") else { continue };
        let words = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().expect("args");
        let words: Vec<&str> = words.iter().map(|word| word.as_str().expect("text")).collect();
        if !seen.insert(words.join(" ")) {
            continue;
        }
        let output = std::process::Command::new("timeout")
            .args(["20", env!("CARGO_BIN_EXE_prefect-guard")])
            .args(&words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !said.contains("Usage:"), "{row}: {said}");
        assert!(
            said.contains("/etc/prefect-guard"),
            "{row}: it stops at the first file that is missing: {said}"
        );
    }
    assert!(seen.len() > 4, "{} sets of arguments", seen.len());
}

#[test]
fn the_scheduled_audit_may_list_and_nothing_else() {
    let objects = rendered("audit-schedule");
    let job = only(&objects, "CronJob");
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "prefect-guard-audit");
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(pod_security(pod), Vec::<String>::new());
    let arguments = pod["containers"][0]["args"].as_array().expect("arguments");
    assert_eq!(arguments[0], "audit");
    assert!(arguments.contains(&json!("--strict")) && arguments.contains(&json!("--format=json")));
    let role = objects
        .iter()
        .find(|object| object["kind"] == "ClusterRole" && object["metadata"]["name"] == "prefect-guard-audit")
        .expect("a role");
    let rules = role["rules"].as_array().expect("rules");
    assert!(rules.iter().all(|rule| rule["verbs"] == json!(["list"])), "{rules:?}");
    let listed: BTreeSet<&str> = rules
        .iter()
        .flat_map(|rule| rule["resources"].as_array().expect("resources"))
        .map(|resource| resource.as_str().expect("a name"))
        .collect();
    let read = ["cronjobs", "deployments", "fleets", "jobs", "rollouts", "services", "statefulsets"];
    assert_eq!(Vec::from_iter(listed), read);
    assert!(rendered("default").iter().all(|object| object["kind"] != "CronJob"));
}

/// The reports are of the kinds that `audit --report` itself writes; the account may write those and no others.
#[test]
fn the_scheduled_audit_writes_reports_where_it_is_told_to() {
    for (row, flavour, group, plural) in [
        ("audit-openreports", "openreports", "openreports.io", "reports"),
        ("audit-policyreport", "policyreport", "wgpolicyk8s.io", "policyreports"),
    ] {
        let objects = rendered(row);
        let pod = &only(&objects, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        let arguments = pod["containers"][0]["args"].as_array().expect("arguments");
        assert!(arguments.contains(&json!(format!("--report={flavour}"))), "{arguments:?}");
        let roles = objects.iter().filter(|object| object["metadata"]["name"] == "prefect-guard-audit");
        let rules: Vec<&Value> =
            roles.flat_map(|role| role["rules"].as_array().into_iter().flatten()).collect();
        let writing: Vec<&&Value> = rules.iter().filter(|rule| rule["verbs"] != json!(["list"])).collect();
        let wanted = json!({"apiGroups": [group], "resources": [plural], "verbs": ["create", "patch"]});
        assert_eq!(writing, [&&wanted], "{row}");
        let source = read("src/cli/report/policy_report.rs");
        assert!(source.contains(&format!("[\"{group}\"")) && source.contains(&format!("\"{plural}\"]")));
    }
}
