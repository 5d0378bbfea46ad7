//! What an Event on the object says of a decision.
//!
//! From `/validate` alone: it sees an object as it will be stored, once, and with the uid that `kubectl describe` looks
//! for, which a new object has not yet when `/mutate` is asked.

use super::{Answer, Verdict};
use crate::decision::Endpoint;
use crate::json;
use crate::review::{self, request::Manifest};
use crate::text::one_line;

/// The longest text of an Event, as `events.k8s.io/v1` bounds it.
const LONGEST: usize = 1_024;

/// Something that is worth an Event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

impl Notice {
    /// What there is to note of a decision; none on dry runs, which have no side effects, and of what nobody is told.
    pub fn of(endpoint: Endpoint, body: &[u8], answer: &Answer) -> Option<Notice> {
        let record = &answer.record;
        let reason = match (endpoint, record.verdict) {
            (Endpoint::Validate, Verdict::Deny) => Reason::Refused,
            (Endpoint::Validate, Verdict::Warn) => Reason::NotInjected,
            _ => return None,
        };
        let message = record.notable.as_ref().filter(|_| !record.dry_run)?;
        let request = review::decode(body).ok()?;
        let Manifest { api_version, kind, metadata } = json::parse(request.object?.get()).ok()?;
        if metadata.name.is_empty() || request.namespace.is_empty() {
            return None;
        }
        // The uid of what was refused at its creation is that of nothing.
        let exists = reason == Reason::NotInjected || &*request.operation == "UPDATE";
        Some(Notice {
            reason,
            api_version: api_version.to_string(),
            kind: kind.to_string(),
            namespace: request.namespace.to_string(),
            name: metadata.name.to_string(),
            uid: Some(metadata.uid.to_string()).filter(|uid| exists && !uid.is_empty()),
            message: one_line(message, LONGEST),
        })
    }
}
