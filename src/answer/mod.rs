//! Bytes out: a review's body is decided and answered, whatever it holds.

pub mod notice;
pub mod respond;

use crate::decision::{Decision, Endpoint, decide, decide_around};
use crate::json::Unreadable;
use crate::policy::{Mode, Policy};
use crate::review::{self, Request, prefilter};
use crate::rule::{Rule, Severity};
use crate::text::one_line;

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
    /// What the patch does: `inject`, `replace`, `move`, `remove`, `pin`, `annotate`, `lock`.
    pub edits: Vec<&'static str>,
    /// Rules that an annotation exempted from.
    pub exempted: Vec<&'static Rule>,
    /// Why, in the author's words.
    pub reason: Option<String>,
    /// What the author is told of a refusal, or of what stands in the way of a migration: for Events.
    pub notable: Option<String>,
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
///
/// One pass reads a review of a workload as it should be. Whatever else comes is read again with its object as text, and
/// that says what is wrong with it.
pub fn answer(endpoint: Endpoint, body: &[u8], policy: &Policy) -> Answer {
    let names_prefect = prefilter::names_prefect(body);
    if names_prefect
        && let Some(request) = review::decode_around(body)
        && let Some(decided) = decide_around(endpoint, &request, policy)
    {
        return answer_decided(endpoint, &request, decided, policy);
    }
    match review::decode(body) {
        Err(refused) => refuse(&refused),
        Ok(request) if !names_prefect => {
            Answer { status: 200, body: respond::allow(&request.uid), record: Record::of_request(&request) }
        }
        Ok(request) => answer_decided(endpoint, &request, decide(endpoint, &request, policy), policy),
    }
}

/// The answer to a request that was decided, or whose object could not be read.
fn answer_decided<O>(
    endpoint: Endpoint,
    request: &Request<'_, O>,
    decided: Result<Decision, Unreadable>,
    policy: &Policy,
) -> Answer {
    let (body, record) = match decided {
        Ok(decision) => {
            (respond::respond(endpoint, &request.uid, &decision), Record::new(endpoint, request, &decision))
        }
        Err(error) => {
            let mode = policy.settings(&request.namespace).mode;
            (
                respond::unreadable(endpoint, mode, &request.uid, &error),
                Record::of_unreadable(endpoint, mode, request, &error),
            )
        }
    };
    Answer { status: 200, body, record }
}

/// The answer to what is no AdmissionReview.
fn refuse(refused: &review::Refused) -> Answer {
    let problem = one_line(&refused.to_string(), 512);
    let body = serde_json::json!({ "error": &problem }).to_string().into_bytes();
    let record = Record { verdict: Verdict::Error, problem: Some(problem), ..Record::default() };
    Answer { status: 400, body, record }
}

impl Record {
    fn of_request<O>(request: &Request<'_, O>) -> Self {
        Record {
            uid: request.uid.to_string(),
            operation: request.operation.to_string(),
            kind: request.kind.kind.to_string(),
            namespace: request.namespace.to_string(),
            name: request.name.to_string(),
            dry_run: request.dry_run,
            ..Record::default()
        }
    }

    fn new<O>(endpoint: Endpoint, request: &Request<'_, O>, decision: &Decision) -> Self {
        let mut rules: Vec<(&'static Rule, Severity)> = Vec::new();
        for finding in &decision.findings {
            if !rules.contains(&(finding.rule, finding.severity)) {
                rules.push((finding.rule, finding.severity));
            }
        }
        let verdict = match endpoint {
            Endpoint::Validate if decision.denies() => Verdict::Deny,
            Endpoint::Validate if !rules.is_empty() => Verdict::Warn,
            Endpoint::Mutate if decision.patches() => Verdict::Patch,
            _ => Verdict::Allow,
        };
        let (edits, exempted) = (decision.edits.clone(), decision.exempted.clone());
        let notable = match verdict {
            Verdict::Deny => Some(respond::denial(decision)),
            Verdict::Warn if decision.skipped => Some(respond::warnings(endpoint, decision).join("; ")),
            _ => None,
        };
        let reason = decision.reason.clone();
        Record { verdict, rules, edits, exempted, reason, notable, ..Record::of_request(request) }
    }

    fn of_unreadable<O>(
        endpoint: Endpoint,
        mode: Mode,
        request: &Request<'_, O>,
        error: &Unreadable,
    ) -> Self {
        let denies = endpoint == Endpoint::Validate && mode == Mode::Enforce;
        let verdict = if denies { Verdict::Deny } else { Verdict::Warn };
        Record { verdict, problem: Some(one_line(&error.to_string(), 512)), ..Record::of_request(request) }
    }
}
