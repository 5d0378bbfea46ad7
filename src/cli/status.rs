//! `prefect-guard status`: where the migration of each Prefect server in a cluster stands.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::Client;
use tokio::time::Instant;

use super::Outcome;
use super::cluster::{Scope, block_on, unreachable_at};
use super::policy::PolicyFile;
use super::progress::Progress;
use crate::cluster::status::{self, Server, State};
use crate::policy::Policy;
use crate::serve::flags;
use crate::text::{clip, printable};

/// Shows where the migration of each Prefect server stands. Changes nothing.
///
/// Prints one line for each server: migrated, migrating, waiting, failing, drifted, not guarded, or idle (scaled to zero,
/// or with no need of a migration by the guard). It lists Deployments, StatefulSets and Pods, and needs no verb but
/// `list`. Exit codes: 0 when every server is migrated or idle, 1 when one is failing, drifted or not guarded, 2 when the
/// cluster could not be read, 3 when one is migrating or waiting.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only servers of these names.
    #[arg(value_name = "SERVER")]
    names: Vec<String>,

    #[command(flatten)]
    scope: Scope,

    #[command(flatten)]
    policy: PolicyFile,

    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Ask again and again, and print what has changed.
    #[arg(short, long, conflicts_with = "wait")]
    watch: bool,

    /// Wait until no server is migrating, waiting or failing, then print. Ends at once where one is drifted or not
    /// guarded.
    #[arg(long)]
    wait: bool,

    /// How long `--wait` waits.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = flags::positive, requires = "wait")]
    timeout: Duration,

    /// How often `--watch` and `--wait` ask the cluster.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = flags::positive)]
    interval: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For people: kind, pods and the whole reason too.
    Wide,
    /// For programs.
    Json,
}

/// Characters of an image and of a reason in the narrow table.
const NARROW: (usize, usize) = (48, 90);

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let policy = args.policy.load()?;
    block_on(async {
        let (client, address) = args.scope.client().await?;
        let outcome = carry_out(&client, args, &policy, out).await;
        outcome.map_err(|error| unreachable_at(&address, error))
    })
}

async fn carry_out(
    client: &Client,
    args: &Args,
    policy: &Policy,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let mut before: Option<BTreeMap<String, Server>> = None;
    loop {
        let servers = look(client, args, policy).await?;
        if args.watch {
            changes(before.as_ref(), &servers, args.format, out)?;
            out.flush()?;
            before = Some(servers.into_iter().map(|server| (id(&server), server)).collect());
        } else if !args.wait || settled(&servers) || started.elapsed() >= args.timeout {
            print(&servers, args.format, out)?;
            return Ok(outcome(&servers));
        }
        tokio::time::sleep(args.interval).await;
    }
}

async fn look(client: &Client, args: &Args, policy: &Policy) -> anyhow::Result<Vec<Server>> {
    let mut line = Progress::new();
    let mut tell = |read: usize, what: &str| line.at(read, None, what);
    let mut servers = status::read(client, args.scope.namespace(), policy, &mut tell).await?;
    servers.retain(|server| args.names.is_empty() || args.names.contains(&server.name));
    if let Some(name) = args.names.iter().find(|name| servers.iter().all(|server| server.name != **name)) {
        anyhow::bail!("no Prefect server `{}` was found; `status` without a name lists all", printable(name));
    }
    Ok(servers)
}

/// Whether waiting longer can change nothing: what fails is tried again by the kubelet, so that may.
fn settled(servers: &[Server]) -> bool {
    let any = |states: &[State]| servers.iter().any(|server| states.contains(&server.state));
    any(&[State::Drifted, State::NotGuarded]) || !any(&[State::Migrating, State::Waiting, State::Failing])
}

fn outcome(servers: &[Server]) -> Outcome {
    match servers.iter().map(|server| server.state).max() {
        None | Some(State::Idle | State::Migrated) => Outcome::Clean,
        Some(State::Migrating | State::Waiting) => Outcome::Pending,
        Some(State::Failing | State::Drifted | State::NotGuarded) => Outcome::Refused,
    }
}

fn print(servers: &[Server], format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    if format == Format::Json {
        serde_json::to_writer_pretty(&mut *out, &serde_json::json!({ "servers": servers }))?;
        writeln!(out)?;
        return Ok(());
    }
    if servers.is_empty() {
        writeln!(out, "no Prefect server was found")?;
        return Ok(());
    }
    let mut rows = vec![titles(format)];
    rows.extend(servers.iter().map(|server| cells(server, format, now())));
    table(&rows, out)?;
    for Server { kind, namespace, name, exemption, .. } in servers {
        if let Some(exemption) = exemption {
            let name = printable(&format!("{kind} {namespace}/{name}"));
            writeln!(out, "exempted: {name}: {}", exemption.in_words())?;
        }
    }
    Ok(())
}

/// What is new or has changed since the last look; the first time that is everything.
fn changes(
    before: Option<&BTreeMap<String, Server>>,
    servers: &[Server],
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let Some(before) = before else {
        return match format {
            Format::Json => servers.iter().try_for_each(|server| line(server, out)),
            _ => print(servers, format, out),
        };
    };
    let changed: Vec<&Server> =
        servers.iter().filter(|server| before.get(&id(server)) != Some(server)).collect();
    if format == Format::Json {
        return changed.into_iter().try_for_each(|server| line(server, out));
    }
    let rows: Vec<_> = changed.into_iter().map(|server| cells(server, format, now())).collect();
    table(&rows, out)?;
    let gone = before.iter().filter(|(key, _)| servers.iter().all(|server| id(server) != **key));
    for (_, server) in gone {
        writeln!(out, "{}/{} is gone", printable(&server.namespace), printable(&server.name))?;
    }
    Ok(())
}

fn line(server: &Server, out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, server)?;
    writeln!(out)?;
    Ok(())
}

fn id(server: &Server) -> String {
    format!("{} {}/{}", server.kind, server.namespace, server.name)
}

fn titles(format: Format) -> Vec<String> {
    let titles: &[&str] = match format {
        Format::Wide => &["KIND", "SERVER", "STATE", "SINCE", "PODS", "IMAGE", "REASON"],
        _ => &["SERVER", "STATE", "SINCE", "IMAGE", "REASON"],
    };
    titles.iter().map(|title| (*title).to_owned()).collect()
}

fn cells(server: &Server, format: Format, now: i64) -> Vec<String> {
    let Server { kind, namespace, name, image, state, since, reason, pods, .. } = server;
    let name = printable(&format!("{namespace}/{name}"));
    let state = state.as_str().to_owned();
    let since = since.map_or("-".to_owned(), |since| age(now - since));
    match format {
        Format::Wide => {
            vec![printable(kind), name, state, since, pods.to_string(), image.clone(), reason.clone()]
        }
        _ => vec![name, state, since, clip(image, NARROW.0), clip(reason, NARROW.1)],
    }
}

fn table(rows: &[Vec<String>], out: &mut dyn Write) -> anyhow::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// A time as kubectl shows it: its largest unit, or two of the smaller ones.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ ..120 => format!("{s}s"),
        s @ ..7_200 => format!("{}m", s / 60),
        s @ ..172_800 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
