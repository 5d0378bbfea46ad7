//! The report as SARIF 2.1.0, as code scanning services read it.

use std::io::Write;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Found, Report};
use crate::rule::{Level, Severity};
use crate::rules::REGISTER;

/// What a path may not hold in a URI reference (RFC 3986).
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b':');

pub(super) fn print(report: &Report, out: &mut dyn Write) -> anyhow::Result<()> {
    let unread: Vec<Value> = report
        .unread
        .iter()
        .map(|unread| {
            json!({
                "level": "error",
                "message": {"text": format!("{}; {}", unread.what, unread.help)},
                "locations": [place(&unread.file, unread.line, unread.column)],
            })
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "prefect-guard",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": unread.is_empty(),
                "toolExecutionNotifications": unread,
            }],
            "results": report.findings.iter().map(result).collect::<Vec<_>>(),
        }],
    });
    serde_json::to_writer_pretty(&mut *out, &log)?;
    writeln!(out)?;
    Ok(())
}

fn rules() -> Vec<Value> {
    REGISTER
        .iter()
        .map(|entry| {
            let rule = entry.rule;
            json!({
                "id": rule.id,
                "name": rule.name,
                "helpUri": rule.url(),
                "shortDescription": {"text": rule.summary},
                "help": {"text": rule.page, "markdown": rule.page},
                "defaultConfiguration": {
                    "enabled": rule.default != Level::Off,
                    "level": if rule.default == Level::Deny { "error" } else { "warning" },
                },
            })
        })
        .collect()
}

fn result(found: &Found) -> Value {
    let object = found.about.to_string();
    let name = match &found.container {
        Some(container) => format!("{object}/{container}"),
        None => object,
    };
    let mut location = match &found.source {
        Some(source) => place(&source.file, source.line, source.column),
        None => json!({}),
    };
    location["logicalLocations"] = json!([{"fullyQualifiedName": name, "kind": "resource"}]);
    let mut result = json!({
        "ruleId": found.rule.id,
        "level": if found.severity == Severity::Deny { "error" } else { "warning" },
        "message": {"text": format!("{}\nhelp: {}", found.message, found.help)},
        "locations": [location],
    });
    if let Some(index) = REGISTER.iter().position(|entry| entry.rule == found.rule) {
        result["ruleIndex"] = json!(index);
    }
    result
}

fn place(file: &str, line: usize, column: usize) -> Value {
    let uri = utf8_percent_encode(&file.replace('\\', "/"), PATH).to_string();
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri},
        "region": {"startLine": line.max(1), "startColumn": column.max(1)},
    }})
}
