//! `prefect-guard serve`: the webhook.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgGroup, Args as ClapArgs};

use crate::serve::run::{Clients, Plan, TlsSource};
use crate::serve::{Engine, Limits, flags, run as server};
use crate::telemetry::log::{Format, Log};

/// Serves the admission webhook over HTTPS
#[derive(Debug, ClapArgs)]
#[command(group(ArgGroup::new("tls").required(true).multiple(false).args(["tls_cert", "tls_managed", "tls_ephemeral"])))]
pub struct Args {
    /// Admission port; `[::]` means IPv4 too, port 0 takes a free one
    #[arg(long, env = "PREFECT_GUARD_LISTEN", value_name = "ADDRESS", default_value = "[::]:8443", value_parser = address)]
    listen: SocketAddr,

    /// Admin port: `/livez`, `/readyz`, `/metrics` over plain HTTP
    #[arg(long, env = "PREFECT_GUARD_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "[::]:8080", value_parser = address)]
    admin_listen: SocketAddr,

    /// Certificate chain in PEM, leaf first; read again when it changes
    #[arg(long, env = "PREFECT_GUARD_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Private key in PEM (PKCS#8, SEC1 or PKCS#1)
    #[arg(long, env = "PREFECT_GUARD_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Keep the CA and the certificate in a Secret, and write the CA into the `caBundle` of our webhook configurations
    #[arg(long, env = "PREFECT_GUARD_TLS_MANAGED", requires_all = ["tls_secret", "tls_service"])]
    tls_managed: bool,

    /// The Secret of `--tls-managed`; it must exist, empty at first
    #[arg(long, env = "PREFECT_GUARD_TLS_SECRET", value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    tls_secret: Option<(String, String)>,

    /// The Service that the API server calls, for the certificate's names
    #[arg(long, env = "PREFECT_GUARD_TLS_SERVICE", value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    tls_service: Option<(String, String)>,

    /// A webhook configuration (mutating or validating) whose `caBundle` is ours; may be repeated
    #[arg(long, env = "PREFECT_GUARD_TLS_WEBHOOK_CONFIG", value_name = "NAME", value_delimiter = ',', value_parser = object_name)]
    tls_webhook_config: Vec<String>,

    /// Another name or address that the certificate of `--tls-managed` or `--tls-ephemeral` must have; may be repeated
    #[arg(long, env = "PREFECT_GUARD_TLS_NAME", value_name = "NAME", value_delimiter = ',')]
    tls_name: Vec<String>,

    /// How often `--tls-managed` reads the Secret and the webhook configurations
    #[arg(long, env = "PREFECT_GUARD_TLS_INTERVAL", value_name = "TIME", default_value = "15s", value_parser = flags::positive)]
    tls_interval: Duration,

    /// Make a throw-away certificate for `localhost`, for trying things out
    #[arg(long, env = "PREFECT_GUARD_TLS_EPHEMERAL")]
    tls_ephemeral: bool,

    /// Where the CA certificate of `--tls-ephemeral` is written
    #[arg(long, env = "PREFECT_GUARD_CA_OUT", value_name = "FILE", requires = "tls_ephemeral")]
    ca_out: Option<PathBuf>,

    /// Ask clients for a certificate signed by one of these CAs (PEM); read again when it changes
    #[arg(long, env = "PREFECT_GUARD_CLIENT_CA", value_name = "FILE")]
    client_ca: Option<PathBuf>,

    /// A common name or DNS name that a client certificate must have; may be repeated
    #[arg(
        long,
        env = "PREFECT_GUARD_CLIENT_NAME",
        value_name = "NAME",
        value_delimiter = ',',
        requires = "client_ca"
    )]
    client_name: Vec<String>,

    /// Policy file; read again when it changes, and a faulty one is refused while the old one stays in force
    #[arg(long, env = "PREFECT_GUARD_POLICY", value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Write an Event on an object that is refused, or whose server is admitted without the migration it needs; needs the
    /// right to `create` events
    #[arg(long, env = "PREFECT_GUARD_EVENTS")]
    events: bool,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// Limits; each default carries its reason in the documentation of `Limits`.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// How long to go on serving after the first SIGTERM, while `/readyz` answers 503
    #[arg(long, env = "PREFECT_GUARD_DRAIN", value_name = "TIME", default_value = "10s", value_parser = flags::duration)]
    drain: Duration,

    /// Most open connections; further ones are closed at once
    #[arg(long, env = "PREFECT_GUARD_MAX_CONNECTIONS", value_name = "N", default_value_t = 1_000)]
    max_connections: usize,

    /// Most requests that are read or judged at once; further ones get 503
    #[arg(long, env = "PREFECT_GUARD_MAX_REQUESTS", value_name = "N", default_value_t = 512)]
    max_requests: usize,

    /// Largest body of a request; a larger one gets 413
    #[arg(long, env = "PREFECT_GUARD_MAX_BODY", value_name = "SIZE", default_value = "7MiB", value_parser = flags::bytes)]
    max_body: usize,

    /// Memory for all bodies that are read or judged; further requests wait for their turn
    #[arg(long, env = "PREFECT_GUARD_BODY_MEMORY", value_name = "SIZE", default_value = "24MiB", value_parser = flags::bytes)]
    body_memory: usize,

    /// Longest TLS handshake
    #[arg(long, env = "PREFECT_GUARD_HANDSHAKE_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = flags::positive)]
    handshake_timeout: Duration,

    /// Longest wait for the head of a request
    #[arg(long, env = "PREFECT_GUARD_HEADER_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = flags::positive)]
    header_timeout: Duration,

    /// Longest wait for the body of a request
    #[arg(long, env = "PREFECT_GUARD_BODY_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = flags::positive)]
    body_timeout: Duration,

    /// Longest time from the head of a request to its answer, where `?timeout=` does not ask for less
    #[arg(long, env = "PREFECT_GUARD_HANDLER_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = flags::positive)]
    handler_timeout: Duration,

    /// Longest wait for a client to read an answer
    #[arg(long, env = "PREFECT_GUARD_WRITE_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = flags::positive)]
    write_timeout: Duration,

    /// Longest idle time of a connection; keep it above the API server's own 90 s
    #[arg(long, env = "PREFECT_GUARD_IDLE_TIMEOUT", value_name = "TIME", default_value = "120s", value_parser = flags::positive)]
    idle_timeout: Duration,

    /// How often files are checked for changes
    #[arg(long, env = "PREFECT_GUARD_RELOAD_INTERVAL", value_name = "TIME", default_value = "5s", value_parser = flags::positive)]
    reload_interval: Duration,
}

/// What is logged and how.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// How log lines are written
    #[arg(long, env = "PREFECT_GUARD_LOG_FORMAT", value_enum, default_value_t = Format::Text)]
    log_format: Format,

    /// Lowest level that is logged; decisions are `info`
    #[arg(long, env = "PREFECT_GUARD_LOG_LEVEL", value_name = "LEVEL", default_value = "info", value_parser = level)]
    log_level: tracing::Level,
}

/// Runs the server and says why it could not start; the exit code is that of the process.
pub(super) fn main(args: Args) -> ExitCode {
    run(args).unwrap_or_else(|error| {
        super::note(format_args!("prefect-guard: {error:#}"));
        super::Outcome::Failed.into()
    })
}

/// Runs the server until a signal ends it.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let log = Log::new(args.output.log_format, args.output.log_level, std::io::stdout())
        .context("cannot start the log")?;
    // Fails only where a subscriber is set already, which then is the embedding program's.
    let _ = tracing::subscriber::set_global_default(log.subscriber());
    quiet_panics();
    let plan = Plan {
        engine: Engine::real(),
        listen: args.listen,
        admin_listen: args.admin_listen,
        limits: args.limits.limits(),
        reload: args.limits.reload_interval,
        log: log.clone(),
        tls: args.tls()?,
        clients: args.client_ca.map(|ca| Clients { ca, names: args.client_name }),
        policy: args.policy,
        events: args.events,
    };
    let outcome = server::run(plan);
    log.close(Duration::from_secs(1));
    outcome
}

impl Args {
    fn tls(&self) -> anyhow::Result<TlsSource> {
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            return Ok(TlsSource::Files { certificate: certificate.clone(), key: key.clone() });
        }
        if let (true, Some(secret), Some(service)) = (self.tls_managed, &self.tls_secret, &self.tls_service) {
            return self.managed(secret, service);
        }
        Ok(TlsSource::Ephemeral { ca_out: self.ca_out.clone(), names: self.tls_name.clone() })
    }

    #[cfg(feature = "cluster")]
    fn managed(&self, secret: &(String, String), service: &(String, String)) -> anyhow::Result<TlsSource> {
        let (namespace, name) = service;
        // The API server asks for the first; the second is what people type.
        let mut names = vec![format!("{name}.{namespace}.svc"), format!("{name}.{namespace}")];
        names.extend_from_slice(&self.tls_name);
        Ok(TlsSource::Managed(crate::cluster::certificates::Plan {
            secret: secret.clone(),
            configurations: self.tls_webhook_config.clone(),
            names,
            interval: self.tls_interval,
        }))
    }

    #[cfg(not(feature = "cluster"))]
    fn managed(&self, _: &(String, String), _: &(String, String)) -> anyhow::Result<TlsSource> {
        anyhow::bail!("this binary was built without the feature `cluster`, which `--tls-managed` needs")
    }
}

impl LimitArgs {
    fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            requests: self.max_requests,
            handshake: self.handshake_timeout,
            head: self.header_timeout,
            body: self.body_timeout,
            handler: self.handler_timeout,
            idle: self.idle_timeout,
            write: self.write_timeout,
            body_size: self.max_body,
            memory: self.body_memory,
            drain: self.drain,
        }
    }
}

/// Logs where a panic was, and nothing else: its text may quote the object under review.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "panicked");
    }));
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is no address; write one such as `[::]:8443` or `127.0.0.1:0`"))
}

fn namespaced(text: &str) -> Result<(String, String), String> {
    let (namespace, name) =
        text.split_once('/').ok_or_else(|| format!("`{text}` names no object; write NAMESPACE/NAME"))?;
    Ok((object_name(namespace)?, object_name(name)?))
}

/// A name as Kubernetes has them (RFC 1123): it goes into a URL.
fn object_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if text.is_empty() || text.len() > 253 || !text.chars().all(fits) {
        return Err(format!(
            "`{text}` is no name of a Kubernetes object; use lower-case letters, digits, `-` and `.`"
        ));
    }
    Ok(text.to_owned())
}

fn level(text: &str) -> Result<tracing::Level, String> {
    text.parse().map_err(|_| format!("`{text}` is no level; write error, warn, info, debug or trace"))
}
