//! Shared by the tests of the server: certificates, clients that speak over real sockets, the server in this process
//! and as a process of its own. Everything listens on a free loopback port.

pub mod api;
pub mod client;
pub mod pki;
pub mod process;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use prefect_guard::answer::{Answer, Record};
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use prefect_guard::serve::{Admission, Engine, Limits, Phase, Server, Stage, listen};
use prefect_guard::telemetry::log::{Format, Log};
use prefect_guard::telemetry::metrics::Metrics;
use prefect_guard::telemetry::notices::Notices;
use prefect_guard::tls::identity::Identity;
use prefect_guard::tls::{Current, server_config};

/// A recorded review of a Prefect server.
pub const REVIEW: &[u8] = include_bytes!("../../fixtures/reviews/create.json");

/// The uid in [`REVIEW`].
pub fn review_uid() -> String {
    let review: serde_json::Value = serde_json::from_slice(REVIEW).unwrap();
    review["request"]["uid"].as_str().unwrap().to_owned()
}

/// An engine that answers `ok` to everything.
pub fn constant() -> Engine {
    fn answer(_: Endpoint, _: &[u8], _: &Policy) -> Answer {
        Answer { status: 200, body: b"{\"ok\":true}".to_vec(), record: Record::default() }
    }
    Engine { answer, ..Engine::real() }
}

/// Short limits, so that a test of each takes a fraction of a second.
pub fn short() -> Limits {
    Limits {
        handshake: Duration::from_millis(300),
        head: Duration::from_millis(300),
        body: Duration::from_millis(300),
        handler: Duration::from_secs(2),
        idle: Duration::from_millis(600),
        write: Duration::from_millis(500),
        drain: Duration::from_millis(300),
        ..Limits::default()
    }
}

/// Limits that no test reaches by being slow, for tests of something else on a busy machine.
pub fn roomy() -> Limits {
    let patient = Duration::from_secs(60);
    Limits {
        handshake: patient,
        head: patient,
        body: patient,
        handler: patient,
        idle: patient,
        write: patient,
        ..Limits::default()
    }
}

/// What a log wrote.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// The parts of a server that requests share, for tests without a socket.
pub struct Parts {
    pub admission: Arc<Admission>,
    pub router: axum::Router,
    pub metrics: Arc<Metrics>,
    pub phase: Phase,
    pub log: Log,
    pub lines: Lines,
}

pub fn parts(engine: Engine, limits: Limits) -> Parts {
    noted_parts(engine, limits, |_| None)
}

/// The same, with somebody who takes notices.
pub fn noted_parts(
    engine: Engine,
    limits: Limits,
    notices: impl FnOnce(&Arc<Metrics>) -> Option<Notices>,
) -> Parts {
    let lines = Lines::default();
    let log = Log::new(Format::Json, tracing::Level::INFO, lines.clone()).unwrap();
    let (metrics, phase) = (Metrics::new(&log), Phase::new());
    let (policy, notices) = (Policy::default(), notices(&metrics));
    let shared = (Arc::clone(&metrics), log.clone(), phase.clone());
    let admission = Admission::new(engine, policy, limits, shared.0, shared.1, shared.2, notices);
    let router = prefect_guard::serve::admission::router(Arc::clone(&admission));
    Parts { admission, router, metrics, phase, log, lines }
}

/// A server in this process, over real sockets.
pub struct Running {
    pub address: SocketAddr,
    pub ca: String,
    pub metrics: Arc<Metrics>,
    pub phase: Phase,
    thread: Option<JoinHandle<()>>,
}

pub fn start(engine: Engine, limits: Limits) -> Running {
    let Parts { admission, metrics, phase, .. } = parts(engine, limits);
    let pair = pki::pair();
    let identity =
        Identity::from_pem(pair.certificate.as_bytes(), pair.key.as_bytes(), SystemTime::now()).unwrap();
    let current = Arc::new(Current::default());
    current.replace(identity);
    let tls = Arc::new(ArcSwap::from_pointee(server_config(current, None).unwrap()));
    let (sender, bound) = std::sync::mpsc::channel();
    let serving = phase.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = listen("127.0.0.1:0".parse().unwrap(), "--listen").unwrap();
            serving.enter(Stage::Serving);
            sender.send(listener.local_addr().unwrap()).unwrap();
            Server { admission, tls, listener }.serve().await;
        });
    });
    let address = bound.recv().unwrap();
    Running { address, ca: pair.ca, metrics, phase, thread: Some(thread) }
}

impl Running {
    pub fn client(&self) -> client::Client {
        client::Client::new(self.address, &self.ca)
    }

    /// The value of one line of the metrics; zero where there is none.
    pub fn metric(&self, line: &str) -> f64 {
        metric(&self.metrics.render(), line)
    }

    /// Waits until a metric reaches a value.
    pub fn wait_for(&self, line: &str, at_least: f64) {
        wait_until(line, || self.metric(line) >= at_least);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.phase.enter(Stage::Closing);
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

/// The value of a metric line, named up to the blank before its value.
pub fn metric(text: &str, line: &str) -> f64 {
    text.lines()
        .find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(' ')?.parse().ok())
        .unwrap_or(0.0)
}

/// Waits for something that must come true soon.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
