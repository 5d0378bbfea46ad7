//! `prefect-guard demo`: the real HTTPS server on loopback, fed real reviews.

mod client;
mod scenarios;
mod screen;
mod show;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;

use self::client::Client;
use self::scenarios::{Expected, Scenario};
use self::screen::Screen;
use self::show::Detail;
use super::Outcome;
use crate::policy::Policy;
use crate::rule::SITE;
use crate::serve::{self, Admission, Engine, Limits, Phase, Server, Stage};
use crate::telemetry::log::{Format, Log};
use crate::telemetry::metrics::Metrics;
use crate::tls::identity::Identity;
use crate::tls::{Current, ephemeral, server_config};

/// Shows the webhook at work, with nothing installed: one Prefect server, three mistakes, the corrected manifest.
///
/// The real HTTPS server runs on loopback with throw-away certificates and answers admission reviews that a real API
/// server sent. Every verdict, message and patch is shown as `kubectl` would show it, and compared with what it
/// should be; the exit code is 0 only when all of them hold. On a terminal, text is wrapped to its width.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep the server up afterwards, and print `curl` commands to try.
    #[arg(long)]
    serve: bool,

    /// End after the last step. This is the default; write it in scripts to say so.
    #[arg(long, conflicts_with = "serve")]
    once: bool,

    /// Show the migration script, and lines that are too long, in full.
    #[arg(long)]
    full: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(perform(args, &mut Screen::new(out)))
}

async fn perform(args: &Args, out: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let pair = ephemeral::make(&[], SystemTime::now()).context("cannot make a throw-away certificate")?;
    let (address, phase) = start(&pair).await?;
    out.prose(&format!(
        "prefect-guard {} serves HTTPS on {address}, with throw-away certificates. A team deploys one Prefect server. \
         Each step is sent to the guard as a Kubernetes API server sends it.",
        env!("CARGO_PKG_VERSION")
    ))?;
    out.text("")?;
    let client = Client::new(address, &pair.ca)?;
    let mut failures = 0;
    let scenarios = scenarios::all();
    for (number, scenario) in scenarios.iter().enumerate() {
        show::title(number + 1, scenario, out)?;
        failures += play(scenario, &client, args.full, out).await?;
        out.text("")?;
        out.flush()?;
    }
    let (total, held) = (scenarios.len(), scenarios.len() - failures.min(scenarios.len()));
    out.text(&format!("{held} of {total} came out as they should."))?;
    if !args.serve {
        out.prose(&format!(
            "Next: `prefect-guard check FOLDER` judges your own manifests, `prefect-guard demo --serve` keeps this \
             server up for `curl`. {SITE}getting-started.html installs it in a cluster."
        ))?;
    }
    if args.serve && failures == 0 {
        stay(address, &pair.ca, out).await?;
    }
    phase.enter(Stage::Closing);
    Ok(if failures == 0 { Outcome::Clean } else { Outcome::Refused })
}

/// Starts the server that `serve` runs, on a free port.
async fn start(pair: &ephemeral::Pair) -> anyhow::Result<(SocketAddr, Phase)> {
    let current = Arc::new(Current::default());
    current.replace(Identity::from_pem(pair.certificate.as_bytes(), pair.key.as_bytes(), SystemTime::now())?);
    let tls = Arc::new(ArcSwap::from_pointee(server_config(current, None)?));
    let listener = serve::listen((Ipv4Addr::LOCALHOST, 0).into(), "loopback")?;
    let address = listener.local_addr()?;
    // Every decision is shown here anyway.
    let log = Log::new(Format::Text, Level::ERROR, std::io::sink()).context("cannot start the log")?;
    let phase = Phase::new();
    let metrics = Metrics::new(&log);
    let admission = Admission::new(
        Engine::real(),
        Policy::default(),
        Limits::default(),
        metrics,
        log,
        phase.clone(),
        None,
    );
    phase.enter(Stage::Serving);
    tokio::spawn(Server { admission, tls, listener }.serve());
    Ok((address, phase))
}

/// Plays one scenario and returns 1 when it did not come out as it should.
async fn play(
    scenario: &Scenario,
    client: &Client,
    full: bool,
    out: &mut Screen<'_>,
) -> anyhow::Result<usize> {
    let object = &scenario.review["request"]["object"];
    let mut faults = Vec::new();
    let mutation = client.review("/mutate", &scenario.review).await?;
    let detail = match scenario.expected {
        Expected::Refused(_) => Detail::Brief,
        _ if full => Detail::Full,
        _ => Detail::Folded,
    };
    let mutated = show::mutation(&mutation, object, detail, out)?;
    match (scenario.expected, mutated != *object) {
        (Expected::Injected, false) => faults.push("no patch".to_owned()),
        (Expected::Untouched, true) => faults.push("a patch that should not be".to_owned()),
        // What is refused may be patched first: its author then sees one complete answer.
        _ => {}
    }
    let mut after = scenario.review.clone();
    after["request"]["object"] = mutated;
    let verdict = client.review("/validate", &after).await?;
    show::verdict(&verdict, &after["request"], scenario.file, out)?;
    let denied = verdict["allowed"] != Value::Bool(true);
    let message = verdict["status"]["message"].as_str().unwrap_or_default();
    match scenario.expected {
        Expected::Refused(rule) if !denied || !message.contains(rule) => {
            faults.push(format!("it should be refused for {rule}"));
        }
        Expected::Injected | Expected::Untouched if denied => faults.push("it should be admitted".to_owned()),
        _ => {}
    }
    for fault in &faults {
        out.text(&format!("   NOT AS IT SHOULD BE: {fault}"))?;
    }
    Ok(usize::from(!faults.is_empty()))
}

/// Keeps serving until Ctrl-C, with reviews on disk for `curl`.
async fn stay(address: SocketAddr, ca: &str, out: &mut Screen<'_>) -> anyhow::Result<()> {
    // Before there is a folder, so that no signal leaves it behind.
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let folder = Folder::make()?;
    folder.write("ca.pem", ca)?;
    out.text("\nThe server stays up; Ctrl-C ends it. Try:\n")?;
    for (name, endpoint, review) in scenarios::to_try() {
        let file = folder.write(&format!("{name}.json"), &format!("{review:#}"))?;
        out.command(&format!(
            "  curl -sS --cacert {} -H 'Content-Type: application/json' --data @{} https://localhost:{}{endpoint}",
            folder.0.join("ca.pem").display(),
            file.display(),
            address.port()
        ))?;
    }
    out.flush()?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

/// A folder that goes when the demo ends.
struct Folder(PathBuf);

impl Folder {
    fn make() -> anyhow::Result<Folder> {
        let path = std::env::temp_dir().join(format!("prefect-guard-demo-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make the folder `{}`", path.display()))?;
        Ok(Folder(path))
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path: &Path = &self.0.join(name);
        std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path.to_owned())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It holds nothing secret; what cannot be removed stays in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
