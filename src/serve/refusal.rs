//! Requests that get no verdict: the status, the reason for metrics and logs, and the text for the caller.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::json;

/// Why a request gets no verdict. As a response it leaves itself among the extensions, where the layer that counts
/// refusals finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NotFound,
    Method,
    MediaType,
    TooLarge,
    Busy,
    SlowBody,
    Aborted,
    Late,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Refusal::Aborted => StatusCode::BAD_REQUEST,
            Refusal::Late => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The label `reason` of metrics and logs.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Refusal::NotFound => "path",
            Refusal::Method => "method",
            Refusal::MediaType => "media_type",
            Refusal::TooLarge => "body_too_large",
            Refusal::Busy => "busy",
            Refusal::SlowBody => "body_timeout",
            Refusal::Aborted => "body_aborted",
            Refusal::Late => "deadline",
        }
    }

    /// The text for whoever reads the API server's error.
    fn message(self) -> &'static str {
        match self {
            Refusal::NotFound => "there is nothing here; POST to `/mutate` or `/validate`",
            Refusal::Method => "only POST is answered here",
            Refusal::MediaType => {
                "send an AdmissionReview as `Content-Type: application/json`, not compressed"
            }
            Refusal::TooLarge => "the body is larger than `--max-body` allows",
            Refusal::Busy => "more requests at once than `--max-requests` allows; try again",
            Refusal::SlowBody => {
                "the body did not arrive in time (`--body-timeout`, or the caller's `?timeout=`)"
            }
            Refusal::Aborted => "the body broke off before its end",
            Refusal::Late => {
                "there was no verdict before the deadline (`--handler-timeout`, or the caller's `?timeout=`)"
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(json!({"error": self.message()}))).into_response();
        if self == Refusal::Busy {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Lets one line a second through: a flood of bad requests must not become a flood of log lines.
#[derive(Debug, Default)]
pub(super) struct Noise(Mutex<(Option<Instant>, u64)>);

impl Noise {
    /// How many lines were kept back since the last one, when it is time for another.
    pub(super) fn may_speak(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.0.is_some_and(|last| now.duration_since(last).as_secs() < 1) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}
