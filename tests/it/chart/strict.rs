//! Decodes an object the way an API server with strict field validation does: no field it does not know.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is wrong with an object's fields; empty when nothing is.
pub(crate) fn faults(object: &Value) -> Vec<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    match (object["apiVersion"].as_str().unwrap_or_default(), kind) {
        ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration") => {
            round::<MutatingWebhookConfiguration>(object)
        }
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration") => {
            round::<ValidatingWebhookConfiguration>(object)
        }
        ("apps/v1", "Deployment") => round::<Deployment>(object),
        ("batch/v1", "CronJob") => round::<CronJob>(object),
        ("v1", "ConfigMap") => round::<ConfigMap>(object),
        ("v1", "Secret") => round::<Secret>(object),
        ("v1", "Service") => round::<Service>(object),
        ("v1", "ServiceAccount") => round::<ServiceAccount>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => round::<NetworkPolicy>(object),
        ("policy/v1", "PodDisruptionBudget") => round::<PodDisruptionBudget>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => round::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => round::<ClusterRoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => round::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => round::<RoleBinding>(object),
        ("cert-manager.io/v1", "Issuer") => known::<IssuerSpec>(object),
        ("cert-manager.io/v1", "Certificate") => known::<CertificateSpec>(object),
        ("monitoring.coreos.com/v1", "ServiceMonitor") => known::<ServiceMonitorSpec>(object),
        ("monitoring.coreos.com/v1", "PrometheusRule") => known::<PrometheusRuleSpec>(object),
        other => vec![format!("no type to decode {other:?} with")],
    }
}

/// Decodes, encodes, and names what did not come back.
fn round<T: DeserializeOwned + Serialize>(object: &Value) -> Vec<String> {
    match T::deserialize(object) {
        Err(error) => vec![error.to_string()],
        Ok(typed) => {
            let mut lost = Vec::new();
            compare("", object, &serde_json::to_value(typed).expect("typed objects encode"), &mut lost);
            lost
        }
    }
}

fn compare(path: &str, wanted: &Value, got: &Value, lost: &mut Vec<String>) {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            for (key, value) in wanted {
                compare(&format!("{path}/{key}"), value, got.get(key).unwrap_or(&Value::Null), lost);
            }
        }
        (Value::Array(wanted), Value::Array(got)) if wanted.len() == got.len() => {
            for (index, (wanted, got)) in wanted.iter().zip(got).enumerate() {
                compare(&format!("{path}/{index}"), wanted, got, lost);
            }
        }
        // A null in a rendering is a value that went missing on the way.
        (Value::Null, _) => lost.push(format!("{path} is null")),
        _ if wanted != got => lost.push(format!("{path}: wrote {wanted}, read {got}")),
        _ => {}
    }
}

/// The kinds of other projects, as far as the chart uses them (cert-manager 1.16, Prometheus operator 0.79).
fn known<Spec: DeserializeOwned>(object: &Value) -> Vec<String> {
    Spec::deserialize(&object["spec"]).err().map(|error| error.to_string()).into_iter().collect()
}

macro_rules! shape {
    ($name:ident { $($(#[$note:meta])* $field:ident : $type:ty),* $(,)? }) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        #[expect(dead_code, reason = "only decoded, to see that each field is known")]
        struct $name { $($(#[$note])* $field: $type),* }
    };
}

shape!(IssuerSpec { self_signed: Option<Empty>, ca: Option<CaIssuer> });

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

shape!(CaIssuer { secret_name: String });
shape!(IssuerRef { name: String, kind: Option<String>, group: Option<String> });
shape!(PrivateKey { algorithm: String, size: u32, rotation_policy: Option<String> });
shape!(CertificateSpec {
    secret_name: String,
    issuer_ref: IssuerRef,
    #[serde(rename = "isCA")]
    is_ca: Option<bool>,
    common_name: Option<String>,
    dns_names: Option<Vec<String>>,
    duration: String,
    renew_before: Option<String>,
    usages: Option<Vec<String>>,
    private_key: PrivateKey,
});
shape!(ServiceMonitorSpec { selector: Selector, endpoints: Vec<Endpoint> });
shape!(Selector { match_labels: std::collections::BTreeMap<String, String> });
shape!(Endpoint { port: String, path: String, interval: String });
shape!(PrometheusRuleSpec { groups: Vec<Group> });
shape!(Group { name: String, rules: Vec<Alert> });
shape!(Alert {
    alert: String,
    expr: String,
    r#for: Option<String>,
    labels: std::collections::BTreeMap<String, String>,
    annotations: std::collections::BTreeMap<String, String>,
});

#[test]
fn a_misspelt_field_is_noticed() {
    let object = serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"ports": [{"port": 1, "targetport": 2}]}});
    assert_eq!(faults(&object), ["/spec/ports/0/targetport: wrote 2, read null"]);
    let object = serde_json::json!({"apiVersion": "cert-manager.io/v1", "kind": "Issuer",
        "spec": {"selfsigned": {}}});
    assert_eq!(faults(&object).len(), 1);
}
