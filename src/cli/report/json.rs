//! The report as one JSON object; its keys are part of the contract.

use std::io::Write;

use serde_json::{Value, json};

use super::found::Exempted;
use super::{Found, Report};
use crate::cli::outcome::note;
use crate::decision::Exemption;

pub(super) fn print(report: &Report, out: &mut dyn Write) -> anyhow::Result<()> {
    let findings: Vec<Value> = report.findings.iter().map(finding).collect();
    let exempted: Vec<Exempt<'_>> = report.exempted.iter().map(exempted).collect();
    let whole = json!({"findings": findings, "exempted": exempted, "summary": report.summary()});
    serde_json::to_writer_pretty(&mut *out, &whole)?;
    writeln!(out)?;
    // The findings have no room for what could not be read; the exit code shows it too.
    for unread in &report.unread {
        note(format_args!("{}:{}:{}: {}", unread.file, unread.line, unread.column, unread.what));
    }
    Ok(())
}

/// An object, and from what it is exempt.
#[derive(serde::Serialize)]
struct Exempt<'a> {
    kind: &'a str,
    namespace: &'a str,
    resource: &'a str,
    #[serde(flatten)]
    exemption: &'a Exemption,
}

fn exempted(Exempted { about, exemption }: &Exempted) -> Exempt<'_> {
    Exempt { kind: &about.kind, namespace: &about.namespace, resource: &about.resource, exemption }
}

fn finding(found: &Found) -> Value {
    json!({
        "rule": found.rule.id,
        "name": found.rule.name,
        "severity": found.severity.as_str(),
        "file": found.source.as_ref().map(|source| &source.file),
        "line": found.source.as_ref().map(|source| source.line),
        "kind": found.about.kind,
        "namespace": found.about.namespace,
        "resource": found.about.resource,
        "container": found.container,
        "message": found.message,
        "help": found.help,
    })
}
