//! What the server says to a request, without a socket.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::serving::{Parts, REVIEW, metric, parts, short};
use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, SizeHint};
use prefect_guard::answer::{Answer, Record, Verdict};
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use prefect_guard::serve::{Engine, Limits, Stage};
use serde_json::Value;
use tower::ServiceExt;

fn request(method: &str, target: &str, media: Option<&str>, body: &[u8]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(target);
    if let Some(media) = media {
        request = request.header("content-type", media);
    }
    request.body(Full::new(Bytes::copy_from_slice(body))).unwrap()
}

fn post(target: &str, body: &[u8]) -> Request<Full<Bytes>> {
    request("POST", target, Some("application/json"), body)
}

async fn ask<B>(parts: &Parts, request: Request<B>) -> (StatusCode, http::HeaderMap, Value)
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<axum::BoxError>,
{
    let answer = parts.router.clone().oneshot(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, serde_json::from_slice(&body).expect("every answer is JSON"))
}

/// A body of pieces, some of which come late, whose length is or is not declared.
struct Pieces {
    pieces: Vec<(Duration, &'static [u8])>,
    declared: Option<u64>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let Some((delay, piece)) = this.pieces.first().copied() else { return Poll::Ready(None) };
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(delay)));
        std::task::ready!(sleep.as_mut().poll(cx));
        this.sleep = None;
        this.pieces.remove(0);
        if piece == b"reset" {
            return Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into())));
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece)))))
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn pieces(declared: Option<u64>, pieces: &[(u64, &'static [u8])]) -> Request<Pieces> {
    let pieces = pieces.iter().map(|(wait, piece)| (Duration::from_millis(*wait), *piece)).collect();
    let mut request = Request::post("/mutate").header("content-type", "application/json");
    if let Some(length) = declared {
        request = request.header("content-length", length);
    }
    request.body(Pieces { pieces, declared, sleep: None }).unwrap()
}

#[tokio::test]
async fn a_review_is_answered_with_its_uid() {
    let parts = parts(Engine::real(), Limits::default());
    for path in ["/mutate?timeout=5s", "/validate?timeout=5s", "/validate"] {
        let (status, headers, answer) = ask(&parts, post(path, REVIEW)).await;
        assert_eq!(status, 200);
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(answer["response"]["uid"], crate::serving::review_uid());
    }
    let (status, _, answer) = ask(&parts, post("/mutate", REVIEW)).await;
    assert_eq!((status, &answer["response"]["patchType"]), (StatusCode::OK, &Value::from("JSONPatch")));
}

#[tokio::test]
async fn what_is_no_review_gets_its_status_and_a_json_error() {
    let parts = parts(Engine::real(), Limits::default());
    let json = Some("application/json");
    type Case = (&'static str, &'static str, Option<&'static str>, &'static [u8], u16);
    let cases: &[Case] = &[
        ("POST", "/", json, b"{}", 404),
        ("POST", "/mutate/", json, b"{}", 404),
        ("POST", "/metrics", json, b"{}", 404),
        ("GET", "/mutate", None, b"", 405),
        ("PUT", "/validate", json, b"{}", 405),
        ("POST", "/mutate", None, b"{}", 415),
        ("POST", "/mutate", Some("text/plain"), b"{}", 415),
        ("POST", "/mutate", Some("application/jsonp"), b"{}", 415),
        ("POST", "/mutate", json, b"", 400),
        ("POST", "/mutate", json, b"aaaaaa", 400),
        ("POST", "/mutate", json, b"{}", 400),
        ("POST", "/mutate", json, b"null", 400),
        ("POST", "/mutate", json, b"[]", 400),
        ("POST", "/mutate", json, b"\xff\xfe", 400),
        ("POST", "/mutate", json, br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#, 400),
        ("POST", "/validate", Some("Application/JSON; charset=utf-8"), b"{}", 400),
    ];
    for (method, path, media, body, wanted) in cases {
        let (status, headers, answer) = ask(&parts, request(method, path, *media, body)).await;
        assert_eq!(status.as_u16(), *wanted, "{method} {path} {media:?} {body:?}");
        assert!(!answer["error"].as_str().expect("an error text").is_empty());
        assert_eq!(headers.get("allow").is_some(), *wanted == 405);
    }
    let mut compressed = post("/mutate", REVIEW);
    compressed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(ask(&parts, compressed).await.0, 415);
    assert_eq!(ask(&parts, post("/mutate", REVIEW)).await.0, 200, "and the next good one is served");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_by_its_declared_length_alone() {
    let parts = parts(Engine::real(), Limits::default());
    // Not one byte of it would ever come.
    let never = pieces(Some((7 << 20) + 1), &[(60_000, b"x")]);
    let begun = Instant::now();
    assert_eq!(ask(&parts, never).await.0, 413);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_off_at_the_limit() {
    let parts = parts(crate::serving::constant(), Limits { body_size: 10, ..short() });
    assert_eq!(ask(&parts, pieces(None, &[(0, b"12345"), (0, b"67890")])).await.0, 200);
    assert_eq!(ask(&parts, pieces(None, &[(0, b"12345"), (0, b"67890"), (0, b"1")])).await.0, 413);
}

#[tokio::test]
async fn a_body_in_pieces_arrives_whole() {
    fn echo(_: Endpoint, body: &[u8], _: &Policy) -> Answer {
        Answer { status: 200, body: body.to_vec(), record: Record::default() }
    }
    let parts = parts(Engine { answer: echo, ..Engine::real() }, short());
    for declared in [Some(9), None] {
        let (_, _, answer) = ask(&parts, pieces(declared, &[(0, b"[1,"), (20, b"2,"), (0, b"3,4]")])).await;
        assert_eq!(answer, serde_json::json!([1, 2, 3, 4]));
    }
}

#[tokio::test]
async fn a_slow_body_ends_at_its_deadline() {
    let parts = parts(Engine::real(), Limits { body: Duration::from_millis(100), ..short() });
    assert_eq!(ask(&parts, pieces(Some(2), &[(0, b"{"), (5_000, b"}")])).await.0, 408);
}

#[tokio::test]
async fn the_callers_timeout_shortens_the_deadline() {
    let parts = parts(Engine::real(), Limits { body: Duration::from_secs(9), ..Limits::default() });
    let mut slow = pieces(Some(2), &[(0, b"{"), (5_000, b"}")]);
    *slow.uri_mut() = "/mutate?timeout=100ms".parse().unwrap();
    let begun = Instant::now();
    assert_eq!(ask(&parts, slow).await.0, 408);
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_verdict_after_the_deadline_is_none() {
    fn slow(_: Endpoint, _: &[u8], _: &Policy) -> Answer {
        std::thread::sleep(Duration::from_millis(150));
        Answer { status: 200, body: b"{}".to_vec(), record: Record::default() }
    }
    let parts = parts(Engine { answer: slow, ..Engine::real() }, Limits::default());
    assert_eq!(ask(&parts, post("/mutate?timeout=100ms", REVIEW)).await.0, 504);
    // Whatever cannot be read as a duration asks for nothing.
    for query in
        ["timeout=5s", "timeout=", "timeout=banana", "timeout=0s", "timeout=-1s", "a=b&timeout=1m30s", ""]
    {
        assert_eq!(ask(&parts, post(&format!("/mutate?{query}"), REVIEW)).await.0, 200, "{query}");
    }
    parts.log.close(Duration::from_secs(5));
    assert_eq!(
        parts.lines.text().matches("\"decision\"").count(),
        7,
        "the late one is not logged as decided"
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_counted() {
    let parts = parts(Engine::real(), short());
    assert_eq!(ask(&parts, pieces(Some(100), &[(0, b"{"), (0, b"reset")])).await.0, 400);
    let text = parts.metrics.render();
    assert_eq!(metric(&text, "prefect_guard_requests_refused_total{reason=\"body_aborted\"}"), 1.0);
    assert_eq!(metric(&text, "prefect_guard_requests_in_flight"), 0.0);
}

#[tokio::test]
async fn a_panic_is_answered_counted_and_survived() {
    fn poisonous(endpoint: Endpoint, body: &[u8], policy: &Policy) -> Answer {
        assert!(!body.starts_with(b"poison"), "{}", String::from_utf8_lossy(body));
        prefect_guard::answer::answer(endpoint, body, policy)
    }
    let parts = parts(Engine { answer: poisonous, ..Engine::real() }, Limits::default());
    // Judged inline, and on the thread for large bodies.
    for size in [100, 600 << 10] {
        let mut body = b"poison hunter2-canary ".to_vec();
        body.resize(size, b' ');
        let (status, _, answer) = ask(&parts, post("/mutate", &body)).await;
        assert_eq!(status, 500);
        assert!(!answer.to_string().contains("canary"));
    }
    assert_eq!(ask(&parts, post("/mutate", REVIEW)).await.0, 200);
    assert_eq!(metric(&parts.metrics.render(), "prefect_guard_panics_total"), 2.0);
    parts.log.close(Duration::from_secs(5));
    assert!(!parts.lines.text().contains("canary"));
}

#[tokio::test]
async fn a_large_body_is_judged_like_a_small_one() {
    let parts = parts(Engine::real(), Limits::default());
    let mut large = REVIEW.to_vec();
    large.resize(6 << 20, b' ');
    let small = ask(&parts, post("/mutate", REVIEW)).await;
    assert_eq!(ask(&parts, post("/mutate", &large)).await.2, small.2);
}

#[tokio::test]
async fn a_crowd_is_told_to_try_again() {
    let parts = parts(crate::serving::constant(), Limits { requests: 2, ..Limits::default() });
    let slow = || ask(&parts, pieces(Some(2), &[(0, b"{"), (500, b"}")]));
    let late = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ask(&parts, post("/mutate", b"{}")).await
    };
    let (first, second, third) = tokio::join!(slow(), slow(), late);
    assert_eq!((first.0.as_u16(), second.0.as_u16(), third.0.as_u16()), (200, 200, 503));
    assert_eq!(third.1["retry-after"], "1");
    assert_eq!(ask(&parts, post("/mutate", b"{}")).await.0, 200);
}

#[tokio::test]
async fn bodies_wait_for_memory_in_turn() {
    // Room for one large body of 4 MiB at a time.
    let parts = parts(
        crate::serving::constant(),
        Limits { body_size: 4 << 20, memory: 6 << 20, ..Limits::default() },
    );
    static HALF: [u8; 2 << 20] = [b' '; 2 << 20];
    let begun = Instant::now();
    let timed = async |request| (ask(&parts, request).await.0.as_u16(), begun.elapsed());
    let half = |wait| pieces(Some(4 << 20), &[(0, &HALF), (wait, &HALF)]);
    let (first, second, small) =
        tokio::join!(timed(half(300)), timed(half(300)), timed(pieces(Some(2), &[(0, b"{}")])));
    assert_eq!((first.0, second.0, small.0), (200, 200, 200));
    assert!(begun.elapsed() >= Duration::from_millis(600), "one after the other");
    assert!(small.1 < first.1, "the ordinary do not wait for the huge");
}

#[tokio::test]
async fn draining_ends_connections_of_http_1_only() {
    let parts = parts(Engine::real(), Limits::default());
    parts.phase.enter(Stage::Serving);
    assert!(ask(&parts, post("/mutate", REVIEW)).await.1.get("connection").is_none());
    parts.phase.enter(Stage::Draining);
    assert_eq!(ask(&parts, post("/mutate", REVIEW)).await.1["connection"], "close");
    assert_eq!(ask(&parts, post("/nowhere", REVIEW)).await.1["connection"], "close");
    let mut second = post("/mutate", REVIEW);
    *second.version_mut() = Version::HTTP_2;
    assert!(ask(&parts, second).await.1.get("connection").is_none());
}

#[tokio::test]
async fn one_line_a_decision_with_nothing_from_the_spec() {
    let parts = parts(Engine::real(), Limits::default());
    let canary = String::from_utf8(REVIEW.to_vec())
        .unwrap()
        .replace("prefect server start", "prefect server start hunter2-canary");
    ask(&parts, post("/mutate", canary.as_bytes())).await;
    parts.log.close(Duration::from_secs(5));
    let text = parts.lines.text();
    assert!(!text.contains("canary"));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    for key in
        ["uid", "operation", "kind", "namespace", "name", "dryRun", "verdict", "rules", "edits", "elapsed"]
    {
        assert!(line.get(key).is_some(), "{key} is missing in {line}");
    }
    assert_eq!((&line["path"], &line["verdict"]), (&Value::from("mutate"), &Value::from("patch")));
    assert_eq!(line["edits"], serde_json::json!(["inject", "annotate"]));
}

#[tokio::test]
async fn labels_have_a_known_set_of_values() {
    fn odd(_: Endpoint, body: &[u8], _: &Policy) -> Answer {
        let kind = String::from_utf8(body.to_vec()).unwrap();
        let record = Record { operation: kind.clone(), kind, verdict: Verdict::Deny, ..Record::default() };
        Answer { status: 200, body: b"{}".to_vec(), record }
    }
    let parts = parts(Engine { answer: odd, ..Engine::real() }, Limits::default());
    for number in 0..100 {
        ask(&parts, post("/validate", format!("Kind{number}").as_bytes())).await;
    }
    ask(&parts, post("/validate", b"Deployment")).await;
    let text = parts.metrics.render();
    let line = |kind| {
        format!(
            "prefect_guard_admission_requests_total{{path=\"validate\",operation=\"other\",kind=\"{kind}\",verdict=\"deny\",dry_run=\"false\"}}"
        )
    };
    assert_eq!((metric(&text, &line("other")), metric(&text, &line("Deployment"))), (100.0, 1.0));
}

#[tokio::test]
async fn the_cap_counts_both_endpoints_and_sheds_before_a_body_is_read() {
    let parts = parts(crate::serving::constant(), Limits { requests: 1, ..Limits::default() });
    let begun = Instant::now();
    let slow = ask(&parts, pieces(Some(2), &[(0, b"{"), (500, b"}")]));
    let shed = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut never = pieces(Some(2), &[(60_000, b"{}")]);
        *never.uri_mut() = "/validate".parse().unwrap();
        (ask(&parts, never).await.0, begun.elapsed())
    };
    let (slow, (status, elapsed)) = tokio::join!(slow, shed);
    assert_eq!((slow.0, status), (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
    assert!(elapsed < Duration::from_millis(400), "{elapsed:?}");
    assert_eq!(metric(&parts.metrics.render(), "prefect_guard_requests_refused_total{reason=\"busy\"}"), 1.0);
}

#[tokio::test]
async fn the_admin_port_says_where_the_server_is_in_its_life() {
    let parts = parts(Engine::real(), Limits::default());
    let router = prefect_guard::serve::admin::router(parts.metrics.clone(), parts.phase.clone());
    let get = async |path: &str| {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        (head.status.as_u16(), String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    };
    assert_eq!(get("/livez").await.0, 200);
    assert_eq!(get("/readyz").await, (503, "starting\n".to_owned()));
    parts.phase.enter(Stage::Serving);
    assert_eq!(get("/readyz").await, (200, "ok\n".to_owned()));
    parts.phase.enter(Stage::Draining);
    assert_eq!(get("/readyz").await, (503, "draining\n".to_owned()));
    assert_eq!(get("/livez").await.0, 200);
    assert!(get("/metrics").await.1.ends_with("# EOF\n"));
    assert_eq!(get("/mutate").await.0, 404);
}
