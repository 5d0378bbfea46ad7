//! What the chart refuses: values it does not know, and combinations that cannot work.

use serde_json::Value;

use crate::chart::helm::template;
use crate::chart::read;

/// Each combination, and what the refusal has to name: the cause and the remedy.
const COMBINATIONS: &[(&[&str], &[&str])] = &[
    (&["--set", "replicas=1"], &["`replicas: 2`", "`webhook.validate.failurePolicy: Ignore`"]),
    (
        &["--set", "policy.mode=audit,webhook.validate.failurePolicy=Fail"],
        &["`policy.mode: audit`", "leave it empty", "`policy.mode: enforce`"],
    ),
    (&["--set", "adminPort=10250"], &["`port` and `adminPort` are both 10250", "give each its own"]),
    (&["--set", "hostNetwork=true"], &["kubelet", "set `port`"]),
    (&["--set", "tls.mode=secret"], &["`tls.secretName`"]),
    (&["--set", "tls.mode=secret,tls.secretName=x"], &["`tls.caBundle`", "--set-file"]),
    (&["--set-file", "tls.caBundle=@ca"], &["`tls.mode: managed`", "leave it empty", "`tls.mode: secret`"]),
    (&["--set", "tls.mode=cert-manager", "--set-file", "tls.caBundle=@ca"], &["`tls.mode: cert-manager`"]),
    (
        &["--set", "tls.mode=cert-manager,webhook.url=https://127.0.0.1:1"],
        &["`webhook.url`", "`tls.mode: secret`"],
    ),
    (&["--set", "tls.certManager.issuerRef.name=x"], &["`tls.mode: cert-manager`"]),
    (&["--set", "audit.report=openreports"], &["`audit.report`", "set a schedule"]),
    (&["--set", "clientAuth.configMap=x"], &["`clientAuth.names`"]),
    (&["--set", "clientAuth.names={x}"], &["`clientAuth.configMap`"]),
    (
        &[
            "--set-json",
            r#"kinds=[{"group":"","versions":["v1"],"kind":"Pod","resource":"pods","template":"/spec"}]"#,
        ],
        &["Pod", "never mutated", "take it out"],
    ),
    (
        &[
            "--set-json",
            r#"kinds=[{"group":"apps","versions":["v1"],"kind":"Deployment","resource":"deployments","template":"/spec/template"}]"#,
        ],
        &["`apps/deployments`", "take it out"],
    ),
    (
        &[
            "--set-json",
            r#"kinds=[{"group":"a.b","versions":["v1"],"kind":"C","resource":"cs","template":"/spec/namespace"}]"#,
        ],
        &["`namespace`", "reserved word"],
    ),
];

/// Arguments as a shell takes them.
fn words(arguments: &[&str]) -> String {
    let quoted = |word: &&str| {
        let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.,:/=@".contains(c));
        if is_plain { (*word).to_owned() } else { format!("'{word}'") }
    };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Each combination with what Helm says of it, for the page of messages.
pub(crate) fn examples() -> String {
    let mut text = String::new();
    for (arguments, _) in COMBINATIONS {
        let said = template(arguments).expect_err("a combination that is refused");
        let said = said.rsplit_once("): ").map_or(said.as_str(), |(_, said)| said);
        let said = said.split("\n\nUse --debug").next().unwrap_or(said).trim();
        text.push_str(&format!("\n```console\n$ helm install {}\n{said}\n```\n", words(arguments)));
    }
    text
}

#[test]
fn combinations_that_cannot_work_are_refused_with_the_remedy() {
    for (arguments, words) in COMBINATIONS {
        let said = template(arguments).expect_err(&format!("{arguments:?} has to be refused"));
        for word in *words {
            assert!(said.contains(word), "{arguments:?}: `{word}` is not in: {said}");
        }
        assert_eq!(said.matches('`').count() % 2, 0, "{said}");
    }
}

/// A value that is taken out (`null`, or an old release's values that are reused) is as one that is off.
#[test]
fn an_option_that_is_not_there_is_off() {
    let plain = template(&["--set", "audit.schedule=@daily"]).unwrap();
    let out = template(&["--set", "audit.schedule=@daily,audit.report=null,events=null"]).unwrap();
    assert_eq!(plain, out);
}

/// Every `fail` of the chart is met by a row above.
#[test]
fn every_refusal_has_a_test() {
    let source = read("charts/prefect-guard/templates/_validate.tpl");
    assert_eq!(source.matches("{{- fail ").count(), COMBINATIONS.len() - 1, "one message is met by two rows");
}

#[test]
fn unknown_and_ill_typed_values_are_refused() {
    let rows = [
        "nope=1",
        "replica=2",
        "image.tags=x",
        "image.digest=sha256:1",
        "policy.mod=warn",
        "policy.mode=strict",
        "policy.kinds={}",
        "policy.rules.Sync_Driver=deny",
        "policy.rules.sync-driver=maybe",
        "policy.migration.onNewerSchema=ignore",
        "policy.namespaces.prod.namespaces.x.mode=warn",
        "policy.namespaces.prod.mod=warn",
        "webhook.url=http://127.0.0.1:1",
        "webhook.url=https://h/path",
        "webhook.mutate.failurePolicy=Fail",
        "webhook.validate.failurePolicy=fail",
        "webhook.validate.timeoutSeconds=30",
        "webhook.excludedNamespaces={Kube_System}",
        "tls.mode=none",
        "tls.caBundle=notpem",
        "port=443",
        "port=https",
        "replicas=0",
        "drainSeconds=-1",
        "logFormat=xml",
        "tls.certManager.duration=90d",
        "monitoring.prometheusRule.runbookUrl=docs",
        "serviceAccount.nam=x",
        "resources.limit.memory=1Gi",
        "affinity.node=x",
    ];
    for row in rows {
        let said = template(&["--set", row]).expect_err(&format!("{row} has to be refused"));
        assert!(said.contains("values don't meet the specifications of the schema"), "{row}: {said}");
    }
}

/// Objects that are handed to Kubernetes as they are; everything else is closed.
const PASSED_THROUGH: &[&str] = &[
    "/global",
    "/policy/migration/securityContext",
    "/policy/namespaces/additionalProperties/migration/securityContext",
    "/affinity/nodeAffinity",
    "/affinity/podAffinity",
    "/affinity/podAntiAffinity",
    "/topologySpreadConstraints/items",
    "/networkPolicy/metricsFrom/items",
];

#[test]
fn the_schema_is_closed_and_covers_every_value() {
    let schema: Value = serde_json::from_str(&read("charts/prefect-guard/values.schema.json")).expect("JSON");
    let values: Value = serde_saphyr::from_str(&read("charts/prefect-guard/values.yaml")).expect("YAML");
    let mut open = Vec::new();
    closed("", &schema, &mut open);
    assert_eq!(open, PASSED_THROUGH);
    let in_schema: Vec<&String> = schema["properties"].as_object().expect("properties").keys().collect();
    for key in values.as_object().expect("values").keys() {
        assert!(in_schema.contains(&key), "{key} is not in the schema");
    }
    for key in in_schema {
        assert!(key == "global" || values.get(key).is_some(), "{key} has no default");
    }
}

fn closed(path: &str, schema: &Value, open: &mut Vec<String>) {
    if schema["type"] == "object"
        && matches!(schema.get("additionalProperties"), None | Some(Value::Bool(true)))
    {
        open.push(path.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        closed(&format!("{path}/{name}"), property, open);
    }
    for part in ["additionalProperties", "items"] {
        if schema[part].is_object() {
            closed(&format!("{path}/{part}"), &schema[part], open);
        }
    }
}

/// Every value carries its reason, or stands under one that does.
#[test]
fn every_top_level_value_is_used_by_a_template() {
    let folder = crate::chart::repository("charts/prefect-guard/templates");
    let templates: String = std::fs::read_dir(folder)
        .expect("templates")
        .map(|entry| std::fs::read_to_string(entry.expect("entry").path()).expect("text"))
        .collect();
    let values: Value = serde_saphyr::from_str(&read("charts/prefect-guard/values.yaml")).expect("YAML");
    for key in values.as_object().expect("values").keys() {
        let used =
            [format!(".Values.{key}"), format!("$v.{key}")].iter().any(|name| templates.contains(name));
        assert!(used, "`{key}` is used nowhere");
    }
}
