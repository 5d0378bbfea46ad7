//! The report as objects that policy dashboards read: one for each namespace.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::{Value, json};

use super::{Found, Report};
use crate::rule::Severity;

/// The name of our report in each namespace; another audit replaces it.
const NAME: &str = "prefect-guard-audit";

/// Whose objects. Their results are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Flavour {
    /// `Report` of `openreports.io/v1alpha1`.
    Openreports,
    /// `PolicyReport` of `wgpolicyk8s.io/v1alpha2`.
    Policyreport,
}

impl Flavour {
    /// Group, version, kind and plural.
    pub(crate) fn kind(self) -> [&'static str; 4] {
        match self {
            Flavour::Openreports => ["openreports.io", "v1alpha1", "Report", "reports"],
            Flavour::Policyreport => ["wgpolicyk8s.io", "v1alpha2", "PolicyReport", "policyreports"],
        }
    }
}

/// A `List`, as `kubectl apply -f -` takes it.
pub(super) fn print(report: &Report, flavour: Flavour, out: &mut dyn Write) -> anyhow::Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects(report, flavour)});
    serde_json::to_writer_pretty(&mut *out, &list)?;
    writeln!(out)?;
    Ok(())
}

/// One object for each namespace with something of Prefect's in it: what was found before and is no more has to go.
pub(crate) fn objects(report: &Report, flavour: Flavour) -> Vec<Value> {
    let [group, version, kind, _] = flavour.kind();
    let found = report.findings.iter().map(|found| found.about.namespace.as_str());
    let namespaces: BTreeSet<&str> = report.judged.keys().map(String::as_str).chain(found).collect();
    // None of our kinds is without a namespace, and where there is none there is nowhere to put it.
    let namespaces = namespaces.into_iter().filter(|namespace| !namespace.is_empty());
    namespaces
        .map(|namespace| {
            let found: Vec<&Found> =
                report.findings.iter().filter(|found| found.about.namespace == namespace).collect();
            let count = |severity| found.iter().filter(|found| found.severity == severity).count();
            let faulty: BTreeSet<usize> = found.iter().map(|found| found.about.number).collect();
            let judged = report.judged.get(namespace).into_iter().flatten();
            json!({
                "apiVersion": format!("{group}/{version}"),
                "kind": kind,
                "metadata": {
                    "name": NAME,
                    "namespace": namespace,
                    "labels": {"app.kubernetes.io/managed-by": "prefect-guard"},
                },
                "summary": {
                    "pass": judged.filter(|number| !faulty.contains(number)).count(),
                    "fail": count(Severity::Deny),
                    "warn": count(Severity::Warn),
                    "error": 0,
                    "skip": 0,
                },
                "results": found.into_iter().map(result).collect::<Vec<_>>(),
            })
        })
        .collect()
}

fn result(found: &Found) -> Value {
    let (outcome, severity) = match found.severity {
        Severity::Deny => ("fail", "high"),
        _ => ("warn", "medium"),
    };
    let mut properties = json!({"name": found.rule.name, "help": found.help, "url": found.rule.url()});
    if let Some(container) = &found.container {
        properties["container"] = container.as_str().into();
    }
    let mut subject =
        json!({"kind": found.about.kind, "namespace": found.about.namespace, "name": found.about.resource});
    if let Some(api_version) = api_version(&found.about.kind) {
        subject["apiVersion"] = api_version.into();
    }
    json!({
        "source": "prefect-guard",
        "policy": "prefect-guard",
        "rule": found.rule.id,
        "category": "Prefect",
        "severity": severity,
        "result": outcome,
        "scored": found.severity == Severity::Deny,
        "message": found.title(),
        "resources": [subject],
        "properties": properties,
    })
}

/// Where Kubernetes' own kinds are; a kind of the policy goes by its name alone.
fn api_version(kind: &str) -> Option<&'static str> {
    match kind {
        "Deployment" | "StatefulSet" => Some("apps/v1"),
        "CronJob" | "Job" => Some("batch/v1"),
        "Service" => Some("v1"),
        _ => None,
    }
}
