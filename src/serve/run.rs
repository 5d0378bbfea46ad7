//! A server from start to end: load, bind, serve, drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;

use super::reload::{self, Watched};
use super::{Admission, Engine, Limits, Phase, Server, Stage};
use crate::answer::notice::Notice;
#[cfg(feature = "cluster")]
use crate::cluster::{certificates, events};
use crate::telemetry::log::Log;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::notices;
use crate::tls::identity::Identity;
use crate::tls::{Current, clients, ephemeral, server_config};

/// Where the certificate comes from.
#[derive(Debug, Clone)]
pub enum TlsSource {
    /// Files, read again when they change.
    Files {
        /// Chain in PEM, leaf first.
        certificate: PathBuf,
        /// Private key in PEM.
        key: PathBuf,
    },
    /// Made now, forgotten at the end.
    Ephemeral {
        /// Where the CA certificate goes, for clients.
        ca_out: Option<PathBuf>,
        /// Names and addresses beside those of loopback.
        names: Vec<String>,
    },
    /// In a Secret that all replicas share.
    #[cfg(feature = "cluster")]
    Managed(certificates::Plan),
}

/// Who may connect.
#[derive(Debug, Clone)]
pub struct Clients {
    /// CA certificates in PEM.
    pub ca: PathBuf,
    /// Allowed names; everybody whom the CA signed when empty.
    pub names: Vec<String>,
}

/// The settings of `serve`.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What answers reviews.
    pub engine: Engine,
    /// Admission port.
    pub listen: SocketAddr,
    /// Admin port.
    pub admin_listen: SocketAddr,
    /// Certificate.
    pub tls: TlsSource,
    /// Client certificates, if they are asked for.
    pub clients: Option<Clients>,
    /// Policy file; the default policy without.
    pub policy: Option<PathBuf>,
    /// Whether Events are written.
    pub events: bool,
    /// Limits.
    pub limits: Limits,
    /// How often files are looked at.
    pub reload: Duration,
    /// Where log lines go.
    pub log: Log,
}

/// Parts that are loaded before a port is taken.
struct Loaded {
    current: Arc<Current>,
    admission: Arc<Admission>,
    tls: Arc<ArcSwap<ServerConfig>>,
    watched: Vec<Watched>,
    metrics: Arc<Metrics>,
    phase: Phase,
    noted: Option<Receiver<Notice>>,
}

/// Runs a server until a signal ends it: 0 after a full drain, 1 when a second signal cut it short.
pub fn run(plan: Plan) -> anyhow::Result<ExitCode> {
    // For the Kubernetes client; fails only where one is set already, which is as good.
    let _ = crate::tls::provider().as_ref().clone().install_default();
    let Loaded { current, admission, tls, watched, metrics, phase, noted } = Loaded::load(&plan)?;
    let Plan { tls: source, listen, admin_listen, limits, reload: interval, log, .. } = plan;

    let admin = runtime("admin")?;
    let keeping = admin.block_on(keeping(source, current, &metrics, phase.clone()))?;
    let writing = admin.block_on(writing(noted, &metrics))?;
    let admin_listener = admin.block_on(async { super::listen(admin_listen, "--admin-listen") })?;
    announce(&admin_listener, "admin")?;
    let main = runtime("admission")?;
    let listener = main.block_on(async { super::listen(listen, "--listen") })?;
    let signals = main.block_on(async { Signals::new() }).context("cannot listen for signals")?;
    announce(&listener, "admission")?;

    let probed = phase.clone();
    std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            let reloading = reload::watch(watched, interval, Arc::clone(&metrics));
            admin.block_on(async {
                let serving = super::admin::serve(admin_listener, metrics, probed);
                tokio::join!(serving, reloading, keeping, writing);
            });
        })
        .context("cannot start the admin thread")?;

    let server = Server { admission, tls, listener };
    let code = main.block_on(conduct(server, phase, limits.drain, signals));
    // A verdict on the blocking thread that nobody waits for any more does not keep the process.
    main.shutdown_background();
    log.close(Duration::from_secs(1));
    Ok(code)
}

/// Work of the whole life of a server.
type Lifelong = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Says that the server is ready, as soon as there is a certificate to serve, and keeps that certificate.
async fn keeping(
    source: TlsSource,
    current: Arc<Current>,
    metrics: &Arc<Metrics>,
    phase: Phase,
) -> anyhow::Result<Lifelong> {
    let ready = move || {
        phase.enter(Stage::Serving);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    };
    match source {
        #[cfg(feature = "cluster")]
        TlsSource::Managed(plan) => {
            let client = certificates::client().await.context(
                "cannot find the API server that `--tls-managed` needs; run in a cluster or set `KUBECONFIG`",
            )?;
            let keeper = certificates::Keeper::new(client, plan, current, Arc::clone(metrics));
            Ok(Box::pin(keeper.run(ready)))
        }
        TlsSource::Files { .. } | TlsSource::Ephemeral { .. } => {
            let _ = (current, metrics);
            Ok(Box::pin(async move { ready() }))
        }
    }
}

/// Writes an Event for each notice, where they are asked for.
async fn writing(noted: Option<Receiver<Notice>>, metrics: &Arc<Metrics>) -> anyhow::Result<Lifelong> {
    let Some(noted) = noted else { return Ok(Box::pin(async {})) };
    #[cfg(feature = "cluster")]
    {
        let client = certificates::client().await.context(
            "cannot find the API server that `--events` needs; run in a cluster or set `KUBECONFIG`",
        )?;
        Ok(Box::pin(events::Writer::new(client, noted, Arc::clone(metrics)).run()))
    }
    #[cfg(not(feature = "cluster"))]
    {
        let _ = (noted, metrics);
        anyhow::bail!("this binary was built without the feature `cluster`, which `--events` needs")
    }
}

/// One thread for admissions is the fastest on the one or two cores that a webhook gets: no work moves between
/// threads. Large bodies are judged on a blocking thread, one at a time, so that their memory does not add up.
fn runtime(name: &'static str) -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(10))
        .thread_name(name)
        .build()
        .context("cannot start the runtime")
}

fn announce(listener: &TcpListener, role: &str) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the port that was just taken has no address")?;
    tracing::info!(%address, role, "listening");
    Ok(())
}

impl Loaded {
    fn load(plan: &Plan) -> anyhow::Result<Loaded> {
        plan.limits.check().map_err(|problem| anyhow!(problem))?;
        let limits = within_open_files(plan.limits.clone());
        let metrics = Metrics::new(&plan.log);
        let phase = Phase::new();
        let mut watched = Vec::new();

        let current = Arc::new(Current::default());
        load_certificate(&plan.tls, &current, &metrics, &mut watched)?;
        let tls = load_clients(plan.clients.as_ref(), &current, &mut watched)?;
        let (text, policy) = match &plan.policy {
            Some(path) => {
                let text = reload::read(path).map_err(|problem| anyhow!("{problem} (`--policy`)"))?;
                let policy = read_policy(plan.engine, &text)
                    .map_err(|problem| anyhow!("`{}`: {problem} (`--policy`)", path.display()))?;
                (text, policy)
            }
            None => (Vec::new(), crate::policy::Policy::default()),
        };
        let (engine, log) = (plan.engine, plan.log.clone());
        let (notices, noted) = plan.events.then(|| notices::channel(&metrics)).unzip();
        let admission =
            Admission::new(engine, policy, limits, Arc::clone(&metrics), log, phase.clone(), notices);
        if let Some(path) = &plan.policy {
            let admission = Arc::clone(&admission);
            watched.push(Watched::new("policy", vec![path.clone()], vec![text], move |contents| {
                admission.policy.store(Arc::new(read_policy(engine, &contents[0])?));
                Ok(())
            }));
        }
        Ok(Loaded { current, admission, tls, watched, metrics, phase, noted })
    }
}

fn read_policy(engine: Engine, text: &[u8]) -> Result<crate::policy::Policy, String> {
    let text = std::str::from_utf8(text).map_err(|error| format!("the policy is not UTF-8: {error}"))?;
    (engine.policy)(text)
}

fn load_certificate(
    source: &TlsSource,
    current: &Arc<Current>,
    metrics: &Arc<Metrics>,
    watched: &mut Vec<Watched>,
) -> anyhow::Result<()> {
    match source {
        TlsSource::Files { certificate, key } => {
            let chain = reload::read(certificate).map_err(|problem| anyhow!("{problem} (`--tls-cert`)"))?;
            let secret = reload::read(key).map_err(|problem| anyhow!("{problem} (`--tls-key`)"))?;
            let identity = Identity::from_pem(&chain, &secret, SystemTime::now()).with_context(|| {
                format!(
                    "cannot use `{}` (`--tls-cert`) with `{}` (`--tls-key`)",
                    certificate.display(),
                    key.display()
                )
            })?;
            take(identity, current, metrics);
            let (current, metrics) = (Arc::clone(current), Arc::clone(metrics));
            let paths = vec![certificate.clone(), key.clone()];
            watched.push(Watched::new("certificate", paths, vec![chain, secret], move |contents| {
                let identity = Identity::from_pem(&contents[0], &contents[1], SystemTime::now())
                    .map_err(|error| error.to_string())?;
                take(identity, &current, &metrics);
                Ok(())
            }));
        }
        TlsSource::Ephemeral { ca_out, names } => {
            let now = SystemTime::now();
            let pair = ephemeral::make(names, now).context("cannot make a throw-away certificate")?;
            let identity = Identity::from_pem(pair.certificate.as_bytes(), pair.key.as_bytes(), now)
                .context("cannot use the throw-away certificate")?;
            if let Some(path) = ca_out {
                std::fs::write(path, &pair.ca)
                    .with_context(|| format!("cannot write `{}` (`--ca-out`)", path.display()))?;
            }
            take(identity, current, metrics);
        }
        // Its keeper fetches it, as often as it takes.
        #[cfg(feature = "cluster")]
        TlsSource::Managed(_) => {}
    }
    Ok(())
}

fn take(identity: Identity, current: &Current, metrics: &Metrics) {
    metrics.certificate_until(identity.not_after);
    current.replace(identity);
}

fn load_clients(
    clients: Option<&Clients>,
    current: &Arc<Current>,
    watched: &mut Vec<Watched>,
) -> anyhow::Result<Arc<ArcSwap<ServerConfig>>> {
    let Some(Clients { ca, names }) = clients else {
        let config = server_config(Arc::clone(current), None).context("cannot set up TLS")?;
        return Ok(Arc::new(ArcSwap::from_pointee(config)));
    };
    let pem = reload::read(ca).map_err(|problem| anyhow!("{problem} (`--client-ca`)"))?;
    let verifier = clients::verifier(&pem, names)
        .with_context(|| format!("cannot use `{}` (`--client-ca`)", ca.display()))?;
    let config = server_config(Arc::clone(current), Some(verifier)).context("cannot set up TLS")?;
    let tls = Arc::new(ArcSwap::from_pointee(config));
    let (names, current, target) = (names.clone(), Arc::clone(current), Arc::clone(&tls));
    watched.push(Watched::new("client_ca", vec![ca.clone()], vec![pem], move |contents| {
        let verifier = clients::verifier(&contents[0], &names).map_err(|error| error.to_string())?;
        let config =
            server_config(Arc::clone(&current), Some(verifier)).map_err(|error| error.to_string())?;
        target.store(Arc::new(config));
        Ok(())
    }));
    Ok(tls)
}

/// Lowers the cap on connections to what the limit of open files allows: a refused connection is better than an
/// accept loop that runs out of descriptors.
fn within_open_files(mut limits: Limits) -> Limits {
    /// Ports, logs, files being read, the admin port's connections, the API client.
    const OTHERS: u64 = 96;
    if let Some(open) = crate::telemetry::metrics::open_files_limit() {
        let room = usize::try_from(open.saturating_sub(OTHERS)).unwrap_or(usize::MAX).max(1);
        if room < limits.connections {
            tracing::warn!(
                wanted = limits.connections,
                connections = room,
                open_files = open,
                "the limit of open files (`ulimit -n`) lowers `--max-connections`"
            );
            limits.connections = room;
        }
    }
    limits
}

/// SIGTERM and SIGINT.
struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

/// Serves until the first signal, goes on through the drain, finishes what is under way. The second signal ends it.
async fn conduct(server: Server, phase: Phase, drain: Duration, mut signals: Signals) -> ExitCode {
    let serving = server.serve();
    let signalled = async {
        let name = signals.next().await;
        phase.enter(Stage::Draining);
        tracing::info!(signal = name, drain = ?drain, "draining: not ready any more, still answering");
        tokio::select! {
            () = tokio::time::sleep(drain) => {
                tracing::info!("closing: no new connections");
                phase.enter(Stage::Closing);
                signals.next().await
            }
            name = signals.next() => name,
        }
    };
    tokio::select! {
        () = serving => {
            tracing::info!("finished");
            ExitCode::SUCCESS
        }
        name = signalled => {
            tracing::warn!(signal = name, "second signal: ending at once");
            ExitCode::FAILURE
        }
    }
}
