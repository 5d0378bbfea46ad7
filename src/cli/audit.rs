//! `prefect-guard audit`: the verdicts of the webhook on what runs in a cluster.

use std::io::Write;

use kube::Client;
use kube::core::ApiResource;

use super::Outcome;
use super::across::Across;
use super::cluster::{Scope, block_on, unreachable_at};
use super::judge::{Judge, Judging, judge};
use super::progress::Progress;
use super::report::{About, Format, Found, Report, Unread};
use crate::cluster::list::{self, Collection, Listed};
use crate::policy::Policy;

/// Judges what already runs in a cluster as the webhook would. Changes nothing.
///
/// It reads Deployments, StatefulSets, CronJobs, Jobs and Services (the verb `list` is all it needs) through the
/// kubeconfig, or as the pod's account inside a cluster. Exit codes are those of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,

    #[command(flatten)]
    judging: Judging,

    /// How to print.
    #[arg(long, value_enum, default_value_t = AuditFormat::Table)]
    format: AuditFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum AuditFormat {
    /// For people: one line a finding.
    Table,
    /// For programs.
    Json,
    /// For code scanning (SARIF 2.1.0).
    Sarif,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let (policy, how) = (args.judging.policy()?, args.judging.how());
    let report = block_on(async {
        let (client, address) = args.scope.client().await?;
        let report = examine(&client, args.scope.namespace(), &policy, how).await;
        report.map_err(|error| unreachable_at(&address, error))
    })?;
    let format = match args.format {
        AuditFormat::Table => Format::Table,
        AuditFormat::Json => Format::Json,
        AuditFormat::Sarif => Format::Sarif,
    };
    report.print(format, false, out)?;
    Ok(report.outcome(args.judging.strict))
}

async fn examine(
    client: &Client,
    namespace: Option<&str>,
    policy: &Policy,
    how: Judge,
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut across = Across::new(policy);
    let mut progress = Progress::new();
    let mut resources = list::workloads();
    resources.extend(list::more(client, policy.kinds()).await?);
    resources.push(list::services());
    for resource in &resources {
        let mut tell = |read| progress.at(read, None, &resource.plural);
        let keep =
            |json: &str| list::mentions_prefect(json).then(|| Listed::read(resource, json)).transpose();
        let objects = Collection { resource, namespace }.list(client, &keep, &mut tell).await?;
        for object in objects.iter().filter(|object| !object.is_owned_by("CronJob")) {
            one(object, resource, policy, how, &mut report, &mut across);
        }
    }
    progress.wipe();
    report.findings.extend(across.finish());
    Ok(report)
}

fn one(
    Listed { metadata, object }: &Listed,
    resource: &ApiResource,
    policy: &Policy,
    how: Judge,
    report: &mut Report,
    across: &mut Across<'_>,
) {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    report.objects += 1;
    let about = About::new(report.objects, &resource.kind, &text(&metadata.namespace), &text(&metadata.name));
    match judge(object, policy, how) {
        Ok(verdict) => {
            report.workloads += usize::from(verdict.workload);
            report.servers += verdict.servers;
            across.add(object, &about, &|_| None);
            let found = verdict.findings.into_iter().map(|finding| Found::new(finding, about.clone(), None));
            report.findings.extend(found);
        }
        Err(error) => {
            let help = "look at the object with `kubectl get -o yaml`";
            report.unread.push(Unread::new(&about.to_string(), (0, 0), &error.to_string(), help));
        }
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
