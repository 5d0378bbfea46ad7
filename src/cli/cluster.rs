//! What `audit` and `eject` share: which cluster, which namespaces.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::text::printable;

/// The cluster and the part of it to look at.
#[derive(Debug, clap::Args)]
pub(super) struct Scope {
    /// Only this namespace.
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,

    /// All namespaces (this is the default).
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// The kubeconfig; without it `$KUBECONFIG`, `~/.kube/config`, or the account of the pod this runs in.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl Scope {
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// A client for the cluster, and the address of its API server; nothing is asked of it yet.
    pub(super) async fn client(&self) -> anyhow::Result<(Client, String)> {
        // Fails only where a provider is set already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match (&self.kubeconfig, &self.context) {
            (Some(file), _) => {
                let kubeconfig = Kubeconfig::read_from(file).map_err(|error| {
                    anyhow!("cannot read the kubeconfig `{}`: {}", file.display(), root(&error))
                })?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(|error| unusable(&error))?
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error))?,
            (None, None) => Config::infer().await.map_err(|error| {
                anyhow!(
                    "found no cluster: {}, and no account of a pod; name a kubeconfig with `--kubeconfig`{}",
                    tried(),
                    why_unusable(&error)
                )
            })?,
        };
        // Host and port alone: a URL could hold a password.
        let url = &config.cluster_url;
        let port = url.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        let address = printable(&format!("{}{port}", url.host().unwrap_or_default()));
        Ok((Client::try_from(config).map_err(|error| unusable(&error))?, address))
    }
}

/// Where a kubeconfig was looked for.
fn tried() -> String {
    match std::env::var("KUBECONFIG") {
        Ok(named) if !named.is_empty() => {
            format!("no usable kubeconfig in `{}` (from `$KUBECONFIG`)", printable(&named))
        }
        _ => "no usable kubeconfig in `~/.kube/config`, `$KUBECONFIG` is not set".to_owned(),
    }
}

/// Why the kubeconfig cannot be used, unless it is not there at all.
fn why_unusable(error: &(dyn Error + 'static)) -> String {
    let cause = root(error);
    let is_not_there =
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
    if is_not_there { String::new() } else { format!(" ({cause})") }
}

fn unusable(error: &(dyn Error + 'static)) -> anyhow::Error {
    anyhow!("cannot use the kubeconfig: {}", root(error))
}

/// An error of the connection with the address it was for; kube's own names none, and says the same twice.
pub(super) fn unreachable_at(address: &str, error: anyhow::Error) -> anyhow::Error {
    let in_connection = |cause: &(dyn Error + 'static)| {
        matches!(
            cause.downcast_ref::<kube::Error>(),
            Some(kube::Error::Service(_) | kube::Error::HyperError(_))
        ) || matches!(
            cause.downcast_ref::<Box<kube::Error>>().map(Box::as_ref),
            Some(kube::Error::Service(_) | kube::Error::HyperError(_))
        )
    };
    if !error.chain().any(in_connection) {
        return error;
    }
    let cause = error.chain().last().map(ToString::to_string).unwrap_or_default();
    anyhow!("{error}: the API server at `{address}` did not answer: {cause}")
}

/// The cause at the bottom: kube's errors repeat theirs at every level.
fn root<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}

/// Runs one command's work to its end.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(work)
}
