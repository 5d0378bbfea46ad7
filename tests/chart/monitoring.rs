//! Alerts and dashboard: they ask for metrics that exist, and each alert leads to its page.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::helm::{MONITORING, only, render};
use crate::read;

/// What the guard exports, histograms and counters by the names that a scrape shows.
const OURS: &[&str] = &[
    "prefect_guard_admission_requests_total",
    "prefect_guard_admission_duration_seconds_bucket",
    "prefect_guard_admission_duration_seconds_sum",
    "prefect_guard_admission_duration_seconds_count",
    "prefect_guard_findings_total",
    "prefect_guard_patches_total",
    "prefect_guard_certificate_not_after_timestamp_seconds",
    "prefect_guard_build_info",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_start_time_seconds",
];

/// What the API server exports (`pkg/admission/metrics/metrics.go` of k8s.io/apiserver 1.36).
const API_SERVER: &[&str] = &[
    "apiserver_admission_webhook_admission_duration_seconds_bucket",
    "apiserver_admission_webhook_rejection_count",
    "apiserver_admission_webhook_fail_open_count",
    "apiserver_admission_webhook_request_total",
    "apiserver_admission_match_condition_exclusions_total",
    "apiserver_admission_match_condition_evaluation_errors_total",
];

/// The labels of each metric that the queries may use, beside what every scrape adds.
const LABELS: &[(&str, &[&str])] = &[
    ("prefect_guard_admission_requests_total", &["path", "operation", "kind", "verdict", "dry_run"]),
    ("prefect_guard_findings_total", &["rule", "severity"]),
    ("prefect_guard_patches_total", &["kind"]),
    (
        "apiserver_admission_webhook_rejection_count",
        &["name", "type", "operation", "error_type", "rejection_code"],
    ),
    ("apiserver_admission_webhook_fail_open_count", &["name", "type"]),
    ("apiserver_admission_webhook_request_total", &["name", "type", "operation", "code", "rejected"]),
];

/// The words of PromQL in use here.
const WORDS: &[&str] = &[
    "absent",
    "and",
    "by",
    "count",
    "histogram_quantile",
    "increase",
    "min",
    "on",
    "or",
    "rate",
    "sum",
    "time",
    "vector",
];

fn alerts() -> Vec<Value> {
    let objects = render(&["--set", MONITORING]);
    let groups = only(&objects, "PrometheusRule")["spec"]["groups"].as_array().expect("groups").clone();
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

fn panels() -> Vec<Value> {
    let objects = render(&["--set", MONITORING]);
    let map = objects
        .iter()
        .find(|object| object["metadata"]["name"] == "prefect-guard-dashboard")
        .expect("the dashboard");
    let text = map["data"]["prefect-guard.json"].as_str().expect("text");
    let dashboard: Value = serde_json::from_str(text).expect("the dashboard is JSON");
    dashboard["panels"].as_array().expect("panels").clone()
}

fn queries() -> Vec<String> {
    let of_alerts = alerts().into_iter().map(|alert| alert["expr"].clone());
    let of_panels =
        panels().into_iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let all = of_alerts.chain(of_panels.map(|target| target["expr"].clone()));
    all.map(|expr| expr.as_str().expect("a query").to_owned()).collect()
}

/// What a query names: metrics and words of PromQL; and labels, in `{…}`, `by (…)` and `on (…)`.
#[derive(Default)]
struct Named {
    words: BTreeSet<String>,
    labels: BTreeSet<String>,
}

fn named(query: &str) -> Named {
    let unquoted: String = query.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    let mut found = Named::default();
    let mut tokens = tokens(&unquoted).into_iter();
    while let Some(token) = tokens.next() {
        match token.as_str() {
            "by" | "on" | "{" => {
                let end = if token == "{" { "}" } else { ")" };
                let inside = tokens.by_ref().take_while(|inner| inner != end);
                found.labels.extend(inside.filter(|inner| inner.starts_with(char::is_alphabetic)));
            }
            "[" => while tokens.next().is_some_and(|inner| inner != "]") {},
            word if word.starts_with(char::is_alphabetic) => {
                found.words.insert(token);
            }
            _ => {}
        }
    }
    found
}

/// Identifiers whole, anything else letter by letter.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut within = false;
    for letter in text.chars() {
        let part = letter.is_alphanumeric() || letter == '_';
        match tokens.last_mut() {
            Some(last) if within && part => last.push(letter),
            _ => tokens.push(letter.to_string()),
        }
        within = part;
    }
    tokens
}

#[test]
fn queries_are_taken_apart() {
    let found = named(r#"sum by (le) (rate(a_bucket{x="y, z{", k!~"m"}[5m])) > 0.5"#);
    assert_eq!(Vec::from_iter(found.words), ["a_bucket", "rate", "sum"]);
    assert_eq!(Vec::from_iter(found.labels), ["k", "le", "x"]);
}

#[test]
fn queries_name_only_metrics_that_exist() {
    let queries = queries();
    assert!(queries.len() > 25, "{} queries", queries.len());
    for query in &queries {
        for word in named(query).words {
            let known = [OURS, API_SERVER, WORDS].iter().any(|list| list.contains(&word.as_str()));
            assert!(known, "`{word}` in: {query}");
        }
    }
}

#[test]
fn queries_name_only_labels_that_exist() {
    let everywhere = ["instance", "job", "namespace", "le", "name"];
    for query in queries() {
        let named = named(&query);
        let own: Vec<&str> = LABELS
            .iter()
            .filter(|(metric, _)| named.words.contains(*metric))
            .flat_map(|(_, labels)| labels.iter().copied())
            .collect();
        for label in named.labels {
            assert!(
                everywhere.contains(&label.as_str()) || own.contains(&label.as_str()),
                "`{label}` in: {query}"
            );
        }
    }
}

/// Nothing that we export goes unseen: each metric is on the dashboard or in an alert.
#[test]
fn every_metric_of_ours_is_asked_for() {
    let asked: BTreeSet<String> = queries().iter().flat_map(|query| named(query).words).collect();
    for metric in OURS {
        let family = metric.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
        let seen = asked.iter().any(|word| word.starts_with(family));
        assert!(seen || *metric == "process_start_time_seconds", "{metric}");
    }
}

#[test]
fn panels_say_what_they_show() {
    let panels = panels();
    let mut places = BTreeSet::new();
    for panel in &panels {
        assert!(places.insert(panel["gridPos"].to_string()), "two panels in one place: {panel}");
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()));
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "no data source is wired in");
        }
    }
}

/// GitHub's anchor of a heading of one word is that word in lower case.
#[test]
fn every_alert_leads_to_its_page() {
    let runbook = read("docs/alerts.md");
    let headings: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts();
    let names: Vec<&str> = alerts.iter().map(|alert| alert["alert"].as_str().expect("name")).collect();
    assert_eq!(headings, names, "docs/alerts.md has one heading for each alert, in order");
    for alert in &alerts {
        let url = alert["annotations"]["runbook_url"].as_str().expect("a link");
        let anchor = alert["alert"].as_str().expect("name").to_lowercase();
        assert!(url.ends_with(&format!("docs/alerts.md#{anchor}")), "{url}");
        assert!(["warning", "critical"].contains(&alert["labels"]["severity"].as_str().expect("severity")));
        assert!(alert["annotations"]["summary"].as_str().is_some_and(|text| !text.ends_with('.')));
    }
}

/// The default link leads into a file of this repository.
#[test]
fn the_runbook_link_names_a_file_that_is_there() {
    let values: Value = serde_saphyr::from_str(&read("charts/prefect-guard/values.yaml")).expect("YAML");
    let url = values["monitoring"]["prometheusRule"]["runbookUrl"].as_str().expect("a link").to_owned();
    let (_, path) = url.split_once("/blob/main/").expect("a link into the repository");
    assert!(crate::repository(path).is_file(), "{path}");
}
