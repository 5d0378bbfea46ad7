//! `prefect-guard job`: the migration Job for a server's manifest.

use std::io::Write;

use anyhow::Context as _;
use serde_json::Value;

use super::check::in_namespace;
use super::policy::PolicyFile;
use super::{Outcome, note};
use crate::kubernetes::object::{classify, locate};
use crate::manifest::emit::{self, Lists};
use crate::manifest::{self, files};
use crate::migration::job::{self, Order, Start};
use crate::policy::Policy;
use crate::policy::annotations::Own;
use crate::review::Request;
use crate::rules::{CATALOGUE, Subject};
use crate::shell::command::Action;
use crate::text::printable;

/// Prints the Job that migrates the database of a server, made from the server's manifest.
///
/// It has the server's image, variables, volumes, service account, pull secrets, security context and choice of nodes, and runs
/// the upgrade under the same lock as the injected initContainer. Without `--hook` it is a Job to create once:
/// `prefect-guard job server.yaml | kubectl create -f -`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file with the server's manifest, or `-` for the standard input.
    #[arg(value_name = "FILE")]
    file: String,

    /// Make the Job a hook of this tool, which deletes the Job of the last time.
    #[arg(long, value_enum)]
    hook: Option<Hook>,

    /// Make a Job that only prints which revisions would run, and changes nothing.
    #[arg(long)]
    plan: bool,

    /// The workload, where the file holds several servers.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,

    /// End the Job after so many seconds. An index that is being built at that moment stays unusable.
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<u32>,

    #[command(flatten)]
    policy: PolicyFile,

    /// The namespace of objects that name none, for the policy's overrides.
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Hook {
    /// A PreSync hook.
    Argocd,
    /// A hook before each installation and upgrade.
    Helm,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let policy = args.policy.load()?;
    let start = match args.hook {
        None => Start::Once,
        Some(Hook::Argocd) => Start::ArgoCd,
        Some(Hook::Helm) => Start::Helm,
    };
    let order = Order { start, preview: args.plan, deadline: args.deadline };
    let inputs = files::find(std::slice::from_ref(&args.file))?;
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for input in &inputs {
        for document in manifest::read(&input.read()?) {
            if let Err(error) = &document.content {
                let place = format!("{}:{}:{}", input.name, error.line, error.column);
                anyhow::bail!("{place}: {}; {}", error.what, error.help);
            }
            for object in document.objects() {
                if args.server.as_deref().is_some_and(|wanted| wanted != object.name()) {
                    if object.node.to_json().pointer("/spec/template").is_some() {
                        others.push(format!("`{}`", printable(object.name())));
                    }
                    continue;
                }
                let namespace = object.namespace().unwrap_or(&args.namespace);
                let judged = in_namespace(&object, namespace).to_string();
                let made = make(&judged, &object.node.to_json(), &policy, order)
                    .with_context(|| format!("{}: `{}`", input.name, object.name()))?;
                found.extend(made.map(|(serves, job)| (object.name().to_owned(), serves, job)));
            }
        }
    }
    // Of a server and its background services, the server.
    if found.iter().any(|(_, serves, _)| *serves) {
        found.retain(|(_, serves, _)| *serves);
    }
    match found.as_slice() {
        [] => anyhow::bail!(none_found(args, &others)),
        [(_, _, job)] => {
            let job = job.as_ref().map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
            writeln!(out, "---\n{}", emit::block(job, Lists::Flush))?;
            if start == Start::Helm {
                note(format_args!(
                    "before an installation the Secrets and service accounts of the release are not there yet"
                ));
            }
            Ok(Outcome::Clean)
        }
        several => {
            let names: Vec<String> = several.iter().map(|(name, ..)| format!("`{name}`")).collect();
            anyhow::bail!("there are several servers: {}; name one with `--server`", names.join(", "))
        }
    }
}

/// The error where there is nothing to make a Job for.
fn none_found(args: &Args, others: &[String]) -> String {
    let file = printable(&args.file);
    match &args.server {
        Some(name) if !others.is_empty() => {
            let (name, others) = (printable(name), others.join(", "));
            format!("`{file}` holds no Prefect server `{name}`; the other workloads in it are {others}")
        }
        Some(name) => format!("`{file}` holds no Prefect server `{}`", printable(name)),
        None => format!(
            "`{file}` holds no Prefect server; name the file of the Deployment or StatefulSet that starts it"
        ),
    }
}

/// A Job, or why there can be none; and whether it is for a server that answers requests.
type Made = (bool, Result<Value, job::Refusal>);

/// The Job for one object; `None` where that is no server.
fn make(judged: &str, written: &Value, policy: &Policy, order: Order) -> anyhow::Result<Option<Made>> {
    let Ok(request) = Request::of_manifest(judged) else { return Ok(None) };
    let (Some(object), Some(kind)) = (request.object, classify(&request.kind, policy.kinds())) else {
        return Ok(None);
    };
    let Some(workload) = locate(object, kind)?.read(request.kind.kind.0.clone())? else { return Ok(None) };
    let settings = policy.settings(&request.namespace);
    let own = Own::read(&workload.template.metadata.annotations, CATALOGUE);
    let subject = Subject::examine(&workload, settings, &own, None);
    let Some(lead) = subject.lead() else { return Ok(None) };
    let serves = lead.invocation.server().is_none_or(|call| call.action == Action::Serve);
    let made = job::make(written, &workload, (settings, &own), (lead, &subject.plan), order);
    Ok(Some((serves, made)))
}
