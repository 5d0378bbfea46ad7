//! Runs `helm` and reads what it prints.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::chart::repository;

/// The release and namespace of every rendering, unlike each other so that a mix-up shows.
pub(crate) const RELEASE: &str = "prefect-guard";
pub(crate) const NAMESPACE: &str = "guard-system";

/// Values that bring every optional object and field into play, one set after the other.
pub(crate) const MATRIX: &[(&str, &[&str])] = &[
    ("default", &[]),
    ("cert-manager", &["--set", "tls.mode=cert-manager"]),
    ("cert-manager-own-issuer", &["--set", "tls.mode=cert-manager,tls.certManager.issuerRef.name=corp"]),
    ("secret", &["--set", "tls.mode=secret,tls.secretName=own", "--set-file", "tls.caBundle=@ca"]),
    (
        "secret-injected",
        &[
            "--set",
            "tls.mode=secret,tls.secretName=own",
            "--set",
            r"webhook.annotations.cert-manager\.io/inject-ca-from=x/y",
        ],
    ),
    ("secrets-webhook", &["--set", "webhook.secrets.enabled=true,breakGlass.enabled=true"]),
    ("kinds", &["--set-json", KINDS]),
    ("monitoring", &["--set", MONITORING]),
    ("audit", &["--set", "policy.mode=audit,replicas=1"]),
    ("audit-but-one", &["--set", "policy.mode=audit,policy.namespaces.prod.mode=enforce"]),
    ("audit-schedule", &["--set", AUDIT, "--set-json", KINDS]),
    ("events", &["--set", "events.enabled=true,webhook.secrets.enabled=true", "--set-json", KINDS]),
    (
        "events-only",
        &[
            "--set",
            "events.enabled=true,tls.mode=secret,tls.secretName=own",
            "--set-file",
            "tls.caBundle=@ca",
        ],
    ),
    ("audit-openreports", &["--set", "audit.schedule=@daily,audit.report=openreports"]),
    ("audit-policyreport", &["--set", "audit.schedule=@daily,audit.report=policyreport"]),
    ("host-network", &["--set", "hostNetwork=true,port=10260"]),
    ("url", &["--set", "webhook.url=https://127.0.0.1:8443"]),
    (
        "url-own-ca",
        &["--set", "webhook.url=https://127.0.0.1:8443,tls.mode=secret", "--set-file", "tls.caBundle=@ca"],
    ),
    ("client-certificates", &["--set", "clientAuth.configMap=ca,clientAuth.names={kube-apiserver}"]),
    (
        "names",
        &[
            "--set",
            "nameOverride=pg,image.digest=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ],
    ),
    (
        "long-name",
        &["--set", "fullnameOverride=aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff"],
    ),
    ("placed", &["--set-json", PLACED]),
    (
        "plain",
        &[
            "--set",
            "podDisruptionBudget.enabled=false,networkPolicy.enabled=false,webhook.jobs.enabled=false",
        ],
    ),
    ("foreign-account", &["--set", "serviceAccount.create=false,serviceAccount.name=other"]),
    ("policy", &["--set-json", POLICY]),
    (
        "selector",
        &[
            "--set-json",
            r#"webhook.namespaceSelector={"matchLabels":{"team":"data"},"matchExpressions":[{"key":"x","operator":"Exists"}]}"#,
        ],
    ),
];

/// A Rollout and a kind of the core group that keeps its template elsewhere.
pub(crate) const KINDS: &str = r#"kinds=[
  {"group":"argoproj.io","versions":["v1alpha1"],"kind":"Rollout","resource":"rollouts","template":"/spec/template"},
  {"group":"example.com","versions":["v1","v1beta1"],"kind":"Fleet","resource":"fleets","template":"/spec/pods/template"}]"#;

/// Everything that watches.
pub(crate) const MONITORING: &str = "monitoring.serviceMonitor.enabled=true,monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true";

/// An audit every night.
pub(crate) const AUDIT: &str = "audit.schedule=17 5 * * *,audit.strict=true,audit.format=json";

const PLACED: &str = r#"tolerations=[{"key":"a","operator":"Exists"}],nodeSelector={"a":"b"},priorityClassName="system-cluster-critical",affinity={"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"x","operator":"Exists"}]}]}}},topologySpreadConstraints=[{"maxSkew":1,"topologyKey":"rack","whenUnsatisfiable":"DoNotSchedule"}],podLabels={"a":"b"},podAnnotations={"c":"d"},imagePullSecrets=["pull"],networkPolicy.metricsFrom=[{"podSelector":{}}]"#;

const POLICY: &str = r#"policy={"mode":"warn","rules":{"floating-image":"off","PSG112":"deny"},"exemptions":{"allowed":false,"forbidden":["PSG203"]},"migration":{"inject":true,"serialize":"never","onNewerSchema":"fail","adopted":"warn","mode":"wait","jobs":"leave","env":[{"name":"A","value":"b"}],"resources":{"limits":{"memory":"1Gi"}},"securityContext":{"runAsUser":7},"timeouts":{"database":1,"lock":2,"statement":3,"wait":4},"controllers":[]},"opaqueValues":["vault:"],"namespaces":{"prod":{"mode":"enforce","rules":{"floating-image":"deny"}}}}"#;

/// Text that passes for a CA where nothing reads it.
pub(crate) const CA: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// Where a tool is. Fails the test, with what to do, when it is nowhere.
pub(crate) fn tool(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let ours = repository("target/live/bin").join(name);
    if ours.is_file() {
        return ours;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("`{name}` is missing: run `tests/setup`, or set {variable} to where it is"))
}

/// What `helm` printed, or why it refused.
pub(crate) fn helm(arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new(tool("helm", "PREFECT_GUARD_HELM")).args(arguments).output().expect("helm runs");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).expect("helm prints UTF-8"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The rendered text, or why it was refused. `@ca` in the arguments stands for a file that holds [`CA`].
pub(crate) fn template(arguments: &[&str]) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, CA).expect("a file");
    let chart = repository("charts/prefect-guard");
    let mut all = vec!["template", RELEASE, chart.to_str().expect("UTF-8"), "--namespace", NAMESPACE];
    let arguments: Vec<String> =
        arguments.iter().map(|word| word.replace("@ca", ca.to_str().expect("UTF-8"))).collect();
    all.extend(arguments.iter().map(String::as_str));
    helm(&all)
}

/// The rendered objects.
pub(crate) fn render(arguments: &[&str]) -> Vec<Value> {
    let text = template(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let options = serde_saphyr::options! { with_snippet: false, legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(&text, options)
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// The only object of this kind.
pub(crate) fn only<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let found: Vec<_> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}: {} of them", found.len());
    found[0]
}

/// All webhooks of both configurations.
pub(crate) fn webhooks(objects: &[Value]) -> Vec<&Value> {
    let configurations = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];
    configurations
        .iter()
        .flat_map(|kind| only(objects, kind)["webhooks"].as_array().expect("webhooks"))
        .collect()
}
