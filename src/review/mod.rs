//! Bytes in: from the body of an AdmissionReview to the request in it.
//!
//! In one pass with its objects ([`decode_around`]), or with the objects left as text ([`decode`]), which are read after
//! that (in [`crate::decision`]): so the uid survives an object that is not shaped as it should be.

pub mod prefilter;
pub mod request;

pub use crate::json::Unreadable;
use crate::json::{self, null_is_default};
use crate::kubernetes::pod::Text;
pub use request::{Request, RequestAround};
use serde::Deserialize;

/// Why a body is no AdmissionReview that can be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing was sent.
    #[error("the body is empty: POST an AdmissionReview (admission.k8s.io/v1)")]
    Empty,
    /// Not UTF-8.
    #[error("the body is not UTF-8")]
    NotText,
    /// Not JSON, or not shaped as an AdmissionReview.
    #[error("the body is no AdmissionReview: {0}")]
    Malformed(#[from] Unreadable),
    /// Another kind or version.
    #[error("the body is no AdmissionReview of admission.k8s.io/v1 (`kind` and `apiVersion` say otherwise)")]
    OtherKind,
    /// No request in it.
    #[error("the AdmissionReview holds no `request`")]
    NoRequest,
    /// A request without a uid cannot be answered.
    #[error("the AdmissionReview's `request.uid` is empty")]
    NoUid,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>, 'de: 'a"))]
struct Review<'a, O> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    api_version: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    kind: Text<'a>,
    #[serde(default, deserialize_with = "json::object_or_none")]
    request: Option<Request<'a, O>>,
}

/// Reads the body of a POST.
///
/// # Errors
/// When it is no AdmissionReview that can be answered; the error never quotes a value.
pub fn decode(body: &[u8]) -> Result<Request<'_>, Refused> {
    if body.is_empty() {
        return Err(Refused::Empty);
    }
    let text = std::str::from_utf8(body).map_err(|_| Refused::NotText)?;
    request(json::parse(text)?)
}

/// Reads the body of a POST and what lies around the pod templates of its objects, in one pass. `None` when it is no
/// AdmissionReview that can be answered, or an object is not shaped as a workload is: [`decode`] says which.
pub fn decode_around(body: &[u8]) -> Option<RequestAround<'_>> {
    let text = std::str::from_utf8(body).ok()?;
    let json::Object(review) = serde_json::from_str(text).ok()?;
    request(review).ok()
}

fn request<O>(review: Review<'_, O>) -> Result<Request<'_, O>, Refused> {
    if &*review.kind != "AdmissionReview" || &*review.api_version != "admission.k8s.io/v1" {
        return Err(Refused::OtherKind);
    }
    let request = review.request.ok_or(Refused::NoRequest)?;
    if request.uid.is_empty() {
        return Err(Refused::NoUid);
    }
    Ok(request)
}
