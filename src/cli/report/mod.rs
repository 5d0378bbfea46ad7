//! What `check` and `audit` found, and the ways to print it.

mod github;
mod json;
mod sarif;
mod text;

use std::io::Write;

use crate::cli::Outcome;
use crate::finding::{Rule, Severity};
use crate::manifest::mask::Line;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people: each finding at its line.
    Text,
    /// For programs.
    Json,
    /// For code scanning (SARIF 2.1.0).
    Sarif,
    /// For GitHub Actions: annotations of the changed lines.
    Github,
}

/// One finding of one object.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) rule: &'static Rule,
    pub(crate) severity: Severity,
    /// The whole first line, as a cluster would say it.
    pub(crate) message: String,
    pub(crate) help: String,
    pub(crate) container: Option<String>,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    /// Where in a file; `None` for what runs in a cluster.
    pub(crate) source: Option<Source>,
}

/// A place in a file.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// The line with secrets hidden, where it can be shown.
    pub(crate) shown: Option<Line>,
}

/// What could not be read.
#[derive(Debug, Clone)]
pub(crate) struct Unread {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) what: String,
    pub(crate) help: String,
}

/// Everything found, in order.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Found>,
    pub(crate) unread: Vec<Unread>,
    pub(crate) summary: Summary,
}

/// The numbers.
#[derive(Debug, Default, Clone, Copy, serde::Serialize)]
pub(crate) struct Summary {
    /// Kubernetes objects looked at.
    pub(crate) documents: usize,
    /// Those of them that are of a kind we judge, with a pod template.
    pub(crate) workloads: usize,
    /// Prefect servers in them. Not in the JSON, whose keys are settled.
    #[serde(skip)]
    pub(crate) servers: usize,
    /// Objects that would be refused.
    pub(crate) denied: usize,
    /// Objects that would pass with warnings.
    pub(crate) warned: usize,
}

impl Report {
    /// Adds what was found in one object.
    pub(crate) fn object(&mut self, found: Vec<Found>) {
        if found.iter().any(|one| one.severity == Severity::Deny) {
            self.summary.denied += 1;
        } else if !found.is_empty() {
            self.summary.warned += 1;
        }
        self.findings.extend(found);
    }

    /// How the command ends; with `strict`, warnings count as denials.
    pub(crate) fn outcome(&self, strict: bool) -> Outcome {
        if !self.unread.is_empty() {
            Outcome::Failed
        } else if self.summary.denied > 0 || (strict && self.summary.warned > 0) {
            Outcome::Refused
        } else {
            Outcome::Clean
        }
    }

    /// Prints everything; with `explain`, text gives the page of each rule where it is first met.
    pub(crate) fn print(&self, format: Format, explain: bool, out: &mut dyn Write) -> anyhow::Result<()> {
        match format {
            Format::Text => text::print(self, explain, out),
            Format::Json => json::print(self, out),
            Format::Sarif => sarif::print(self, out),
            Format::Github => github::print(self, out),
        }
    }
}

impl Found {
    /// `Deployment data/prefect-server`.
    pub(crate) fn object(&self) -> String {
        let Found { kind, namespace, resource, .. } = self;
        if namespace.is_empty() {
            format!("{kind} {resource}")
        } else {
            format!("{kind} {namespace}/{resource}")
        }
    }

    /// The message without the rule's id before it.
    pub(crate) fn title(&self) -> &str {
        self.message.strip_prefix(self.rule.id).map_or(self.message.as_str(), str::trim_start)
    }
}
