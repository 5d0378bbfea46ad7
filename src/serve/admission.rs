//! One request on the admission port: everything that is decided before and after the engine.
//!
//! No router and no layers: two paths, and each layer would cost an allocation on a path whose whole budget is 20 µs.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use serde_json::json;
use tokio::time::timeout_at;
use tracing::Level;

use super::body::{self, BodyError, Held, Memory};
use super::{Engine, Limits, Phase, units};
use crate::answer::{Answer, Record, Verdict};
use crate::decision::Endpoint;
use crate::policy::Policy;
use crate::telemetry::log::Log;
use crate::telemetry::metrics::Metrics;

/// Bodies over this are judged on a thread of their own: a larger one would hold up everybody else for longer than it
/// takes another thread to wake up, about 100 µs.
const INLINE: usize = 64 << 10;

/// How much of a refused body is still read, so that a client that only listens after it has sent everything gets
/// the answer and not a reset connection.
const DISCARD: usize = 16 << 20;

/// What all requests of a server share.
#[derive(Debug)]
pub struct Admission {
    pub(super) engine: Engine,
    pub(super) policy: arc_swap::ArcSwap<Policy>,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Log,
    pub(super) phase: Phase,
    memory: Memory,
    in_flight: AtomicUsize,
    noise: Noise,
}

impl Admission {
    pub(super) fn new(
        engine: Engine,
        policy: Policy,
        limits: Limits,
        metrics: Arc<Metrics>,
        log: Log,
        phase: Phase,
    ) -> Admission {
        let memory = Memory::new(limits.memory);
        Admission {
            engine,
            policy: arc_swap::ArcSwap::from_pointee(policy),
            limits,
            metrics,
            log,
            phase,
            memory,
            in_flight: AtomicUsize::new(0),
            noise: Noise::default(),
        }
    }

    /// Answers one request. Never fails: whatever is wrong becomes a status and a JSON error.
    pub async fn respond<B>(self: Arc<Self>, request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Send,
    {
        let started = Instant::now();
        let version = request.version();
        let mut response = match self.answer(request, started).await {
            Ok(answer) => json_response(StatusCode::from_u16(answer.status), answer.body),
            Err(refusal) => self.refuse(refusal),
        };
        // HTTP/2 has no such header: its clients are told by GOAWAY when the drain ends.
        if self.phase.draining() && version != Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    async fn answer<B>(self: &Arc<Self>, request: Request<B>, started: Instant) -> Result<Answer, Refusal>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Send,
    {
        let _slot = Slot::take(self);
        let (head, mut body) = request.into_parts();
        let endpoint = match self.check(&head, &body) {
            Ok(endpoint) => endpoint,
            Err(refusal) => {
                self.discard(body, &head);
                return Err(refusal);
            }
        };
        let deadline = started + self.budget(head.uri.query());
        let held = match self.read(&mut body, started, deadline).await {
            Ok(held) => held,
            Err(Refusal::TooLarge) => {
                self.discard(body, &head);
                return Err(Refusal::TooLarge);
            }
            Err(refusal) => return Err(refusal),
        };
        let whole = Instant::now();
        let answer = self.decide(endpoint, held, deadline).await?;
        let now = Instant::now();
        if now > deadline {
            // The caller has given up and applied its failure policy: what we decided did not happen.
            return Err(Refusal::Late);
        }
        self.record(endpoint, &answer, now - whole);
        Ok(answer)
    }

    /// What can be told from the head alone.
    fn check<B: Body>(&self, head: &http::request::Parts, body: &B) -> Result<Endpoint, Refusal> {
        let endpoint = match head.uri.path() {
            "/mutate" => Endpoint::Mutate,
            "/validate" => Endpoint::Validate,
            _ => return Err(Refusal::NotFound),
        };
        if head.method != Method::POST {
            return Err(Refusal::Method);
        }
        if !is_json(head.headers.get(CONTENT_TYPE)) || is_encoded(head.headers.get(CONTENT_ENCODING)) {
            return Err(Refusal::MediaType);
        }
        if body::declared(body, self.limits.body_size).is_err() {
            return Err(Refusal::TooLarge);
        }
        if self.in_flight.load(Ordering::Relaxed) > self.limits.requests {
            return Err(Refusal::Busy);
        }
        Ok(endpoint)
    }

    /// How long this request may take: what the caller waits, less a little for the way back, within our own limit.
    fn budget(&self, query: Option<&str>) -> std::time::Duration {
        let asked = query
            .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("timeout=")))
            .and_then(|text| units::positive(text).ok());
        match asked {
            Some(asked) => {
                let margin = (asked / 10).min(std::time::Duration::from_millis(100));
                (asked - margin).min(self.limits.handler)
            }
            None => self.limits.handler,
        }
    }

    async fn read<B>(&self, body: &mut B, started: Instant, deadline: Instant) -> Result<Held, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let end = deadline.min(started + self.limits.body);
        match timeout_at(end.into(), body::read(body, self.limits.body_size, &self.memory)).await {
            Ok(Ok(held)) => Ok(held),
            Ok(Err(BodyError::TooLarge)) => Err(Refusal::TooLarge),
            Ok(Err(BodyError::Aborted)) => Err(Refusal::Aborted),
            Err(_) => Err(Refusal::SlowBody),
        }
    }

    /// The engine's answer, or `Late` where a large body took too long: then the caller is answered in time, and
    /// the thread that judges goes on alone, with the body and its share of the memory.
    async fn decide(
        self: &Arc<Self>,
        endpoint: Endpoint,
        held: Held,
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        let policy = self.policy.load();
        if held.bytes.len() <= INLINE {
            return Ok(self.run(endpoint, &held.bytes, &policy));
        }
        let (this, policy) = (Arc::clone(self), Arc::clone(&policy));
        let mut judging = tokio::task::spawn_blocking(move || this.run(endpoint, &held.bytes, &policy));
        match timeout_at(deadline.into(), &mut judging).await {
            // `run` catches the engine's panics; what is left is a thread that could not be had.
            Ok(judged) => Ok(judged.unwrap_or_else(|_| broken())),
            Err(_) => {
                // Only one that still waits for a thread can be stopped.
                judging.abort();
                Err(Refusal::Late)
            }
        }
    }

    /// Calls the engine and survives its panic: one poisonous object must not take the others' verdicts with it.
    fn run(&self, endpoint: Endpoint, body: &[u8], policy: &Policy) -> Answer {
        // The engine is a pure function: it holds nothing that a panic could leave half-changed.
        catch_unwind(AssertUnwindSafe(|| (self.engine.answer)(endpoint, body, policy))).unwrap_or_else(|_| {
            self.metrics.panics.inc();
            broken()
        })
    }

    fn record(&self, endpoint: Endpoint, answer: &Answer, elapsed: std::time::Duration) {
        self.metrics.decided(endpoint, &answer.record, elapsed);
        if self.log.wants(Level::INFO) {
            let format = self.log.format();
            self.log.line(|line| {
                crate::telemetry::decision::write(line, format, SystemTime::now(), endpoint, answer, elapsed);
            });
        }
    }

    fn refuse(&self, refusal: Refusal) -> Response<Full<Bytes>> {
        let (status, reason, message) = refusal.describe(&self.limits);
        self.metrics.request_refused(reason);
        if let Some(unsaid) = self.noise.may_speak() {
            tracing::warn!(status = status.as_u16(), reason, unsaid, "request refused");
        }
        let body = json!({"error": message});
        let mut response = json_response(Ok(status), body.to_string().into_bytes());
        let headers = response.headers_mut();
        match refusal {
            Refusal::Method => drop(headers.insert(ALLOW, HeaderValue::from_static("POST"))),
            Refusal::Busy => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("1"))),
            _ => {}
        }
        response
    }

    /// Reads on after an answer was given early, see [`DISCARD`]. Holds no memory and ends with the body's time.
    fn discard<B>(&self, mut body: B, head: &http::request::Parts)
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Send,
    {
        // HTTP/2 resets the one stream. Whoever expects `100 Continue` has sent nothing yet, and reading would ask for it.
        if body.is_end_stream() || head.version == Version::HTTP_2 || head.headers.contains_key(EXPECT) {
            return;
        }
        let limit = self.limits.body;
        tokio::spawn(tokio::time::timeout(limit, async move {
            let mut seen = 0;
            while let Some(Ok(frame)) = body.frame().await {
                seen += frame.data_ref().map_or(0, Bytes::len);
                if seen > DISCARD {
                    break;
                }
            }
        }));
    }
}

/// Why a request gets no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
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
    /// Status, the `reason` of metrics and logs, and the text for whoever reads the API server's error.
    fn describe(self, limits: &Limits) -> (StatusCode, &'static str, String) {
        match self {
            Refusal::NotFound => (
                StatusCode::NOT_FOUND,
                "path",
                "there is nothing here; POST to `/mutate` or `/validate`".to_owned(),
            ),
            Refusal::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, "method", "only POST is answered here".to_owned())
            }
            Refusal::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media_type",
                "send an AdmissionReview as `Content-Type: application/json`, not compressed".to_owned(),
            ),
            Refusal::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the body is larger than the limit of {} bytes (`--max-body`)", limits.body_size),
            ),
            Refusal::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                format!("more than {} requests at once (`--max-requests`); try again", limits.requests),
            ),
            Refusal::SlowBody => (
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                "the body did not arrive in time (`--body-timeout`, or the caller's `?timeout=`)".to_owned(),
            ),
            Refusal::Aborted => {
                (StatusCode::BAD_REQUEST, "body_aborted", "the body broke off before its end".to_owned())
            }
            Refusal::Late => (
                StatusCode::GATEWAY_TIMEOUT,
                "deadline",
                "there was no verdict before the deadline (`--handler-timeout`, or the caller's `?timeout=`)"
                    .to_owned(),
            ),
        }
    }
}

/// Counts a request as long as it lives, however it ends.
struct Slot<'a>(&'a Admission);

impl<'a> Slot<'a> {
    fn take(admission: &'a Admission) -> Self {
        admission.in_flight.fetch_add(1, Ordering::Relaxed);
        admission.metrics.in_flight.inc();
        Slot(admission)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.in_flight.dec();
    }
}

/// Lets one line a second through: a flood of bad requests must not become a flood of log lines.
#[derive(Debug, Default)]
struct Noise(std::sync::Mutex<(Option<Instant>, u64)>);

impl Noise {
    /// How many lines were kept back since the last one, when it is time for another.
    fn may_speak(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        if state.0.is_some_and(|last| now.duration_since(last).as_secs() < 1) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

fn broken() -> Answer {
    let body = json!({"error": "prefect-guard failed on this object; its log says where in the code"});
    Answer {
        status: 500,
        body: body.to_string().into_bytes(),
        record: Record {
            verdict: Verdict::Error,
            problem: Some("the engine panicked".to_owned()),
            ..Record::default()
        },
    }
}

fn json_response(
    status: Result<StatusCode, http::status::InvalidStatusCode>,
    body: Vec<u8>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn is_json(value: Option<&HeaderValue>) -> bool {
    let Some(value) = value.and_then(|value| value.to_str().ok()) else { return false };
    let media = value.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json")
}

fn is_encoded(value: Option<&HeaderValue>) -> bool {
    value.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}
