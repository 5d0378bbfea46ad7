//! Alerts and dashboard: they ask for metrics that exist, and each alert leads to its page.

use std::collections::{BTreeMap, BTreeSet};

use prefect_guard::answer::Record;
use prefect_guard::decision::Endpoint;
use prefect_guard::rule::Severity;
use prefect_guard::telemetry::log::{Format, Log};
use prefect_guard::telemetry::metrics::Metrics;
use serde_json::Value;

use crate::chart::helm::{AUDIT, MONITORING, only, render};
use crate::chart::read;

/// What the guard exports, by the names that a scrape shows, with the labels of each: read off the real registry
/// after every counter was moved.
fn ours() -> BTreeMap<String, BTreeSet<String>> {
    let log = Log::new(Format::Text, tracing::Level::ERROR, std::io::sink()).expect("a log");
    let metrics = Metrics::new(&log);
    let rule = prefect_guard::rules::REGISTER[0].rule;
    let record = Record {
        rules: vec![(rule, Severity::Deny)],
        edits: vec!["inject"],
        exempted: vec![rule],
        ..Record::default()
    };
    metrics.decided(Endpoint::Validate, &record, std::time::Duration::from_micros(20));
    metrics.request_refused("method");
    metrics.connection_refused("idle");
    metrics.reload_failed("policy");
    metrics.renewed(true, true);
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let text = metrics.render();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().expect("a name");
        let labels =
            line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(labels, _)| labels);
        let labels = labels.split(',').filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
        all.entry(name.to_owned()).or_default().extend(labels);
    }
    all
}

/// What the API server exports, with its labels (`pkg/admission/metrics/metrics.go` of k8s.io/apiserver 1.36).
const API_SERVER: &[(&str, &[&str])] = &[
    (
        "apiserver_admission_webhook_admission_duration_seconds_bucket",
        &["name", "type", "operation", "rejected", "le"],
    ),
    (
        "apiserver_admission_webhook_rejection_count",
        &["name", "type", "operation", "error_type", "rejection_code"],
    ),
    ("apiserver_admission_webhook_fail_open_count", &["name", "type"]),
    ("apiserver_admission_webhook_request_total", &["name", "type", "operation", "code", "rejected"]),
    ("apiserver_admission_match_condition_exclusions_total", &["name", "kind", "type", "operation"]),
    ("apiserver_admission_match_condition_evaluation_errors_total", &["name", "kind", "type", "operation"]),
];

/// What kube-state-metrics exports, with its labels (`docs/metrics/workload` of kube-state-metrics 2.17).
const KUBE_STATE: &[(&str, &[&str])] = &[
    ("kube_job_status_failed", &["job_name", "reason"]),
    ("kube_pod_init_container_status_ready", &["container", "pod", "uid"]),
    ("kube_pod_init_container_status_restarts_total", &["container", "pod", "uid"]),
    ("kube_pod_init_container_status_running", &["container", "pod", "uid"]),
    ("kube_pod_init_container_status_waiting_reason", &["container", "pod", "reason", "uid"]),
];

/// Every metric that may be asked for, with its labels.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let api_server = API_SERVER
        .iter()
        .chain(KUBE_STATE)
        .map(|(name, labels)| ((*name).to_owned(), labels.iter().map(|label| (*label).to_owned()).collect()));
    ours().into_iter().chain(api_server).collect()
}

/// The words of PromQL in use here.
const WORDS: &[&str] = &[
    "absent",
    "and",
    "by",
    "count",
    "histogram_quantile",
    "increase",
    "max",
    "min",
    "on",
    "or",
    "rate",
    "sum",
    "time",
    "vector",
];

fn alerts() -> Vec<Value> {
    let objects = render(&["--set", MONITORING, "--set", AUDIT]);
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
fn queries_name_only_metrics_and_labels_that_exist() {
    let (queries, known) = (queries(), known());
    assert!(queries.len() > 25, "{} queries", queries.len());
    for query in &queries {
        let Named { words, labels } = named(query);
        let metrics: Vec<&String> = words.iter().filter(|word| !WORDS.contains(&word.as_str())).collect();
        assert!(
            !metrics.is_empty() && metrics.iter().all(|metric| known.contains_key(*metric)),
            "{metrics:?} in: {query}"
        );
        // What every scrape adds.
        let scraped = ["instance", "job", "namespace"];
        let labels = labels.iter().filter(|label| !scraped.contains(&label.as_str()));
        for label in labels {
            assert!(metrics.iter().any(|metric| known[*metric].contains(label)), "`{label}` in: {query}");
        }
    }
}

/// Nothing that we count goes unseen: each metric is on the dashboard or in an alert.
#[test]
fn every_metric_of_ours_is_asked_for() {
    let asked: BTreeSet<String> = queries().iter().flat_map(|query| named(query).words).collect();
    for metric in ours().into_keys().filter(|name| name.starts_with("prefect_guard_")) {
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| metric.strip_suffix(end)).unwrap_or(&metric);
        assert!(asked.iter().any(|word| word.starts_with(family)), "{metric}");
    }
}

/// Whoever is called by an alert about a migration finds its series on the dashboard.
#[test]
fn the_series_of_the_migration_alerts_have_panels() {
    let exprs =
        panels().into_iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let shown: BTreeSet<String> =
        exprs.flat_map(|target| named(target["expr"].as_str().expect("a query")).words).collect();
    for (metric, _) in KUBE_STATE {
        assert!(shown.contains(*metric), "{metric}");
    }
    let alerts = alerts();
    let asked = alerts.iter().flat_map(|alert| named(alert["expr"].as_str().expect("a query")).words);
    let asked: BTreeSet<String> = asked.filter(|word| word.starts_with("kube_")).collect();
    assert_eq!(asked, KUBE_STATE.iter().map(|(metric, _)| (*metric).to_owned()).collect());
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
        assert!(url.ends_with(&format!("/alerts.html#{anchor}")), "{url}");
        assert!(["warning", "critical"].contains(&alert["labels"]["severity"].as_str().expect("severity")));
        assert!(alert["annotations"]["summary"].as_str().is_some_and(|text| !text.ends_with('.')));
    }
}

/// The default link leads to a page of the site.
#[test]
fn the_runbook_link_names_a_file_that_is_there() {
    let values: Value = serde_saphyr::from_str(&read("charts/prefect-guard/values.yaml")).expect("YAML");
    let url = values["monitoring"]["prometheusRule"]["runbookUrl"].as_str().expect("a link").to_owned();
    crate::chart::leads_to_a_page(&url);
}
