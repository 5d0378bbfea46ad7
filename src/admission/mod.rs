//! The wire: bytes in, bytes out.

pub mod request;

pub use request::{Request, Unreadable};

use crate::decision::Door;
use crate::finding::{Rule, Severity};
use crate::policy::Policy;

/// The answer to one POST: an HTTP status and a JSON body, with what logs and metrics say of it.
#[derive(Debug)]
pub struct Answer {
    /// 200 for every AdmissionReview, 400 for what is none.
    pub status: u16,
    /// The JSON body.
    pub body: Vec<u8>,
    /// For the log line and the metrics. Holds nothing from `spec`.
    pub record: Record,
}

/// What is said about a decision outside the answer itself.
#[derive(Debug, Default)]
pub struct Record {
    /// The review's uid, empty when it could not be read.
    pub uid: String,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`; empty when unknown.
    pub operation: String,
    /// The object's kind.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name, or `generateName` with a `*`.
    pub name: String,
    /// Whether this was a dry run.
    pub dry_run: bool,
    /// How it ended.
    pub verdict: Verdict,
    /// Rules with a finding and how they were counted, in order, without repeats.
    pub rules: Vec<(&'static Rule, Severity)>,
    /// What the patch does: `inject`, `replace`, `move`, `remove`, `pin`.
    pub edits: Vec<&'static str>,
    /// Rules that an annotation exempted from.
    pub exempted: Vec<&'static Rule>,
    /// What is wrong with the request itself (status 400), without anything secret.
    pub problem: Option<String>,
}

/// How a decision ended, as the `verdict` label of logs and metrics has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verdict {
    /// Allowed, nothing to say.
    #[default]
    Allow,
    /// Allowed with warnings.
    Warn,
    /// Allowed with a patch.
    Patch,
    /// Refused.
    Deny,
    /// The request could not be read.
    Error,
}

impl Verdict {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Warn => "warn",
            Verdict::Patch => "patch",
            Verdict::Deny => "deny",
            Verdict::Error => "error",
        }
    }
}

/// Answers the body of one POST to `/mutate` or `/validate`. Pure: the answer depends on the bytes and the policy
/// alone. Never panics on any input.
pub fn answer(_door: Door, _body: &[u8], _policy: &Policy) -> Answer {
    Answer { status: 400, body: Vec::new(), record: Record::default() }
}
