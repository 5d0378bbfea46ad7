//! The accept loop: a cap on connections, TLS with a deadline, HTTP/1.1 or HTTP/2 as ALPN says, and an end.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::unconstrained;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::deadlines::{Deadlines, IDLE, Watched};
use super::listen::BACKLOG;
use super::{Limits, Phase, Stage};
use crate::telemetry::metrics::Metrics;

/// The API server's heads are under 1 KB. This bounds a head (beyond it 431) and what is read at once, and so the
/// memory of a connection.
const BUFFER: usize = 16 << 10;

/// Flow-control windows of HTTP/2: how much a client may send that nobody reads. The smallest that the protocol
/// allows for a connection; at a round trip of 1 ms still 64 MB/s.
const WINDOW: u32 = 65_535;

/// Streams of one HTTP/2 connection. Go's client opens another connection when it needs more.
const STREAMS: u32 = 128;

/// After the listener is closed: what clients sent just before is read, and answered, before idle connections close.
const LINGER: Duration = Duration::from_millis(250);

/// For saying goodbye (`close_notify`, GOAWAY) to an idle connection.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a connection becomes a stream of requests.
#[derive(Clone)]
pub(super) enum Transport {
    /// Plain HTTP/1.1, for the admin port.
    Plain,
    /// TLS with whatever configuration is in force at that moment.
    Tls(Arc<ArcSwap<ServerConfig>>),
}

/// One listener with its limits.
pub(super) struct Listener {
    pub(super) listener: TcpListener,
    pub(super) transport: Transport,
    /// Answers the requests; cloned for each.
    pub(super) router: Router,
    pub(super) limits: Limits,
    /// Where connections are counted, if they are.
    pub(super) metrics: Option<Arc<Metrics>>,
    pub(super) phase: Phase,
}

struct Shared {
    transport: Transport,
    router: Router,
    limits: Limits,
    metrics: Option<Arc<Metrics>>,
    phase: Phase,
    http: auto::Builder<TokioExecutor>,
}

impl Listener {
    /// Serves until the phase says to close, then finishes what is under way.
    pub(super) async fn serve(self) {
        let Listener { listener, transport, router, limits, metrics, phase } = self;
        let cap = limits.connections;
        let slots = Arc::new(Semaphore::new(cap));
        let shared = Arc::new(Shared {
            transport,
            router,
            limits,
            metrics,
            phase: phase.clone(),
            http: http_builder(),
        });
        let mut closing = pin!(phase.reached(Stage::Closing));
        loop {
            tokio::select! {
                biased;
                () = &mut closing => break,
                accepted = listener.accept() => shared.accept(accepted, &slots).await,
            }
        }
        // Connections that the kernel has already taken were made before the end: they are served too. Not more than
        // there can be, or a flood would keep us here.
        for _ in 0..BACKLOG {
            let Some(accepted) = accept_now(&listener).await else { break };
            shared.accept(accepted, &slots).await;
        }
        drop(listener);
        // Every connection holds a slot until it is gone, and each of its waits has a limit of its own.
        let all = u32::try_from(cap).unwrap_or(u32::MAX);
        if tokio::time::timeout(shared.longest(), slots.acquire_many(all)).await.is_err() {
            tracing::warn!("some connections did not end in time and are cut");
        }
    }
}

/// A connection that is waiting in the kernel, without waiting for another.
async fn accept_now(listener: &TcpListener) -> Option<std::io::Result<(TcpStream, SocketAddr)>> {
    let mut accept = pin!(listener.accept());
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match accept.as_mut().poll(cx) {
            std::task::Poll::Ready(accepted @ Ok(_)) => Some(accepted),
            _ => None,
        })
    })
    .await
}

impl Shared {
    async fn accept(
        self: &Arc<Self>,
        accepted: std::io::Result<(TcpStream, SocketAddr)>,
        slots: &Arc<Semaphore>,
    ) {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or a client that is gone already. Without a pause the former would spin.
                tracing::warn!(%error, "could not accept a connection");
                self.refused("accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                return;
            }
        };
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else {
            self.refused("limit");
            return;
        };
        // Without it the last segment of an answer can wait 40 ms for a delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        tokio::spawn(Arc::clone(self).connection(stream, slot));
    }

    fn refused(&self, reason: &'static str) {
        if let Some(metrics) = &self.metrics {
            metrics.connection_refused(reason);
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, slot: OwnedSemaphorePermit) {
        let _open = self.metrics.as_deref().map(Open::count);
        if let Err(reason) = self.speak(stream).await {
            self.refused(reason);
        }
        drop(slot);
    }

    async fn speak(self: &Arc<Self>, stream: TcpStream) -> Result<(), &'static str> {
        let Transport::Tls(config) = &self.transport else {
            return self.http(stream, false).await;
        };
        // Boxed, like the connection after it: what a step needs is given back when it is over. As one future all of
        // it would take 11 KB for as long as the connection lasts.
        let handshake = Box::pin(TlsAcceptor::from(config.load_full()).accept(stream));
        let stream = match tokio::time::timeout(self.limits.handshake, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "handshake failed");
                return Err("handshake");
            }
            Err(_) => return Err("handshake_timeout"),
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.http(stream, http2).await
    }

    /// Speaks HTTP/2 or HTTP/1.1 over a stream until its end.
    fn http<S>(&self, stream: S, http2: bool) -> impl Future<Output = Result<(), &'static str>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let deadlines = Deadlines::new(!http2);
        let io = Watched::new(TokioIo::new(stream), Arc::clone(&deadlines));
        let (router, noted) = (self.router.clone(), Arc::clone(&deadlines));
        let service = service_fn(move |request| {
            let busy = noted.request();
            // A router is always ready.
            let answer = router.clone().call(request);
            async move {
                let answer = answer.await;
                drop(busy);
                answer
            }
        });
        let http = self.http.clone();
        let http = if http2 { http.http2_only() } else { http.http1_only() };
        self.drive(Box::pin(http.serve_connection(io, service).into_owned()), deadlines)
    }

    /// Runs a connection to its end: its own, a limit, or the server's. The latter two are not tokio's to put off: a
    /// connection that always has something to do uses up what one turn of a task may do.
    async fn drive<C: GracefulConnection>(
        &self,
        mut connection: Pin<Box<C>>,
        deadlines: Arc<Deadlines>,
    ) -> Result<(), &'static str> {
        let mut look = pin!(tokio::time::sleep(self.limits.look()));
        let mut closing = pin!(self.end());
        let mut ending = false;
        loop {
            tokio::select! {
                biased;
                // A client that broke off or spoke nonsense has had its answer.
                _ = connection.as_mut() => return Ok(()),
                () = unconstrained(look.as_mut()) => match deadlines.check(&self.limits) {
                    Ok(next) => look.as_mut().reset(tokio::time::Instant::now() + next),
                    Err(IDLE) if !ending => {
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                        look.as_mut().reset(tokio::time::Instant::now() + FAREWELL);
                    }
                    Err(reason) => return Err(reason),
                },
                () = unconstrained(closing.as_mut()), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    async fn end(&self) {
        self.phase.reached(Stage::Closing).await;
        tokio::time::sleep(LINGER).await;
    }

    /// The longest that a connection can take to end once it is asked to.
    fn longest(&self) -> Duration {
        LINGER + self.limits.handshake + self.limits.head + self.limits.handler + self.limits.write
    }
}

/// Counts a connection as open, however its task ends.
struct Open<'a>(&'a Metrics);

impl<'a> Open<'a> {
    fn count(metrics: &'a Metrics) -> Self {
        metrics.connections.inc();
        Open(metrics)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // `Deadlines` owns the wait for a head.
    builder.http1().header_read_timeout(None).timer(TokioTimer::new()).max_buf_size(BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(8 << 10)
        .max_send_buf_size(64 << 10);
    builder
}
