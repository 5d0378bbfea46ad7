//! Rules, findings and fixes as plain data: what is wrong, where, what to do about it.
//!
//! Below everything else but `text`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::text::{clip, distance, one_line};

/// What the operator wants done about a rule's findings (`deny | warn | off` in the policy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Not reported at all.
    Off,
    /// Reported as a warning; the object passes.
    Warn,
    /// The object is refused.
    Deny,
}

/// How a finding ends up in an answer, after policy, exemptions and the ratchet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object passes, and its author sees a warning.
    Warn,
    /// The object is refused.
    Deny,
}

impl Severity {
    /// The word used in JSON output, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warn => "warn",
            Severity::Deny => "deny",
        }
    }
}

/// What `/mutate` can do about the findings of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixAvailability {
    /// Nothing: the author has to act.
    None,
    /// It injects the migration initContainer.
    Injects,
    /// It replaces, moves or removes the injected initContainer.
    Resynchronises,
    /// It sets the image of a migration initContainer that the author wrote.
    PinsImage,
    /// It puts the lock before the upgrade of a Job.
    LocksJobs,
}

impl FixAvailability {
    /// Whether it does anything.
    pub fn is_some(self) -> bool {
        self != FixAvailability::None
    }

    /// What it does, in a few words.
    pub fn in_words(self) -> Option<&'static str> {
        match self {
            FixAvailability::None => None,
            FixAvailability::Injects => Some("injects the migration initContainer"),
            FixAvailability::Resynchronises => Some("replaces, moves or removes our initContainer"),
            FixAvailability::LocksJobs => Some("puts the lock before the upgrade of a Job"),
            FixAvailability::PinsImage => Some("sets the image of the migration initContainer"),
        }
    }
}

/// How much a rule has to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One workload.
    Object,
    /// One workload, and also when its replicas or strategy change while its pod template stays.
    ObjectAndScale,
    /// Several objects: `check` and `audit` only, since a review holds one.
    Stream,
}

/// Whether an update may keep a fault that the object had before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ratchet {
    /// It only warns, so that a restart or an image bump of an old, faulty server goes through.
    LetsGo,
    /// It denies all the same.
    Holds,
}

/// What a rule does for a Secret that says it holds a database URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfSecret {
    /// Nothing: it judges what stands around the URL (replicas, volumes, other variables).
    Nothing,
    /// It judges the URL.
    JudgesUrl,
    /// It reports that the URL is not there.
    ReportsMissing,
}

/// What becomes of a finding where `check` finds what the manifest leaves out elsewhere in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It stands.
    Any,
    /// It reports what is not visible: where that is found and judged, nothing is left to report.
    Unseen,
    /// It is about what the manifest itself says: what a Secret holds is no concern of it.
    Written,
}

/// The permanent identity of a rule and its documentation.
pub struct Rule {
    /// `PSG` and three digits; never reused.
    pub id: &'static str,
    /// The name that reads after "allow".
    pub name: &'static str,
    /// What is done about a finding when the policy says nothing.
    pub default: Level,
    /// The release that brought the rule.
    pub since: &'static str,
    /// What `/mutate` does about a finding.
    pub fix: FixAvailability,
    /// How much the rule has to see.
    pub scope: Scope,
    /// Whether a fault that the old object had already is let go.
    pub ratchet: Ratchet,
    /// What the rule does for a Secret whose label says that it holds a database URL.
    pub secret: OfSecret,
    /// What a finding is worth where more is visible than the manifest.
    pub sight: Sight,
    /// What it finds, in one line, for tables and `--help`.
    pub summary: &'static str,
    /// The whole page, Markdown, as `prefect-guard explain` prints it.
    pub page: &'static str,
}

impl Rule {
    /// What most rules have in common; each writes out what differs, and its identity.
    pub const USUAL: Rule = Rule {
        id: "",
        name: "",
        default: Level::Deny,
        since: "",
        fix: FixAvailability::None,
        scope: Scope::Object,
        ratchet: Ratchet::LetsGo,
        secret: OfSecret::Nothing,
        sight: Sight::Any,
        summary: "",
        page: "",
    };
}

/// Where the documentation is published; `tests/site` builds it.
pub const SITE: &str = "https://prefect-guard.github.io/prefect-guard/";

impl Rule {
    /// The address of the rule's page. Permanent, as the id is.
    pub fn url(&self) -> String {
        format!("{SITE}rules/{}.html", self.id)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.name)
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Rule {}

/// All rules there are, for whoever resolves a name that somebody wrote. `rules` has the one that is used.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue(pub &'static [&'static Rule]);

impl Catalogue {
    /// Every rule, in the order of the ids.
    pub fn rules(self) -> impl Iterator<Item = &'static Rule> {
        self.0.iter().copied()
    }

    /// The rule with this id (`PSG103`) or name (`sync-driver`), in any case.
    pub fn find(self, id_or_name: &str) -> Option<&'static Rule> {
        let wanted = id_or_name.trim();
        self.rules()
            .find(|rule| rule.id.eq_ignore_ascii_case(wanted) || rule.name.eq_ignore_ascii_case(wanted))
    }

    /// The name of the rule that is written most like `word`, for "did you mean".
    pub fn nearest(self, word: &str) -> &'static str {
        let word = word.to_lowercase();
        let far = |rule: &&Rule| {
            [rule.name, rule.id].into_iter().map(|known| distance(&word, &known.to_lowercase())).min()
        };
        self.rules().min_by_key(far).map_or("", |rule| rule.name)
    }
}

/// Something taken from a manifest that may be, or hold, a secret: it can be compared, never printed.
///
/// Only a digest is kept: one value may be at fault many times over, and may be as long as the manifest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Sensitive([u64; 3]);

impl Sensitive {
    /// The digest of a value.
    pub fn new(value: impl AsRef<str>) -> Self {
        let value = value.as_ref();
        let digest = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u8(salt);
            hasher.write(value.as_bytes());
            hasher.finish()
        };
        Sensitive([value.len() as u64, digest(0), digest(1)])
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Where a finding is: in the author's words and as a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The container's name as the author wrote it.
    pub container: Option<String>,
    /// The environment variable's name as the author wrote it.
    pub variable: Option<String>,
    /// JSON pointer (RFC 6901) into the object, to the closest field there is.
    pub pointer: String,
}

/// One thing a rule found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// Deny or warn, as decided in the end.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What is wrong, without the place: `driver `psycopg2` is not async`.
    pub what: String,
    /// The one thing to do, in the imperative.
    pub help: String,
    /// Why the severity is not the rule's own ("was there before this change", "exempted by annotation"…).
    pub note: Option<Cow<'static, str>>,
    /// The most this finding may be, whatever the policy says of its rule.
    pub at_most: Level,
    /// The value at fault, for telling an old fault from a new one.
    pub evidence: Sensitive,
    /// What `/mutate` does about it, if it can.
    pub fix: Option<Fix>,
}

/// What `/mutate` does about a finding.
#[derive(Clone)]
pub enum Fix {
    /// Put `container` into the initContainers at `at`, taking ours away at `remove` first.
    Place {
        /// Index of our own container, if there is one.
        remove: Option<usize>,
        /// Where it goes, counted after the removal.
        at: usize,
        /// The container.
        container: Arc<RawValue>,
    },
    /// Take our own container away.
    Remove {
        /// Its index in the initContainers.
        index: usize,
    },
    /// Set the image of an initContainer.
    Pin {
        /// Its index in the initContainers.
        index: usize,
        /// The server's image, byte for byte.
        image: String,
    },
    /// Set the command line of an ordinary container.
    Lock {
        /// Its index in the containers.
        index: usize,
        /// Its new `command`.
        command: Vec<String>,
        /// Its new `args`.
        args: Vec<String>,
        /// Its new `terminationMessagePolicy`; `None` leaves the author's.
        message_policy: Option<&'static str>,
    },
}

/// The word alone: the container repeats the author's env.
impl fmt::Debug for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb())
    }
}

impl Fix {
    /// The word for it in logs and metrics.
    pub fn verb(&self) -> &'static str {
        match self {
            Fix::Place { remove: None, .. } => "inject",
            Fix::Place { remove: Some(from), at, .. } if from == at => "replace",
            Fix::Place { .. } => "move",
            Fix::Remove { .. } => "remove",
            Fix::Pin { .. } => "pin",
            Fix::Lock { .. } => "lock",
        }
    }
}

/// The longest first line of a message, in bytes (a warning longer than 256 is cut by the API server).
pub const MESSAGE_LIMIT: usize = 256;

impl Finding {
    /// The first line: `PSG103 sync-driver: container `api`, env `X`: driver `psycopg2` is not async`.
    /// At most [`MESSAGE_LIMIT`] bytes, no control characters.
    pub fn message(&self) -> String {
        let mut text = format!("{} {}: ", self.rule.id, self.rule.name);
        if let Some(container) = &self.place.container {
            text.push_str(&format!("container `{}`", in_code(container, 63)));
        }
        if let Some(variable) = &self.place.variable {
            let separator = if self.place.container.is_some() { ", " } else { "" };
            text.push_str(&format!("{separator}env `{}`", in_code(variable, 80)));
        }
        if self.place.container.is_some() || self.place.variable.is_some() {
            text.push_str(": ");
        }
        text.push_str(&self.what);
        if let Some(note) = &self.note {
            text.push_str(&format!(" ({note})"));
        }
        // What was cut inside backticks closes them.
        let is_open = |line: &str| line.matches('`').count() % 2 == 1;
        let line = one_line(&text, MESSAGE_LIMIT);
        let shorter = || one_line(&text, MESSAGE_LIMIT - 1);
        match is_open(&line) {
            false => line,
            true if is_open(&shorter()) => shorter() + "`",
            true => shorter(),
        }
    }

    /// What makes two findings the same fault: rule, container, variable and value.
    pub fn fault(&self) -> (&str, Option<&str>, Option<&str>, Sensitive) {
        (self.rule.id, self.place.container.as_deref(), self.place.variable.as_deref(), self.evidence)
    }
}

/// The most findings of one rule and severity that are reported one by one. Nobody reads more, and an object of a few
/// hundred kilobytes can hold ten thousand.
pub const REPORTED: usize = 20;

/// Puts one line in place of what goes beyond [`REPORTED`]. Severities have to be settled: what is folded away denies
/// or warns as it did.
pub fn fold(findings: &mut Vec<Finding>) {
    if findings.len() <= REPORTED {
        return;
    }
    let mut counts: BTreeMap<(&str, Severity), usize> = BTreeMap::new();
    for finding in findings.iter() {
        *counts.entry((finding.rule.id, finding.severity)).or_default() += 1;
    }
    let mut reported: BTreeMap<(&str, Severity), usize> = BTreeMap::new();
    findings.retain_mut(|finding| {
        let key = (finding.rule.id, finding.severity);
        let number = reported.entry(key).or_default();
        *number += 1;
        if *number == REPORTED + 1 && counts[&key] > REPORTED + 1 {
            finding.what = format!("and {} more like these", counts[&key] - REPORTED);
            finding.help = "correct those that are named first".to_owned();
            finding.note = None;
            finding.place = Place { pointer: std::mem::take(&mut finding.place.pointer), ..Place::default() };
        }
        *number <= REPORTED + 1
    });
}

/// A name as it can stand between backticks.
fn in_code(name: &str, limit: usize) -> String {
    clip(name, limit).replace('`', "'")
}

/// Collects the findings of one object, in the order of the register.
#[derive(Debug, Default)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// Records a finding at its rule's default level; the returned reference takes what is special about it.
    pub fn add(
        &mut self,
        rule: &'static Rule,
        place: Place,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Finding {
        let (what, help) = (what.into(), help.into());
        self.findings.push(Finding {
            rule,
            severity: Severity::Warn,
            place,
            what,
            help,
            note: None,
            at_most: Level::Deny,
            evidence: Sensitive::default(),
            fix: None,
        });
        self.findings.last_mut().expect("a finding was just pushed")
    }

    /// Everything found, in order.
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}

impl Finding {
    /// Ties the finding to the value at fault, so that the same value in the old object only warns.
    pub fn about(&mut self, value: impl AsRef<str>) -> &mut Self {
        self.evidence = Sensitive::new(value);
        self
    }

    /// Never more than a warning, for the reason given to the reader.
    pub fn only_warn(&mut self, why: Option<&'static str>) -> &mut Self {
        self.at_most = Level::Warn;
        self.note = why.map(Cow::Borrowed).or(self.note.take());
        self
    }

    /// What `/mutate` does about it.
    pub fn fixed_by(&mut self, fix: Fix) -> &mut Self {
        self.fix = Some(fix);
        self
    }
}
