//! The tables of rights in `docs/security.md`: what the chart gives is made from its rendering, and `UPDATE_DOCS=1` writes
//! it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use crate::chart::helm::{KINDS, NAMESPACE, render};
use crate::chart::{read, repository};

const BEGIN: &str =
    "<!-- The rights that the chart gives: made by a test of `tests/it/chart/rights.rs`. -->\n";
const END: &str = "<!-- So far. -->\n";

/// Options of the chart as the page names them, and the values that they stand for.
const OPTIONS: &[(&str, &[&str])] = &[
    ("`tls.mode: managed`, the default", &[]),
    ("`tls.mode: cert-manager`", &["--set", "tls.mode=cert-manager"]),
    (
        "`tls.mode: secret`",
        &["--set", "tls.mode=secret,tls.secretName=own", "--set-file", "tls.caBundle=@ca"],
    ),
    ("`events.enabled`", &["--set", "events.enabled=true"]),
    ("`webhook.secrets.enabled`", &["--set", "webhook.secrets.enabled=true"]),
    ("`kinds`", &["--set-json", KINDS]),
    ("`audit.schedule`", &["--set", "audit.schedule=17 5 * * *"]),
    ("`audit.schedule` with such `kinds`", &["--set", "audit.schedule=17 5 * * *", "--set-json", KINDS]),
    (
        "`audit.schedule` and `audit.report: openreports`",
        &["--set", "audit.schedule=17 5 * * *,audit.report=openreports"],
    ),
    (
        "`audit.schedule` and `audit.report: policyreport`",
        &["--set", "audit.schedule=17 5 * * *,audit.report=policyreport"],
    ),
    ("`breakGlass.enabled`", &["--set", "breakGlass.enabled=true"]),
];

/// One right: whose, where, which verbs, and on what.
type Right = [String; 4];

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Every right that a rendering gives to somebody.
fn rights(objects: &[Value]) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for role in objects.iter().filter(|object| object["rules"].is_array()) {
        let (kind, name) = (&role["kind"], &role["metadata"]["name"]);
        let bound = objects
            .iter()
            .filter(|object| object["roleRef"]["name"] == *name && object["roleRef"]["kind"] == *kind);
        let accounts: Vec<String> = bound
            .flat_map(|binding| binding["subjects"].as_array().expect("subjects"))
            .map(|subject| {
                assert_eq!(
                    (&subject["kind"], &subject["namespace"]),
                    (&"ServiceAccount".into(), &NAMESPACE.into())
                );
                format!("`{}`", subject["name"].as_str().expect("a name"))
            })
            .collect();
        let whose =
            if accounts.is_empty() { "nobody, until you bind it".to_owned() } else { accounts.join(", ") };
        let place = if kind == "Role" { "the release's namespace" } else { "the cluster" };
        for rule in role["rules"].as_array().expect("rules") {
            let verbs =
                texts(&rule["verbs"]).iter().map(|verb| format!("`{verb}`")).collect::<Vec<_>>().join(", ");
            let names = texts(&rule["resourceNames"]);
            for (group, resource) in texts(&rule["apiGroups"]).iter().flat_map(|group| {
                texts(&rule["resources"]).into_iter().map(move |resource| (*group, resource))
            }) {
                let what = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
                let which =
                    if names.is_empty() { String::new() } else { format!(" named `{}`", names.join("`, `")) };
                all.insert([whose.clone(), place.to_owned(), verbs.clone(), format!("{what}{which}")]);
            }
        }
    }
    all
}

fn table() -> String {
    let default = rights(&render(&[]));
    let mut table = "| with | account | where | verbs | on |\n|---|---|---|---|---|\n".to_owned();
    for (option, arguments) in OPTIONS {
        let given = rights(&render(arguments));
        let is_default = arguments.is_empty();
        let more: BTreeSet<&Right> =
            given.iter().filter(|right| is_default || !default.contains(*right)).collect();
        let less = default.difference(&given).count();
        assert!(less == 0 || (less == default.len() && given.is_empty()), "{option} takes some away");
        if more.is_empty() {
            let none = if less > 0 { "none at all" } else { "no more" };
            writeln!(table, "| {option} | | | {none} | |").unwrap();
        }
        let mut lines: BTreeMap<[&String; 3], Vec<&str>> = BTreeMap::new();
        for [whose, place, verbs, what] in more {
            lines.entry([whose, place, verbs]).or_default().push(what);
        }
        for ([whose, place, verbs], what) in lines {
            writeln!(table, "| {option} | {whose} | {place} | {verbs} | {} |", what.join(", ")).unwrap();
        }
    }
    table
}

#[test]
fn the_table_is_what_the_chart_renders() {
    let page = read("docs/security.md");
    let (before, rest) = page.split_once(BEGIN).expect("the table's begin");
    let (written, after) = rest.split_once(END).expect("the table's end");
    let wanted = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(repository("docs/security.md"), format!("{before}{BEGIN}{wanted}{END}{after}"))
            .unwrap();
    } else {
        assert!(
            written == wanted,
            "docs/security.md is stale; `UPDATE_DOCS=1 cargo test --test it chart::rights::` writes it anew"
        );
    }
}

/// The account that serves may do nothing that its table does not say, and without options nothing new.
#[test]
fn the_default_is_three_objects_by_name() {
    let default = rights(&render(&[]));
    assert_eq!(default.len(), 3, "{default:?}");
    assert!(default.iter().all(|[whose, _, verbs, what]| {
        whose == "`prefect-guard`" && verbs == "`get`, `patch`" && what.contains(" named `prefect-guard")
    }));
}
