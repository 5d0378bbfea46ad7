//! `prefect-guard audit`: the verdicts of the webhook on what runs in a cluster.

use std::io::Write;

use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt};

use super::Outcome;
use super::across::Across;
use super::cluster::{Scope, block_on, unreachable_at};
use super::judge::{Judge, Judging, judge};
use super::progress::Progress;
use super::report::{About, Flavour, Format, Found, Report, Unread, objects};
use crate::cluster::list::{self, ClusterError, Collection, Listed, status};
use crate::policy::Policy;

/// Judges what already runs in a cluster as the webhook would. Changes nothing.
///
/// It reads Deployments, StatefulSets, CronJobs, Jobs and Services, and needs no verb but `list`. It uses the
/// kubeconfig or, inside a cluster, the account of its pod. Exit codes are those of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,

    #[command(flatten)]
    judging: Judging,

    /// How to print.
    #[arg(long, value_enum, default_value_t = AuditFormat::Table)]
    format: AuditFormat,

    /// Write the result into each namespace too, as `--format openreports` or `policyreport` shows it. Needs the
    /// verbs `create` and `patch` on those objects.
    #[arg(long, value_enum, value_name = "KIND")]
    report: Option<Flavour>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum AuditFormat {
    /// For people: one line a finding.
    Table,
    /// For programs.
    Json,
    /// For code scanning (SARIF 2.1.0).
    Sarif,
    /// For policy dashboards: `Report` of openreports.io/v1alpha1, for `kubectl apply -f -`.
    Openreports,
    /// For policy dashboards: `PolicyReport` of wgpolicyk8s.io/v1alpha2, for `kubectl apply -f -`.
    Policyreport,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let (policy, how) = (args.judging.policy()?, args.judging.how());
    // What was found is printed, also where the reports cannot be written.
    let (report, written) = block_on(async {
        let (client, address) = args.scope.client().await?;
        let work = async {
            let report = examine(&client, args.scope.namespace(), &policy, how).await?;
            let written = match args.report {
                Some(flavour) => write(&client, &report, flavour).await,
                None => Ok(()),
            };
            Ok((report, written))
        };
        work.await.map_err(|error| unreachable_at(&address, error))
    })?;
    let format = match args.format {
        AuditFormat::Table => Format::Table,
        AuditFormat::Json => Format::Json,
        AuditFormat::Sarif => Format::Sarif,
        AuditFormat::Openreports => Format::Objects(Flavour::Openreports),
        AuditFormat::Policyreport => Format::Objects(Flavour::Policyreport),
    };
    report.print(format, false, out)?;
    written?;
    Ok(report.outcome(args.judging.strict))
}

/// Writes the report into each namespace that it is about, in place of that of an earlier audit.
async fn write(client: &Client, report: &Report, flavour: Flavour) -> anyhow::Result<()> {
    let [group, version, kind, plural] = flavour.kind();
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    for object in objects(report, flavour) {
        let object: DynamicObject = serde_json::from_value(object)?;
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        let parameters = PatchParams::apply("prefect-guard-audit").force();
        match api.patch(&name, &parameters, &Patch::Apply(&object)).await {
            Ok(_) => {}
            Err(error) if status(&error) == Some(404) => anyhow::bail!(
                "cannot write the report in `{namespace}`: the namespace is gone, or this cluster does not know \
                 `{plural}.{group}`; install that CustomResourceDefinition, or leave out `--report`"
            ),
            Err(error) => return Err(ClusterError::new("patch", plural, error).into()),
        }
    }
    Ok(())
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
            if verdict.servers > 0 {
                report.judged.entry(about.namespace.clone()).or_default().push(about.number);
            }
            report.exempt(&about, verdict.exemption);
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
