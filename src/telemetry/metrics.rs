//! The metrics: every name, label and help text in one place. `docs/metrics.md` is made from the registry.
//!
//! No label ever holds a name or a namespace, and each has a known, small set of values.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::log::Log;
use super::process::Process;
pub(crate) use super::process::open_files_limit;
use crate::answer::Record;
use crate::decision::Endpoint;

/// Kinds that have a label of their own; everything else is `other`, so that no client can grow the metrics.
const KINDS: [&str; 12] = [
    "CronJob",
    "DaemonSet",
    "Deployment",
    "Job",
    "Pod",
    "PodTemplate",
    "ReplicaSet",
    "ReplicationController",
    "Rollout",
    "Scale",
    "Secret",
    "StatefulSet",
];
const OPERATIONS: [&str; 4] = ["CONNECT", "CREATE", "DELETE", "UPDATE"];

/// Seconds; from a tenth of the usual 20 µs up to the API server's longest wait of 30 s.
const BUCKETS: [f64; 14] =
    [0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0];

/// Why a request gets no verdict, as the label `reason` has it.
pub const REQUEST_REASONS: [&str; 8] =
    ["body_aborted", "body_timeout", "body_too_large", "busy", "deadline", "media_type", "method", "path"];

/// Why a connection is closed by us, as the label `reason` has it.
pub const CONNECTION_REASONS: [&str; 7] =
    ["accept", "handshake", "handshake_timeout", "head_timeout", "idle", "limit", "write_timeout"];

/// What is read again when it changes, as the label `what` has it.
pub const RELOADED: [&str; 3] = ["certificate", "client_ca", "policy"];

/// What became of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventOutcome {
    /// Too many waited.
    Dropped,
    /// The API server did not take it.
    Failed,
    /// It is there already.
    Repeated,
    /// It was written.
    Written,
}

impl EventOutcome {
    /// Every one.
    pub const ALL: [EventOutcome; 4] =
        [EventOutcome::Dropped, EventOutcome::Failed, EventOutcome::Repeated, EventOutcome::Written];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            EventOutcome::Dropped => "dropped",
            EventOutcome::Failed => "failed",
            EventOutcome::Repeated => "repeated",
            EventOutcome::Written => "written",
        }
    }
}

fn known(text: &str, list: &[&'static str]) -> &'static str {
    list.iter().find(|known| **known == text).copied().unwrap_or("other")
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    path: &'static str,
    operation: &'static str,
    kind: &'static str,
    verdict: &'static str,
    dry_run: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Found {
    rule: &'static str,
    severity: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Exempted {
    rule: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reload {
    what: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

/// Every counter of the server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    duration: Histogram,
    findings: Family<Found, Counter>,
    patches: Family<Kind, Counter>,
    exemptions: Family<Exempted, Counter>,
    refused_requests: Family<Reason, Counter>,
    refused_connections: Family<Reason, Counter>,
    reloads: Family<Reload, Counter>,
    stale: Family<What, Gauge>,
    /// Panics that were caught; each was answered with 500.
    pub panics: Counter,
    /// Connections open now.
    pub connections: Gauge,
    /// Requests being answered now.
    pub in_flight: Gauge,
    certificate_end: Gauge,
    renewals: Family<What, Counter>,
    events: Family<Outcome, Counter>,
    /// `caBundle`s of webhook configurations that were corrected.
    pub bundle_repairs: Counter,
    /// Looks at the API server that ended in an error.
    pub kubernetes_errors: Counter,
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new(log: &Log) -> Arc<Metrics> {
        let mut metrics = Metrics {
            registry: Registry::default(),
            requests: Family::default(),
            duration: Histogram::new(BUCKETS),
            findings: Family::default(),
            patches: Family::default(),
            exemptions: Family::default(),
            refused_requests: Family::default(),
            refused_connections: Family::default(),
            reloads: Family::default(),
            stale: Family::default(),
            panics: Counter::default(),
            connections: Gauge::default(),
            in_flight: Gauge::default(),
            certificate_end: Gauge::default(),
            renewals: Family::default(),
            events: Family::default(),
            bundle_repairs: Counter::default(),
            kubernetes_errors: Counter::default(),
        };
        metrics.register(log);
        metrics.begin();
        Arc::new(metrics)
    }

    fn register(&mut self, log: &Log) {
        let mut all = std::mem::take(&mut self.registry);
        let guard = all.sub_registry_with_prefix("prefect_guard");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        guard.register("build", "The version that runs", build);
        guard.register("admission_requests", "Reviews answered", self.requests.clone());
        let help = "Time from the whole body to the answer";
        guard.register_with_unit("admission_duration", help, Unit::Seconds, self.duration.clone());
        guard.register("findings", "Findings by rule and how they were counted", self.findings.clone());
        guard.register("patches", "What patches did to workloads", self.patches.clone());
        guard.register("exemptions", "Findings that an annotation exempted from", self.exemptions.clone());
        let help = "Requests that got no verdict: wrong path, method, type or size, or no room or time left";
        guard.register("requests_refused", help, self.refused_requests.clone());
        let help = "Connections closed by us: over the cap, no handshake or no request in time, idle";
        guard.register("connections_refused", help, self.refused_connections.clone());
        guard.register("panics", "Panics caught and answered with 500", self.panics.clone());
        guard.register("connections", "Connections open now", self.connections.clone());
        guard.register("requests_in_flight", "Requests being answered now", self.in_flight.clone());
        guard.register("reloads", "Changed files read again, by outcome", self.reloads.clone());
        let help = "1 while what is on disk could not be used and the last good one is in force";
        guard.register("reload_failing", help, self.stale.clone());
        let help = "Certificates written to the Secret of `--tls-managed`";
        guard.register("certificate_renewals", help, self.renewals.clone());
        let help = "Events of `--events`, by what became of them";
        guard.register("events", help, self.events.clone());
        let help = "Webhook configurations whose `caBundle` was corrected";
        guard.register("ca_bundle_repairs", help, self.bundle_repairs.clone());
        let help = "Looks at Secret and webhook configurations that ended in an error";
        guard.register("kubernetes_errors", help, self.kubernetes_errors.clone());
        let (name, help) =
            ("certificate_not_after_timestamp", "End of the served certificate, seconds since 1970");
        guard.register_with_unit(name, help, Unit::Seconds, self.certificate_end.clone());
        all.register_collector(Box::new(Process { log: log.clone() }));
        self.registry = all;
    }

    /// Puts everything that can go wrong at zero: an alert on an increase needs a value to increase from.
    fn begin(&self) {
        for reason in REQUEST_REASONS {
            let _ = self.refused_requests.get_or_create(&Reason { reason });
        }
        for reason in CONNECTION_REASONS {
            let _ = self.refused_connections.get_or_create(&Reason { reason });
        }
        for outcome in EventOutcome::ALL {
            let _ = self.events.get_or_create(&Outcome { outcome: outcome.as_str() });
        }
        for what in RELOADED {
            for outcome in ["failed", "ok"] {
                let _ = self.reloads.get_or_create(&Reload { what, outcome });
            }
            let _ = self.stale.get_or_create(&What { what });
        }
    }

    /// Counts one answered review.
    pub fn decided(&self, endpoint: Endpoint, record: &Record, elapsed: Duration) {
        let request = Request {
            path: super::decision::path(endpoint),
            operation: known(&record.operation, &OPERATIONS),
            kind: known(&record.kind, &KINDS),
            verdict: record.verdict.as_str(),
            dry_run: record.dry_run,
        };
        self.requests.get_or_create(&request).inc();
        self.duration.observe(elapsed.as_secs_f64());
        for (rule, severity) in &record.rules {
            self.findings.get_or_create(&Found { rule: rule.id, severity: severity.as_str() }).inc();
        }
        for kind in &record.edits {
            self.patches.get_or_create(&Kind { kind }).inc();
        }
        for rule in &record.exempted {
            self.exemptions.get_or_create(&Exempted { rule: rule.id }).inc();
        }
    }

    /// Counts a request that got no verdict.
    pub fn request_refused(&self, reason: &'static str) {
        debug_assert!(REQUEST_REASONS.contains(&reason), "{reason} is not in the documentation");
        self.refused_requests.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a connection that we closed.
    pub fn connection_refused(&self, reason: &'static str) {
        debug_assert!(CONNECTION_REASONS.contains(&reason), "{reason} is not in the documentation");
        self.refused_connections.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a changed file that was taken over.
    pub fn reloaded(&self, what: &'static str) {
        self.reloads.get_or_create(&Reload { what, outcome: "ok" }).inc();
        self.stale.get_or_create(&What { what }).set(0);
    }

    /// Counts a changed file that could not be used.
    pub fn reload_failed(&self, what: &'static str) {
        self.reloads.get_or_create(&Reload { what, outcome: "failed" }).inc();
        self.stale.get_or_create(&What { what }).set(1);
    }

    /// Notes the end of the certificate that is served from now on.
    pub fn certificate_until(&self, seconds_since_1970: i64) {
        self.certificate_end.set(seconds_since_1970);
    }

    /// Counts what was written to the managed Secret.
    pub fn renewed(&self, authority: bool, leaf: bool) {
        for (new, what) in [(authority, "authority"), (leaf, "leaf")] {
            if new {
                self.renewals.get_or_create(&What { what }).inc();
            }
        }
    }

    /// Counts an Event.
    pub fn event(&self, outcome: EventOutcome) {
        self.events.get_or_create(&Outcome { outcome: outcome.as_str() }).inc();
    }

    /// Everything as OpenMetrics text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("a string takes every write");
        out
    }
}
