//! What `check` and `audit` found, fit to be printed.

use std::collections::BTreeMap;
use std::fmt;

use crate::cli::Outcome;
use crate::decision::Exemption;
use crate::manifest::mask::Line;
use crate::rule::{Finding, Rule, Severity};
use crate::text::printable;

/// One finding of one object.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) rule: &'static Rule,
    pub(crate) severity: Severity,
    /// The whole first line, as a cluster would say it.
    pub(crate) message: String,
    pub(crate) help: String,
    pub(crate) container: Option<String>,
    pub(crate) about: About,
    /// JSON pointer to the value at fault, from the object's root.
    pub(crate) pointer: String,
    /// Where in a file; `None` for what runs in a cluster.
    pub(crate) source: Option<Source>,
}

/// The object a finding is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    /// Its number among the objects looked at, to tell objects of one name apart.
    pub(crate) number: usize,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { kind, namespace, resource, .. } = self;
        if namespace.is_empty() {
            write!(f, "{kind} {resource}")
        } else {
            write!(f, "{kind} {namespace}/{resource}")
        }
    }
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

/// An object that annotations exempt from what would be found in it.
#[derive(Debug, Clone)]
pub(crate) struct Exempted {
    pub(crate) about: About,
    pub(crate) exemption: Exemption,
}

/// Everything found, in order.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Found>,
    pub(crate) unread: Vec<Unread>,
    /// What annotations exempt from.
    pub(crate) exempted: Vec<Exempted>,
    /// Kubernetes objects looked at.
    pub(crate) objects: usize,
    /// Those of them that are of a kind we judge, with a pod template.
    pub(crate) workloads: usize,
    /// Prefect servers in them.
    pub(crate) servers: usize,
    /// The numbers of those with a Prefect server in them, by namespace.
    #[cfg(feature = "cluster")]
    pub(crate) judged: BTreeMap<String, Vec<usize>>,
}

/// The numbers; the names are part of the contract.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Summary {
    documents: usize,
    workloads: usize,
    /// Objects that would be refused.
    denied: usize,
    /// Objects that would pass with warnings.
    warned: usize,
}

impl Report {
    /// Keeps what annotations exempt an object from.
    pub(crate) fn exempt(&mut self, about: &About, exemption: Option<Exemption>) {
        self.exempted.extend(exemption.map(|exemption| Exempted { about: about.clone(), exemption }));
    }

    /// The numbers.
    pub(crate) fn summary(&self) -> Summary {
        let mut worst: BTreeMap<usize, Severity> = BTreeMap::new();
        for found in &self.findings {
            let severity = worst.entry(found.about.number).or_insert(found.severity);
            *severity = (*severity).max(found.severity);
        }
        let count = |wanted| worst.values().filter(|severity| **severity == wanted).count();
        Summary {
            documents: self.objects,
            workloads: self.workloads,
            denied: count(Severity::Deny),
            warned: count(Severity::Warn),
        }
    }

    /// How the command ends; with `strict`, warnings count as denials.
    pub(crate) fn outcome(&self, strict: bool) -> Outcome {
        let numbers = self.summary();
        if !self.unread.is_empty() {
            Outcome::Failed
        } else if numbers.denied > 0 || (strict && numbers.warned > 0) {
            Outcome::Refused
        } else {
            Outcome::Clean
        }
    }

    /// The numbers in words.
    pub(super) fn in_words(&self) -> String {
        let count = |number: usize, one: &str, many: &str| {
            format!("{number} {}", if number == 1 { one } else { many })
        };
        let numbers = self.summary();
        let mut text = format!(
            "{}, {}, {}: {} refused, {} with warnings",
            count(numbers.documents, "object", "objects"),
            count(numbers.workloads, "workload", "workloads"),
            count(self.servers, "Prefect server", "Prefect servers"),
            numbers.denied,
            numbers.warned
        );
        if !self.unread.is_empty() {
            text.push_str(&format!(", {} unreadable", self.unread.len()));
        }
        text
    }
}

impl About {
    /// An object by its number and names, fit to be printed.
    pub(crate) fn new(number: usize, kind: &str, namespace: &str, resource: &str) -> Self {
        let [kind, namespace, resource] = [kind, namespace, resource].map(printable);
        About { number, kind, namespace, resource }
    }
}

impl Unread {
    /// What could not be read, fit to be printed.
    pub(crate) fn new(file: &str, (line, column): (usize, usize), what: &str, help: &str) -> Self {
        let [file, what, help] = [file, what, help].map(printable);
        Unread { file, line, column, what, help }
    }
}

impl Found {
    /// A finding as it is printed.
    pub(crate) fn new(finding: Finding, about: About, source: Option<Source>) -> Self {
        Found {
            rule: finding.rule,
            severity: finding.severity,
            message: finding.message(),
            help: printable(&finding.help),
            container: finding.place.container.map(|name| printable(&name)),
            pointer: printable(&finding.place.pointer),
            about,
            source,
        }
    }

    /// The message without the rule's id before it.
    pub(crate) fn title(&self) -> &str {
        self.message.strip_prefix(self.rule.id).map_or(self.message.as_str(), str::trim_start)
    }
}
