//! `docs/metrics.md` is made from the registry; `UPDATE_DOCS=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use prefect_guard::answer::{Record, Verdict};
use prefect_guard::decision::Endpoint;
use prefect_guard::rule::Severity;
use prefect_guard::rules;
use prefect_guard::telemetry::log::{Format, Log};
use prefect_guard::telemetry::metrics::{
    CONNECTION_REASONS, EventOutcome, Metrics, RELOADED, REQUEST_REASONS,
};

const INTRODUCTION: &str = "# Metrics

Made from the program; `UPDATE_DOCS=1 cargo test --test it metrics::` writes it anew.

`GET /metrics` on the admin port (`--admin-listen`, 8080) answers in the OpenMetrics text format. No label holds the
name or namespace of an object, and each has a small, known set of values, so the number of series is bounded whatever
clients send. What can go wrong starts at zero, so that an alert on an increase sees the first one.

";

/// Metrics with every family in use.
fn sample() -> String {
    let log = Log::new(Format::Json, tracing::Level::ERROR, std::io::sink()).unwrap();
    let metrics = Metrics::new(&log);
    let rule = rules::find("PSG103").unwrap();
    let record = Record {
        verdict: Verdict::Deny,
        rules: vec![(rule, Severity::Deny)],
        edits: vec!["inject"],
        exempted: vec![rule],
        ..Record::default()
    };
    metrics.decided(Endpoint::Validate, &record, Duration::from_micros(20));
    metrics.renewed(true, true);
    metrics.certificate_until(1);
    metrics.render()
}

struct Described {
    kind: String,
    help: String,
    labels: Vec<String>,
}

/// Every metric under the name that queries use.
fn described(text: &str) -> BTreeMap<String, Described> {
    let mut all: BTreeMap<String, Described> = BTreeMap::new();
    let (mut help, mut kind) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').unwrap().1.trim_end_matches('.').to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            kind = rest.split_once(' ').unwrap().1.to_owned();
        } else if !line.starts_with('#') {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels =
                labels.trim_end_matches('}').split(',').filter_map(|pair| Some(pair.split_once('=')?.0));
            let labels: Vec<String> = labels.map(str::to_owned).collect();
            // Of a histogram one line is enough.
            if name.ends_with("_sum") || name.ends_with("_count") {
                continue;
            }
            let described = Described { kind: kind.clone(), help: help.clone(), labels };
            all.entry(name.to_owned()).or_insert(described);
        }
    }
    all
}

const DASHBOARD: &str = "
## The dashboard

`monitoring.dashboard.enabled=true` brings a Grafana dashboard, as a ConfigMap that Grafana's sidecar loads. Without the
sidecar import `charts/prefect-guard/dashboards/prefect-guard.json`. The picture is drawn from that file, with example
values:

![The Grafana dashboard: replicas, the certificate, denials and failed calls, and below them curves of what the guard \
decides and of what the API server says](pictures/dashboard.svg)
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("| metric | type | labels | what |\n|---|---|---|---|\n");
    for (name, Described { kind, help, labels }) in described(&sample()) {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(", ")).unwrap();
    }
    let list =
        |values: &[&str]| values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    let severities = [Severity::Warn.as_str(), Severity::Deny.as_str()];
    let verdicts =
        [Verdict::Allow, Verdict::Warn, Verdict::Patch, Verdict::Deny, Verdict::Error].map(Verdict::as_str);
    page.push_str("\n## Labels\n\n| label | values |\n|---|---|\n");
    for (label, values) in [
        ("`path`", list(&["mutate", "validate"])),
        ("`operation`", list(&["CONNECT", "CREATE", "DELETE", "UPDATE", "other"])),
        (
            "`kind` of a request",
            "the kinds of Kubernetes workloads, `Rollout`, `Scale`, `Secret`; all else `other`".to_owned(),
        ),
        ("`kind` of a patch", list(&["inject", "replace", "move", "remove", "pin", "annotate", "lock"])),
        ("`verdict`", list(&verdicts) + "; `error` is a request that is no review, or our own failure"),
        ("`rule`", "the id, as in [rules.md](rules.md)".to_owned()),
        ("`severity`", list(&severities)),
        ("`reason` of a refused request", list(&REQUEST_REASONS)),
        ("`reason` of a closed connection", list(&CONNECTION_REASONS)),
        ("`what` of a reload", list(&RELOADED)),
        ("`outcome` of an Event", list(&EventOutcome::ALL.map(EventOutcome::as_str))),
        ("`what` of a renewal", list(&["authority", "leaf"])),
    ] {
        writeln!(page, "| {label} | {values} |").unwrap();
    }
    page + DASHBOARD
}

#[test]
fn the_page_is_what_the_program_exports() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page(),
        "docs/metrics.md is stale; `UPDATE_DOCS=1 cargo test --test it metrics::` writes it anew"
    );
}

#[test]
fn the_names_that_dashboards_use_are_there() {
    let all = described(&sample());
    for (name, labels) in [
        ("prefect_guard_admission_requests_total", &["path", "operation", "kind", "verdict", "dry_run"][..]),
        ("prefect_guard_admission_duration_seconds_bucket", &["le"]),
        ("prefect_guard_findings_total", &["rule", "severity"]),
        ("prefect_guard_patches_total", &["kind"]),
        ("prefect_guard_certificate_not_after_timestamp_seconds", &[]),
        ("prefect_guard_build_info", &["version"]),
        ("process_resident_memory_bytes", &[]),
        ("process_open_fds", &[]),
        ("process_cpu_seconds_total", &[]),
        ("process_start_time_seconds", &[]),
    ] {
        let described = all.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(described.labels, labels, "{name}");
        assert!(described.help.len() > 10, "{name} says too little");
    }
}
