//! `prefect-guard eject`: takes our initContainer out of what runs.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::bail;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::Client;
use kube::core::ApiResource;

use super::cluster::{Scope, block_on, unreachable_at};
use super::policy::PolicyFile;
use super::progress::Progress;
use super::{Outcome, note};
use crate::cluster::eject::{self, Ejected, Target};
use crate::cluster::list::{self, Collection, Listed};
use crate::migration::container::NAME;
use crate::policy::Policy;

/// Takes the initContainer `prefect-guard-migrate` out of everything that runs, for an uninstall.
///
/// Without `--yes` it only shows what it would do. Each workload that it changes rolls out once. Delete the webhook
/// configurations first, or label the namespace `prefect-guard.io/enabled=false`: otherwise the webhook puts the
/// container back. Give the policy if it names kinds beside Deployments and StatefulSets.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,

    #[command(flatten)]
    policy: PolicyFile,

    /// Make the changes. Without this flag nothing is changed.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let policy = args.policy.load()?;
    block_on(async {
        let (client, address) = args.scope.client().await?;
        let outcome = carry_out(&client, args.scope.namespace(), &policy, args.yes, out).await;
        outcome.map_err(|error| unreachable_at(&address, error))
    })
}

async fn carry_out(
    client: &Client,
    namespace: Option<&str>,
    policy: &Policy,
    yes: bool,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    let targets = find(client, namespace, policy).await?;
    if let Some(blocker) = blocker(client, &targets).await? {
        if yes {
            bail!("{blocker}");
        }
        note(format_args!("note: {blocker}"));
    }
    let mut left = 0;
    for target in &targets {
        let Target { resource, namespace, name, .. } = target;
        let object = format!("{} {namespace}/{name}", resource.kind);
        if !yes {
            writeln!(out, "would remove `{NAME}` from {object}")?;
            continue;
        }
        match target.eject(client).await? {
            Ejected::Removed => writeln!(out, "removed `{NAME}` from {object}")?,
            Ejected::Changed => {
                left += 1;
                writeln!(out, "{object} changed in the meantime; run this again")?;
            }
            Ejected::PutBack => {
                left += 1;
                writeln!(out, "{object}: a webhook put the container back; delete its configuration first")?;
            }
        }
    }
    match (targets.len(), yes) {
        (0, _) => writeln!(out, "nothing holds `{NAME}`")?,
        (found, false) => writeln!(out, "{found} found; nothing was changed, `--yes` does it")?,
        (found, true) => writeln!(out, "{} of {found} done", found - left)?,
    }
    Ok(if left == 0 { Outcome::Clean } else { Outcome::Refused })
}

/// Why the container would be put back, or its removal refused, and what to do first.
async fn blocker(client: &Client, targets: &[Target]) -> anyhow::Result<Option<String>> {
    let standing = eject::standing(client).await?.unwrap_or_default();
    let namespaces: BTreeSet<&str> = targets.iter().map(|target| target.namespace.as_str()).collect();
    let mut watched = Vec::new();
    for namespace in namespaces {
        if !standing.is_empty() && !eject::opted_out(client, namespace).await? {
            watched.push(namespace);
        }
    }
    if watched.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "the webhook still watches {}; first run `helm uninstall`, `kubectl delete {}`, or \
         `kubectl label namespace {} prefect-guard.io/enabled=false`",
        watched.join(", "),
        standing.join(" "),
        watched.join(" ")
    )))
}

/// Everything with our container in its template.
async fn find(client: &Client, namespace: Option<&str>, policy: &Policy) -> anyhow::Result<Vec<Target>> {
    let mut progress = Progress::new();
    let mut resources: Vec<(ApiResource, String)> =
        [list::known::<Deployment>(), list::known::<StatefulSet>()]
            .map(|resource| (resource, "/spec/template".to_owned()))
            .into();
    for resource in list::more(client, policy.kinds()).await? {
        let template = policy.kinds().iter().find(|named| named.kind == resource.kind);
        resources.extend(template.map(|named| (resource, named.template.to_string())));
    }
    let mut targets = Vec::new();
    for (resource, template) in &resources {
        let mut tell = |read| progress.at(read, None, &resource.plural);
        let keep = |json: &str| {
            let ours = json.contains(NAME).then(|| Listed::read(resource, json)).transpose()?;
            Ok(ours.and_then(|listed| Target::of(resource, listed, template)))
        };
        targets.extend(Collection { resource, namespace }.list(client, &keep, &mut tell).await?);
    }
    Ok(targets)
}

#[cfg(test)]
#[path = "eject_tests.rs"]
mod tests;
