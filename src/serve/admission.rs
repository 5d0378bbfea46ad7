//! The admission port: a router of two routes, and what every request on it passes through.
//!
//! ```text
//! observe → catch panics → shed load over the cap → body limit → deadline → POST /mutate, POST /validate
//! ```
//!
//! Each layer answers what it refuses with a [`Refusal`]; the outermost counts and logs it.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::error_handling::HandleErrorLayer;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{BoxError, Extension, Json, Router};
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::{ServiceBuilder, util::MapResponseLayer};
use tower_http::catch_panic::{CatchPanicLayer, ResponseForPanic};
use tower_http::limit::RequestBodyLimitLayer;
use tracing::Level;

use super::body::{self, BodyError, Held, Memory, ReadToEnd};
use super::refusal::{Noise, Refusal};
use super::{Engine, Limits, Phase, flags};
use crate::answer::Answer;
use crate::answer::notice::Notice;
use crate::decision::Endpoint;
use crate::policy::Policy;
use crate::telemetry::log::Log;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::notices::Notices;

/// Bodies over this are judged on a thread of their own: a larger one would hold up everybody else for longer than it
/// takes another thread to wake up, about 100 µs.
const INLINE: usize = 64 << 10;

/// What all requests of a server share.
#[derive(Debug)]
pub struct Admission {
    pub(super) engine: Engine,
    pub(super) policy: arc_swap::ArcSwap<Policy>,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Log,
    pub(super) phase: Phase,
    /// Where Events are asked for.
    notices: Option<Notices>,
    memory: Memory,
    noise: Noise,
}

impl Admission {
    /// Joins the parts.
    pub fn new(
        engine: Engine,
        policy: Policy,
        limits: Limits,
        metrics: Arc<Metrics>,
        log: Log,
        phase: Phase,
        notices: Option<Notices>,
    ) -> Arc<Admission> {
        let memory = Memory::new(limits.memory);
        let policy = arc_swap::ArcSwap::from_pointee(policy);
        let noise = Noise::default();
        Arc::new(Admission { engine, policy, limits, metrics, log, phase, notices, memory, noise })
    }
}

/// The routes of the admission port with all their layers. Clones of one router share its cap on requests.
pub fn router(admission: Arc<Admission>) -> Router {
    let limits = &admission.limits;
    // From the outside to the inside.
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(Arc::clone(&admission), observe))
        .layer(CatchPanicLayer::custom(Panicked(Arc::clone(&admission.metrics))))
        .layer(HandleErrorLayer::new(|_: BoxError| async { Refusal::Busy }))
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(limits.requests))
        .layer(from_fn_with_state(Arc::clone(&admission), deadline))
        .layer(MapResponseLayer::new(too_large))
        .layer(RequestBodyLimitLayer::new(limits.body_size));
    Router::new()
        .route("/mutate", post(mutate))
        .route("/validate", post(validate))
        .method_not_allowed_fallback(|| async { Refusal::Method })
        .fallback(|| async { Refusal::NotFound })
        .layer(layers)
        .with_state(admission)
}

/// Counts the request for as long as it lives, and its refusal if it is refused. Under the drain it ends the
/// connection.
async fn observe(State(admission): State<Arc<Admission>>, request: Request, next: Next) -> Response {
    let _in_flight = InFlight::count(&admission.metrics);
    let version = request.version();
    let until = Instant::now() + admission.limits.body;
    let mut response = next.run(ReadToEnd::wrap(request, until)).await;
    if let Some(refusal) = response.extensions().get::<Refusal>().copied() {
        admission.metrics.request_refused(refusal.reason());
        if let Some(unsaid) = admission.noise.may_speak() {
            let status = refusal.status().as_u16();
            tracing::warn!(status, reason = refusal.reason(), unsaid, "request refused");
        }
    }
    // HTTP/2 has no such header: its clients get GOAWAY when the drain ends.
    if admission.phase.draining() && version != Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Counts a request as in flight, however it ends.
struct InFlight<'a>(&'a Metrics);

impl<'a> InFlight<'a> {
    fn count(metrics: &'a Metrics) -> Self {
        metrics.in_flight.inc();
        InFlight(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

/// Answers a panic with 500 and counts it: one poisonous object must not take the others' verdicts with it. The
/// panic's text may quote the object, so nothing is said of it; the panic hook logs where in the code it was.
#[derive(Clone)]
struct Panicked(Arc<Metrics>);

impl ResponseForPanic for Panicked {
    type ResponseBody = axum::body::Body;

    fn response_for_panic(&mut self, _: Box<dyn Any + Send>) -> Response {
        self.0.panics.inc();
        let body = json!({"error": "prefect-guard failed on this object; its log says where in the code"});
        (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
    }
}

/// The body limit's own answer is plain text.
fn too_large<B>(response: Response<B>) -> Response
where
    Response<B>: IntoResponse,
{
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Refusal::TooLarge.into_response();
    }
    response.into_response()
}

/// When a request must have its answer, and the end of its body.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    answer: Instant,
    body: Instant,
}

/// Ends a request at its deadline: what the caller waits, less a little for the way back, within our own limit.
async fn deadline(
    State(admission): State<Arc<Admission>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let (now, limits) = (Instant::now(), &admission.limits);
    let answer = now + budget(request.uri().query(), limits.handler);
    let body = answer.min(now + limits.body);
    request.extensions_mut().insert(Deadline { answer, body });
    timeout_at(answer.into(), next.run(request)).await.map_err(|_| Refusal::Late)
}

fn budget(query: Option<&str>, handler: Duration) -> Duration {
    let asked = query
        .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("timeout=")))
        .and_then(|text| flags::positive(text).ok());
    asked.map_or(handler, |asked| (asked - (asked / 10).min(Duration::from_millis(100))).min(handler))
}

type Handled = Result<Response, Refusal>;

async fn mutate(
    State(admission): State<Arc<Admission>>,
    Extension(deadline): Extension<Deadline>,
    request: Request,
) -> Handled {
    review(&admission, Endpoint::Mutate, deadline, request).await
}

async fn validate(
    State(admission): State<Arc<Admission>>,
    Extension(deadline): Extension<Deadline>,
    request: Request,
) -> Handled {
    review(&admission, Endpoint::Validate, deadline, request).await
}

/// Reads the body, judges it and records the decision.
async fn review(
    admission: &Arc<Admission>,
    endpoint: Endpoint,
    deadline: Deadline,
    request: Request,
) -> Handled {
    if !is_plain_json(request.headers()) {
        return Err(Refusal::MediaType);
    }
    let body = request.into_body();
    let reading = body::read(body, admission.limits.body_size, &admission.memory);
    let held = match timeout_at(deadline.body.into(), reading).await {
        Ok(Ok(held)) => held,
        Ok(Err(BodyError::TooLarge)) => return Err(Refusal::TooLarge),
        Ok(Err(BodyError::Aborted)) => return Err(Refusal::Aborted),
        Err(_) => return Err(Refusal::SlowBody),
    };
    let whole = Instant::now();
    let (answer, notice) = decide(admission, endpoint, held).await;
    let now = Instant::now();
    if now > deadline.answer {
        // The caller has given up and applied its failure policy: what we decided did not happen.
        return Err(Refusal::Late);
    }
    record(admission, endpoint, &answer, now - whole);
    if let (Some(notices), Some(notice)) = (&admission.notices, notice) {
        notices.take(notice);
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok((status, [(CONTENT_TYPE, "application/json")], answer.body).into_response())
}

/// The engine's answer. Where a large body takes too long, the thread that judges it goes on alone, with the body and
/// its share of the memory; one that still waits for the thread is dropped with this future.
async fn decide(admission: &Arc<Admission>, endpoint: Endpoint, held: Held) -> (Answer, Option<Notice>) {
    let policy = admission.policy.load_full();
    let length = held.bytes.len();
    let (answer, noted) = (admission.engine.answer, admission.notices.is_some());
    let judge = move || {
        let answer = answer(endpoint, &held.bytes, &policy);
        let notice = if noted { Notice::of(endpoint, &held.bytes, &answer) } else { None };
        (answer, notice)
    };
    if length <= INLINE {
        return judge();
    }
    let mut judging = JoinSet::new();
    judging.spawn_blocking(judge);
    match judging.join_next().await.expect("one was spawned") {
        Ok(answer) => answer,
        // For the layer that catches panics. Nothing else ends a task that is not aborted.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn record(admission: &Admission, endpoint: Endpoint, answer: &Answer, elapsed: Duration) {
    admission.metrics.decided(endpoint, &answer.record, elapsed);
    if admission.log.wants(Level::INFO) {
        let format = admission.log.format();
        admission.log.line(|line| {
            crate::telemetry::decision::write(line, format, SystemTime::now(), endpoint, answer, elapsed);
        });
    }
}

fn is_plain_json(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let encoded = headers
        .get(CONTENT_ENCODING)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    media.eq_ignore_ascii_case("application/json") && !encoded
}
