//! The admin port: `/livez`, `/readyz`, `/metrics`, over plain HTTP and away from the admission port.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::{Limits, Phase, accept};
use crate::telemetry::metrics::Metrics;

/// Probes and a Prometheus or two; more would be somebody else.
const CONNECTIONS: usize = 64;

#[derive(Clone)]
struct Admin {
    metrics: Arc<Metrics>,
    phase: Phase,
}

/// The routes of the admin port.
pub fn router(metrics: Arc<Metrics>, phase: Phase) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is `/livez`, `/readyz` and `/metrics` here\n") })
        .with_state(Admin { metrics, phase })
}

/// Alive says that the process runs; ready says that reviews are wanted: keys and policy loaded, port taken, not
/// ending. Neither asks the API server, which may be the one that is waiting for us.
async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    if admin.phase.ready() {
        (StatusCode::OK, "ok\n")
    } else if admin.phase.draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

async fn scrape(State(admin): State<Admin>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")],
        admin.metrics.render(),
    )
}

/// Answers probes and scrapes until the process ends: during the drain they are wanted most.
pub(super) async fn serve(listener: TcpListener, metrics: Arc<Metrics>, phase: Phase) {
    let limits = Limits {
        connections: CONNECTIONS,
        head: Duration::from_secs(5),
        // Prometheus scrapes every 15 to 60 s and keeps its connection.
        idle: Duration::from_secs(120),
        ..Limits::default()
    };
    let router = router(metrics, phase);
    // Its own phase never ends: probes are answered until the process is gone.
    accept::Listener {
        listener,
        transport: accept::Transport::Plain,
        router,
        limits,
        metrics: None,
        phase: Phase::new(),
    }
    .serve()
    .await;
}
