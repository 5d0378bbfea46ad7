//! What an Event on the object says of a decision, read from a review and its answer.
//!
//! From `/validate` alone: it sees an object as it will be stored, once, and with the uid that `kubectl describe` looks
//! for, which a new object has not yet when `/mutate` is asked.

use super::{Answer, Verdict};
use crate::decision::Endpoint;
use crate::json::{self, null_is_default, object, object_or_none};
use crate::kubernetes::pod::Text;
use crate::review;
use crate::text::one_line;

/// The longest text of an Event, as `events.k8s.io/v1` bounds it.
const LONGEST: usize = 1_024;

/// Something that is worth an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub reason: Reason,
    /// The object's `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid; none where it was refused before it existed.
    pub uid: Option<String>,
    /// What was found, in the words of the answer, on one line.
    pub message: String,
}

/// Why there is an Event, as its `reason` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The object was refused.
    Refused,
    /// It was admitted, and something stands in the way of the migration that its server needs.
    NotInjected,
}

impl Reason {
    /// The text of the field.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Refused => "PrefectServerRefused",
            Reason::NotInjected => "PrefectMigrationNotInjected",
        }
    }
}

#[derive(Default, serde::Deserialize)]
struct Object<'a> {
    #[serde(borrow, default, deserialize_with = "object")]
    metadata: Meta<'a>,
}

#[derive(Default, serde::Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    uid: Text<'a>,
}

/// An answer of ours, as far as it says something.
#[derive(Default, serde::Deserialize)]
struct Said<'a> {
    #[serde(borrow, default, deserialize_with = "object")]
    response: Response<'a>,
}

#[derive(Default, serde::Deserialize)]
struct Response<'a> {
    #[serde(borrow, default, deserialize_with = "object_or_none")]
    status: Option<Status<'a>>,
    #[serde(borrow, default)]
    warnings: Vec<Text<'a>>,
}

#[derive(Default, serde::Deserialize)]
struct Status<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    message: Text<'a>,
}

impl Notice {
    /// What there is to note of a decision; none on dry runs, which have no side effects, and of what nobody is told.
    pub fn of(endpoint: Endpoint, body: &[u8], answer: &Answer) -> Option<Notice> {
        let record = &answer.record;
        let reason = match (endpoint, record.verdict) {
            (Endpoint::Validate, Verdict::Deny) => Reason::Refused,
            (Endpoint::Validate, Verdict::Warn) if record.skipped => Reason::NotInjected,
            _ => return None,
        };
        if record.dry_run {
            return None;
        }
        let request = review::decode(body).ok()?;
        let Meta { name, uid } = json::parse::<Object<'_>>(request.object?.get()).ok()?.metadata;
        let name = if name.is_empty() { &request.name } else { &name };
        let message = one_line(&said(answer)?, LONGEST);
        if name.is_empty() || request.namespace.is_empty() || message.is_empty() {
            return None;
        }
        // The uid of what was refused at its creation is that of nothing.
        let exists = reason == Reason::NotInjected || &*request.operation == "UPDATE";
        let (group, version) = (&*request.kind.group, &*request.kind.version);
        Some(Notice {
            reason,
            api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
            kind: request.kind.kind.to_string(),
            namespace: request.namespace.to_string(),
            name: name.to_string(),
            uid: Some(uid.to_string()).filter(|uid| exists && !uid.is_empty()),
            message,
        })
    }
}

/// The text that the author was shown.
fn said(answer: &Answer) -> Option<String> {
    let text = std::str::from_utf8(&answer.body).ok()?;
    let Response { status, warnings } = json::parse::<Said<'_>>(text).ok()?.response;
    Some(match status {
        Some(status) => status.message.to_string(),
        None => warnings.iter().map(|warning| &**warning).collect::<Vec<_>>().join("; "),
    })
}
