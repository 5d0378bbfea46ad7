//! A decision as the AdmissionReview that goes back.

use std::borrow::Cow;
use std::io::Write;
use std::sync::LazyLock;

use base64::engine::Simd;
use base64::engine::general_purpose::PAD;
use base64::write::EncoderWriter;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use crate::decision::{Decision, Endpoint};
use crate::json::Unreadable;
use crate::migration;
use crate::policy::Mode;
use crate::rule::{Finding, Fix, Severity};
use crate::text::one_line;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    kind: &'static str,
    api_version: &'static str,
    response: Response<'a>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_annotations: Option<AuditAnnotations>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    /// A JSON Patch.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "bytes")]
    patch: Option<Vec<u8>>,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
    message: String,
    reason: &'static str,
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Serialize)]
struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

/// Keys without `/` (the API server puts the webhook's name before them); never a secret.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct AuditAnnotations {
    findings: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exempted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database_setting: Option<&'static str>,
}

/// The answer that allows and says nothing.
pub fn allow(uid: &str) -> Vec<u8> {
    write(Response { uid, allowed: true, ..Response::default() })
}

/// The answer to a decided review.
pub fn respond(endpoint: Endpoint, uid: &str, decision: &Decision) -> Vec<u8> {
    let mut response = Response { uid, allowed: true, ..Response::default() };
    if !decision.silent {
        response.warnings = warnings(endpoint, decision);
    }
    match endpoint {
        Endpoint::Mutate if !decision.patches() => {}
        Endpoint::Mutate => {
            let operations = decision.operations.iter().chain(&decision.annotations);
            response.patch_type = Some("JSONPatch");
            response.patch = Some(migration::to_json(operations));
        }
        Endpoint::Validate => {
            response.audit_annotations = audit_annotations(decision);
            if decision.denies() {
                response.allowed = false;
                response.status = Some(refusal(decision));
            }
        }
    }
    write(response)
}

/// The answer to a review whose object is not shaped as its kind should be. `/mutate` never denies, nor does a
/// policy that is not enforced.
pub fn unreadable(endpoint: Endpoint, mode: Mode, uid: &str, error: &Unreadable) -> Vec<u8> {
    let message = one_line(&format!("cannot read the object: {error}"), 256);
    match (endpoint, mode) {
        (_, Mode::Audit) => allow(uid),
        (Endpoint::Mutate, _) | (_, Mode::Warn) => {
            write(Response { uid, allowed: true, warnings: vec![message], ..Response::default() })
        }
        (Endpoint::Validate, Mode::Enforce) => {
            let status =
                Status { status: "Failure", message, reason: "BadRequest", code: 400, details: None };
            write(Response { uid, status: Some(status), ..Response::default() })
        }
    }
}

/// `/mutate` warns of what it pinned, since Git still says otherwise; everything else is `/validate`'s to say.
pub(super) fn warnings(endpoint: Endpoint, decision: &Decision) -> Vec<String> {
    let speaks = |finding: &&Finding| match endpoint {
        Endpoint::Mutate => matches!(finding.fix, Some(Fix::Pin { .. })),
        Endpoint::Validate => finding.severity == Severity::Warn,
    };
    decision.findings.iter().filter(speaks).map(Finding::message).collect()
}

/// 403 and not 422: for 422 kubectl drops the message.
fn refusal(decision: &Decision) -> Status {
    let causes = denials(decision)
        .map(|finding| Cause {
            reason: finding.rule.id,
            message: finding.message(),
            field: field_path(&finding.place.pointer),
        })
        .collect();
    let details = Some(Details { causes });
    Status { status: "Failure", message: denial(decision), reason: "Forbidden", code: 403, details }
}

fn denials(decision: &Decision) -> impl Iterator<Item = &Finding> {
    decision.findings.iter().filter(|finding| finding.severity == Severity::Deny)
}

/// What the author of a refused object is told.
pub(super) fn denial(decision: &Decision) -> String {
    let denials: Vec<&Finding> = denials(decision).collect();
    let mut message = String::new();
    for (number, finding) in denials.iter().enumerate() {
        // Several stand below each other, each on lines of its own.
        if denials.len() > 1 {
            message.push('\n');
        }
        message.push_str(&text(finding));
        // The address of a page stands once, after the last finding of its rule.
        if !denials[number + 1..].iter().any(|later| later.rule == finding.rule) {
            message.push_str(&format!("\n  see {}", finding.rule.url()));
        }
    }
    message
}

/// A finding with its help, as a terminal shows it.
fn text(finding: &Finding) -> String {
    format!("{}\n  help: {}", finding.message(), one_line(&finding.help, 1024))
}

fn audit_annotations(decision: &Decision) -> Option<AuditAnnotations> {
    let findings: Vec<String> =
        decision.findings.iter().map(|f| format!("{}={}", f.rule.id, f.severity.as_str())).collect();
    let exempted: Vec<&str> = decision.exempted.iter().map(|rule| rule.id).collect();
    let worth_it = !findings.is_empty() || !exempted.is_empty() || decision.servers > 0;
    worth_it.then(|| AuditAnnotations {
        findings: if findings.is_empty() { "none".to_owned() } else { findings.join(",") },
        exempted: (!exempted.is_empty()).then(|| exempted.join(",")),
        database_setting: decision.database_source,
    })
}

/// `/spec/template/spec/containers/0/env/1` → `spec.template.spec.containers[0].env[1]`.
pub fn field_path(pointer: &str) -> String {
    let mut path = String::with_capacity(pointer.len());
    for token in pointer.split('/').skip(1) {
        let token: Cow<'_, str> = if token.contains('~') {
            token.replace("~1", "/").replace("~0", "~").into()
        } else {
            token.into()
        };
        if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push_str(&format!("[{token}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&token);
        }
    }
    path
}

fn bytes<S: Serializer>(patch: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(patch.as_deref().unwrap_or_default())
}

/// Writes bytes as Go reads them into `[]byte`: in base64.
struct GoBytes;

impl Formatter for GoBytes {
    fn write_byte_array<W: ?Sized + Write>(&mut self, writer: &mut W, value: &[u8]) -> std::io::Result<()> {
        // It asks the processor what it can do, once.
        static ENGINE: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));
        writer.write_all(b"\"")?;
        let mut text = EncoderWriter::new(&mut *writer, &*ENGINE);
        text.write_all(value)?;
        text.finish()?;
        drop(text);
        writer.write_all(b"\"")
    }
}

fn write(response: Response<'_>) -> Vec<u8> {
    let review = Review { kind: "AdmissionReview", api_version: "admission.k8s.io/v1", response };
    let patch = review.response.patch.as_ref().map_or(0, |patch| patch.len().div_ceil(3) * 4);
    let mut body = Vec::with_capacity(patch + 512);
    let mut serializer = serde_json::Serializer::with_formatter(&mut body, GoBytes);
    review.serialize(&mut serializer).expect("strings and booleans always serialise");
    body
}
